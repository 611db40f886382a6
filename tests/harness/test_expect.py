"""What must be there: files, judging, and known issues."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cluster.features import State
from harness.cluster.inventory import Device
from harness.verdict.expect import (
    Expectations,
    ExpectationsError,
    Inventory,
    KnownIssue,
    load,
)
from harness.verdict.finding import Blame, Finding, SkipKind, UnmetError
from harness.verdict.outcome import Outcome, Record, Result, Verdict

H100 = "NVIDIA H100 80GB HBM3"
FOUND = Inventory(
    kubernetes="v1.37.2",
    driver="gpu.nvidia.com",
    devices=tuple(
        Device("gpu.nvidia.com", node, f"gpu-{n}", node, f"GPU-{n}", H100)
        for node in ("node-1", "node-2")
        for n in range(2)
    ),
    driver_versions=("580.159.4",),
    partitions=0,
    features={"DRAAdminAccess": State.ON, "DRADeviceTaints": State.OFF},
)
ISSUE = KnownIssue("ISO-003", "restricted", "https://issues/1", dt.date(2027, 1, 31), Outcome.FAIL)
TODAY = dt.date(2026, 11, 25)


def file(folder: Path, text: str) -> Path:
    """A file of expectations."""
    path = folder / "expect.yaml"
    path.write_text(f"schema: dra-conformance/expect/v1\n{text}")
    return path


def expecting(issue: KnownIssue) -> Expectations:
    """Nothing but one known issue."""
    return Expectations(Path("expect.yaml"), known=(issue,))


def reds(expected: Expectations, found: Inventory = FOUND) -> dict[str, str]:
    """What is not as expected."""
    results = list(expected.judge(found))
    assert {result.area for result in results} <= {"expectations"}
    return {result.id: result.headline for result in results if result.outcome is Outcome.FAIL}


def test_what_is_written_down_is_what_is_expected_then(tmp_path: Path) -> None:
    """Nothing is red, and everything that can be judged is."""
    path = tmp_path / "expect.yaml"
    path.write_text(FOUND.written([ISSUE]))
    expected = load(path)
    assert reds(expected) == {}
    assert len(list(expected.judge(FOUND))) == 6
    assert expected.known == (ISSUE,)
    assert str(expected) == str(path)


def test_what_is_missing_fails(tmp_path: Path) -> None:
    """It is no skip: somebody has said that it must be there."""
    path = tmp_path / "expect.yaml"
    path.write_text(FOUND.written())
    expected = load(path)
    less = replace(FOUND, devices=FOUND.devices[:3], driver_versions=("570.1.0",), partitions=2)
    assert reds(expected, replace(less, kubernetes="v1.3.7", features={})) == {
        "EXP-001": "EXP-001 Kubernetes is v1.3.7, not v1.37",
        "EXP-003": "EXP-003 the version of the GPUs' driver is 570.1.0, not 580.159.4",
        "EXP-004": f"EXP-004 node-2 has 1 x {H100}, not 2 x {H100}",
        "EXP-005": "EXP-005 there are 2 partitions (MIG), not 0",
        "EXP-006": "EXP-006 not every expected feature is on: DRAAdminAccess is unknown",
    }
    gone = replace(FOUND, devices=FOUND.devices[:2])
    assert reds(expected, gone)["EXP-004"] == f"EXP-004 node-2 has no GPUs, not 2 x {H100}"


def test_what_the_file_does_not_speak_of_is_not_judged(tmp_path: Path) -> None:
    """One line is enough of a file."""
    expected = load(file(tmp_path, "driver: {name: gpu.example.com}\n"))
    assert reds(expected) == {
        "EXP-002": "EXP-002 the driver is gpu.nvidia.com, not gpu.example.com"
    }
    assert [result.id for result in expected.judge(FOUND)] == ["EXP-002"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nodes:\n  node-1:\n    H100: four\n", "4: 'four' is wrong: expected a whole number"),
        ("features: [DRAMagic]\n", "2: 'DRAMagic' is wrong: expected one of DRAPrioritizedList"),
        ("gpus: 4\n", "2: unknown key gpus; there are schema, kubernetes"),
        ("known:\n- {check: A-001, url: u}\n", "3: until is missing"),
        ("known:\n- {check: A-001, url: u, until: soon}\n", "3: 'soon' is wrong: expected a day"),
        ("known:\n- {check: 'A-001[x', url: u, until: 2027-01-01}\n", "3: expected an ID"),
        ("known: {}\n", "2: expected a list"),
        ("driver: [\n", "3: expected"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(text: str, words: str, tmp_path: Path) -> None:
    """And before anything is created: options are read first."""
    with pytest.raises(ExpectationsError, match=r"^expectations expect\.yaml:") as error:
        load(file(tmp_path, text))
    assert f"expect.yaml:{words}" in str(error.value)


def result(outcome: Outcome, form: str = "restricted") -> Result:
    """What came of a check."""
    finding = Finding("saw too much", "less", "too much", Blame.DRIVER)
    return Result(
        case=f"ISO-003_visible[{form}]",
        id="ISO-003",
        area="isolation",
        outcome=outcome,
        sentence="It MUST.",
        headline="" if outcome is Outcome.PASS else "ISO-003 saw too much",
        finding=None if outcome is Outcome.PASS else finding,
        variant=form,
    )


def test_a_known_issue_takes_the_red_off_until_its_day() -> None:
    """It stays visible, and the verdict is partial at most."""
    seen = expecting(ISSUE).accept_known(result(Outcome.FAIL), ISSUE.until)
    assert (seen.outcome, seen.skip) == (Outcome.SKIP, SkipKind.KNOWN_ISSUE)
    assert seen.headline == (
        "known issue until 2027-01-31 (https://issues/1): ISO-003 saw too much"
    )
    other = replace(result(Outcome.PASS), case="A-001_a", id="A-001")
    assert Record([seen, other]).verdict() is Verdict.PARTIAL
    late = expecting(ISSUE).accept_known(result(Outcome.FAIL), ISSUE.until + dt.timedelta(days=1))
    assert late.outcome is Outcome.FAIL
    assert late.finding is not None
    assert late.finding.likely == "known issue https://issues/1, accepted until 2027-01-31 only"


@pytest.mark.parametrize(
    "other",
    [result(Outcome.ERROR), result(Outcome.FAIL, "hostpid"), result(Outcome.PASS)],
    ids=["another outcome", "another form", "a pass"],
)
def test_a_known_issue_excuses_nothing_else(other: Result) -> None:
    """What is unknown about the check stays red."""
    assert expecting(ISSUE).accept_known(other, TODAY).outcome is other.outcome


def test_a_known_issue_that_is_solved_is_red() -> None:
    """Or the entry would hide the next fault."""
    (case,) = expecting(ISSUE).judge_known(Record([result(Outcome.PASS)]))
    assert (case.outcome, case.case) == (
        Outcome.FAIL,
        "EXP-007_known_issue_is_still_there[ISO-003-restricted]",
    )
    assert "remove ISO-003[restricted] from the known issues" in case.body


def test_a_known_issue_is_still_there_while_one_of_its_forms_fails() -> None:
    """An entry without a form speaks of all of them."""
    issue = replace(ISSUE, form=None)
    failed = expecting(issue).accept_known(result(Outcome.FAIL), TODAY)
    (case,) = expecting(issue).judge_known(Record([failed, result(Outcome.PASS, "hostpid")]))
    assert case.outcome is Outcome.PASS


def test_a_known_issue_of_a_check_that_was_not_made_is_not_judged() -> None:
    """Its own skip says why."""
    blocked = result(Outcome.PASS).skipped(UnmetError("ALLOC-003", SkipKind.BLOCKED))
    assert list(expecting(ISSUE).judge_known(Record([blocked]))) == []
    assert list(expecting(ISSUE).judge_known(Record())) == []
