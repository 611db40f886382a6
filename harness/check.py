"""Checks as data: what a driver must do, declared beside the function that judges it.

The function's docstring is the sentence; ID and function name make the name under which reports
and dashboards know the check, so both are public API.
"""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

ATTRIBUTE = "dra_check"
FUNCTION_PREFIX = "test_"
DEEPEST_LEVEL = 5


class Force(enum.StrEnum):
    """How binding: a breach of SHOULD is advice and never red."""

    MUST = "MUST"
    SHOULD = "SHOULD"


class Impact(enum.StrEnum):
    """How dangerous for a cluster that others use."""

    NONE = "none"
    EXHAUST = "exhaust"
    """Takes every free GPU of a node."""
    PRIVILEGED = "privileged"
    """Host namespaces, hostPath, node files."""
    DISRUPT = "disrupt"
    """Drains, restarts driver or kubelet."""


@dataclass(frozen=True)
class Variant:
    """One form in which a check is made."""

    name: str
    impact: Impact = Impact.NONE


@dataclass(frozen=True)
class Check:
    """One thing that a driver must do."""

    id: str
    function: str
    area: str
    """The folder of the suite that it is in."""
    sentence: str
    force: Force
    level: int
    """0 read-only · 1 KEP-5970 · 2 allocation, sharing, lifecycle · 3 feature-gated · 4 CUDA and
    IPC · 5 node contract."""
    source: str
    """Where the requirement comes from."""
    impact: Impact = Impact.NONE
    variants: tuple[Variant, ...] = ()
    after: tuple[str, ...] = ()
    """Checks that must have passed in the same form for this one to say anything."""
    needs: tuple[str, ...] = ()
    """What the driver's profile must know: ``cuda`` for a device that CUDA can see."""
    devices: int = 0
    """How many devices of one node it takes."""

    @property
    def name(self) -> str:
        """The function's name without its prefix."""
        return self.function.removeprefix(FUNCTION_PREFIX)

    def case(self, variant: str | None) -> str:
        """The name in JUnit."""
        return f"{self.id}_{self.name}" + (f"[{variant}]" if variant else "")

    def impact_of(self, variant: str | None) -> Impact:
        """The impact in one form."""
        for candidate in self.variants:
            if candidate.name == variant and candidate.impact is not Impact.NONE:
                return candidate.impact
        return self.impact


def check(
    *,
    id: str,  # noqa: A002 - what it is called everywhere
    force: str,
    level: int,
    source: str,
    impact: str = Impact.NONE,
    variants: tuple[Variant, ...] = (),
    after: tuple[str, ...] = (),
    needs: tuple[str, ...] = (),
    devices: int = 0,
) -> Callable[[F], F]:
    """Declare a function to be a check.

    Raises:
        ValueError: the declaration is not a check (an ID that is none, no docstring, …).
    """
    if not re.fullmatch(r"[A-Z]{2,8}-[0-9]{3}", id):
        raise ValueError(f"check ID {id!r}: expected AREA-NNN")
    if not 0 <= level <= DEEPEST_LEVEL:
        raise ValueError(f"{id}: level {level} is not 0 to {DEEPEST_LEVEL}")

    def declare(function: F) -> F:
        name = getattr(function, "__name__", "")
        if not name.startswith(FUNCTION_PREFIX):
            raise ValueError(f"{id}: function {name!r} does not begin with {FUNCTION_PREFIX!r}")
        sentence = inspect.cleandoc(function.__doc__ or "")
        if not sentence:
            raise ValueError(f"{id}: {name} has no docstring, which is the check's sentence")
        if f" {force} " not in f" {sentence} ".replace("\n", " "):
            raise ValueError(f"{id}: the sentence of {name} does not say {force}")
        declared = Check(
            id=id,
            function=name,
            area=PurePath(inspect.getfile(function)).parent.name,
            sentence=" ".join(sentence.split()),
            force=Force(force),
            level=level,
            source=source,
            impact=Impact(impact),
            variants=variants,
            after=after,
            needs=needs,
            devices=devices,
        )
        setattr(function, ATTRIBUTE, declared)
        return function

    return declare


def check_of(function: object) -> Check | None:
    """What a function was declared to check, if anything."""
    declared = getattr(function, ATTRIBUTE, None)
    return declared if isinstance(declared, Check) else None
