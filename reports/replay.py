"""``--dra-replay``: what failed in an earlier run, made once more: is it fixed?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.options import OptionError, flag
from harness.verdict.finding import Blame, Finding, counted
from harness.verdict.outcome import REPLAY_AREA, Outcome, Record, Result
from reports import results
from reports.facts import Facts

FIXED, STILL, UNJUDGED = "FIXED", "STILL FAILING", "NOT JUDGED"
_ANOTHER_TIME = tuple(
    map(
        flag,
        (
            *("check", "replay", "output", "keep", "baseline", "expect", "expect_write"),
            *("metrics", "pushgateway", "bundle_in_log"),
        ),
    )
)
"""Options of the earlier run that a replay does not take from it."""
_NOT_KNOWN = flag("pod_patch")
"""An option that names a file, of which a report has the content only."""


@dataclass(frozen=True)
class Replay:
    """What failed in an earlier run."""

    path: Path
    record: Record
    facts: Facts

    @property
    def failed(self) -> list[Result]:
        """The checks that failed there or were inconclusive."""
        return [one for one in self.record.checks() if one.red and one.level is not None]

    @property
    def ids(self) -> tuple[str, ...]:
        """Their IDs."""
        return tuple(dict.fromkeys(one.id for one in self.failed))

    def wants(self, check_id: str, form: str | None) -> bool:
        """Whether to make a check in one form: it failed there, or what failed builds on it."""
        if check_id in self.ids:
            return self.record.of(check_id, form) in self.failed
        return form is None or form in {one.variant for one in self.failed}

    def word(self, before: Result, now: Record) -> str:
        """Say what has become of a failure."""
        after = now.of(before.id, before.variant)
        if after is None or after.outcome in (Outcome.SKIP, Outcome.ERROR):
            return UNJUDGED
        return STILL if after.outcome is Outcome.FAIL else FIXED

    def judge(self, now: Record) -> Result:
        """Make the case that is red unless everything is fixed."""
        result = Result.passed(
            "REPLAY-001",
            "what_failed_is_fixed",
            REPLAY_AREA,
            "What failed in the run that is replayed MUST pass.",
        )
        lines = list(self.lines(now))
        words = [self.word(one, now) for one in self.failed]
        if set(words) == {FIXED}:
            return result
        numbers = ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))
        failing = STILL in words
        finding = Finding(
            head=f"of what failed in run {self.facts.run_id}: {numbers}",
            expected=f"{counted(len(words), 'case')} {FIXED}",
            observed="\n".join(line.strip() for line in lines),
            blame=Blame.DRIVER if failing else Blame.CLUSTER,
        )
        return result.ended(Outcome.FAIL if failing else Outcome.ERROR, finding)

    def lines(self, now: Record, server: str = "") -> Iterator[str]:
        """Yield a line for each failure of the earlier run, for the end on the terminal.

        Args:
            now: what this run found out.
            server: the API server of this run, to be compared with that of the earlier.
        """
        if server and server != self.facts.server:
            yield f"REPLAY   on {server}; run {self.facts.run_id} was on {self.facts.server}"
        for before in self.failed:
            word, after = self.word(before, now), now.of(before.id, before.variant)
            name = before.id + (f"[{before.variant}]" if before.variant else "")
            text = after.headline if after is not None else "was not made"
            yield f" {word:<13} {text if text.startswith(name) else f'{name} {text}'.strip()}"


def load(path: Path) -> Replay:
    """Read the run that an option names.

    Raises:
        OptionError: it has no results that this suite can read, or nothing failed in it.
    """
    try:
        record, facts = results.read(path)
    except results.ResultsError as error:
        raise OptionError(f"{flag('replay')} {path}: {error}") from error
    found = Replay(path, record, facts)
    if not found.failed:
        raise OptionError(f"{flag('replay')} {path}: no check failed in this run")
    return found


def options(facts: Facts, path: Path) -> Sequence[str]:
    """Answer the options that make a run once more as it was made, but for what it is about.

    Raises:
        ResultsError: it was made with an option of which the report does not tell enough.
    """
    found = [f"{flag('replay')}={path.resolve()}"]
    for one in facts.options:
        if one.origin == "default" or one.name in _ANOTHER_TIME:
            continue
        if one.name == _NOT_KNOWN:
            raise results.ResultsError(
                f"{path}: it was made with {one.name}, which its results do not have as a file;"
                f" replay it by the same command as then, with {found[0]}"
            )
        value = one.value
        if one.name == flag("allow"):
            value = value or "none"
        elif one.name == flag("soak"):
            value = f"{float(value):.0f}s"
        found.append(f"{one.name}={value}")
    return found
