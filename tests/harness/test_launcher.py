"""Which scenario is played when: by devices, alone, or not at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.checks.check import EVERY_DEVICE, Impact, Scenario
from harness.cluster.budgets import Budget
from harness.cluster.observe import Observer, StoppedError
from harness.scenario.launcher import MOST_AT_A_TIME, Launcher, Turn
from harness.scenario.run import Run
from harness.verdict.finding import UnmetError

SECONDS = 10
NODE = "node-1"


class FakeRun:
    """A run as far as a launcher uses it: one node with some devices."""

    def __init__(self, devices: int) -> None:
        self.subject = SimpleNamespace(slots={NODE: devices})
        # Waits only: it watches nothing.
        self.observer = Observer(cast(Any, None), cast(Any, None))
        self.lost = 0
        """Devices that no claim gave back."""
        self.lock = threading.Lock()
        self.held = 0
        self.most_held = 0
        self.most_at_a_time = 0
        self.playing: list[str] = []
        self.played: list[str] = []
        """In the order in which they began."""
        self.seen_beside: dict[str, set[str]] = {}
        """What else was being played when one began."""

    def free(self, reserved: Mapping[str, tuple[str, int]]) -> dict[str, int]:
        """Devices that nobody holds or may use."""
        devices = int(self.subject.slots[NODE])
        return {NODE: devices - self.lost - sum(number for _, number in reserved.values())}


@dataclass(frozen=True)
class Staged(Scenario):
    """A scenario that says when it begins and is played until it is told to end."""

    began: threading.Event = field(default_factory=threading.Event, compare=False)
    may_end: threading.Event = field(default_factory=threading.Event, compare=False)
    places: bool = True
    """Whether it says where its devices are."""
    loses: int = 0
    """Devices that do not come back."""
    error: str = ""

    def play(self, run: Any, turn: Turn) -> str:
        """Hold the devices."""
        with run.lock:
            run.seen_beside[self.name] = set(run.playing)
            run.playing.append(self.name)
            run.played.append(self.name)
            run.held += turn.devices
            run.most_held = max(run.most_held, run.held)
            run.most_at_a_time = max(run.most_at_a_time, len(run.playing))
        if self.places:
            turn.placed(NODE)
        self.began.set()
        try:
            run.observer.wait(
                f"the end of {self.name}",
                lambda: self.may_end.is_set() or None,
                Budget("test", SECONDS),
                lambda: "it goes on",
            )
            ended = f"{turn.devices} devices"
        except StoppedError:
            ended = "stopped"
        with run.lock:
            run.playing.remove(self.name)
            run.held -= turn.devices
            run.lost += self.loses
        if self.error:
            raise RuntimeError(self.error)
        return ended

    def unplayed(self, reason: UnmetError) -> str:
        """Why it was not played."""
        return f"unplayed: {reason}"

    def end(self, run: FakeRun) -> None:
        """Let it end."""
        self.may_end.set()
        run.observer.poke()


def ready(name: str, devices: int = 1, **more: Any) -> Staged:
    """A scenario that ends as soon as it begins."""
    scenario = Staged(name, devices=devices, **more)
    scenario.may_end.set()
    return scenario


@dataclass(frozen=True)
class Again(Staged):
    """One that gives its devices back and claims the same ones again."""

    may_give_back: threading.Event = field(default_factory=threading.Event, compare=False)
    gave_back: threading.Event = field(default_factory=threading.Event, compare=False)

    def play(self, run: Any, turn: Turn) -> str:
        """Give back when it may, and claim again when it is told to end."""
        turn.placed(NODE)
        self.began.set()
        self.may_give_back.wait(SECONDS)
        turn.keep_others_off()
        with run.lock:
            run.seen_beside[self.name] = set(run.playing)
            run.playing.append(self.name)
        self.gave_back.set()
        self.may_end.wait(SECONDS)
        with run.lock:
            run.playing.remove(self.name)
        turn.placed(NODE)
        return "again"


@contextmanager
def launched(run: FakeRun, *scenarios: Staged) -> Iterator[Launcher]:
    """A launcher that plays; at the end everything is let go."""
    launcher = Launcher(cast(Run, run), scenarios)
    launcher.start()
    try:
        yield launcher
    finally:
        for scenario in scenarios:
            scenario.end(run)
        launcher.close()


def test_scenarios_are_played_in_the_order_given() -> None:
    """Where each takes every device; and each only once."""
    run = FakeRun(2)
    scenarios = [ready(name, 2) for name in ("c", "a", "b")]
    with launched(run, *scenarios, scenarios[0]) as launcher:
        outcomes = [launcher.outcome(scenario) for scenario in scenarios]
    assert run.played == ["c", "a", "b"]
    assert outcomes == ["2 devices"] * 3


def test_no_more_devices_are_claimed_than_are_free() -> None:
    """What does not fit waits, and what fits goes before it."""
    run = FakeRun(4)
    first, large = Staged("first", devices=2), ready("large", 3)
    small, last = Staged("small", devices=1), ready("last", 2)
    with launched(run, first, large, small, last) as launcher:
        assert first.began.wait(SECONDS)
        assert small.began.wait(SECONDS)
        assert run.played == ["first", "small"]
        small.end(run)
        assert launcher.outcome(last) == "2 devices"
        first.end(run)
        assert launcher.outcome(large) == "3 devices"
    assert run.played == ["first", "small", "last", "large"]
    assert run.most_held <= 4


def test_nobody_begins_while_it_is_unknown_where_devices_will_be_missing() -> None:
    """A claim that is not allocated yet may get devices of any node."""
    run = FakeRun(4)
    unplaced, other = Staged("unplaced", devices=1, places=False), ready("other", 1)
    with launched(run, unplaced, other) as launcher:
        assert unplaced.began.wait(SECONDS)
        run.observer.poke()
        unplaced.end(run)
        launcher.outcome(other)
    assert run.seen_beside["other"] == set()


def test_nobody_begins_while_somebody_claims_the_same_devices_again() -> None:
    """The scheduler might give them to the next one, though others are free for it."""
    run = FakeRun(4)
    again, other = Again("again", devices=2), Staged("other", devices=2)
    waiting = ready("waiting", 2)
    with launched(run, again, other, waiting) as launcher:
        assert other.began.wait(SECONDS)
        again.may_give_back.set()
        assert again.gave_back.wait(SECONDS)
        other.end(run)
        launcher.outcome(other)
        again.end(run)
        assert launcher.outcome(waiting) == "2 devices"
    assert "again" not in run.seen_beside["waiting"]


def test_devices_are_not_given_back_while_somebodys_claim_is_not_allocated() -> None:
    """It might get them."""
    run = FakeRun(4)
    again, unplaced = Again("again", devices=2), Staged("unplaced", devices=2, places=False)
    with launched(run, again, unplaced) as launcher:
        assert unplaced.began.wait(SECONDS)
        again.may_give_back.set()
        unplaced.end(run)
        assert again.gave_back.wait(SECONDS)
        again.end(run)
        assert launcher.outcome(again) == "again"
    assert run.seen_beside["again"] == set()


def test_not_too_many_are_played_at_a_time() -> None:
    """However many devices there are."""
    run = FakeRun(100)
    scenarios = [Staged(f"s{number}", devices=1) for number in range(MOST_AT_A_TIME + 2)]
    with launched(run, *scenarios) as launcher:
        for scenario in scenarios[:MOST_AT_A_TIME]:
            assert scenario.began.wait(SECONDS)
        assert not scenarios[-1].began.is_set()
        for scenario in scenarios:
            scenario.end(run)
        for scenario in scenarios:
            launcher.outcome(scenario)
    assert run.most_at_a_time == MOST_AT_A_TIME


@pytest.mark.parametrize("impact", [Impact.EXHAUST, Impact.DISRUPT])
def test_what_exhausts_or_disrupts_is_played_last_and_alone(impact: Impact) -> None:
    """Though it was the first in order, and there are devices for all."""
    run = FakeRun(8)
    alone = ready("alone", 1, impact=impact)
    also_alone = ready("also-alone", 1, impact=impact)
    others = [Staged("one", devices=1), Staged("two", devices=1)]
    with launched(run, alone, also_alone, *others) as launcher:
        for other in others:
            assert other.began.wait(SECONDS)
        for other in others:
            other.end(run)
        launcher.outcome(alone)
        launcher.outcome(also_alone)
    assert set(run.played[:2]) == {"one", "two"}
    assert run.played[2:] == ["alone", "also-alone"]
    assert run.seen_beside["alone"] == run.seen_beside["also-alone"] == set()


def test_a_scenario_of_every_device_gets_what_the_largest_node_has() -> None:
    """And of one with an upper limit that many."""
    run = FakeRun(4)
    every, some = ready("every", 1, most=EVERY_DEVICE), ready("some", 1, most=2)
    with launched(run, every, some) as launcher:
        assert launcher.outcome(every) == "4 devices"
        assert launcher.outcome(some) == "2 devices"


def test_devices_that_never_come_back_leave_later_scenarios_unplayed() -> None:
    """What needs them is not run, for that reason; what needs fewer is."""
    run = FakeRun(2)
    keeps, large, small = ready("keeps", 2, loses=1), ready("large", 2), ready("small", 1)
    with launched(run, keeps, large, small) as launcher:
        assert launcher.outcome(small) == "1 devices"
        assert launcher.outcome(large) == (
            "unplayed: not run: devices of an earlier form were not given back, and none are free"
        )
    assert run.played == ["keeps", "small"]


def test_close_in_the_middle_ends_what_is_played_and_plays_nothing_more() -> None:
    """It returns when nothing is being played; whoever asks gets an answer."""
    run = FakeRun(2)
    playing, pending = Staged("playing", devices=2), ready("pending", 2)
    launcher = Launcher(cast(Run, run), [playing, pending])
    launcher.start()
    assert playing.began.wait(SECONDS)
    launcher.close()
    assert run.playing == []
    assert launcher.outcome(playing) == "stopped"
    assert launcher.outcome(pending) == "unplayed: the run was ended before"


def test_close_after_the_end_stops_nobodys_waits() -> None:
    """The clean-up still has to wait."""
    run = FakeRun(1)
    only = ready("only")
    launcher = Launcher(cast(Run, run), [only])
    launcher.start()
    launcher.outcome(only)
    launcher.close()
    assert run.observer.wait("an answer", lambda: 1, Budget("test", SECONDS), str) == 1


def test_a_scenario_that_breaks_breaks_whoever_asks_for_it_and_nobody_else() -> None:
    """Its devices are free for the next one."""
    run = FakeRun(1)
    broken, other = ready("broken", error="no such file"), ready("other")
    with launched(run, broken, other) as launcher:
        with pytest.raises(RuntimeError, match="no such file"):
            launcher.outcome(broken)
        assert launcher.outcome(other) == "1 devices"


def test_a_run_without_scenarios_has_nothing_to_play() -> None:
    """Nor has a run without devices, though it can say so."""
    with launched(FakeRun(0)):
        pass
    run = FakeRun(0)
    only = ready("only")
    with launched(run, only) as launcher:
        assert str(launcher.outcome(only)).startswith("unplayed: not run: ")
