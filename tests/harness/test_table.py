"""Tables: what is not one is refused where it is made, not where it is read."""

from __future__ import annotations

import json
import math

import pytest

from harness.verdict.outcome import Record
from harness.verdict.table import Cell, Table, TableError

TABLE = Table(
    "own-pids",
    "Opening a handle, by own PID",
    ("exporter / importer", "code", "works", "open, µs"),
    (("1 / 1", 201, False, None), ("1 / 46", 0, True, 41.5)),
    sentence="The own PIDs must differ.",
    note="Median of 5.",
)


def test_a_table_survives_json() -> None:
    """What is written is what is read."""
    assert Table.from_document(json.loads(json.dumps(TABLE.document()))) == TABLE


@pytest.mark.parametrize(
    ("name", "columns", "row", "message"),
    [
        ("Own PIDs", ("a",), (1,), "a name such as"),
        ("x", (), (), "columns of different names"),
        ("x", ("a", "a"), (1, 2), "columns of different names"),
        ("x", ("a", "b"), (1,), "row 1 has 1 cells, there are 2 columns"),
        ("x", ("a", "b"), (1, math.nan), "row 1, b: nan is not text"),
    ],
)
def test_what_is_no_table_is_refused(
    name: str, columns: tuple[str, ...], row: tuple[Cell, ...], message: str
) -> None:
    """With the place of what is wrong."""
    with pytest.raises(TableError, match=message):
        Table(name, "title", columns, (row,))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 1}, "without a name"),
        ({"columns": "a"}, "columns is not a list of texts"),
        ({"rows": [1]}, "rows is not a list of lists"),
        ({"rows": [[{}]], "columns": ["a"]}, "row 1, a: {} is not text"),
        ({"title": None}, "title is not text"),
        ({"title": " "}, "it has no title"),
    ],
)
def test_documents_that_are_no_table_are_refused(change: dict[str, object], message: str) -> None:
    """A results.json may have been edited by hand."""
    with pytest.raises(TableError, match=message):
        Table.from_document({**TABLE.document(), **change})


def test_a_name_stands_for_one_table() -> None:
    """Reports link to tables by their names."""
    record = Record()
    record.add_table(TABLE)
    with pytest.raises(ValueError, match="two tables own-pids"):
        record.add_table(TABLE)
