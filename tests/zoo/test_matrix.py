"""The matrix, with rows that need no cluster: what is recorded and shown, and that it goes on."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from suites.__main__ import checks
from tests.admin import ROOT
from tests.zoo.matrix import pages
from tests.zoo.matrix.__main__ import JOURNAL, LOGS, load, state_of
from tests.zoo.matrix.rows import Made, said
from tests.zoo.matrix.runner import PLACES, Expected, Row, chunks, collect

SECONDS = 60
MAIN = """
import os, sys
from pathlib import Path
from building.artifacts import BuildError
from tests.zoo.matrix.__main__ import main

def prepare(driver, kubernetes):
    if driver == os.environ.get("LACKS"):
        raise BuildError("no registry is reached")

sys.exit(main(sys.argv[2:], [Path(sys.argv[1])], prepare))
"""
ROWS = """
import os, time
import pytest
from tests.zoo.matrix.rows import SAID, Made, Tried, row

def red(check, blame="driver", outcome="fail"):
    return {"check": check, "outcome": outcome, "headline": f"{check} | is red", "blame": blame}

def tell(record_property, *found):
    with open(os.environ["RAN"], "a") as ran:
        ran.write("x")
    record_property(SAID, list(found))

@row("reference", Tried("found", Made.REFERENCE, ("LIFE-002",), "Is found."))
def test_found(record_property):
    tell(record_property, red("LIFE-002"))

@row("nvidia", Tried("one", Made.RELAY, ("LIFE-003",)), Tried("two", Made.HARDWARE, ("NODE-009",)))
def test_together(record_property):
    tell(record_property, red("LIFE-003"), red("SLICE-001"))
    assert False, "only one of two"

@row("reference", Tried("elsewhere", Made.OTHERS, ("PF-08",)))
def test_of_others(record_property):
    tell(record_property, red("PF-08", "cluster", "error"), red("NODE-028", "cluster", "error"))

@row("reference", Tried("blamed", Made.OTHERS, ("PF-09",)))
def test_blamed(record_property):
    tell(record_property, red("PF-09"))
    assert False

@row("reference", Tried("every check", Made.NOTHING, ("NODE-005",)), kubernetes="1.36")
def test_quiet(record_property):
    tell(record_property, red("NODE-005"), red("MET-002"))
    assert False

@pytest.fixture
def broken():
    raise RuntimeError("no cluster")

@row("reference", Tried("not begun", Made.REFERENCE, ("LIFE-002",)))
def test_not_begun(broken):
    pass

def test_that_is_no_row():
    pass
"""
CONFTEST = """
def pytest_addoption(parser):
    for name in ("--embedded-driver", "--embedded-kubernetes", "--every-check"):
        parser.addoption(name)
"""
WAITS = """
@row("reference", Tried("waits", Made.REFERENCE, ("LIFE-002",)))
def test_waits(record_property):
    flag = os.environ["RAN"] + ".flag"
    open(os.environ["RAN"] + ".waits", "w").close()
    try:
        while not os.path.exists(flag):
            time.sleep(0.05)
    except KeyboardInterrupt:
        open(os.environ["RAN"] + ".tidied", "w").close()
        raise
    tell(record_property, red("LIFE-002"))
"""


def start(tmp_path: Path, *options: str, rows: str = ROWS) -> subprocess.Popen[str]:
    """Begin the command with rows of its own."""
    place = tmp_path / "test_rows.py"
    place.write_text(rows)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    output = f"--output={tmp_path / 'out'}"
    return subprocess.Popen(
        [sys.executable, "-c", MAIN, str(place), output, "--commit=abc", *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "RAN": str(tmp_path / "ran")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def matrix(tmp_path: Path, *options: str, rows: str = ROWS) -> tuple[int, str]:
    """Run the command to its end; its exit code, and what it printed."""
    with start(tmp_path, *options, rows=rows) as process:
        printed, _ = process.communicate(timeout=SECONDS)
    return process.returncode, printed


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which all rows were tried."""
    folder = tmp_path_factory.mktemp("tried")
    code, printed = matrix(folder, "--jobs=3")
    assert code == 1, printed
    return folder


