"""Runs of many nights as one page: what is flaky, what fails, what has become slow."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from harness.verdict.outcome import Outcome, Record
from harness.verdict.timeline import Life, Moment
from reports import __main__, folder, history
from reports.history import Course, HistoryError
from tests.reports import samples
from tests.reports.test_html import HOSTILE, Page

WORDS = {
    "p": (Outcome.PASS, False),
    "a": (Outcome.PASS, True),
    "f": (Outcome.FAIL, False),
    "e": (Outcome.ERROR, False),
    "s": (Outcome.SKIP, False),
}


def nights(
    place: Path,
    courses: dict[str, str],
    *seconds: float,
    driver: str = "d",
    scenario: str = "one",
    name: str = "n",
) -> Path:
    """Write runs, a day apart, in which cases end by a letter each; a dot: it is not in the run."""
    number = max([len(course) for course in courses.values()] + [len(seconds)])
    for day in reversed(range(number)):  # the order of the folders' names is not that of the runs
        record = Record()
        for case, course in courses.items():
            if course[day] != ".":
                outcome, advice = WORDS[course[day]]
                finding = samples.FINDING if course[day] in "fe" else None
                record.add(samples.result(case, outcome, advice=advice, finding=finding))
        if seconds:
            moments = {Moment.CREATED: 2.0, Moment.GONE: 2.0 + seconds[day]}
            record.timeline.append(Life(scenario, "Pod", "p", moments))
        made = samples.facts(place / f"{name}-{number - day}")
        started = made.started + timedelta(days=day)
        facts = replace(made, started=started, driver=driver, run_id=f"day-{day}")
        folder.write(record, facts)
    return place


@pytest.mark.parametrize(
    ("course", "becomes", "changes"),
    [
        ("pfpp", Course.FLAKY, 2),
        ("pfpf", Course.FLAKY, 3),
        ("paef", Course.FAILS, 1),
        ("ffff", Course.FAILS, 0),
        ("fsfs", Course.FAILS, 0),
        ("ffpp", Course.MENDED, 1),
    ],
)
def test_what_becomes_of_a_case(course: str, becomes: Course, changes: int, tmp_path: Path) -> None:
    """A skip says nothing, and advice is a pass."""
    ((one,), _) = history.read(nights(tmp_path, {"ISO-001_a": course}))
    (case,) = one.cases
    assert (case.course, case.changes) == (becomes, changes)


def test_what_always_passed_is_not_listed_and_the_flakiest_stands_first(tmp_path: Path) -> None:
    """The runs are in the order of their beginning; a run that lacks a case has no word of it."""
    courses = {
        "ISO-001_a": "papsp",
        "ISO-002_b": "ppfff",
        "ISO-003_c": "pfpp.",
        "ISO-004_d": "pfpfp",
    }
    ((one,), unread) = history.read(nights(tmp_path, courses))
    assert [case.name for case in one.cases] == ["ISO-004_d", "ISO-003_c", "ISO-002_b"]
    assert one.cases[1].words == ("pass", "fail", "pass", "pass", "")
    assert [night.facts.run_id for night in one.nights] == [f"day-{day}" for day in range(5)]
    assert unread == []


def test_a_scenario_that_has_become_slow_is_named(tmp_path: Path) -> None:
    """By its median; the terminal says so, and what is flaky or fails."""
    ((one,), _) = history.read(nights(tmp_path, {"ISO-001_a": "fpfp"}, 2.0, 2.2, 1.8, 4.0))
    (pace,) = one.paces
    assert pace.slower
    assert list(history.lines([one], ["why"])) == [
        "RUNS     4 runs of d, 2026-11-23 18:53 to 2026-11-26 18:53",
        "         2 nonconformant, 2 conformant; the last: 1 case passed",
        " FLAKY   ISO-001_a: 2 x fail, 2 x pass; fail the last time in day-2",
        " SLOWER  one: 4.0 s, its median is 2.1 s",
        " UNREAD  why",
    ]


def test_the_command_writes_a_page_that_leads_to_the_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A chapter a driver; a run that was killed and what is no run do not keep it from that."""
    nights(tmp_path, {"ISO-001_a": "pf"}, 1.0, 1.0)
    odd = "<i>&\"'#"
    nights(tmp_path, {"ISO-001_a": "p"}, 1.0, driver=HOSTILE, scenario=HOSTILE, name=odd)
    (tmp_path / "x").mkdir()
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / "events.jsonl").touch()
    assert __main__.main(["history", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert f"PAGE     {tmp_path / history.NAME}" in said
    assert "was killed before" in said
    shown = Page((tmp_path / history.NAME).read_text(encoding="utf-8"))
    assert {tag for tag, _ in shown.elements}.isdisjoint({"script", "img"})
    assert "was killed before" in shown.text
    assert "{{ 7*7 }}" in shown.text
    links = [str(a["href"]) for tag, a in shown.elements if tag == "a"]
    pages = [link for link in links if not link.startswith("#")]
    assert pages == [
        *("%3Ci%3E%26%22%27%23-1/report.html", "n-1/report.html", "n-2/report.html"),
    ]
    assert len(shown.classes("tr", "night")) == 3


def test_a_folder_without_runs_has_no_history(tmp_path: Path) -> None:
    """It is said so."""
    with pytest.raises(HistoryError, match="there is no run in this folder"):
        history.read(tmp_path)
    assert __main__.main(["history", str(tmp_path)]) == 4
