"""The checks as a whole: their names are public, their page is up to date."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from harness.options import Impact
from harness.session.preflight import READING, TRYING
from harness.verdict.invariants import INVARIANTS
from suites import requirements
from suites.__main__ import LOCK, PAGE, REQUIREMENTS_PAGE, checks, lock, page

ROOT = Path(__file__).parents[2]
KNOWN = checks()
ASKED = requirements.load()
FORMS = sum(len(list(check.form_names())) for check in KNOWN)
"""How many cases a run has with all of them."""


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


def test_checks_build_on_checks_that_are_made_earlier() -> None:
    """So that the earlier one's result is known, in the form in which both are made."""
    ids = {check.function: check.id for check in KNOWN}
    names = re.findall(r"::(\w+)(\[.*\])?$", collect("-m", "dra"), re.MULTILINE)
    order = [(ids[function], form) for function, form in names]
    assert len(order) == FORMS
    for check in KNOWN:
        for earlier in check.after:
            forms = [form for one, form in order if one == check.id and (earlier, form) in order]
            assert forms, (earlier, check.id)
            for form in forms:
                assert order.index((earlier, form)) < order.index((check.id, form))


def test_bare_pytest_collects_no_check() -> None:
    """It never touches a cluster."""
    assert f"no tests collected ({FORMS} deselected)" in collect()


def collect(*options: str) -> str:
    """What pytest says that it would run of the checks."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--co", "-q"),
            *("-p", "no:cacheprovider", *options, str(ROOT / "suites")),
        ],
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=60,
    )
    return done.stdout


def test_checks_that_restart_something_come_last() -> None:
    """All others have looked at the cluster by then."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--co", "-q"),
            *("-m", "dra", "-p", "no:cacheprovider", str(ROOT / "suites")),
        ],
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=60,
    )
    disrupts = {check.function: Impact.DISRUPT in check.impacts_of(None) for check in KNOWN}
    lines = [line for line in done.stdout.splitlines() if "::" in line]
    order = [disrupts[line.split("::")[1].split("[")[0]] for line in lines]
    assert order == sorted(order)
    assert set(order) == {False, True}
