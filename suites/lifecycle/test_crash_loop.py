"""A container that ends again and again before its pod gets any further."""

from __future__ import annotations

from harness.checks.check import check
from harness.scenario.evidence import Evidence
from harness.scenario.pod_spec import INIT, resting
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps
from suites.given import WITHOUT, given, see_same

AT_ONCE = 0.1
"""Seconds."""
STARTS = 3
"""The kubelet waits longer before each: 10 s before the third, 20 s before the fourth."""


@scenario()
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
