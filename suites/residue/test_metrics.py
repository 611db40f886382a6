"""What driver and kubelet tell of calls while claims come and go."""

from __future__ import annotations

from harness.checks.check import check
from harness.scenario.evidence import Evidence
from harness.scenario.metrics import PREPARED
from harness.verdict.finding import UnsupportedError, counted, one_line
from suites.residue.test_node_files import HELD, ONCE, claims_leave_files

FAILED = "FailedPrepareDynamicResources"
"""The reason of the kubelet's event, also of what it could not do itself."""
CALL = "NodePrepareResources"
"""What such an event names where it was the driver that failed."""


@check(id="MET-002", level=2, source="MET-2", scenario=claims_leave_files, after=("NODE-006",))
def test_prepared_devices_are_counted_up_and_down(evidence: Evidence) -> None:
    """The driver's count of prepared devices MUST go up with claims, and down with their end."""
    held, gone = (evidence.metric(when).total(PREPARED) for when in (HELD, ONCE))
    if held is None:
        raise UnsupportedError("the driver's metrics do not tell how many devices are prepared")
    gone = gone or 0  # of nothing a driver may tell nothing
    there = sum(claim.name.startswith("0-") for claim in evidence.claims.values())
    if held - gone != there:
        evidence.fail(
            f"{held:g} devices are counted as prepared with {counted(there, 'claim')} held, and"
            f" {gone:g} when these are gone",
            expected=f"{there} more while the claims of one device each are held",
            observed=f"{held:g}, then {gone:g}",
        )


@check(id="MET-003", level=2, source="MET-3", scenario=claims_leave_files, after=("DISC-017",))
def test_no_preparation_has_to_be_asked_for_again(evidence: Evidence) -> None:
    """While claims come and go, no call of the kubelet to prepare one MUST fail, nor wait for an
    answer for more than the 45 s after which the kubelet takes it for failed.
    """
    evidence.ended.get()
    failed = [line for line in evidence.events if FAILED in line and CALL in line]
    if failed:
        evidence.fail(
            "claims were prepared only when the kubelet asked again:"
            f" {one_line(failed[0].rpartition(': ')[2], 60)}",
            expected="no failed call: all claims could be prepared",
            observed="\n".join(failed),
        )
