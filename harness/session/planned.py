"""The checks that a run is to make, and whether each can run: decided here, by what is known."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from harness.checks.check import Check
from harness.cluster.profile import UNKNOWN
from harness.cluster.rule import Rule
from harness.options import Impact, flag
from harness.scenario.scenario import Scenario
from harness.verdict.finding import SkipKind, UnmetError, UnsupportedError, counted

_DOES = {
    Impact.EXHAUST: "takes every free GPU of a node",
    Impact.PRIVILEGED: "runs privileged pods",
    Impact.DISRUPT: "restarts the driver or the kubelet",
}


@dataclass(frozen=True)
class Planned:
    """One check in one form."""

    check: Check
    form: str | None
    file: str = ""
    line: int | None = None

    @property
    def name(self) -> str:
        """As reports spell it."""
        return self.check.id + (f"[{self.form}]" if self.form else "")

    @property
    def scenario(self) -> Scenario | None:
        """What runs for it; None: it only reads."""
        return self.check.scenario_of(self.form)

    @property
    def impacts(self) -> frozenset[Impact]:
        """How it can be noticed by others."""
        return self.check.impacts_of(self.form)


class PlannedChecks:
    """The checks of a run in their order, and what is known of the cluster they are made on."""

    def __init__(self, checks: Iterable[Planned] = ()) -> None:
        self.checks = tuple(checks)
        self._allowed: frozenset[Impact] = frozenset()
        self._visible_by: str | None = None
        self._largest: int | None = None

    def learn(
        self,
        *,
        allowed: Collection[Impact] | None = None,
        visible_by: str | None = None,
        largest: int | None = None,
    ) -> None:
        """Take what has become known.

        Args:
            allowed: the impacts that scenarios may have.
            visible_by: how the driver's devices show themselves in containers.
            largest: the most devices that one node has free.
        """
        self._allowed = self._allowed if allowed is None else frozenset(allowed)
        self._visible_by = self._visible_by if visible_by is None else visible_by
        self._largest = self._largest if largest is None else largest

    def ids(self) -> set[str]:
        """The IDs of the checks."""
        return {planned.check.id for planned in self.checks}

    def possible(self) -> list[Planned]:
        """The checks that can run, as far as is known."""
        return [planned for planned in self.checks if self.why_not(planned) is None]

    def scenarios(self) -> list[Scenario]:
        """What runs for the possible checks, each once, in their order."""
        found = (planned.scenario for planned in self.possible())
        return list({one.name: one for one in found if one is not None}.values())

    def rules(self) -> list[Rule]:
        """The rights that the verbs of these scenarios take."""
        return [rule for one in self.scenarios() for use in one.uses for rule in use.rules]

    def why_not(self, planned: Planned) -> UnmetError | None:
        """Say why a check cannot run, whatever comes of others; None when it can."""
        forbidden = sorted(planned.impacts - self._allowed)
        if forbidden:
            them = ",".join(forbidden)
            does = " and ".join(_DOES[impact] for impact in forbidden)
            return UnmetError(f"{does}; enable with {flag('allow')} {them}", SkipKind.NOT_ALLOWED)
        scenario, seen = planned.scenario, self._visible_by
        if scenario is None:
            return None
        if scenario.needs and seen is not None and scenario.needs != seen:
            known = f"these are by {seen}"
            if seen == UNKNOWN:
                known = f"how these are is not known without a profile ({flag('profile')}=FILE)"
            return UnsupportedError(f"needs devices visible by {scenario.needs}; {known}")
        if self._largest is not None and scenario.devices > self._largest:
            return UnsupportedError(
                f"needs {counted(scenario.devices, 'free device')} on one node; the most that one"
                f" has is {self._largest}"
            )
        return None
