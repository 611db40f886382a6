"""The checks as a whole: their names are public, their page is up to date."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.options import Impact
from harness.session.preflight import CREATING, READ_ONLY
from harness.session.selection import Planned, before, files_of
from harness.verdict.invariants import INVARIANTS
from suites import __main__ as catalogue
from suites import requirements
from suites.__main__ import LOCK, PAGE, REQUIREMENTS_PAGE, SUITES, checks, lock, lock_problems, page
from tests.forms import form_names

ROOT = Path(__file__).parents[2]
KNOWN = checks()
ASKED = requirements.load()
STALE = "write it anew: python -m suites"
FORMS = sum(len(form_names(check)) for check in KNOWN)
"""How many cases a run has with all of them."""


def test_ids_and_names_are_those_that_were_released() -> None:
    """Dashboards know checks by them: no renaming, no second use. ``python -m suites`` adds."""
    assert lock_problems(KNOWN, LOCK.read_text()) == []
    assert LOCK.read_text() == lock(KNOWN), STALE


def test_every_check_is_found_by_the_text_of_its_file() -> None:
    """A run of some checks imports only the files that have them and what they build on."""
    for one in KNOWN:
        files = files_of([one.id], SUITES)
        assert files is not None, f'{one.id}: write it as id="{one.id}" in its declaration'
        text = "".join(path.read_text() for path in files)
        assert all(f'id="{name}"' in text for name in (one.id, *one.after))


def test_every_file_is_read_where_a_check_is_not_found() -> None:
    """The message about an unknown check names those that there are."""
    assert files_of([], SUITES) is None
    assert files_of([KNOWN[0].id, "NONE-001"], SUITES) is None


def test_the_pages_are_up_to_date() -> None:
    """``python -m suites`` writes them."""
    assert PAGE.read_text() == page(KNOWN), STALE
    assert REQUIREMENTS_PAGE.read_text() == requirements.page(ASKED, KNOWN), STALE


def test_what_was_released_stays() -> None:
    """An ID is neither used twice nor lost with its name, and the line says so."""
    first, *others = KNOWN
    released = lock(KNOWN)
    (lost,) = lock_problems(others, released)
    assert f"{first.id} {first.name}: no check has this ID" in lost
    renamed = replace(first, function="test_other")
    (lost,) = lock_problems([renamed, *others], released)
    assert f"{first.id} {first.name}: no check has this ID" in lost
    (twice,) = lock_problems([renamed, *KNOWN], released)
    assert twice == f"{first.id}: 2 checks have this ID"


def test_what_is_no_check_is_told_with_its_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Instead of where it was noticed."""
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "test_it.py").write_text(
        "from harness.checks.check import check\n\n"
        "@check(id='ISO-999', level=0, source='ISO-1')\n"
        "def test_it():\n    'It does.'\n"
    )
    monkeypatch.setattr(catalogue, "SUITES", tmp_path / "suites")
    with pytest.raises(
        ValueError, match=r"^suites/test_it\.py: ISO-999: .* does not say MUST or SHOULD$"
    ):
        checks()


def test_checks_and_requirements_fit_together() -> None:
    """Every check judges a requirement; every requirement has a check or says why not."""
    assert requirements.problems(ASKED, KNOWN) == []
    others = {step.id for step in (*READ_ONLY, *CREATING)} | {rule.id for rule in INVARIANTS}
    assert {id_ for requirement in ASKED.requirements for id_ in requirement.also} <= others


def test_checks_build_on_checks_that_are_made_earlier() -> None:
    """So that the earlier one's result is known, in the form in which both are made."""
    known = {check.function: check for check in KNOWN}
    names = re.findall(r"::(\w+?)(?:\[(.*)\])?$", collect("-m", "dra"), re.MULTILINE)
    order = [Planned(known[function], form or None) for function, form in names]
    assert len(order) == FORMS
    for number, planned in enumerate(order):
        for earlier in before(planned, order):
            assert earlier in order[:number], (earlier.name, planned.name)
    for check in KNOWN:
        built_on = {
            one.check.id for made in order if made.check is check for one in before(made, order)
        }
        assert built_on == set(check.after), check.id


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
