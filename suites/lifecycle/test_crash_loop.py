"""A container that ends again and again before its pod gets any further."""

from __future__ import annotations

from itertools import dropwhile

from harness.checks.check import check
from harness.cluster.inventory import results
from harness.cluster.kinds import Object, uid_of
from harness.scenario.evidence import Evidence
from harness.scenario.pod_spec import INIT, resting
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps
from harness.verdict import causes
from suites.given import WITHOUT, given, see_same

AT_ONCE = 0.1
"""Seconds."""
STARTS = 3
"""The kubelet waits longer before each: 10 s before the third, 20 s before the fourth."""


@scenario(admin=True)
def crash_loop(steps: Steps) -> None:
    """After an init container without the claim, one with it ends at once each time."""
    specs = [
        resting(WITHOUT, kind=INIT, uses_claims=False),
        resting("crashing", kind=INIT, killed_after=AT_ONCE),
        resting("never"),
    ]
    other, crashing, _ = steps.create_pod("pod", specs, steps.claim(1), restart="Always")
    steps.await_start(other, crashing)
    steps.await_report(other)
    for _ in range(1, STARTS):
        steps.await_restart(crashing)
    steps.await_report(crashing)


@check(
    id="LIFE-013",
    level=2,
    source="LIFE-2, SHARE-2",
    scenario=crash_loop,
    after=("LIFE-002",),
)
def test_a_crash_loop_has_the_same_devices_each_time(evidence: Evidence) -> None:
    """A container that fails and is started again and again MUST have the same devices each time,
    and an init container is no exception.
    """
    first = given(evidence, "crashing", 0)
    for start in range(1, STARTS):
        see_same(
            evidence,
            f"at start {start + 1} the init container",
            first,
            given(evidence, "crashing", start),
        )


@check(
    id="LIFE-015",
    level=2,
    source="LIFE-2",
    scenario=crash_loop,
    after=("LIFE-013",),
    judges_driver=False,
)
def test_a_claim_stays_as_it_is_while_a_container_restarts(evidence: Evidence) -> None:
    """While a container of its pod starts again and again, a claim MUST stay reserved for the pod
    and allocated the same devices.
    """
    evidence.report("crashing", STARTS - 1)
    pod = uid_of(evidence.container("crashing").the_pod())
    states = [_held(pod, seen) for seen in evidence.claim("gpus").history]
    reserved = [*dropwhile(lambda state: not state, states)]
    if len(set(reserved)) != 1:
        evidence.fail(
            "a claim was changed while a container of its pod started again and again",
            expected="reserved for the pod, with the same devices, as long as it runs",
            observed=", then ".join(state or "nothing" for state in reserved)
            or "not reserved for the pod",
            cause=causes.CLAIM_CHANGED,
        )


def _held(pod: str, claim: Object) -> str:
    """Name what a claim holds for a pod; nothing while it is not reserved for it."""
    users = (claim.get("status") or {}).get("reservedFor") or []
    if pod not in {user["uid"] for user in users}:
        return ""
    return " and ".join(f"{one['pool']}/{one['device']}" for one in results(claim))
