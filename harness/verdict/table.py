"""A table that a run measured, for people and programs: one sentence, named columns, rows."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Cell = str | int | float | bool | None
"""What stands in a table's cell; None is unknown or not applicable."""


class TableError(ValueError):
    """What was given is no table; ``str()`` names the table and says why."""


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

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.name):
            raise TableError(f"table {self.name!r}: expected a name such as security-matrix")
        if not self.title.strip():
            raise TableError(f"table {self.name}: it has no title")
        if not self.columns or len(set(self.columns)) != len(self.columns):
            raise TableError(f"table {self.name}: expected columns of different names")
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

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "name": self.name,
            "title": self.title,
            "sentence": self.sentence,
            "columns": list(self.columns),
            "rows": [list(row) for row in self.rows],
            "note": self.note,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Table:
        """The table of a JSON document.

        Raises:
            TableError: the document is no table.
        """
        name = document.get("name")
        columns, rows = document.get("columns"), document.get("rows")
        if not isinstance(name, str):
            raise TableError(f"table without a name: {document!r:.80}")
        if not isinstance(columns, list) or not all(isinstance(text, str) for text in columns):
            raise TableError(f"table {name}: columns is not a list of texts")
        if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
            raise TableError(f"table {name}: rows is not a list of lists")
        texts = {key: document.get(key, "") for key in ("title", "sentence", "note")}
        for key, text in texts.items():
            if not isinstance(text, str):
                raise TableError(f"table {name}: {key} is not text")
        return cls(name, columns=tuple(columns), rows=tuple(tuple(row) for row in rows), **texts)


def _is_cell(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str | int)
