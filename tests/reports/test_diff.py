"""What changed between two runs, and which changes are regressions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.verdict.outcome import Outcome, Record
from harness.verdict.table import Cell, Table
from reports import __main__, diff, folder
from reports.diff import CellChange, Direction
from tests.reports import samples

PASS, FAIL, ERROR, SKIP = Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.SKIP


def run(**outcomes: Outcome) -> Record:
    """A run by the outcomes of its cases."""
    made = Record()
    for name, outcome in outcomes.items():
        made.add(samples.result(f"ISO-001_{name}", outcome))
    return made


@pytest.mark.parametrize(
    ("old", "new", "direction"),
    [
        (PASS, FAIL, "worse"),
        (PASS, ERROR, "worse"),
        (PASS, SKIP, "worse"),
        (SKIP, FAIL, "worse"),
        (SKIP, ERROR, "worse"),
        (ERROR, FAIL, "worse"),
        (PASS, None, "worse"),
        (FAIL, PASS, "better"),
        (FAIL, ERROR, "better"),
        (SKIP, PASS, "better"),
        (FAIL, None, "gone"),
        (SKIP, None, "gone"),
        (None, PASS, "new"),
        (None, FAIL, "new"),
    ],
)
def test_each_change_has_a_direction(
    old: Outcome | None, new: Outcome | None, direction: str
) -> None:
    """Only where less is known to work than before it is a regression."""
    before, after = (run(**({"a": one} if one else {})) for one in (old, new))
    found = diff.compare(before, after)
    assert [change.direction.value for change in found.cases] == [direction]
    assert bool(found.regressions) is (direction == "worse")


def test_advice_lies_between_pass_and_skip() -> None:
    """A SHOULD that is not followed any more is worse than before."""
    old, new = Record(), Record()
    old.add(samples.result("ISO-001_a", PASS))
    new.add(samples.result("ISO-001_a", PASS, advice=True))
    assert diff.compare(old, new).cases[0].direction is Direction.WORSE
    assert diff.compare(new, old).cases[0].direction is Direction.BETTER


@pytest.mark.parametrize(("form", "worse"), [(PASS, 0), (FAIL, 1)])
def test_a_case_that_became_forms_is_not_missing(form: Outcome, worse: int) -> None:
    """It is as the worst of them; one form less is a case less."""
    old, new = run(a=PASS), run(**{"a[x]": PASS, "a[y]": form})
    assert len(diff.compare(old, new).regressions) == worse
    assert len(diff.compare(new, run(**{"a[x]": PASS})).regressions) == (form is PASS)


def table(
    *rows: tuple[Cell, ...], columns: tuple[str, ...] = ("own PIDs", "side", "code")
) -> Table:
    """A table of three columns."""
    return Table("pids", "PIDs", columns, rows)


def cells(old: Table | None, new: Table | None) -> list[CellChange]:
    """The changes of one table."""
    before, after = (Record(tables=[one] if one else []) for one in (old, new))
    return list(diff.compare(before, after).cells)


def test_cells_are_compared_by_the_columns_that_tell_rows_apart() -> None:
    """Here it takes two; the order of rows is no difference."""
    old = table(("1/1", "a", 201), ("1/1", "b", 201), ("1/3", "a", 0))
    new = table(("1/3", "a", 0), ("1/1", "b", None), ("1/1", "a", 201))
    assert cells(old, old) == []
    assert cells(old, new) == [CellChange("pids", "1/1, b", "code", "201", "-")]


def test_what_is_another_in_each_run_has_not_changed() -> None:
    """PIDs, and what was measured on GPUs that are simulated."""
    columns = ("way", "exporter's own PID", "PIDs", "read, GB/s", "open, ms", "code")
    before, after = (
        Record(tables=[table(row, columns=columns)])
        for row in (("a", 7, "equal", 1.0, 2.0, 0), ("a", 8, "other", 1.5, 2.5, 1))
    )
    assert [one.column for one in diff.compare(before, after).cells] == [
        *("PIDs", "read, GB/s", "open, ms", "code")
    ]
    simulated = diff.compare(before, after, simulated=True).cells
    assert [one.column for one in simulated] == ["PIDs", "code"]


def test_rows_columns_and_tables_may_come_and_go() -> None:
    """Each is said once."""
    old, new = table(("1/1", "a", 1)), table(("1/2", "a", 1), columns=("own PIDs", "side", "ms"))
    assert {(c.row, c.column, c.old, c.new) for c in cells(old, new)} == {
        ("", "code", "present", "missing"),
        ("", "ms", "missing", "present"),
        ("1/1", "", "present", "missing"),
        ("1/2", "", "missing", "present"),
    }
    assert cells(old, None) == [CellChange("pids", "", "", "1 row", "missing")]


def test_consequences_share_a_line(tmp_path: Path) -> None:
    """Many cases that went one way for one reason."""
    old, new = Record(), Record()
    for form in ("a", "b", "c", "d"):
        old.add(samples.result(f"IPC-001_opens[{form}]", PASS))
        new.add(samples.result(f"IPC-001_opens[{form}]", SKIP, headline="blocked by ISO-003"))
    facts = samples.facts(tmp_path)
    text = list(diff.lines(facts, facts, diff.compare(old, new)))
    assert text[2:] == [
        " WORSE   4 cases  pass -> skip: blocked by ISO-003",
        "         IPC-001[a], IPC-001[b], IPC-001[c], IPC-001[d]",
        "DIFF     4 cases worse, 0 changed otherwise, 0 the same; 0 cells of tables changed",
    ]


# From the command line


def saved(record: Record, place: Path) -> str:
    """A run's folder."""
    folder.write(record, samples.facts(place))
    return str(place)


def test_the_exit_code_says_whether_something_got_worse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """13 then; 0 for no change, and for better ones."""
    good, bad = saved(run(a=PASS), tmp_path / "good"), saved(run(a=FAIL), tmp_path / "bad")
    assert __main__.main(["diff", good, f"{good}/results.json"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "SAME     1 case, no table has changed"
    assert __main__.main(["diff", bad, good]) == 0
    assert " BETTER  ISO-001_a  fail -> pass" in capsys.readouterr().out
    assert __main__.main(["diff", good, bad]) == 13
    assert " WORSE   ISO-001_a  pass -> fail: ISO-001_a is so" in capsys.readouterr().out


def test_rebuild_writes_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And says what the run said."""
    place = saved(samples.record(), tmp_path / "run")
    (tmp_path / "run" / "junit.xml").unlink()
    assert __main__.main(["rebuild", place]) == 0
    assert (
        "VERDICT  nonconformant: 3 checks judged the driver: 1 case failed"
        in capsys.readouterr().out
    )
    assert (tmp_path / "run" / "junit.xml").exists()


def test_bad_input_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 4, one line, nothing of Python."""
    place = Path(saved(samples.record(), tmp_path / "run"))
    document = json.loads((place / "results.json").read_text())
    (place / "results.json").write_text(json.dumps({**document, "schema": "x"}))
    assert __main__.main(["rebuild", str(place)]) == 4
    assert __main__.main(["diff", str(place), str(tmp_path)]) == 4
    for line in capsys.readouterr().err.splitlines():
        assert line.startswith(f"error: {place}")
    with pytest.raises(SystemExit) as ended:
        __main__.main(["diff", str(place)])
    assert ended.value.code == 4
