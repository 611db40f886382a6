"""What the driver tells of its devices' health, in the status of their pods."""

from __future__ import annotations

from harness.checks.check import check
from harness.scenario.evidence import Evidence
from harness.scenario.pods import UNKNOWN
from harness.verdict.finding import counted
from suites.allocation.test_counts import two_of_one_request
from suites.health import noted_health, see_reported


@check(id="HLTH-001", level=3, source="HLTH-1", scenario=two_of_one_request)
def test_the_health_of_every_device_is_told(evidence: Evidence) -> None:
    """A driver that reports health MUST do so of every device: it is known of all of a pod's."""
    told = noted_health(evidence, "user")
    see_reported(told)
    unknown = [name for name, state in told[-1].items() if state == UNKNOWN]
    if unknown:
        evidence.fail(
            f"of {counted(len(told[-1]), 'device')} of a pod, the health of {len(unknown)} is"
            " unknown",
            expected="the driver's word on each device",
            observed=", ".join(f"{name}: {state}" for name, state in told[-1].items()),
        )
