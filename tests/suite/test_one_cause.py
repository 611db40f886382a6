"""What follows from a failure that another scenario shows is put down to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.options import Impact, resolve
from harness.session.selection import Planned, PlannedChecks
from harness.session.session import Ending, Session
from harness.verdict.finding import Blame, FailedError, Finding
from harness.verdict.outcome import Outcome
from suites.__main__ import checks

CHECKS = {check.id: check for check in checks()}
FAILURE = FailedError(Finding("it is not", "it is", "it is not", Blame.DRIVER))


@pytest.mark.parametrize(
    ("cause", "follows"),
    [
        # The devices that the driver did not publish again after it was away.
        ("DISC-008", "UPG-001"),
        ("DISC-008", "UPG-005"),
    ],
)
def test_one_cause_turns_one_check_red(cause: str, follows: str, tmp_path: Path) -> None:
    """The later one is blocked by the earlier, and so is what builds on that one."""
    session = Session(resolve({}, {}, tmp_path), root=tmp_path, invoked_in=tmp_path, junit=None)
    session.planned = PlannedChecks([Planned(check, None) for check in CHECKS.values()])
    session.planned.learn(allowed=set(Impact))
    for name in dict.fromkeys((cause, *CHECKS[follows].after, follows)):
        planned = Planned(CHECKS[name], None)
        fails = name in (cause, follows) or planned.check.goes_with(CHECKS[follows])
        skipped = session.reason_to_skip(planned)
        result = session.conclude(
            planned, Ending(skipped or (FAILURE if fails else None), skipped=skipped)
        )
        if name == cause:
            assert result.outcome is Outcome.FAIL
        elif fails:
            assert (result.outcome, result.blocked_by) == (Outcome.SKIP, cause)
