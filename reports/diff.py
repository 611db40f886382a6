"""What changed from one run to another: cases whose outcome is another, and cells of tables."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from harness.verdict.finding import counted, one_line
from harness.verdict.outcome import Outcome, Record, Result
from harness.verdict.table import Cell, Table
from reports.facts import Facts

_RANK = {"pass": 0, "advice": 1, "skip": 2, "error": 3, "fail": 4}
"""The higher, the worse; a case that is gone counts as one that was skipped."""
_GONE = "missing"
_OF_ONE_RUN = re.compile(r"\bPID\b")
"""The columns of what each run has anew: numbers of processes."""
_MEASURED = re.compile(r"GB/s|\bms\b|\bs\b|\bseconds?\b")
"""The columns of what says nothing where GPUs are simulated."""
ONE_BY_ONE = 4
"""Fewer cases that changed alike have a line each; so many or more share one."""


class Direction(enum.StrEnum):
    """In which direction a case changed."""

    WORSE = "worse"
    """A regression: less is known to work than before."""
    BETTER = "better"
    NEW = "new"
    GONE = "gone"
    """It had not passed, and is not there any more."""


@dataclass(frozen=True)
class Change:
    """One case that ended differently, or is in one of the runs only."""

    case: str
    old: str
    """``pass``, ``advice``, ``skip``, ``error``, ``fail`` or ``missing``."""
    new: str
    reason: str
    """The first line of the new result."""
    direction: Direction


@dataclass(frozen=True)
class CellChange:
    """One cell of a table, or a row or table that is in one of the runs only."""

    table: str
    row: str
    column: str
    old: str
    new: str


@dataclass(frozen=True)
class Diff:
    """All changes."""

    cases: tuple[Change, ...]
    cells: tuple[CellChange, ...]
    same: int
    """Cases that ended as before."""

    @property
    def regressions(self) -> list[Change]:
        """The cases that got worse."""
        return [change for change in self.cases if change.direction is Direction.WORSE]


def compare(old: Record, new: Record, *, simulated: bool = False) -> Diff:
    """Find the changes from the old run to the new one; PIDs are another in each run.

    A case got worse when it passed and does not any more, is missing now though it passed, or
    went from skipped by way of error to failed. One that has become several forms since is as
    the worst of them. Measured values never make a regression: what is
    too slow is for a check to judge.

    Args:
        old: the run before.
        new: the run after it.
        simulated: whether one of them had simulated GPUs, of which what was measured says nothing.
    """
    before = {result.case: result for result in old.results}
    after = {result.case: result for result in new.results}
    cases = [change for case in {**before, **after} if (change := _change(case, before, after))]
    return Diff(
        cases=tuple(cases),
        cells=tuple(
            cell
            for cell in _cells(old.tables, new.tables)
            if not _OF_ONE_RUN.search(cell.column)
            and not (simulated and _MEASURED.search(cell.column))
        ),
        same=len(before.keys() | after.keys()) - len(cases),
    )


def _change(case: str, before: Mapping[str, Result], after: Mapping[str, Result]) -> Change | None:
    result = after.get(case) or _worst_form(case, before, after)
    was, now = _word(before.get(case)), _word(result)
    if was == now:
        return None
    reason = result.headline if result is not None else ""
    if was == _GONE:
        # A new case that fails is news, not a regression: nothing says that it ever passed.
        return Change(case, was, now, reason, Direction.NEW)
    if now == _GONE:
        passed = was in (Outcome.PASS, "advice")
        return Change(case, was, now, reason, Direction.WORSE if passed else Direction.GONE)
    worse = _RANK[now] > _RANK[was]
    return Change(case, was, now, reason, Direction.WORSE if worse else Direction.BETTER)


def _worst_form(
    case: str, before: Mapping[str, Result], after: Mapping[str, Result]
) -> Result | None:
    """Of a case that has no forms in the old run and has some in the new one, the worst of them."""
    forms = (after[one] for one in after.keys() - before.keys() if one.startswith(f"{case}["))
    return max(forms, key=lambda form: (_RANK[form.word], form.case), default=None)


def _word(result: Result | None) -> str:
    return result.word if result is not None else _GONE


def _cells(old: Iterable[Table], new: Iterable[Table]) -> Iterator[CellChange]:
    before, after = ({table.name: table for table in tables} for tables in (old, new))
    for name in {**before, **after}:
        if name not in before or name not in after:
            was, now = (
                counted(len(tables[name].rows), "row") if name in tables else _GONE
                for tables in (before, after)
            )
            yield CellChange(name, "", "", was, now)
        else:
            yield from _cells_of(before[name], after[name])


def _cells_of(old: Table, new: Table) -> Iterator[CellChange]:
    width = _key_width(old, new)
    before, after = ({row[:width]: row for row in table.rows} for table in (old, new))
    columns = [column for column in new.columns if column in old.columns]
    for column in {*old.columns, *new.columns} - {*columns}:
        was, now = ("present" if column in t.columns else _GONE for t in (old, new))
        yield CellChange(new.name, "", column, was, now)
    for key in {**before, **after}:
        row = ", ".join(_shown(cell) for cell in key)
        if key not in before or key not in after:
            was, now = ("present" if key in rows else _GONE for rows in (before, after))
            yield CellChange(new.name, row, "", was, now)
            continue
        for column in columns:
            was_cell = before[key][old.columns.index(column)]
            now_cell = after[key][new.columns.index(column)]
            if was_cell != now_cell:
                yield CellChange(new.name, row, column, _shown(was_cell), _shown(now_cell))


def _key_width(old: Table, new: Table) -> int:
    """How many of the leftmost columns it takes to tell the rows of both tables apart."""
    for width in range(1, len(old.columns)):
        if old.columns[:width] != new.columns[:width]:
            break
        if all(len({row[:width] for row in t.rows}) == len(t.rows) for t in (old, new)):
            return width
    return len(old.columns)


def _shown(cell: Cell) -> str:
    if cell is None:
        return "-"
    return str(cell).lower() if isinstance(cell, bool) else str(cell)


def lines(old: Facts, new: Facts, diff: Diff) -> Iterator[str]:
    """Yield the changes for the terminal, the worst first."""
    yield f"OLD      {old.run_id}  {old.cluster}"
    yield f"NEW      {new.run_id}  {new.cluster}"
    yield from lines_of(diff.cases)
    for cell in diff.cells:
        where = " / ".join(part for part in (cell.table, cell.row, cell.column) if part)
        yield f" TABLE   {where}: {cell.old} -> {cell.new}"
    changed, worse = len(diff.cases), len(diff.regressions)
    if not changed and not diff.cells:
        yield f"SAME     {counted(diff.same, 'case')}, no table has changed"
    else:
        yield (
            f"DIFF     {counted(worse, 'case')} worse, {changed - worse} changed otherwise,"
            f" {diff.same} the same; {counted(len(diff.cells), 'cell')} of tables changed"
        )


def lines_of(changes: Iterable[Change]) -> Iterator[str]:
    """Yield a line for each changed case, the worst first; many that changed alike share one."""
    for (direction, was, now, reason), cases in _grouped(changes).items():
        why = f": {one_line(reason)}" if reason else ""
        if len(cases) < ONE_BY_ONE:
            for case in cases:
                yield f" {direction.upper():<7} {case}  {was} -> {now}{why}"
        else:
            yield f" {direction.upper():<7} {len(cases)} cases  {was} -> {now}{why}"
            yield f"         {', '.join(_short(case) for case in cases)}"


def _grouped(cases: Iterable[Change]) -> dict[tuple[Direction, str, str, str], list[str]]:
    """Put the cases that changed alike for one reason together, the worst first."""
    order = list(Direction)
    groups: dict[tuple[Direction, str, str, str], list[str]] = {}
    for change in sorted(cases, key=lambda change: order.index(change.direction)):
        key = (change.direction, change.old, change.new, change.reason)
        groups.setdefault(key, []).append(change.case)
    return groups


def _short(case: str) -> str:
    """``ISO-003[hostpid]`` for a case's whole name."""
    name, bracket, form = case.partition("[")
    return name.split("_")[0] + bracket + form
