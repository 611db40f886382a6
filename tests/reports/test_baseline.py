"""A run measured by an earlier one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.options import OptionError
from harness.verdict.finding import Blame, Finding, SkipKind
from harness.verdict.outcome import INVARIANTS_AREA, PREFLIGHT_AREA, Exit, Outcome, Record, Result
from reports import baseline, folder
from tests.reports import samples

PASS, FAIL, SKIP = Outcome.PASS, Outcome.FAIL, Outcome.SKIP


def case(name: str, outcome: Outcome, **more: object) -> Result:
    """A check's result, told only where it has to be."""
    text = {} if outcome is not PASS else {"headline": ""}
    return samples.result(name, outcome, **{**text, **more})


def run(*results: Result) -> Record:
    """A run."""
    made = Record()
    for one in results:
        made.add(one)
    return made


def before(tmp_path: Path, *results: Result) -> baseline.Baseline:
    """An earlier run, read from its files."""
    place = tmp_path / "before"
    folder.write(run(*results), samples.facts(place))
    found = baseline.load(place)
    assert found is not None
    return found


def test_nothing_worse_is_a_pass(tmp_path: Path) -> None:
    """What was red and is not, and what is new, are welcome."""
    old = before(tmp_path, case("ISO-001_a", PASS), case("ISO-002_b", FAIL))
    now = run(case("ISO-001_a", PASS), case("ISO-002_b", PASS), case("ISO-003_c", SKIP))
    judged = old.judge(now, tmp_path, {"ISO-001", "ISO-002", "ISO-003"})
    assert (judged.outcome, judged.advice) == (PASS, False)


def test_a_skip_instead_of_a_pass_is_named(tmp_path: Path) -> None:
    """It is no failure of any check, and the baseline's very reason."""
    old = before(tmp_path, case("ISO-001_a[x]", PASS), case("ISO-002_b", PASS))
    now = run(case("ISO-001_a[x]", SKIP, headline="unsupported: one GPU"), case("ISO-002_b", PASS))
    judged = old.judge(now, tmp_path / "now", {"ISO-001", "ISO-002"})
    now.add(judged)
    assert judged.headline == "BASELINE-001 worse than in run r: ISO-001 pass -> skip"
    assert judged.finding is not None
    assert "ISO-001_a[x]  pass -> skip: unsupported: one GPU" in judged.finding.observed
    assert f"./run report diff {tmp_path / 'before'} {tmp_path / 'now'};" in judged.finding.next
    assert now.exit_code(0) == Exit.REGRESSION


def test_a_failure_goes_before_a_regression(tmp_path: Path) -> None:
    """The exit code is that of the failure; whom to ask is the failure's, too."""
    old = before(tmp_path, case("ISO-001_a", PASS), case("ISO-002_b", PASS))
    finding = Finding("broke", "x", "y", Blame.DRIVER)
    now = run(case("ISO-001_a", FAIL, finding=finding), case("ISO-002_b", SKIP))
    judged = old.judge(now, tmp_path, {"ISO-001", "ISO-002"})
    now.add(judged)
    assert judged.headline.endswith("ISO-001 pass -> fail, and 1 more")
    assert judged.finding is not None and judged.finding.blame is Blame.DRIVER
    assert now.exit_code(1) == Exit.FAILED


def test_what_was_not_to_be_made_is_not_missed(tmp_path: Path) -> None:
    """A run of one check can be measured by a run of all; a form that is gone is missed."""
    old = before(tmp_path, case("ISO-001_a[x]", PASS), case("ISO-001_a[y]", PASS))
    assert old.judge(run(), tmp_path, {"IPC-001"}).outcome is PASS
    judged = old.judge(run(case("ISO-001_a[x]", PASS)), tmp_path, {"ISO-001"})
    assert "ISO-001_a[y]  pass -> missing" in judged.body


def test_preflight_is_not_compared_and_invariants_are(tmp_path: Path) -> None:
    """A run-wide invariant says something of the driver; preflight does so by itself."""
    invariant = replace(case("INV-001_i", PASS), area=INVARIANTS_AREA)
    step = replace(case("PF-0001_p", PASS), area=PREFLIGHT_AREA)
    old = before(tmp_path, invariant, step)
    assert old.judge(run(invariant), tmp_path, set()).outcome is PASS
    assert "INV-001_i  pass -> missing" in old.judge(run(step), tmp_path, set()).body


def test_a_known_issue_is_no_regression(tmp_path: Path) -> None:
    """Somebody has accepted it, until a date."""
    old = before(tmp_path, case("ISO-001_a", PASS))
    known = case("ISO-001_a", SKIP, finding=samples.FINDING, skip=SkipKind.KNOWN_ISSUE)
    assert old.judge(run(known), tmp_path, {"ISO-001"}).outcome is PASS


def test_a_run_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """Before any cluster is asked."""
    (tmp_path / "results.json").write_text("[]")
    with pytest.raises(OptionError, match=r"^--dra-baseline .*: these are no results of a run"):
        baseline.load(tmp_path)
