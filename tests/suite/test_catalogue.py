"""The checks as a whole: their names are public, their page is up to date."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from harness.session.preflight import READING, TRYING
from harness.verdict.invariants import INVARIANTS
from suites import requirements
from suites.__main__ import LOCK, PAGE, REQUIREMENTS_PAGE, checks, lock, page

ROOT = Path(__file__).parents[2]
KNOWN = checks()
ASKED = requirements.load()


def test_ids_and_names_are_those_that_were_released() -> None:
    """Dashboards know checks by them: no renaming, no second use. ``python -m suites`` adds."""
    assert LOCK.read_text() == lock(KNOWN)
    ids = [check.id for check in KNOWN]
    assert len(ids) == len(set(ids))


def test_the_pages_are_up_to_date() -> None:
    """``python -m suites`` writes them."""
    assert PAGE.read_text() == page(KNOWN)
    assert REQUIREMENTS_PAGE.read_text() == requirements.page(ASKED, KNOWN)


def test_checks_and_requirements_fit_together() -> None:
    """Every check judges a requirement; every requirement has a check or says why not."""
    assert requirements.problems(ASKED, KNOWN) == []
    others = {step.id for step in (*READING, *TRYING)} | {rule.id for rule in INVARIANTS}
    assert {id_ for requirement in ASKED.requirements for id_ in requirement.also} <= others


def test_checks_build_on_checks_that_there_are() -> None:
    """And the one built on comes earlier in the file, so that its result is known."""
    order = [
        match[1]
        for path in sorted((ROOT / "suites").rglob("test_*.py"))
        for match in re.finditer(r'^    id="([A-Z]+-\d+)",$', path.read_text(), re.MULTILINE)
    ]
    assert sorted(order) == sorted(check.id for check in KNOWN)
    for check in KNOWN:
        for earlier in check.after:
            assert order.index(earlier) < order.index(check.id), (earlier, check.id)


def test_bare_pytest_collects_no_check() -> None:
    """It never touches a cluster."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--co", "-q"),
            *("-p", "no:cacheprovider", str(ROOT / "suites")),
        ],
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=60,
    )
    assert (
        f"no tests collected ({sum(len(c.variants) or 1 for c in KNOWN)} deselected)" in done.stdout
    )
