"""Conformance statements: what is claimed of a driver, and what never is."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.checks.check import CUDA_LEVEL
from harness.verdict.finding import SkipKind
from harness.verdict.outcome import INVARIANTS_AREA, Outcome, Record, Result
from reports import __main__, features, folder, statement
from reports.statement import Level, State, Statement, StatementError
from tests.reports import samples
from tests.reports.test_html import HOSTILE

CATALOGUE = {"ALL-001": 2, "ALL-002": 2, "IPC-001": CUDA_LEVEL}
PASSED = {"ALL-001": Outcome.PASS, "ALL-002": Outcome.PASS, "IPC-001": Outcome.PASS}


def case(name: str, outcome: Outcome, skip: SkipKind | None = None) -> Result:
    """How a check of the catalogue ended."""
    text = "" if outcome is Outcome.PASS else f"{name} is so"
    finding = samples.FINDING if outcome in (Outcome.FAIL, Outcome.ERROR) else None
    return Result(
        *(f"{name}_a", "sharing", outcome, "", text, finding),
        id=name,
        level=CATALOGUE[name],
        skip=skip,
    )


def run(place: Path, *cases: Result, hardware: str = "simulated", driver: str = "d") -> Path:
    """Write a run."""
    record = Record(list(cases))
    folder.write(record, replace(samples.facts(place), hardware=hardware, driver=driver))
    return place


def passing(place: Path, hardware: str = "simulated") -> Path:
    """Write a run in which everything passed."""
    return run(place, *(case(*one) for one in PASSED.items()), hardware=hardware)


def said(*places: Path) -> Statement:
    """The statement of runs."""
    return statement.make(places, features.load(), CATALOGUE)


def level(number: int, *places: Path) -> Level:
    """What is said of a level."""
    (one,) = [one for one in said(*places).levels if one.level == number]
    return one


@pytest.mark.parametrize("hardware", ["simulated", "the cluster's", "none"])
def test_level_4_is_never_claimed_of_gpus_that_are_not_known_to_be_real(
    hardware: str, tmp_path: Path
) -> None:
    """Whatever passed there; also beside a run on real ones that did not judge it."""
    simulated = passing(tmp_path / "a", hardware)
    assert level(CUDA_LEVEL, simulated) == Level(4, State.NOT_CLAIMED, statement.NOT_REAL, 0)
    assert said(simulated).passed == [2]
    other = run(tmp_path / "b", case("ALL-001", Outcome.PASS), hardware="real")
    assert level(CUDA_LEVEL, simulated, other) == Level(
        4, State.NOT_CLAIMED, "not judged: IPC-001", 0
    )


def test_level_4_is_claimed_of_real_gpus(tmp_path: Path) -> None:
    """Together with what other runs showed."""
    cuda = run(tmp_path / "a", case("IPC-001", Outcome.PASS), hardware="real")
    rest = run(tmp_path / "b", case("ALL-001", Outcome.PASS), case("ALL-002", Outcome.PASS))
    assert said(cuda, rest).passed == [2, 4]
    assert level(2, cuda, rest) == Level(2, State.PASSED, "", 2)


@pytest.mark.parametrize(
    ("outcome", "skip", "state", "why"),
    [
        (Outcome.FAIL, None, State.FAILED, "ALL-002"),
        (Outcome.ERROR, None, State.INCONCLUSIVE, "ALL-002"),
        (Outcome.SKIP, SkipKind.NOT_ALLOWED, State.NOT_CLAIMED, "not judged: ALL-002"),
        (Outcome.SKIP, SkipKind.KNOWN_ISSUE, State.NOT_CLAIMED, "not judged: ALL-002"),
        (
            *(Outcome.SKIP, SkipKind.UNSUPPORTED, State.PASSED),
            "cannot be judged here, or refused as it may be: ALL-002",
        ),
    ],
)
def test_a_level_is_what_its_checks_are(
    outcome: Outcome, skip: SkipKind | None, state: State, why: str, tmp_path: Path
) -> None:
    """A failure in one run outweighs a pass in another; a mere skip does not."""
    one = run(tmp_path / "a", case("ALL-001", Outcome.PASS), case("ALL-002", outcome, skip))
    assert level(2, one) == Level(2, state, why, 1)
    both = level(2, one, passing(tmp_path / "b"))
    expected = state if outcome is not Outcome.SKIP else State.PASSED
    assert both.state is expected


def test_what_no_run_selected_is_not_claimed(tmp_path: Path) -> None:
    """Nor a level of which there is no check at all."""
    one = run(tmp_path / "a", case("ALL-001", Outcome.PASS))
    assert level(2, one) == Level(2, State.NOT_CLAIMED, "not judged: ALL-002", 1)
    assert level(0, one) == Level(0, State.NOT_CLAIMED, "not judged: any check", 0)


def test_every_form_of_a_check_has_to_be_judged(tmp_path: Path) -> None:
    """In some run, not in each."""
    form = replace(case("ALL-002", Outcome.SKIP, SkipKind.NOT_ALLOWED), case="ALL-002_a[x]")
    cases = [case("ALL-001", Outcome.PASS), case("ALL-002", Outcome.PASS)]
    one = run(tmp_path / "a", *cases, form)
    why = "not judged: ALL-002 in 1 of 2 cases"
    assert level(2, one) == Level(2, State.NOT_CLAIMED, why, 1)
    good = replace(case("ALL-002", Outcome.PASS), case="ALL-002_a[x]")
    assert level(2, one, run(tmp_path / "b", good)) == Level(2, State.PASSED, "", 2)


def test_what_must_hold_all_through_a_run_is_of_level_0(tmp_path: Path) -> None:
    """A driver that broke it has not passed what is only looked at."""
    invariant = Result.passed("INV-003", "pools_are_whole", INVARIANTS_AREA, "")
    broken = invariant.ended(Outcome.FAIL, samples.FINDING)
    assert level(0, run(tmp_path / "a", broken)) == Level(0, State.FAILED, "INV-003", 0)


def test_a_statement_is_about_one_driver(tmp_path: Path) -> None:
    """Of one version."""
    one, other = passing(tmp_path / "a"), run(tmp_path / "b", driver="e")
    with pytest.raises(StatementError, match="runs are of: d; e"):
        said(one, other)
    with pytest.raises(StatementError, match="runs are of: none"):
        said(run(tmp_path / "c", driver=""))


def test_the_command_writes_markdown_and_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the hash of each run's results, so that the evidence can be told from another."""
    place = passing(tmp_path / "a")
    digest = hashlib.sha256((place / "results.json").read_bytes()).hexdigest()
    assert __main__.main(["statement", str(place), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == statement.SCHEMA
    assert [one["sha256"] for one in document["evidence"]] == [digest]
    assert document["levels_passed"] == []  # of the real catalogue, these runs have hardly any
    assert __main__.main(["statement", str(place)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# Conformance statement: d\n\nLevels passed: **none**.")
    assert f"| sha256 of results.json | {digest} |" in text
    assert __main__.main(["statement", str(place), str(run(tmp_path / "b", driver="e"))]) == 4


def test_whatever_a_cluster_says_stays_in_its_cell(tmp_path: Path) -> None:
    """No markup, no other line, no other cell."""
    hostile = f"{HOSTILE} | a *b* [c](http://x)\n# d"
    red = replace(case("ALL-001", Outcome.FAIL), headline=hostile)
    lines = statement.markdown(said(run(tmp_path / "a", red, driver=hostile)))
    (row,) = [line for line in lines if line.startswith("| r | fail")]
    assert r"\<script\>" in row
    assert r"\| a \*b\* \[c\](http://x)\n# d |" in row.replace(r"\\n", r"\n")
    assert not any(line.startswith("# d") for line in lines)
