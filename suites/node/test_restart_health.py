"""What a restart of the driver does to what it tells of its devices' health."""

from __future__ import annotations

from harness.checks.check import check
from harness.scenario.evidence import Evidence
from harness.scenario.pods import UNKNOWN
from suites.health import is_known, noted_health, see_reported
from suites.node.test_restart import driver_restart


@check(id="HLTH-002", level=3, source="HLTH-2", scenario=driver_restart, after=("SLICE-036",))
def test_health_is_known_again_when_the_driver_is_back(evidence: Evidence) -> None:
    """When a driver that reports health has restarted, the health of devices MUST be known again,
    those of claims that it had prepared before among them.
    """
    for role in ("runs", "late"):
        evidence.container(role)  # where the node is large enough for them
    see_reported(noted_health(evidence, "before"))
    told = noted_health(evidence, "after")
    if not is_known(told[-1]):
        evidence.fail(
            "the health of a pod's device is unknown after the driver's restart; before, it was"
            " known",
            expected="the driver's word on each device, once it is back",
            observed=", ".join(f"{name}: {state}" for name, state in told[-1].items()),
        )


@check(id="HLTH-003", level=3, source="HLTH-3", scenario=driver_restart, after=("SLICE-036",))
def test_health_is_reported_again_and_again(evidence: Evidence) -> None:
    """A driver that reports health MUST repeat it before the kubelet takes it for stale: it is
    known of a device when the driver has run for longer than the 30 s for which a kubelet goes by
    one report.
    """
    for role in ("runs", "late"):
        evidence.container(role)
    before, after = noted_health(evidence, "before"), noted_health(evidence, "after")
    see_reported([*before, *after])
    if not is_known(before[-1]):
        evidence.fail(
            "the health of devices is known only when the driver has just started",
            expected="reports that are repeated before the time that the driver gives them is over",
            observed=f"of pods before its restart {UNKNOWN}; after it known",
        )
