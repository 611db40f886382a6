"""Which fault of the reference driver turns which checks red: a file for each area of checks.

Each has rows of a fault, the ID of a check that is red because of it, and words of that check's
first line. One fault can stand in several rows, of several areas. What shows only in a run with
options of its own is in a file that has these, too.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

Row = tuple[str, str, str]

_MODULES = {
    module.name: import_module(f"{__name__}.{module.name}")
    for module in sorted(pkgutil.iter_modules(__path__))
}

AREAS: dict[str, tuple[Row, ...]] = {area: module.CAUGHT for area, module in _MODULES.items()}
"""The rows, by the folder of `suites` in which the checks stand, or by what the options are for."""

OPTIONS: dict[str, tuple[str, ...]] = {
    area: getattr(module, "OPTIONS", ()) for area, module in _MODULES.items()
}
"""What the runs of an area get on their command lines."""

ROWS = [row for area, rows in AREAS.items() for row in rows if not OPTIONS[area]]
"""Those of runs without such options."""