@pytest.fixture
def again(tried: Path, tmp_path: Path) -> Path:
    """A copy of it, to go on in."""
    return shutil.copytree(tried, tmp_path / "again")


def document(folder: Path) -> dict[str, Any]:
    """What the command wrote for programs."""
    found: dict[str, Any] = json.loads((folder / "out" / pages.JSON).read_text())
    return found


def states(folder: Path) -> dict[str, str]:
    """How each row ended, by its fault."""
    return {one["fault"]: pages.state(one) for one in document(folder)["rows"]}


def test_each_row_is_recorded_as_it_ended(tried: Path) -> None:
    """Of faults made together each for itself; what was red besides is known of all of them."""
    assert states(tried) == {
        "found": "killed",
        "one": "killed, not as declared",
        "two": "survived, not as declared",
        "elsewhere": "killed",
        "blamed": "survived, not as declared",
        "every check": "false alarm, not as declared",
        "not begun": "not tried",
    }
    rows = {one["fault"]: one for one in document(tried)["rows"]}
    assert (
        rows["found"].items()
        >= {
            "driver": "reference",
            "kubernetes": "1.37",
            "made": "reference driver",
            "what": "Is found.",
            "commit": "abc",
            "undeclared": [],
        }.items()
    )
    assert rows["found"]["red"][0]["headline"] == "LIFE-002 | is red"
    assert (rows["one"]["driver"], rows["one"]["version"]) == ("nvidia", "0.5.0")
    assert [one["check"] for one in rows["two"]["undeclared"]] == ["SLICE-001"]
    assert "only one of two" in rows["two"]["why"]
    assert "no cluster" in rows["not begun"]["why"]
    assert [one["check"] for one in rows["every check"]["undeclared"]] == ["MET-002"]
    assert list((tried / "out" / LOGS).iterdir())  # of the processes with what went wrong


def test_the_pages_begin_with_the_score(tried: Path) -> None:
    """Rows that could not be tried do not count."""
    found = document(tried)
    assert (found["faults"], found["killed"]) == (5, 3)
    assert found["survived"] == ["two", "blamed"]
    of_driver = [check for check in checks() if check.judges_driver]
    judged = {check.id for check in of_driver if not check.hardware_only}
    assert [name.partition("::")[2] for name in found["rows_not_tried"]] == ["test_not_begun"]
    assert set(found["checks_not_killed"]) == judged - {"LIFE-002", "LIFE-003"}
    assert {*found["checks_hardware_only"]} == {check.id for check in of_driver} - judged
    assert found["false_alarms"] == ["MET-002 with reference on Kubernetes 1.36"]
    text = (tried / "out" / pages.MARKDOWN).read_text()
    assert "**Mutation score: 60 %**: 3 of 5 faults were killed" in text
    assert "False alarms: 1** in 1 runs" in text
    (line,) = re.findall(r"^\| found: .*", text, re.MULTILINE)
    assert line.startswith("| found: Is found. | reference driver | reference, 1.37 | LIFE-002 |")
    page = (tried / "out" / pages.HTML).read_text()
    assert "<h1>60 %</h1>" in page
    assert "LIFE-002 | is red" in page
    assert not re.search(r"(src|href)=\"(?!#|data:)", page)


def test_the_readme_says_what_the_matrix_says() -> None:
    """In the same words: how many faults, checks and false alarms, and which checks are left."""
    readme, page = (
        " ".join(path.read_text().replace("**", "").split())
        for path in (ROOT / "README.md", ROOT / "docs" / "matrix" / pages.MARKDOWN)
    )
    told = (
        r"Mutation score: \S+ %: \d+ of \d+ faults were killed",
        r"Checks: [^.]*\.( By none: [^.]*\.)?( Hardware only, [^.]*\.)?",
        r"False alarms: .*? nothing was to be found\.",
    )
    for words in told:
        found = re.search(words, page)
        assert found is not None, words
        assert found[0] in readme


