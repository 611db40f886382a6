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
from typing import Any, Protocol, TypeVar

from harness.options import DEEPEST_LEVEL, Impact
from harness.scenario.scenario import Scenario

F = TypeVar("F", bound=Callable[..., Any])

ATTRIBUTE = "dra_check"
LEVELS = (
    *("what the driver publishes, read only", "standard attributes of devices (KEP-5970)"),
    *("allocation, sharing and lifecycle of claims", "what stands behind feature gates"),
    *("CUDA and IPC", "the contract between kubelet and driver"),
)
CUDA_LEVEL = 4
"""Where only real GPUs are evidence."""
FUNCTION_PREFIX = "test_"


class Force(enum.StrEnum):
    """How binding: a breach of SHOULD is advice and never red."""

    MUST = "MUST"
    SHOULD = "SHOULD"


class Form(Protocol):
    """One form of a check: a scenario, or a part of one."""

    @property
    def name(self) -> str:
        """In brackets behind the check's name."""

    @property
    def scenario(self) -> Scenario:
        """What runs for it."""


@dataclass(frozen=True)
class Part:
    """A form of a check that judges one part of a scenario."""

    name: str
    scenario: Scenario


@dataclass(frozen=True)
class Check:
    """One thing that a driver must do."""

    id: str
    function: str
    area: str
    """Under which reports show it; JUnit's class is ``dra.AREA``."""
    sentence: str
    force: Force
    level: int
    """How deep it goes: its place in `LEVELS`."""
    source: str
    """Where the requirement comes from."""
    scenario: Scenario | None = None
    """What it judges, where it has one form only; None: it only reads."""
    forms: tuple[Form, ...] = ()
    after: tuple[str, ...] = ()
    """Checks that must have passed for this one to say anything: each in the same form, or in every
    form if it has none in common with this one. Of one that judges another scenario it is made all
    the same, but when it fails, that is put down to the other."""
    judges_driver: bool = True
    """False: it judges CUDA, the cluster or the suite itself, and is counted apart."""
    hardware_only: bool = False
    """Whether it says something of real GPUs only: it is not made on simulated ones."""

    @property
    def name(self) -> str:
        """The function's name without its prefix."""
        return self.function.removeprefix(FUNCTION_PREFIX)

    def case(self, form: str | None) -> str:
        """The name in JUnit."""
        return f"{self.id}_{self.name}" + (f"[{form}]" if form else "")

    @property
    def scenarios(self) -> frozenset[str]:
        """The names of what runs for it, in all its forms; empty: it only reads."""
        every = (self.scenario, *(form.scenario for form in self.forms))
        return frozenset(one.name for one in every if one is not None)

    def goes_with(self, other: Check) -> bool:
        """Whether nothing more has to run for another check than runs for this one."""
        return not other.scenarios or not self.scenarios.isdisjoint(other.scenarios)

    def scenario_of(self, form: str | None) -> Scenario | None:
        """What runs for it in one form; None: it only reads."""
        for one in self.forms:
            if one.name == form:
                return one.scenario
        return self.scenario

    def impacts_of(self, form: str | None) -> frozenset[Impact]:
        """How one form can be noticed by others."""
        scenario = self.scenario_of(form)
        return scenario.impacts if scenario is not None else frozenset()


def check(
    *,
    id: str,  # noqa: A002 - what it is called everywhere
    level: int,
    source: str,
    area: str = "",
    scenario: Scenario | None = None,
    forms: tuple[Form, ...] = (),
    after: tuple[str, ...] = (),
    judges_driver: bool = True,
    hardware_only: bool = False,
) -> Callable[[F], F]:
    """Declare a function to be a check; its docstring says what MUST or SHOULD be so.

    Args:
        id: its name for ever, as ``ISO-003``.
        level: how deep it looks (`Check.level`).
        source: where the requirement comes from.
        area: under which reports show it; the folder of the suite that it is in where not given.
        scenario: what it judges, where it has one form only.
        forms: the forms in which it is made, each with what it judges.
        after: checks that must have passed for this one to say anything (`Check.after`), where they
            are made in the same run.
        judges_driver: False for what judges CUDA, the cluster or the suite itself.
        hardware_only: it is not made on simulated GPUs.

    Raises:
        ValueError: the declaration is not a check (an ID that is none, no docstring, …).
    """
    if not re.fullmatch(r"[A-Z]{2,8}-[0-9]{3}", id):
        raise ValueError(f"check ID {id!r}: expected AREA-NNN")
    if not 0 <= level <= DEEPEST_LEVEL:
        raise ValueError(f"{id}: level {level} is not 0 to {DEEPEST_LEVEL}")
    if scenario is not None and forms:
        raise ValueError(f"{id}: a check has a scenario or forms, not both")

    def declare(function: F) -> F:
        name = getattr(function, "__name__", "")
        if not name.startswith(FUNCTION_PREFIX):
            raise ValueError(f"{id}: function {name!r} does not begin with {FUNCTION_PREFIX!r}")
        sentence = inspect.cleandoc(function.__doc__ or "")
        if not sentence:
            raise ValueError(f"{id}: {name} has no docstring, which is the check's sentence")
        sentence = " ".join(sentence.split())
        said = re.search(r" (MUST|SHOULD) ", sentence)
        if said is None:
            raise ValueError(f"{id}: the sentence of {name} does not say MUST or SHOULD")
        declared = Check(
            id=id,
            function=name,
            area=area or PurePath(inspect.getfile(function)).parent.name,
            sentence=sentence,
            force=Force.MUST if " MUST " in sentence else Force.SHOULD,
            level=level,
            source=source,
            scenario=scenario,
            forms=forms,
            after=after,
            judges_driver=judges_driver,
            hardware_only=hardware_only,
        )
        setattr(function, ATTRIBUTE, declared)
        return function

    return declare


def check_of(function: object) -> Check | None:
    """Answer what a function was declared to check, if anything."""
    declared = getattr(function, ATTRIBUTE, None)
    return declared if isinstance(declared, Check) else None
