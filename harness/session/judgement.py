"""From the way in which a check ended to its result."""

from __future__ import annotations

from dataclasses import dataclass

from harness.checks.check import Force
from harness.session.selection import Planned
from harness.verdict.finding import (
    Blame,
    FailedError,
    Finding,
    InconclusiveError,
    SkipKind,
    UnmetError,
    broken,
    one_line,
)
from harness.verdict.outcome import Outcome, Result


@dataclass(frozen=True)
class Ending:
    """How a check ended, as pytest has it."""

    error: BaseException | None = None
    """What ended it; None when it passed."""
    skipped: UnmetError | None = None
    """Why it was not begun."""
    traceback: str = ""
    """What pytest would show of the error."""
    timed_out: bool = False
    """Whether the error is that the check exceeded its time limit."""


def passed(planned: Planned, seconds: float = 0.0) -> Result:
    """Make the result of a check that passed."""
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
        judges_driver=check.judges_driver,
        scenario=planned.scenario.name if planned.scenario is not None else "",
    )


def interrupted(planned: Planned, by: str, seconds: float) -> Result:
    """Make the result of the check during which the run ended."""
    finding = Finding(
        head=f"{by} in the middle of this check",
        expected="a judgement",
        observed="none",
        blame=Blame.SUITE,
    )
    return passed(planned, seconds).ended(Outcome.ERROR, finding)


def judged(planned: Planned, ending: Ending, loss: Result | None, seconds: float) -> Result:
    """Make the result of a check.

    Args:
        planned: the check.
        ending: how it ended.
        loss: why nothing can be said any more of what went wrong: the cluster is lost.
        seconds: how long it took.
    """
    result = passed(planned, seconds)
    if ending.skipped is not None:
        return result.skipped(ending.skipped)
    if ending.error is None:
        return result
    if loss is not None:
        return result.skipped(UnmetError(loss.id, SkipKind.BLOCKED))
    if isinstance(ending.error, UnmetError):
        return result.skipped(ending.error)
    if isinstance(ending.error, FailedError):
        breach = Outcome.PASS if planned.check.force is Force.SHOULD else Outcome.FAIL
        return result.ended(breach, ending.error.finding)
    return result.ended(Outcome.ERROR, _inconclusive(ending.error, ending))


def _inconclusive(error: BaseException, ending: Ending) -> Finding:
    if isinstance(error, InconclusiveError):
        return error.finding
    if ending.timed_out:
        return Finding(
            head=f"the check did not end within its time limit: {one_line(str(error))}",
            expected="an end; each wait in a check has a shorter limit of its own",
            observed=ending.traceback or repr(error),
            blame=Blame.SUITE,
            likely="a fault of this suite: something waits without a limit",
        )
    return broken("the check", error, ending.traceback)
