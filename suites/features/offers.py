"""Devices of a kind that not every driver has: which a scenario can take, and who waits for one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from harness.cluster.features import State
from harness.cluster.inventory import Device, holders
from harness.cluster.kinds import CLAIM
from harness.scenario.evidence import Claim, Container, Evidence
from harness.scenario.pod_spec import resting
from harness.scenario.steps import Steps
from harness.verdict.finding import Blame, UnmetError, UnsupportedError, one_line
from suites.allocation.seen import showing

T = TypeVar("T")
Held = Mapping[tuple[str, str, str], str]
"""Devices that somebody holds, each with the claim that has it."""
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
        UnmetError: there is none, or others do not give it back.
    """
    must_be_on(steps, gate)
    kind = [one for one in steps.run.devices() if offered(one)]
    if not kind:
        raise UnsupportedError(f"the driver, as it is installed, publishes no device {what}")
    usable = [one for one in kind if one.node in steps.run.subject.slots and steps.selectors(one)]
    if not usable:
        raise UnsupportedError(f"no attribute tells a device {what} from all others")
    return await_free(
        steps,
        f"a device {what}",
        lambda held: next((one for one in usable if one.key not in held), None),
    )


def await_free(steps: Steps, what: str, find: Callable[[Held], T | None]) -> T:
    """Find devices that nobody holds; wait while other scenarios hold them.

    Args:
        steps: of the scenario.
        what: what is looked for.
        find: finds it, knowing which devices somebody holds.

    Raises:
        UnmetError: others do not give it back.
    """
    found: T | None = steps.wait(
        f"{what} that nobody holds",
        lambda: find(holders(steps.run.observer.objects(CLAIM))),
        steps.run.budgets.allocate,
        lambda: "others hold them all",
        Blame.CLUSTER,
        optional=True,
    )
    if found is None:
        raise UnmetError(f"others hold {what}, wherever there is one")
    return found


def see_waiting(evidence: Evidence, pod: Container, head: str) -> None:
    """See that a pod waited for its claim.

    Args:
        evidence: of the scenario.
        pod: its container.
        head: what it is that it did not wait; why follows.
    """
    if got := pod.waits.get() if pod.told.get() else "it runs":
        evidence.fail(
            f"{head}: {one_line(got, 40)}",
            expected="it waits, and its claim is not allocated",
            observed=got,
            blame=Blame.SCHEDULER,
        )


def using(steps: Steps, role: str, claim: Claim) -> Container:
    """Create a pod that keeps its claim, with a container that reports which devices it has."""
    rests = resting(f"{role}-rests")
    return steps.create_pod(role, [showing(steps, role), rests], claim)[0]
