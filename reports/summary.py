"""A run on the terminal: each finding in full once, then verdict, what is not passed, and files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.verdict.finding import HEAD_CHARACTERS, Finding, counted, headline, one_line, text_of
from harness.verdict.outcome import PREFLIGHT_AREA, Record, Result, inconclusive_areas
from reports import html, results
from reports.facts import Facts
from reports.words import alike, counts, judged, meaning, skips, untested

FORMS_IN_A_LINE = 3
"""How many forms of a check one line names; the rest is counted."""
LONG_CHARACTERS = 600
"""Of a message that did not fit into its headline."""


def findings(record: Record) -> Iterator[str]:
    """Yield each finding in full, those of a check's forms that are alike together."""
    for group in alike(r for r in record.results if r.red):
        rows = group[0].rows
        if len(group) > 1:
            forms = [str(result.variant) for result in group]
            rows = [("forms", f"the same in {', '.join(forms)}; shown is {forms[0]}"), *rows]
        yield _line(group)
        yield from text_of(rows).splitlines()
        yield ""


def lines(record: Record, facts: Facts) -> Iterator[str]:
    """Yield the end of a run: a line for each thing that is not passed."""
    of_driver, others = record.by_subject()
    yield f"CLUSTER  {facts.cluster}"
    yield (
        f"VERDICT  {record.verdict().value}: {judged(of_driver, 'the driver')}"
        f" in {facts.seconds:.1f} s"
    )
    if others:
        yield f"         CUDA, the cluster and this suite itself: {counts(others)}"
    yield f"         {meaning(record, facts.hardware)}"
    for group in alike(r for r in record.results if r.red or r.advice):
        finding = group[0].finding
        party = f" (responsible: {finding.blame.value})" if finding and group[0].red else ""
        yield f" {_line(group)}{party}"
        if finding and group[0].advice:
            yield from _of_advice(group[0], finding)
    for reason, times in skips(record):
        yield f" SKIPPED {counted(times, 'case')}: {reason}"
    for table in record.tables:
        if table.sentence:
            yield f" TABLE   {table.title}: {table.sentence}"
    if record.interrupted:
        yield f" ENDED   {record.interrupted}"
    if record.narrowed:
        yield f"SELECTED a part of the checks; {one_line(record.narrowed)}"
    for area in () if record.is_red(PREFLIGHT_AREA) else inconclusive_areas(record.checks()):
        yield f"UNTESTED {untested(area)}"
    for left in record.leftovers:
        yield f" LEFT    {left}"
    if facts.kept:
        yield f" KEPT    as asked; delete with: {facts.kept}"
    yield f"REPORT   {facts.folder / html.NAME}"
    yield f"         {facts.junit}"
    yield f"         {facts.folder / results.NAME}"


def _of_advice(result: Result, finding: Finding) -> Iterator[str]:
    """Say what the line of an advice does not, which stands in full in the reports only."""
    if len(f"{result.id} {finding.head}") > HEAD_CHARACTERS:
        yield f"         {one_line(finding.head, LONG_CHARACTERS)}"
    if finding.next:
        yield f" NEXT    {finding.next}"


def _line(group: Sequence[Result]) -> str:
    """Say what results that are alike have in common, in one line."""
    first, text = group[0], group[0].headline
    if len(group) > 1 and first.finding is not None:
        forms = [str(result.variant) for result in group[:FORMS_IN_A_LINE]]
        more = f" and {len(group) - len(forms)} more" if len(group) > len(forms) else ""
        text = headline(first.id, ", ".join(forms) + more, first.finding)
    return f"{first.word.upper():<7} {text}"
