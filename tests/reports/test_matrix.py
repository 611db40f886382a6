"""Tables as pictures: what stands where, and in which colour."""

from __future__ import annotations

from pathlib import Path

from harness.verdict.table import Cell, Matrix, Table
from reports.matrix import HEAT_PERCENT, Picture, pictures
from tests.reports import samples
from tests.reports.test_html import HOSTILE, page

GPUS = Matrix(("from",), ("to",), ("GB/s",))


def drawn(
    matrix: Matrix | None, columns: tuple[str, ...], *rows: tuple[Cell, ...]
) -> list[Picture]:
    """The pictures of a table."""
    return list(pictures(Table("x", "X", columns, rows, matrix=matrix)))


def test_a_table_is_no_picture_unless_it_says_so() -> None:
    """And one in which nothing stands is none, either."""
    assert drawn(None, ("from", "to", "GB/s"), ("GPU 0", "GPU 1", 5.0)) == []
    assert drawn(GPUS, ("from", "to", "GB/s"), ("GPU 0", "GPU 1", None)) == []


def test_gpus_stand_in_one_order_on_both_sides() -> None:
    """The higher the number, the stronger the colour; what was not measured has none."""
    rows = (("GPU 0", "GPU 1", 10), ("GPU 1", "GPU 0", 30.0), ("GPU 1", "GPU 1", 20))
    (picture,) = drawn(GPUS, ("from", "to", "GB/s"), *rows)
    weak, strong = HEAT_PERCENT
    assert picture.value == "GB/s"
    assert picture.across == (("GPU 0",), ("GPU 1",))
    assert [
        (names, [(square.cells, square.kind, square.heat) for square in squares])
        for names, squares in picture.rows
    ] == [
        (("GPU 0",), [((), "", 0.0), ((10,), "heat", weak)]),
        (("GPU 1",), [((30.0,), "heat", strong), ((20,), "heat", (weak + strong) / 2)]),
    ]


def test_what_works_and_what_does_not_have_their_colours() -> None:
    """Of several rows of the table in one square, each answer once; words are neither."""
    matrix = Matrix(("a",), ("b",), ("answer", "yes"))
    answers, yes = drawn(
        matrix,
        ("a", "b", "answer", "yes"),
        ("x", "equal", 201, False),
        ("x", "equal", 201, False),
        ("x", "different", "ok", True),
        ("y", "equal", "ok", True),
        ("y", "equal", 201, False),
        ("y", "different", "refused", None),
        ("z", None, "ok", True),
    )
    assert [[(one.cells, one.kind) for one in squares] for _, squares in answers.rows] == [
        [((201,), "fail"), (("ok",), "pass")],
        [(("ok", 201), "error"), (("refused",), "")],
    ]
    assert [[one.kind for one in squares] for _, squares in yes.rows] == [
        ["fail", "pass"],
        ["error", ""],
    ]


def test_the_page_shows_pictures_and_table(tmp_path: Path) -> None:
    """With every text as text."""
    record = samples.record()
    rows = (("GPU 0", HOSTILE, 10.5), (HOSTILE, "GPU 0", 30))
    record.add_table(Table("x", "X", ("from", "to", "GB/s"), rows, matrix=GPUS))
    shown = page(record, tmp_path)
    assert [str(a.get("style")) for a in shown.classes("td", "heat")] == [
        "--heat: 4%",
        "--heat: 45%",
    ]
    assert {tag for tag, _ in shown.elements}.isdisjoint({"script", "img"})
    assert shown.text.count("10.5") == 2
    assert shown.text.count("{{ 7*7 }}") == 4