def test_what_was_tried_at_a_commit_is_not_tried_again(again: Path) -> None:
    """But what could not begin is, at another commit all, and what is asked for again."""
    ran = again / "ran"
    assert len(ran.read_text()) == 5
    code, printed = matrix(again)
    assert (code, len(ran.read_text())) == (1, 5)
    assert "6 rows, 5 of them tried before" in printed
    matrix(again, "LIFE-002", "--again")
    assert len(ran.read_text()) == 6
    matrix(again, "--commit=def")
    assert len(ran.read_text()) == 11


def test_what_every_check_looked_at_is_told(again: Path) -> None:
    """It is more than that those looked that have to, and less than that deeper ones did."""
    matrix(again, "LIFE-002", "LIFE-003", "--every-check=2")
    text = (again / "out" / pages.MARKDOWN).read_text()
    said = "every check up to level 2 looked at 3 of the faults, and 1 of them turned red"
    assert said in text
    for level, number in (("0", 2), ("4", 0)):
        _, printed = matrix(again, "LIFE-002", "LIFE-003", f"--every-check={level}")
        assert f"{number} of them tried before" in printed, printed
    code, printed = matrix(again, "--every-check=6")
    assert (code, "--every-check: invalid" in printed) == (2, True), printed


def test_rows_are_chosen_by_names(again: Path) -> None:
    """The exit code is that of the chosen ones; the pages keep the others."""
    code, printed = matrix(again, "PF-08", "test_found")
    assert (code, printed.count("2 rows")) == (0, 2), printed
    assert len(states(again)) == 7
    code, printed = matrix(again, "nothing-of-that-name")
    assert code == 4
    assert "no row of the matrix is called so" in printed


