"""Which scenario is run when: by devices, alone, or not at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.cluster.observe import Budget, Observer, StoppedError
from harness.options import Impact
from harness.scenario.evidence import Evidence
from harness.scenario.launcher import MOST_AT_A_TIME, Launcher
from harness.scenario.run import Run
from harness.scenario.scenario import EVERY_DEVICE, Scenario, Script
from harness.scenario.steps import Reservation, Steps
from harness.scenario.verbs import needs_of
from harness.verdict.table import Table

SECONDS = 10
NODE = "node-1"


class FakeRun:
    """A run as far as a launcher uses it: one node with some devices."""

    def __init__(self, devices: int) -> None:
        self.subject = SimpleNamespace(
            slots={NODE: devices}, profile=SimpleNamespace(channel_class="")
        )
        # Waits only: it watches nothing.
        self.observer = Observer(cast(Any, None), cast(Any, None))
        self.lost = 0
        """Devices that no claim gave back."""
        self.lock = threading.Lock()
        self.held = 0
        self.most_held = 0
        self.most_at_a_time = 0
        self.running: list[str] = []
        self.begun: list[str] = []
        """In the order in which they began."""
        self.seen_beside: dict[str, set[str]] = {}
        """What else was running when one began."""

    def free(self, reserved: Mapping[str, tuple[str, int]]) -> dict[str, int]:
        """Devices that nobody holds or may use."""
        devices = int(self.subject.slots[NODE])
        return {NODE: devices - self.lost - sum(number for _, number in reserved.values())}


def no_steps(_: Steps) -> None:
    """A script that is never run."""


@dataclass(frozen=True)
class Staged(Scenario):
    """A scenario that says when it begins and goes on until it is told to end."""

    script: Script = no_steps
    began: threading.Event = field(default_factory=threading.Event, compare=False)
    may_end: threading.Event = field(default_factory=threading.Event, compare=False)
    says_where: bool = True
    """Whether it says where its devices are."""
    loses: int = 0
    """Devices that do not come back."""
    error: str = ""

    def run(self, run: Any, reservation: Reservation) -> Evidence:
        """Hold the devices."""
        with run.lock:
            run.seen_beside[self.name] = set(run.running)
            run.running.append(self.name)
            run.begun.append(self.name)
            run.held += reservation.devices
            run.most_held = max(run.most_held, run.held)
            run.most_at_a_time = max(run.most_at_a_time, len(run.running))
        if self.says_where:
            reservation.allocated_on(NODE)
        self.began.set()
        try:
            run.observer.wait(
                f"the end of {self.name}",
                lambda: self.may_end.is_set() or None,
                Budget("test", SECONDS),
                lambda: "it goes on",
            )
            ended = f"{reservation.devices} devices"
        except StoppedError:
            ended = "stopped"
        with run.lock:
            run.running.remove(self.name)
            run.held -= reservation.devices
            run.lost += self.loses
        if self.error:
            raise RuntimeError(self.error)
        return self.left(ended)

    def left(self, ended: str) -> Evidence:
        """Make evidence of how it ended."""
        evidence = Evidence(self.name)
        evidence.steps.append(ended)
        evidence.ended.found(True)
        return evidence

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

    def run(self, run: Any, reservation: Reservation) -> Evidence:
        """Give back when it may, and claim again when it is told to end."""
        reservation.allocated_on(NODE)
        self.began.set()
        self.may_give_back.wait(SECONDS)
        reservation.hold_off_others()
        with run.lock:
            run.seen_beside[self.name] = set(run.running)
            run.running.append(self.name)
        self.gave_back.set()
        self.may_end.wait(SECONDS)
        with run.lock:
            run.running.remove(self.name)
        reservation.allocated_on(NODE)
        return self.left("again")


@contextmanager
def launched(run: FakeRun, *scenarios: Staged) -> Iterator[Launcher]:
    """A launcher at work; at the end everything is let go."""
    launcher = Launcher(cast(Run, run), scenarios)
    launcher.start()
    try:
        yield launcher
    finally:
        for scenario in scenarios:
            scenario.end(run)
        launcher.close()


def end_of(launcher: Launcher, scenario: Scenario) -> str:
    """How it ended, or why it was not run."""
    evidence = launcher.evidence(scenario)
    return evidence.ended.reason() or evidence.steps[-1]


def test_scenarios_are_run_in_the_order_given() -> None:
    """Where each takes every device; and each only once."""
    run = FakeRun(2)
    scenarios = [ready(name, 2) for name in ("c", "a", "b")]
    with launched(run, *scenarios, scenarios[0]) as launcher:
        ends = [end_of(launcher, scenario) for scenario in scenarios]
    assert run.begun == ["c", "a", "b"]
    assert ends == ["2 devices"] * 3


def test_no_more_devices_are_claimed_than_are_free() -> None:
    """What does not fit waits, and what fits goes before it."""
    run = FakeRun(4)
    first, large = Staged("first", devices=2), ready("large", 3)
    small, last = Staged("small", devices=1), ready("last", 2)
    with launched(run, first, large, small, last) as launcher:
        assert first.began.wait(SECONDS)
        assert small.began.wait(SECONDS)
        assert run.begun == ["first", "small"]
        small.end(run)
        assert end_of(launcher, last) == "2 devices"
        first.end(run)
        assert end_of(launcher, large) == "3 devices"
    assert run.begun == ["first", "small", "last", "large"]
    assert run.most_held <= 4


@pytest.mark.parametrize("known", ["", "channels"])
def test_channels_are_claimed_one_after_another(known: str) -> None:
    """There may be one only; where no class of them is known, nobody claims one."""
    run = FakeRun(3)
    run.subject.profile.channel_class = known
    uses = (needs_of(Steps.channels),)
    first, second = Staged("first", uses=uses), ready("second", uses=uses)
    with launched(run, first, second, ready("other")) as launcher:
        assert first.began.wait(SECONDS)
        assert end_of(launcher, ready("other")) == "1 devices"
        first.end(run)
        end_of(launcher, second)
    assert run.begun == (["first", "other", "second"] if known else ["first", "second", "other"])


def test_nobody_begins_while_it_is_unknown_where_devices_will_be_missing() -> None:
    """A claim that is not allocated yet may get devices of any node."""
    run = FakeRun(4)
    unallocated, other = Staged("unallocated", devices=1, says_where=False), ready("other", 1)
    with launched(run, unallocated, other) as launcher:
        assert unallocated.began.wait(SECONDS)
        run.observer.poke()
        unallocated.end(run)
        end_of(launcher, other)
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
        end_of(launcher, other)
        again.end(run)
        assert end_of(launcher, waiting) == "2 devices"
    assert "again" not in run.seen_beside["waiting"]


def test_devices_are_not_given_back_while_somebodys_claim_is_not_allocated() -> None:
    """It might get them."""
    run = FakeRun(4)
    again, unallocated = (
        Again("again", devices=2),
        Staged("unallocated", devices=2, says_where=False),
    )
    with launched(run, again, unallocated) as launcher:
        assert unallocated.began.wait(SECONDS)
        again.may_give_back.set()
        unallocated.end(run)
        assert again.gave_back.wait(SECONDS)
        again.end(run)
        assert end_of(launcher, again) == "again"
    assert run.seen_beside["again"] == set()


def test_not_too_many_run_at_a_time() -> None:
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
            end_of(launcher, scenario)
    assert run.most_at_a_time == MOST_AT_A_TIME


@pytest.mark.parametrize("impact", [Impact.EXHAUST, Impact.DISRUPT])
def test_what_exhausts_or_disrupts_is_run_last_and_alone(impact: Impact) -> None:
    """Though it was the first in order, and there are devices for all."""
    run = FakeRun(8)
    alone = ready("alone", 1, impacts=frozenset({impact}))
    also_alone = ready("also-alone", 1, impacts=frozenset({impact}))
    others = [Staged("one", devices=1), Staged("two", devices=1)]
    with launched(run, alone, also_alone, *others) as launcher:
        for other in others:
            assert other.began.wait(SECONDS)
        for other in others:
            other.end(run)
        end_of(launcher, alone)
        end_of(launcher, also_alone)
    assert set(run.begun[:2]) == {"one", "two"}
    assert run.begun[2:] == ["alone", "also-alone"]
    assert run.seen_beside["alone"] == run.seen_beside["also-alone"] == set()


def test_a_scenario_of_every_device_gets_what_the_largest_node_has() -> None:
    """And of one with an upper limit that many."""
    run = FakeRun(4)
    every, some = ready("every", 1, most=EVERY_DEVICE), ready("some", 1, most=2)
    with launched(run, every, some) as launcher:
        assert end_of(launcher, every) == "4 devices"
        assert end_of(launcher, some) == "2 devices"


def test_devices_that_never_come_back_keep_later_scenarios_from_running() -> None:
    """What needs them is not run, for that reason; what needs fewer is."""
    run = FakeRun(2)
    keeps, large, small = ready("keeps", 2, loses=1), ready("large", 2), ready("small", 1)
    with launched(run, keeps, large, small) as launcher:
        assert end_of(launcher, small) == "1 devices"
        assert end_of(launcher, large) == (
            "not run: devices of an earlier form were not given back, and none are free"
        )
    assert run.begun == ["keeps", "small"]


def test_close_in_the_middle_ends_what_runs_and_runs_nothing_more() -> None:
    """It returns when nothing is running; whoever asks gets an answer."""
    run = FakeRun(2)
    running, pending = Staged("running", devices=2), ready("pending", 2)
    launcher = Launcher(cast(Run, run), [running, pending])
    launcher.start()
    assert running.began.wait(SECONDS)
    launcher.close()
    assert run.running == []
    assert end_of(launcher, running) == "stopped"
    assert end_of(launcher, pending) == "not run: the run was ended before"


def test_close_after_the_end_stops_nobodys_waits() -> None:
    """The clean-up still has to wait."""
    run = FakeRun(1)
    only = ready("only")
    launcher = Launcher(cast(Run, run), [only])
    launcher.start()
    end_of(launcher, only)
    launcher.close()
    assert run.observer.wait("an answer", lambda: 1, Budget("test", SECONDS), str) == 1


def test_a_scenario_that_breaks_breaks_whoever_asks_for_it_and_nobody_else() -> None:
    """Its devices are free for the next one."""
    run = FakeRun(1)
    broken, other = ready("broken", error="no such file"), ready("other")
    with launched(run, broken, other) as launcher:
        with pytest.raises(RuntimeError, match="no such file"):
            end_of(launcher, broken)
        assert end_of(launcher, other) == "1 devices"


def test_a_run_without_scenarios_has_nothing_to_run() -> None:
    """Nor has a run without devices, though it can say so."""
    with launched(FakeRun(0)):
        pass
    run = FakeRun(0)
    only = ready("only")
    with launched(run, only) as launcher:
        assert end_of(launcher, only).startswith("not run: ")


def test_tables_are_made_once_of_all_that_ran_to_its_end() -> None:
    """Of what still runs or broke nothing is told; nor of what has no tables."""

    def names(evidence: Mapping[str, Evidence]) -> Iterator[Table]:
        yield Table("names", "Names", ("name",), tuple((name,) for name in evidence))

    def ends(evidence: Mapping[str, Evidence]) -> Iterator[Table]:
        yield Table("ends", "Ends", ("end",), tuple((one.steps[-1],) for one in evidence.values()))

    run = FakeRun(6)
    ended = [
        ready("one", tables=names),
        ready("plain"),
        ready("other", 2, tables=ends),
        ready("two", tables=names),
    ]
    broken, running = ready("broken", error="broken", tables=names), Staged("on", tables=names)
    with launched(run, *ended, broken, running) as launcher:
        for scenario in ended:
            launcher.evidence(scenario)
        with pytest.raises(RuntimeError):
            launcher.evidence(broken)
        assert running.began.wait(SECONDS)
        tables = {table.name: table.rows for table in launcher.tables()}
    assert tables == {"names": (("one",), ("two",)), "ends": (("2 devices",),)}


def test_tables_of_what_was_not_run_are_still_asked_for() -> None:
    """What is missing is for their writer to say."""

    def reasons(evidence: Mapping[str, Evidence]) -> Iterator[Table]:
        rows = tuple((name, one.ended.reason()) for name, one in evidence.items())
        yield Table("reasons", "Reasons", ("name", "reason"), rows)

    run = FakeRun(0)
    only = ready("only", tables=reasons)
    with launched(run, only) as launcher:
        launcher.evidence(only)
        (table,) = launcher.tables()
    ((name, reason),) = table.rows
    assert name == "only"
    assert str(reason).startswith("not run: ")
