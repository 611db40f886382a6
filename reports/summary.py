"""The end of a run on the terminal: verdict, what is not passed, where the files are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from harness.verdict.finding import HEAD_CHARACTERS, one_line
from harness.verdict.outcome import PREFLIGHT_AREA, Outcome, Record, Result, inconclusive_areas
from reports import html, results
from reports.facts import Facts

LONG_CHARACTERS = 600
"""Of a message that did not fit into its headline."""


def lines(record: Record, facts: Facts) -> Iterator[str]:
    """The lines."""
    yield f"PLACE    {facts.place}"
    counts = ", ".join(
        f"{record.count(outcome)} {word}"
        for outcome, word in (
            (Outcome.PASS, "passed"),
            (Outcome.FAIL, "failed"),
            (Outcome.ERROR, "undecided by error"),
            (Outcome.SKIP, "skipped"),
        )
    )
    yield f"VERDICT  {record.verdict().value}: {counts} in {facts.seconds:.1f} s"
    for result in record.results:
        if result.red:
            blame = f" (who: {result.finding.blame.value})" if result.finding else ""
            yield f" {result.outcome.value.upper():<6}  {result.headline}{blame}"
            yield from _at_length(result)
        elif result.advice:
            yield f" ADVICE  {result.headline}"
            yield from _at_length(result)
    reasons = Counter(r.headline for r in record.checks() if r.outcome is Outcome.SKIP)
    for reason, times in reasons.most_common():
        yield f" SKIP    {times} x {reason}"
    for table in record.tables:
        if table.sentence:
            yield f" TABLE   {table.title}: {table.sentence}"
    if record.interrupted:
        yield f" ENDED   {record.interrupted}"
    if record.narrowed:
        yield f" PART    {record.narrowed}"
    for area in inconclusive_areas(record.checks()):
        yield f" OPEN    nothing was found out about {area}: no check of it passed"
    for left in record.leftovers:
        yield f" LEFT    {left}"
    if facts.kept:
        yield f" KEPT    as asked; delete with: {facts.kept}"
    yield f"REPORT   {facts.folder / html.NAME}"
    yield f"         {facts.junit}"
    yield f"         {facts.folder / results.NAME}"


def _at_length(result: Result) -> Iterator[str]:
    """What nothing above has told: a run that ends in preflight shows no failure in full."""
    finding = result.finding
    if result.area != PREFLIGHT_AREA or finding is None:
        return
    if len(f"{result.id} {finding.head}") > HEAD_CHARACTERS:
        yield f"         {one_line(finding.head, LONG_CHARACTERS)}"
    if finding.next:
        yield f" NEXT    {finding.next}"
