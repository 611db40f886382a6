"""Devices of a kind that not every driver has, and those of them that a scenario can take."""

from __future__ import annotations

from collections.abc import Callable

from harness.cluster.features import State
from harness.cluster.inventory import Device, holders
from harness.cluster.kinds import CLAIM
from harness.scenario.evidence import Claim, Container
from harness.scenario.pod_spec import resting
from harness.scenario.steps import Steps
from harness.verdict.finding import Blame, UnsupportedError
from suites.allocation.seen import showing

TAKEN = "cannot allocate all claims"
"""What the scheduler says where no device is left for a claim (a regular expression)."""


def must_be_on(steps: Steps, gate: str) -> None:
    """End a scenario where the API server is known to be without a feature.

    Raises:
        UnsupportedError: it is.
    """
    if steps.run.subject.features.get(gate) in (State.OFF, State.ABSENT):
        raise UnsupportedError(f"the API server's feature gate {gate} is off")


def one_of(steps: Steps, gate: str, what: str, offered: Callable[[Device], bool]) -> Device:
    """Choose a device of a kind that nobody holds; wait while other scenarios hold them all.

    Args:
        steps: of the scenario.
        gate: the feature gate that such devices need.
        what: the kind, after "device": ``that claims can share``.
        offered: whether a device is of the kind.

    Raises:
        UnsupportedError: there is none.
    """
    must_be_on(steps, gate)
    kind = [one for one in steps.run.devices() if offered(one)]
    if not kind:
        raise UnsupportedError(f"the driver has no device {what}")
    usable = [one for one in kind if one.node in steps.run.subject.slots and steps.selectors(one)]
    if not usable:
        raise UnsupportedError(f"no attribute tells a device {what} from all others")

    def free() -> Device | None:
        held = holders(steps.run.observer.objects(CLAIM))
        return next((one for one in usable if one.key not in held), None)

    found: Device | None = steps.wait(
        f"a device {what} and nobody holds",
        free,
        steps.run.budgets.allocate,
        lambda: "others hold them all",
        Blame.CLUSTER,
        optional=True,
    )
    if found is None:
        raise UnsupportedError(f"others hold every device {what}")
    return found


def using(steps: Steps, role: str, claim: Claim) -> Container:
    """Create a pod that keeps its claim, with a container that reports which devices it has."""
    rests = resting(f"{role}-rests")
    return steps.create_pod(role, [showing(steps, role), rests], claim)[0]
