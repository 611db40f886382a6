"""Whether the driver lives through its work."""

from __future__ import annotations

from harness.checks.check import check
from harness.scenario.evidence import Evidence
from harness.verdict import causes
from harness.verdict.finding import UnmetError, counted
from suites.residue.test_node_files import ENDS, HELD, OFTEN, claims_leave_files


@check(id="DISC-017", level=2, source="DISC-4", scenario=claims_leave_files, after=("NODE-006",))
def test_the_driver_stays_up_while_claims_come_and_go(evidence: Evidence) -> None:
    """While claims come and go the driver MUST NOT end: what it does at that time is cut off."""
    if OFTEN not in evidence.noted:
        evidence.ended.get()
    before, after = (evidence.noted[when].get() for when in (HELD, OFTEN))
    stayed = before.keys() & after.keys()
    if not stayed:
        raise UnmetError("the driver's pod was replaced meanwhile, or none was on the node")
    ended = sum(after[pod] - before[pod] for pod in stayed)
    if ended:
        evidence.fail(
            f"the driver ended {counted(ended, 'time')} while"
            f" {counted(len(evidence.claims), 'claim')} came and went",
            expected="its container runs on",
            observed=f"it was started again {counted(ended, 'time')}",
            cause=causes.of_ends(evidence.noted.get(ENDS, ())),
        )
