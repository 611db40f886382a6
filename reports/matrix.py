"""Tables as pictures: where two things meet stands what was measured, and its colour says how."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness.verdict.table import Cell, Matrix, Table

HEAT_PERCENT = (4, 45)
"""How strong the colour of the lowest and of the highest number is: text stays readable on it."""


@dataclass(frozen=True)
class Square:
    """Where two things meet."""

    cells: tuple[Cell, ...]
    """What stands there, each once; empty: nothing was measured."""
    kind: str
    """The page's class: ``pass``, ``fail``, ``error`` (some of both), ``heat`` or none."""
    heat: float = 0.0
    """How strong its colour is, in percent."""


@dataclass(frozen=True)
class Picture:
    """One of the values of a table."""

    value: str
    across: tuple[tuple[Cell, ...], ...]
    rows: tuple[tuple[tuple[Cell, ...], tuple[Square, ...]], ...]
    """The names of each row, and its squares."""


def pictures(table: Table) -> Iterator[Picture]:
    """Draw what a table says that can be drawn of it; nothing where it is no matrix."""
    if table.matrix is not None:
        for value in table.matrix.values:
            picture = _picture(table, table.matrix, value)
            if picture.rows:
                yield picture


def _picture(table: Table, matrix: Matrix, value: str) -> Picture:
    places: dict[tuple[Cell, ...], dict[tuple[Cell, ...], list[Cell]]] = {}
    across: dict[tuple[Cell, ...], None] = {}  # a set that keeps its order
    for row in table.rows:
        of_row = dict(zip(table.columns, row, strict=True))
        right = tuple(of_row[name] for name in matrix.across)
        if None not in right and of_row[value] is not None:
            down = tuple(of_row[name] for name in matrix.down)
            found = places.setdefault(down, {}).setdefault(right, [])
            across[right] = None
            if of_row[value] not in found:
                found.append(of_row[value])
    order = {name: number for number, name in enumerate(places)}
    columns = sorted(across, key=lambda name: order.get(name, -1))  # GPU x GPU alike on both sides
    cells = [cell for row in places.values() for found in row.values() for cell in found]
    numbers = _numbers(cells)
    of_all = numbers if len(numbers) == len(cells) else []
    rows = (
        (down, tuple(_square(found.get(right, ()), of_all) for right in columns))
        for down, found in places.items()
    )
    return Picture(value, tuple(columns), tuple(rows))


def _numbers(cells: Iterable[Cell]) -> list[float]:
    return [c for c in cells if isinstance(c, int | float) and not isinstance(c, bool)]


def _square(cells: Sequence[Cell], of_all: Sequence[float]) -> Square:
    """Colour what stands in a place by how high it is among all numbers, or by how good it is."""
    kinds = set(map(_kind, cells))
    if not kinds or not of_all:
        return Square(tuple(cells), kinds.pop() if len(kinds) == 1 else "error" if kinds else "")
    low, high = min(of_all), max(of_all)
    share = (max(_numbers(cells)) - low) / (high - low or 1)
    weak, strong = HEAT_PERCENT
    return Square(tuple(cells), "heat", weak + (strong - weak) * share)


def _kind(cell: Cell) -> str:
    """How good what stands in a cell is; words but ``ok`` are neither good nor bad."""
    if cell is True or cell == "ok":
        return "pass"
    return "" if isinstance(cell, str) else "fail"
