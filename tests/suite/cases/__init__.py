"""What each check must say of what: a module for each file of checks, with two tables.

``GOOD`` makes good evidence of each scenario, by the scenario's name. ``CASES`` are things that are
wrong with it. `tests.suite.test_checks` takes every module of this folder.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.verdict.finding import Blame
from tests.suite.made import Change


@dataclass(frozen=True)
class Case:
    """One thing that is wrong, and what a check must say of it."""

    check: str
    what: str
    change: Change
    """Of the evidence that the check is given: of one row, where it judges rows."""
    head: str
    """What the head, or the reason of a skip, must match from its beginning on."""
    form: str | None = None
    """In which form; None: in the first one."""
    blame: Blame | None = Blame.DRIVER
    """None: it is a skip."""
