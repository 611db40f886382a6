"""A table that a run measured, for people and programs: one sentence, named columns, rows."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

Cell = str | int | float | bool | None
"""What stands in a table's cell; None is unknown or not applicable."""


class TableError(ValueError):
    """What was given is no table; ``str()`` names the table and says why."""


@dataclass(frozen=True)
class Matrix:
    """How a table is shown as a picture, too: what stands in it where two things meet."""

    down: tuple[str, ...]
    """The columns of the table that name a row of the picture."""
    across: tuple[str, ...]
    """Those that name a column of it; a row of the table with null in one of them is left out."""
    values: tuple[str, ...]
    """Those that stand in it; each makes a picture."""


@dataclass(frozen=True)
class Table:
    """What was measured, row by row. The leftmost columns tell a row from the others."""

    name: str
    """For programs and links: lower case, digits and hyphens, as ``security-matrix``."""
    title: str
    """For people; one line."""
    columns: tuple[str, ...]
    """Each with its unit where it has one: ``bandwidth, GB/s``."""
    rows: tuple[tuple[Cell, ...], ...]
    sentence: str = ""
    """What follows from the table, in one sentence; the terminal shows this much of it."""
    note: str = ""
    """How it was measured, and what it does not say."""
    matrix: Matrix | None = None
    """None: it is no picture."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.name):
            raise TableError(f"table {self.name!r}: expected a name such as security-matrix")
        if not self.title.strip():
            raise TableError(f"table {self.name}: it has no title")
        if not self.columns or len(set(self.columns)) != len(self.columns):
            raise TableError(f"table {self.name}: expected columns of different names")
        if self.matrix is not None:
            named = {*self.matrix.down, *self.matrix.across, *self.matrix.values}
            if unknown := sorted(named - set(self.columns)):
                raise TableError(f"table {self.name}: its matrix has no column {unknown[0]}")
        for number, row in enumerate(self.rows, 1):
            if len(row) != len(self.columns):
                raise TableError(
                    f"table {self.name}: row {number} has {len(row)} cells,"
                    f" there are {len(self.columns)} columns"
                )
            for column, cell in zip(self.columns, row, strict=True):
                if not _is_cell(cell):
                    raise TableError(
                        f"table {self.name}: row {number}, {column}: {cell!r} is not text,"
                        " a finite number, true, false or null"
                    )


def _is_cell(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str | int)