def test_without_what_they_need_rows_are_not_tried(
    again: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said why, and the others are."""
    monkeypatch.setenv("LACKS", "nvidia@0.5.0")
    code, printed = matrix(again, "--again", "one", "PF-08")
    assert code == 1
    assert "not tried: nvidia@0.5.0 on Kubernetes 1.37: no registry is reached" in printed
    assert "[1/1" in printed


def test_rows_that_a_release_cannot_serve_are_left_out(again: Path) -> None:
    """It is said of how many, and why."""
    said = (
        "left out: 1 row for Kubernetes 1.33, which has resource.k8s.io/v1beta2 and not"
        " resource.k8s.io/v1"
    )
    code, printed = matrix(again, "PF-08", "--kubernetes=1.33")
    assert (code, said in printed) == (4, True), printed
    code, printed = matrix(again, "PF-08", "--kubernetes=1.33,1.36")
    assert (code, said in printed) == (0, True), printed
    assert "1 rows, 0 of them tried before" in printed


def test_a_release_of_its_own_is_served() -> None:
    """What is made with each release speaks what it serves."""
    rows, _ = collect("test_pairs", [], ["1.33"], PLACES)
    assert any(row.is_served for row in rows)


def test_each_state_of_a_changed_tree_has_a_name(tmp_path: Path) -> None:
    """But for the pages that are written here: what was tried in one was not tried in another."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.com"]
    names: list[str] = []

    def change(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        names.append(state_of(tmp_path))

    change("a", "1")
    for words in (["init", "--quiet"], ["add", "a"], ["commit", "--quiet", "--message=x"]):
        subprocess.run([*git, *words], check=True)
    change("a", "1")
    change("docs/matrix/README.md", "1")
    change("a", "2")
    change("a", "3")
    change("b", "1")
    change("b", "2")
    unknown, clean, with_pages, *changed = names
    assert unknown == "unknown"
    assert clean == with_pages
    assert len({clean, *changed}) == 5
    assert all(one.startswith(f"{clean}+") for one in changed)


def test_stopped_it_tidies_up_and_goes_on_later(tmp_path: Path) -> None:
    """What has ended is kept; what was under way is made again."""
    rows = ROWS.partition('@row("nvidia"')[0] + WAITS
    with start(tmp_path, rows=rows) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "killed: found" in line:
                break
        while not (tmp_path / "ran.waits").exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        printed, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 2, printed
    assert (tmp_path / "ran.tidied").exists()
    assert [one["fault"] for (one,) in load(tmp_path / "out").values()] == ["found"]
    (tmp_path / "ran.flag").touch()
    code, printed = matrix(tmp_path, rows=rows)
    assert code == 0, printed
    assert (tmp_path / "ran").read_text() == "xx"


def test_a_journal_that_was_cut_off_is_read(again: Path) -> None:
    """Up to the last whole line; it counts more than what is published."""
    rows = document(again)["rows"]
    last = {**rows[0], "commit": "later"}
    (again / "out" / JOURNAL).write_text(f"{json.dumps(last)}\n{json.dumps(last)[:50]}")
    records = [one for some in load(again / "out").values() for one in some]
    assert [one["fault"] for one in records if one["commit"] == "later"] == [last["fault"]]
    assert len(records) == len(rows)


def rows_of(*names: str, file: str = "a") -> list[Row]:
    """Rows of one file."""
    return [Row(Path(file), f"{file}::test[{name}]", "reference", "1.37", ()) for name in names]


def test_rows_are_split_by_how_long_they_take() -> None:
    """What shares a cluster stays in its order; what takes longest begins first."""
    rows = [*rows_of("1", "2", "3", "4"), *rows_of("5", file="b")]
    known = [
        {"row": row.name, "seconds": seconds}
        for row, seconds in zip(rows, (10, 200, 100, 100, 900), strict=True)
    ]
    for jobs, split in (
        (1, [["5"], ["1", "2", "3"], ["4"]]),
        (2, [["5"], ["2"], ["3"], ["4"], ["1"]]),
    ):
        made = chunks(rows, jobs, Expected(known))
        assert [[row.name[-2] for row in chunk] for chunk in made] == split


def test_what_is_not_known_of_a_row_is_guessed_from_its_test() -> None:
    """By the median of the others."""
    first, second = rows_of("1", "2")
    assert Expected([]).seconds(first) == 60
    assert Expected([{"row": first.name, "seconds": 7.0}]).seconds(second) == 7


def test_of_a_check_the_first_case_is_shown() -> None:
    """With advice; not what passed or was skipped."""
    found = {"blame": "driver"}
    results: Sequence[dict[str, Any]] = [
        {"id": "A", "outcome": "pass", "advice": False, "headline": "", "finding": None},
        {"id": "B", "outcome": "fail", "advice": False, "headline": "1", "finding": found},
        {"id": "B", "outcome": "fail", "advice": False, "headline": "2", "finding": found},
        {"id": "C", "outcome": "pass", "advice": True, "headline": "3", "finding": found},
        {"id": "D", "outcome": "skip", "advice": False, "headline": "4", "finding": None},
    ]
    assert [(one["check"], one["outcome"], one["headline"]) for one in said(results)] == [
        ("B", "fail", "1"),
        ("C", "advice", "3"),
    ]


def test_the_rows_of_the_zoo() -> None:
    """A hundred faults, 30 of them before the NVIDIA driver, 25 not the driver's; all drivers."""
    rows, names = collect("", [], [], PLACES)
    assert names == {row.name for row in rows}
    faults = [(row, one) for row in rows for one in row.tried if one.checks]
    of_nvidia = {one.fault for row, one in faults if row.driver.startswith("nvidia")}
    others = {one.fault for _, one in faults if one.made is Made.OTHERS}
    assert len(faults) >= 200
    assert len(of_nvidia) >= 30
    assert len(others) >= 25
    quiet = {(row.driver, row.kubernetes) for row in rows if row.tried[0].made is Made.NOTHING}
    assert len(quiet) >= 25
    assert len({(row.key, one.fault) for row in rows for one in row.tried}) == sum(
        len(row.tried) for row in rows
    )


def test_other_releases_and_drivers() -> None:
    """Rows with faults are made for what is named; the others are those that there are."""
    rows, _ = collect("", ["nvidia@0.4.1", "reference"], ["1.36"], PLACES)
    assert {row.kubernetes for row in rows} == {"1.36"}
    assert {row.driver for row in rows} == {"nvidia@0.4.1", "reference"}
    assert any("relay" in str(one.made) for row in rows for one in row.tried)
