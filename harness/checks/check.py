"""Checks as data: what a driver must do, declared beside the function that judges it.

The function's docstring is the sentence; ID and function name make the name under which reports
and dashboards know the check, so both are public API.
"""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Protocol, TypeVar

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


EVERY_DEVICE = 1 << 16
"""For `Scenario.most`: as many devices as one node has free."""


class Variant(Protocol):
    """One form in which a check is made: a scenario, or a part of one."""

    @property
    def name(self) -> str:
        """In brackets behind the check's name."""

    @property
    def impact(self) -> Impact:
        """Of this form."""

    @property
    def scenario(self) -> Scenario:
        """What is played for it."""


@dataclass(frozen=True)
class Scenario:
    """What is played once in the cluster, for any number of checks to judge."""

    name: str
    impact: Impact = Impact.NONE
    devices: int = 0
    """How many devices of one node it takes at least."""
    most: int = 0
    """How many it can make use of, where one node has more than ``devices``."""
    any_driver: bool = False
    """Whether no part of it needs to know how a driver's devices are used."""

    @property
    def scenario(self) -> Scenario:
        """Itself: a scenario may be a check's form."""
        return self

    @property
    def alone(self) -> bool:
        """Whether nothing else may be played at the same time."""
        return self.impact in (Impact.EXHAUST, Impact.DISRUPT)

    def wanted(self, largest: int) -> int:
        """How many devices it takes where the node with the most has ``largest`` free."""
        return max(self.devices, min(self.most, largest))

    def play(self, run: Any, turn: Any) -> Any:
        """Play it; never raises but to end the run.

        Args:
            run: the `harness.scenario.run.Run`.
            turn: the `harness.scenario.launcher.Turn`.
        """
        raise NotImplementedError(self.name)

    def unplayed(self, reason: Any) -> Any:
        """What came of it when it could not be played, for this reason (a `JudgementError`)."""
        raise NotImplementedError(self.name)


@dataclass(frozen=True)
class Part:
    """A form of a check that judges one part of a scenario."""

    name: str
    scenario: Scenario

    @property
    def impact(self) -> Impact:
        """That of the whole scenario."""
        return self.scenario.impact


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
    scenario: Scenario | None = None
    """What it judges, where it is made in one form only."""
    variants: tuple[Variant, ...] = ()
    after: tuple[str, ...] = ()
    """Checks that must have passed in the same form for this one to say anything."""
    needs: tuple[str, ...] = ()
    """What the driver's profile must know: ``cuda`` for a device that CUDA can see."""

    @property
    def name(self) -> str:
        """The function's name without its prefix."""
        return self.function.removeprefix(FUNCTION_PREFIX)

    def case(self, variant: str | None) -> str:
        """The name in JUnit."""
        return f"{self.id}_{self.name}" + (f"[{variant}]" if variant else "")

    def scenario_of(self, variant: str | None) -> Scenario | None:
        """What is played for it in one form."""
        return next((v.scenario for v in self.variants if v.name == variant), self.scenario)

    def impact_of(self, variant: str | None) -> Impact:
        """The impact in one form."""
        for candidate in self.variants:
            if candidate.name == variant and candidate.impact is not Impact.NONE:
                return candidate.impact
        if self.impact is Impact.NONE and self.scenario is not None:
            return self.scenario.impact
        return self.impact

    def creates(self, variant: str | None) -> bool:
        """Whether it makes any objects in one form; else it only reads."""
        return self.scenario_of(variant) is not None

    def devices_of(self, variant: str | None) -> int:
        """How many devices of one node it takes in one form."""
        scenario = self.scenario_of(variant)
        return scenario.devices if scenario is not None else 0

    @property
    def devices(self) -> int:
        """How many devices of one node it takes in its smallest form."""
        return min((self.devices_of(name) for name in self.forms()), default=0)

    def needs_of(self, variant: str | None) -> tuple[str, ...]:
        """What the driver's profile must know in one form."""
        scenario = self.scenario_of(variant)
        return () if scenario is not None and scenario.any_driver else self.needs

    def forms(self) -> Iterable[str | None]:
        """The names of its forms; one None where it has none."""
        return [variant.name for variant in self.variants] or [None]


def check(
    *,
    id: str,  # noqa: A002 - what it is called everywhere
    force: str,
    level: int,
    source: str,
    impact: str = Impact.NONE,
    scenario: Scenario | None = None,
    variants: tuple[Variant, ...] = (),
    after: tuple[str, ...] = (),
    needs: tuple[str, ...] = (),
) -> Callable[[F], F]:
    """Declare a function to be a check.

    Raises:
        ValueError: the declaration is not a check (an ID that is none, no docstring, …).
    """
    if not re.fullmatch(r"[A-Z]{2,8}-[0-9]{3}", id):
        raise ValueError(f"check ID {id!r}: expected AREA-NNN")
    if not 0 <= level <= DEEPEST_LEVEL:
        raise ValueError(f"{id}: level {level} is not 0 to {DEEPEST_LEVEL}")
    if scenario is not None and variants:
        raise ValueError(f"{id}: a check has a scenario or variants, not both")

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
            scenario=scenario,
            variants=variants,
            after=after,
            needs=needs,
        )
        setattr(function, ATTRIBUTE, declared)
        return function

    return declare


def check_of(function: object) -> Check | None:
    """What a function was declared to check, if anything."""
    declared = getattr(function, ATTRIBUTE, None)
    return declared if isinstance(declared, Check) else None
