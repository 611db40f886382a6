"""Writes what is derived from the checks: ``python -m suites`` in the project's folder.

``docs/checks.md`` and ``docs/requirements.md`` are for people; ``suites/checks.lock`` keeps IDs and
names from being changed or used again, because reports and dashboards know checks by them; the
roles of ``deploy/rights`` give the nightly run what the checks take.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections import Counter
from pathlib import Path

from harness.checks.check import Check, check_of
from harness.cluster.yaml_file import YamlFileError
from harness.session.plan import named_impacts
from suites import requirements
from suites.pages import written

SUITES = Path(__file__).parent
LOCK = SUITES / "checks.lock"
PAGE = SUITES.parent / "docs" / "checks.md"
REQUIREMENTS_PAGE = SUITES.parent / "docs" / "requirements.md"
LOCK_HEAD = (
    "# ID and name of every check ever released: public API. Lines are added, never changed.\n"
)


def checks() -> list[Check]:
    """Every check, by area and ID.

    Raises:
        ValueError: a declaration is not a check; it names the file.
    """
    found: list[Check] = []
    for path in sorted(SUITES.rglob("test_*.py")):
        spec = importlib.util.spec_from_file_location(f"catalogue_of_{path.stem}", path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} cannot be read")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        try:
            spec.loader.exec_module(module)
        except ValueError as error:
            raise ValueError(f"{path.relative_to(SUITES.parent)}: {error}") from error
        functions = (value for _, value in inspect.getmembers(module, inspect.isfunction))
        found += [check for function in functions if (check := check_of(function)) is not None]
    return sorted(found, key=lambda check: (check.area, check.id))


def lock(known: list[Check]) -> str:
    """The lock file's content."""
    lines = sorted(f"{check.id} {check.name}\n" for check in known)
    return LOCK_HEAD + "".join(lines)


def lock_problems(known: list[Check], released: str) -> list[str]:
    """Say what would change of what was released, a line each.

    Args:
        known: the checks.
        released: the lock file as it is.
    """
    uses = Counter(check.id for check in known)
    twice = [f"{id_}: {number} checks have this ID" for id_, number in uses.items() if number > 1]
    lost = sorted(set(released.splitlines()) - set(lock(known).splitlines()))
    return twice + [
        f"{LOCK.name}: {line}: no check has this ID and name any more; only what was never"
        " released may be taken out of that file"
        for line in lost
    ]


def page(known: list[Check]) -> str:
    """The page for people."""
    return written("checks.md.j2", known=known, impacts=named_impacts, sources=requirements.sources)


def main() -> None:
    """Write the files; none where something does not fit together."""
    try:
        known, asked = checks(), requirements.load()
    except (ValueError, YamlFileError) as error:
        sys.exit(str(error))
    wrong = lock_problems(known, LOCK.read_text(encoding="utf-8"))
    if wrong := wrong + requirements.problems(asked, known):
        sys.exit("\n".join(wrong))
    LOCK.write_text(lock(known), encoding="utf-8")
    PAGE.write_text(page(known), encoding="utf-8")
    REQUIREMENTS_PAGE.write_text(requirements.page(asked, known), encoding="utf-8")
    from delivery import deploy  # noqa: PLC0415 - not part of a wheel, which reads the checks here

    deploy.write(known)


if __name__ == "__main__":
    main()
