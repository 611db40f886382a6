"""Faults that are not the driver's: how each is made, and what a run has to say of it.

Each row is a function that makes a fault on an embedded cluster and puts back what it did. The
table of docs/blame.md shows the rows.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib import import_module

from tests.drivers.cluster import DriverCluster

Options = list[str]
"""Of a run; ``NAME=value`` is a variable of its environment."""
Made = Callable[[DriverCluster], Iterator[Options]]


@dataclass(frozen=True)
class Row:
    """One fault, and what a run has to say of it."""

    what: str
    """What is wrong, in a few words."""
    says: str
    """The ID of the first case that is red: what follows from it is red for the same reason.

    Empty: the run waits until all is well again, and goes on.
    """
    party: str
    """Who has to act."""
    words: str
    """What its first line or the likely cause says."""
    next: str
    """What the next step says."""
    make: Callable[[DriverCluster], AbstractContextManager[Options]]
    checks: str
    """Those that are made."""
    during: bool
    """Whether it is made once a pod of the run's first scenario runs; else before the run."""
    advice: bool
    """Whether that case passes, with advice."""
    hasty: bool
    """Whether the run waits for a third of the usual time only."""

    @property
    def area(self) -> str:
        """The part of the cluster that the fault is in: the module of its function."""
        return self.make.__module__.rpartition(".")[2]


ROWS: list[Row] = []


def row(
    what: str,
    *,
    says: str,
    party: str = "cluster",
    words: str,
    next: str,  # noqa: A002 - as findings call it
    checks: str = "NODE-028",
    during: bool = False,
    advice: bool = False,
    hasty: bool = False,
) -> Callable[[Made], Made]:
    """Put a fault into the table; the arguments are the fields of `Row`."""

    def add(make: Made) -> Made:
        made = contextmanager(make)
        ROWS.append(Row(what, says, party, words, next, made, checks, during, advice, hasty))
        return make

    return add


for _module in pkgutil.iter_modules(__path__):
    if _module.name != "__main__":
        import_module(f"{__name__}.{_module.name}")
