"""``--dra-baseline``: a run judged by an earlier one, for nightly runs that must not get worse."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from building.tree import COMMAND
from harness.options import OptionError, flag
from harness.verdict.finding import Blame, Finding, SkipKind
from harness.verdict.outcome import BASELINE_AREA, INVARIANTS_AREA, Outcome, Record, Result
from reports import results
from reports.diff import Diff, compare, lines_of
from reports.facts import Facts


@dataclass(frozen=True)
class Baseline:
    """An earlier run to be measured by."""

    path: Path
    record: Record
    facts: Facts

    def judge(self, now: Record, folder: Path, selected: Collection[str]) -> Result:
        """Make the case that fails when a check, or a run-wide invariant, got worse.

        Known issues are no regressions: somebody has accepted them, until a date.

        Args:
            now: what this run found out, all of it.
            folder: where its files will be.
            selected: the IDs of the checks that it was to make; others are not compared, so that
                a run of some checks can be measured by a run of all.
        """
        known = {one.case for one in now.results if one.skip is SkipKind.KNOWN_ISSUE}
        old, new = (
            replace(
                record,
                results=[
                    one
                    for one in record.results
                    if one.id in selected or one.area == INVARIANTS_AREA
                    if one.case not in known
                ],
                tables=[],
            )
            for record in (self.record, now)
        )
        result = Result.passed(
            "BASELINE-001",
            "nothing_is_worse_than_before",
            BASELINE_AREA,
            "No check MUST end worse than in the run that is the baseline.",
        )
        found = compare(old, new)
        if not found.regressions:
            return result
        return result.ended(Outcome.FAIL, self._finding(found, new, folder))

    def _finding(self, found: Diff, new: Record, folder: Path) -> Finding:
        worse = found.regressions
        blamed = [
            one.finding.blame
            for change in worse
            for one in new.results
            if one.case == change.case and one.finding is not None
        ]
        first = worse[0]
        more = f", and {len(worse) - 1} more" if len(worse) > 1 else ""
        return Finding(
            head=f"worse than in run {self.facts.run_id}: {first.case.split('_')[0]}"
            f" {first.old} -> {first.new}{more}",
            expected=f"no case worse than in the run of {self.facts.cluster}",
            observed="\n".join(line.strip() for line in lines_of(worse)),
            blame=blamed[0] if blamed else Blame.CLUSTER,
            next=f"{COMMAND} report diff {self.path} {folder}; if it is meant to be so, take this"
            f" run as {flag('baseline')} from now on",
        )


def load(path: Path) -> Baseline:
    """Read the run that an option names.

    Raises:
        OptionError: it has no results that this suite can read.
    """
    try:
        record, facts = results.read(path)
    except results.ResultsError as error:
        raise OptionError(f"{flag('baseline')} {path}: {error}") from error
    return Baseline(path, record, facts)
