"""The timeline of the page: each scenario, what its claims and pods waited for, and how long."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.cluster.kinds import POD
from harness.verdict.outcome import Record, Result
from harness.verdict.timeline import Life, Moment

LONGEST = 5
"""How many waits are marked."""
SHORTEST_SECONDS = 1.0
"""What is shorter is no wait worth marking."""
TICKS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)
"""Distances of the marks of an axis, in seconds."""
MOST_TICKS = 8

STATES = {
    Moment.CREATED: "pending",
    Moment.ALLOCATED: "allocated",
    Moment.SCHEDULED: "preparing",
    Moment.PREPARED: "starting",
    Moment.RUNNING: "running",
    Moment.DONE: "ended",
    Moment.RELEASED: "released",
    Moment.DELETED: "going",
}
"""What something is after each moment, until the next."""
MEANINGS = {
    "pending": "waits for a node, or for devices",
    "preparing": "has a node; the driver prepares its claims",
    "starting": "has its sandbox; its containers start",
    "running": "its containers run",
    "allocated": "the claim has devices",
    "ended": "its containers have ended",
    "released": "the claim has no devices any more",
    "going": "its deletion was asked for",
}
_WAITS = ("pending", "preparing", "starting", "going")


@dataclass(frozen=True)
class Span:
    """How long something was in one state."""

    state: str
    start: float
    end: float

    @property
    def seconds(self) -> float:
        """How long."""
        return self.end - self.start


@dataclass(frozen=True)
class Bar:
    """One claim or pod."""

    life: Life
    spans: tuple[Span, ...]

    @property
    def waits(self) -> list[Span]:
        """What of a pod's time was waiting for others; one that never got a node was meant to."""
        if self.life.kind != POD.name:
            return []
        placed = Moment.SCHEDULED in self.life.moments
        return [one for one in self.spans if one.state in _WAITS[0 if placed else 1 :]]


@dataclass(frozen=True)
class Axis:
    """A stretch of time on the page, from its left to its right end."""

    start: float
    end: float

    def at(self, seconds: float) -> str:
        """Say where a moment is, as CSS has it."""
        whole = self.end - self.start
        return f"{(seconds - self.start) / whole * 100 if whole else 0:.4g}%"

    def width(self, span: Span) -> str:
        """Say how wide a span is."""
        return self.at(self.start + span.seconds)

    def ticks(self) -> list[int]:
        """List the full seconds that are marked."""
        whole = self.end - self.start
        step = next((step for step in TICKS if whole / step <= MOST_TICKS), TICKS[-1])
        first = math.ceil(self.start / step) * step
        # One at the very end has no room for its text.
        return list(range(first, math.floor(self.start + whole * 0.94) + 1, step))


@dataclass(frozen=True)
class Lane:
    """One scenario."""

    name: str
    anchor: str
    kind: str
    """How the worst of its checks ended: the page's classes; empty: none judged it."""
    cases: tuple[Result, ...]
    bars: tuple[Bar, ...]
    axis: Axis

    @property
    def whole(self) -> Span:
        """From its first moment to its last."""
        return Span(self.kind, self.axis.start, self.axis.end)


@dataclass(frozen=True)
class Chart:
    """All scenarios of a run."""

    lanes: tuple[Lane, ...]
    axis: Axis
    longest: tuple[tuple[Lane, Bar, Span], ...]
    """The longest waits, the longest first."""

    def marked(self, lane: Lane) -> list[Span]:
        """List the longest waits that a scenario has."""
        return [span for other, _, span in self.longest if other is lane]


def chart(record: Record, worst_first: Sequence[str]) -> Chart | None:
    """Lay a run's timeline out; None where nothing was noted.

    Args:
        record: the run.
        worst_first: the ways in which a check can end.
    """
    judges: dict[str, list[Result]] = {}
    for result in record.results:
        judges.setdefault(result.scenario, []).append(result)
    lives = sorted(record.timeline, key=lambda life: life.scenario)
    lanes = [
        _lane(f"lane-{number}", name, list(of_it), judges.get(name, []), worst_first)
        for number, (name, of_it) in enumerate(itertools.groupby(lives, lambda one: one.scenario))
    ]
    if not lanes:
        return None
    lanes.sort(key=lambda lane: lane.axis.start)
    waits = (
        (lane, bar, span)
        for lane in lanes
        for bar in lane.bars
        for span in bar.waits
        if span.seconds >= SHORTEST_SECONDS
    )
    longest = sorted(waits, key=lambda wait: -wait[2].seconds)[:LONGEST]
    whole = Axis(min(0.0, lanes[0].axis.start), max(lane.axis.end for lane in lanes))
    return Chart(tuple(lanes), whole, tuple(longest))


def _lane(
    anchor: str,
    name: str,
    lives: Iterable[Life],
    results: Sequence[Result],
    worst_first: Sequence[str],
) -> Lane:
    bars = tuple(Bar(life, _spans(life)) for life in lives)
    times = [time for bar in bars for time in bar.life.moments.values()]
    words = {result.word for result in results}
    kind = next((word for word in worst_first if word in words), "")
    axis = Axis(min(times, default=0.0), max(times, default=0.0))
    return Lane(name, anchor, kind, tuple(results), bars, axis)


def _spans(life: Life) -> tuple[Span, ...]:
    last = life.moments.get(Moment.DELETED, math.inf)
    moments = sorted(
        # What ends once its deletion was asked for is going all the same.
        ((m, at) for m, at in life.moments.items() if at <= last or m is Moment.GONE),
        key=lambda one: one[1],
    )
    return tuple(
        Span(STATES[moment], start, end)
        for (moment, start), (_, end) in itertools.pairwise(moments)
        if end > start and moment in STATES
    )
