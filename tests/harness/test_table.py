"""Tables: what is not one is refused where it is made, not where it is read."""

from __future__ import annotations

import math
from typing import Any

import pytest

from harness.verdict.outcome import Record
from harness.verdict.table import Matrix, Table, TableError

TABLE = Table(
    "own-pids",
    "Opening a handle, by own PID",
    ("exporter / importer", "code", "works", "open, µs"),
    (("1 / 1", 201, False, None), ("1 / 46", 0, True, 41.5)),
    sentence="The own PIDs must differ.",
    note="Median of 5.",
)


@pytest.mark.parametrize(
    ("name", "columns", "row", "message"),
    [
        ("Own PIDs", ("a",), (1,), "a name such as"),
        ("x", (), (), "columns of different names"),
        ("x", ("a", "a"), (1, 2), "columns of different names"),
        ("x", ("a", "b"), (1,), "row 1 has 1 cells, there are 2 columns"),
        ("x", ("a", "b"), (1, math.nan), "row 1, b: nan is not text"),
        ("x", ("a", "b"), (1, {}), "row 1, b: {} is not text"),
    ],
)
def test_what_is_no_table_is_refused(
    name: str, columns: tuple[str, ...], row: tuple[Any, ...], message: str
) -> None:
    """With the place of what is wrong."""
    with pytest.raises(TableError, match=message):
        Table(name, "title", columns, (row,))


def test_a_table_has_a_title() -> None:
    """Reports show it before anything of the table."""
    with pytest.raises(TableError, match="table x: it has no title"):
        Table("x", " ", ("a",), ((1,),))


def test_a_name_stands_for_one_table() -> None:
    """Reports link to tables by their names."""
    record = Record()
    record.add_table(TABLE)
    with pytest.raises(ValueError, match="two tables own-pids"):
        record.add_table(TABLE)


def test_a_matrix_is_of_columns_that_there_are() -> None:
    """Or nothing could be drawn."""
    with pytest.raises(TableError, match="table x: its matrix has no column c"):
        Table("x", "X", ("a", "b"), (), matrix=Matrix(("a",), ("b",), ("c",)))
