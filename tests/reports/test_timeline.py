"""The timeline of the page: what it shows of claims and pods, and which waits it marks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.verdict.outcome import Outcome, Record
from harness.verdict.timeline import Life, Moment
from reports import timeline
from reports.timeline import Axis, Chart
from tests.reports import samples
from tests.reports.test_html import HOSTILE, page

WORST_FIRST = ("fail", "pass")


def pod(scenario: str, name: str, **moments: float) -> Life:
    """A pod's life."""
    return Life(scenario, "Pod", name, {Moment(what): at for what, at in moments.items()})


def chart(*lives: Life) -> Chart:
    """The chart of a run in which two scenarios were judged."""
    record = Record(timeline=list(lives))
    record.add(samples.result("ISO-001_a[x]", Outcome.PASS, headline="", scenario="one"))
    record.add(samples.result("ISO-001_a[y]", Outcome.FAIL, scenario="one"))
    made = timeline.chart(record, WORST_FIRST)
    assert made is not None
    return made


def test_a_run_of_an_earlier_suite_has_none(tmp_path: Path) -> None:
    """And its page no link to it."""
    assert timeline.chart(samples.record(), WORST_FIRST) is None
    assert "Timeline" not in page(samples.record(), tmp_path).text


def test_scenarios_stand_in_the_order_of_their_beginning_with_how_they_ended() -> None:
    """By the worst of their checks."""
    made = chart(
        pod("two", "c", created=9, gone=10),
        pod("one", "a", created=3, gone=8),
        pod("one", "b", created=2, gone=4),
    )
    assert [(lane.name, lane.kind, lane.axis) for lane in made.lanes] == [
        ("one", "fail", Axis(2, 8)),
        ("two", "", Axis(9, 10)),
    ]
    assert made.axis == Axis(0, 10)
    assert [[bar.life.name for bar in lane.bars] for lane in made.lanes] == [["a", "b"], ["c"]]


def test_what_is_deleted_is_going_until_it_is_gone() -> None:
    """Even if its containers end in between."""
    times = {"created": 1, "scheduled": 2, "running": 4, "deleted": 5, "done": 6, "gone": 9}
    ((bar,),) = (lane.bars for lane in chart(pod("one", "a", **times)).lanes)
    spans = [(span.state, span.seconds) for span in bar.spans]
    assert spans == [("pending", 1), ("preparing", 2), ("running", 1), ("going", 4)]


def test_the_longest_waits_are_marked() -> None:
    """Not running, not what is short, and not to be pending of one that never got a node."""
    made = chart(
        pod("one", "a", created=0, scheduled=0.5, prepared=7, running=8.5, deleted=90, gone=93),
        pod("two", "never", created=0, deleted=60, gone=62),
    )
    waits = [(bar.life.name, span.state, span.seconds) for _, bar, span in made.longest]
    assert waits == [
        ("a", "preparing", 6.5),
        ("a", "going", 3),
        ("never", "going", 2),
        ("a", "starting", 1.5),
    ]


@pytest.mark.parametrize(
    ("axis", "ticks"),
    [
        (Axis(0, 10), [0, 2, 4, 6, 8]),
        (Axis(3.2, 5.1), [4]),
        (Axis(100, 937), [120, 240, 360, 480, 600, 720, 840]),
        (Axis(5, 5), [5]),
    ],
)
def test_an_axis_has_a_few_full_seconds(axis: Axis, ticks: list[int]) -> None:
    """None at its very end, where there is no room for its text."""
    assert axis.ticks() == ticks


def test_names_are_text_and_links_lead_to_scenarios(tmp_path: Path) -> None:
    """Whatever the names are."""
    record = samples.record()
    record.timeline = [
        replace(pod("x", HOSTILE, created=0, scheduled=5), scenario=HOSTILE, kind=HOSTILE),
        pod("two", "b", created=0, scheduled=5),
    ]
    shown = page(record, tmp_path)
    assert {tag for tag, _ in shown.elements}.isdisjoint({"script", "img"})
    assert "pending 5.0 s" in shown.text
    assert len(shown.classes("details", "lane")) == 2
    named = [str(a["id"]) for tag, a in shown.elements if tag == "div" and "id" in a]
    ids = [one for one in named if one.startswith("lane-")]
    assert len(ids) == 2
    assert f"#{ids[1]}" in [a["href"] for tag, a in shown.elements if tag == "a"]
    assert "{{ 7*7 }}" in shown.text
