"""The rights of the nightly run (``deploy/rights``): those that its options take, and no others.

Each folder has the options of a run as environment variables, and the RBAC objects that follow from
them by the same rules by which preflight asks and ``--dra-plan`` tells. ``python -m suites`` writes
them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from building.tree import ROOT
from harness.checks.check import Check
from harness.options import SPECS, resolve, variable
from harness.session.permissions import manifest
from harness.session.selection import Planned, PlannedChecks

RIGHTS = ROOT / "deploy" / "rights"
OPTIONS = "options.env"
RBAC = "rbac.yaml"
ACCOUNT = "system:serviceaccount:dra-conformance:dra-conformance"
VARIABLES = frozenset(variable(spec.name) for spec in SPECS)
"""The names of all options in the environment."""
_HEAD = f"# Written by `python -m suites` from the checks and {OPTIONS}.\n"


def variables(folder: Path) -> dict[str, str]:
    """The environment that a folder gives to the run.

    Raises:
        ValueError: a variable is none of the options.
    """
    lines = (folder / OPTIONS).read_text(encoding="utf-8").splitlines()
    found = dict(line.split("=", 1) for line in lines)
    if unknown := found.keys() - VARIABLES:
        raise ValueError(f"{folder / OPTIONS}: {', '.join(sorted(unknown))}: no option of a run")
    return found


def rbac(known: Iterable[Check], folder: Path) -> str:
    """The objects that give the run with a folder's options its rights.

    Args:
        known: every check.
        folder: one of `RIGHTS`.
    """
    options = resolve({}, variables(folder), folder)
    planned = PlannedChecks(
        one
        for check in known
        if check.level <= options.level
        for one in [Planned(check, form.name) for form in check.forms] or [Planned(check, None)]
    )
    planned.learn(allowed=options.allowed())
    return _HEAD + manifest(planned.rules(options), options.namespace, ACCOUNT)


def folders() -> list[Path]:
    """The folders of `RIGHTS`."""
    return sorted(path.parent for path in RIGHTS.glob(f"*/{OPTIONS}"))


def write(known: Iterable[Check]) -> None:
    """Write the objects of every folder."""
    every = list(known)
    for folder in folders():
        (folder / RBAC).write_text(rbac(every, folder), encoding="utf-8")
