"""Scenarios as data: a script, and what it takes of the cluster.

A scenario runs once, for any number of checks to judge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from harness.options import Impact
from harness.scenario.evidence import Evidence
from harness.scenario.run import RESTRICTED, Run
from harness.scenario.steps import Reservation, Steps
from harness.scenario.verbs import Needs, Verb, needs_of
from harness.verdict.finding import JudgementError
from harness.verdict.table import Table

EVERY_DEVICE = 1 << 16
"""For `Scenario.most`: as many devices as one node has free."""
CUDA = "cuda"
"""For `Scenario.needs`: devices that CUDA can see."""

Script = Callable[[Steps], None]
TableWriter = Callable[[Mapping[str, Evidence]], Iterable[Table]]
"""Makes tables of what scenarios left, by the scenario's name."""


@dataclass(frozen=True)
class Scenario:
    """What runs once in the cluster, for any number of checks to judge."""

    name: str
    script: Script
    impacts: frozenset[Impact] = frozenset()
    """How it can be noticed by others; empty: not at all."""
    devices: int = 1
    """How many devices of one node it takes at least."""
    most: int = 0
    """How many it can make use of, where one node has more than ``devices``."""
    needs: str = ""
    """How devices must be visible in containers (`CUDA`); empty: any driver will do."""
    standard: str = RESTRICTED
    """The Pod Security Standard of its namespace."""
    tables: TableWriter | None = None
    """Makes tables for the report; one call for all scenarios that name the same."""
    uses: tuple[Needs, ...] = ()
    """What the verbs take that its script uses; their impacts are among its own."""
    admin: bool = False
    """Whether claims with admin access do as well: it only looks at devices, and it is all the same
    who has them."""
    basic: bool = False
    """Whether it only has a pod with a claim come and go: it runs first, and where no such pod has
    done so, nothing else that runs says anything."""

    @property
    def scenario(self) -> Scenario:
        """Itself: a scenario can be a check's form."""
        return self

    @property
    def alone(self) -> bool:
        """Whether nothing else may run at the same time."""
        return not self.impacts.isdisjoint((Impact.EXHAUST, Impact.DISRUPT))

    def wanted(self, largest: int) -> int:
        """How many devices it takes where the node with the most has ``largest`` free."""
        return max(self.devices, min(self.most, largest))

    def run(self, run: Run, reservation: Reservation) -> Evidence:
        """Run the script; never raises but to end the run."""
        steps = Steps(run, Evidence(self.name), reservation, self.standard, uses=self.uses)
        return steps.perform(self.script)

    def not_run(self, reason: JudgementError) -> Evidence:
        """Make the evidence of a scenario that could not run, for this reason."""
        evidence = Evidence(self.name)
        evidence.without(reason)
        return evidence


def scenario(
    *,
    devices: int = 1,
    most: int = 0,
    impacts: Iterable[str] = (),
    uses: Iterable[Verb] = (),
    needs: str = "",
    standard: str = RESTRICTED,
    tables: TableWriter | None = None,
    admin: bool = False,
) -> Callable[[Script], Scenario]:
    """Make a scenario of a script; it is named as the function.

    Args:
        devices: how many devices of one node it takes at least.
        most: how many it can make use of, where a node has more.
        impacts: how it can be noticed by others, beyond what it uses: ``exhaust``, ``privileged``.
        uses: the verbs that take more than pods of the run's own: ``Driver.restart``.
        needs: how devices must be visible in containers; empty: any driver will do.
        standard: the Pod Security Standard of the namespace that it runs in.
        tables: makes tables for the report of what it left.
        admin: whether claims with admin access do as well, whoever has the devices.
    """

    used = tuple(map(needs_of, uses))
    every = set(map(Impact, impacts)).union(*(one.impacts for one in used))

    def made(script: Script) -> Scenario:
        return Scenario(
            name=script.__name__.replace("_", "-"),
            script=script,
            impacts=frozenset(every),
            devices=devices,
            most=most,
            needs=needs,
            standard=standard,
            tables=tables,
            uses=used,
            admin=admin,
        )

    return made
