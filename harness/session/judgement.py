"""From the way in which a check ended to its result."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.checks.check import Check, Force
from harness.options import flag
from harness.session.planned import Planned
from harness.verdict.finding import (
    Blame,
    FailedError,
    Finding,
    InconclusiveError,
    UnmetError,
    one_line,
)
from harness.verdict.outcome import Outcome, Result

TIME_OUT = "from pytest-timeout"
"""What pytest-timeout says of itself when a check exceeds its time limit."""


@dataclass(frozen=True)
class Ending:
    """How a check ended, as pytest has it."""

    error: BaseException | None = None
    """What ended it; None when it passed."""
    skipped: str = ""
    """The reason that pytest gives for a skip."""
    traceback: str = ""
    """What pytest would show of the error."""


def passed(planned: Planned, seconds: float = 0.0) -> Result:
    """The result of a check with which all is well."""
    check = planned.check
    return Result(
        case=check.case(planned.form),
        id=check.id,
        area=check.area,
        variant=planned.form,
        outcome=Outcome.PASS,
        sentence=check.sentence,
        force=check.force.value,
        level=check.level,
        source=check.source,
        file=planned.file,
        line=planned.line,
        seconds=seconds,
    )


def not_made(planned: Planned, reason: str) -> Result:
    """The result of a check that the run did not come to."""
    return replace(passed(planned), outcome=Outcome.SKIP, headline=f"not run: {reason}")


def interrupted(planned: Planned, by: str, seconds: float) -> Result:
    """The result of the check in the middle of which the run was ended."""
    finding = Finding(
        head=f"{by} in the middle of this check",
        expected="a judgement",
        observed="none",
        blame=Blame.SUITE,
    )
    return passed(planned, seconds).ended(Outcome.ERROR, finding, rerun(planned.check))


def judged(planned: Planned, ending: Ending, death: Finding | None, seconds: float) -> Result:
    """The result of a check.

    Args:
        planned: the check.
        ending: how it ended.
        death: why nothing can be said any more of what went wrong: a component of the embedded
            cluster is dead.
        seconds: how long it took.
    """
    result = passed(planned, seconds)
    if ending.skipped:
        return replace(result, outcome=Outcome.SKIP, headline=one_line(ending.skipped, 500))
    if ending.error is None:
        return result
    if isinstance(ending.error, UnmetError) and death is None:
        return replace(result, outcome=Outcome.SKIP, headline=one_line(str(ending.error), 500))
    again = rerun(planned.check)
    if isinstance(ending.error, FailedError) and death is None:
        breach = Outcome.PASS if planned.check.force is Force.SHOULD else Outcome.FAIL
        return result.ended(breach, ending.error.finding, again)
    return result.ended(
        Outcome.ERROR, death or _inconclusive(ending.error, ending.traceback), again
    )


def _inconclusive(error: BaseException, traceback: str) -> Finding:
    if isinstance(error, InconclusiveError):
        return error.finding
    if TIME_OUT in str(error):
        return Finding(
            head=f"the check did not end within its time limit: {one_line(str(error))}",
            expected="an end; each wait in a check has a shorter limit of its own",
            observed=traceback or repr(error),
            blame=Blame.SUITE,
            likely="a fault of this suite: something waits without a limit",
        )
    return Finding(
        head=f"the check itself broke: {one_line(str(error)) or 'no message'}",
        expected="a judgement",
        observed=traceback or repr(error),
        blame=Blame.SUITE,
        likely="a fault of this suite",
    )


def rerun(check: Check) -> str:
    """How to make just this check again."""
    return f"the same command with {flag('check')} {check.id}"
