"""Which fault of the reference driver turns which checks red: a file for each area of checks.

Each has rows of a fault, the ID of a check that is red because of it, and words of that check's
first line. One fault can stand in several rows, of several areas.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

Row = tuple[str, str, str]

AREAS: dict[str, tuple[Row, ...]] = {
    area: import_module(f"{__name__}.{area}").CAUGHT
    for area in sorted(module.name for module in pkgutil.iter_modules(__path__))
}
"""The rows, by the folder of `suites` in which the checks stand."""

ROWS = [row for rows in AREAS.values() for row in rows]
