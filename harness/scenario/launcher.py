"""Runs the scenarios ahead of the checks that judge them, as many at a time as devices allow.

While a check waits for its scenario, the objects of the next ones are in the cluster already. A
claim is only made when a node has devices for it, so nothing of a run is ever left pending by the
run itself, and what others hold is left to them. What is basic comes first. What exhausts or
disrupts runs alone and last; what disrupts, only once a check asks for it: by then every check that
only reads has been made.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import Future
from functools import partial

from harness.cluster.observe import Budget, StoppedError
from harness.options import Impact
from harness.scenario.evidence import Evidence
from harness.scenario.run import Run
from harness.scenario.scenario import Scenario, TableWriter
from harness.scenario.steps import Reservation, Steps
from harness.scenario.verbs import needs_of
from harness.verdict.finding import SkipKind, UnmetError
from harness.verdict.table import Table

MOST_AT_A_TIME = 6
"""A node starts about five pods a second on two processors: more would only wait for each other."""
_CHANNELS = needs_of(Steps.channels)
_UNTIL_THE_END = Budget("turn", threading.TIMEOUT_MAX / 2)


class Launcher:
    """Runs each scenario once, in the order given as far as devices allow."""

    def __init__(self, run: Run, scenarios: Iterable[Scenario]) -> None:
        self._run = run
        self._scenarios: dict[str, Scenario] = {}
        self._evidence: dict[str, Future[Evidence]] = {}
        for scenario in scenarios:
            self._scenarios[scenario.name] = scenario
            self._evidence[scenario.name] = Future()
        self._pending = sorted(
            self._scenarios.values(),
            key=lambda one: (not one.basic, Impact.DISRUPT in one.impacts, one.alone),
        )
        self._running: set[str] = set()
        self._unplaced: set[str] = set()
        self._reserved: dict[str, tuple[str, int]] = {}
        self._may_disrupt = False
        self._threads: list[threading.Thread] = []
        self._largest = max(run.subject.slots.values(), default=0)
        self._director = threading.Thread(target=self._direct, name="launcher", daemon=True)

    def start(self) -> None:
        """Begin to run scenarios."""
        self._director.start()

    def evidence(self, scenario: Scenario) -> Evidence:
        """Wait for a scenario's end and answer what it left."""
        if Impact.DISRUPT in scenario.impacts and not self._may_disrupt:
            self._may_disrupt = True
            self._run.observer.poke()
        return self._evidence[scenario.name].result()

    def left_by(self, scenario: Scenario) -> Evidence | None:
        """Answer what a scenario left; None where it has not run to its end."""
        future = self._evidence.get(scenario.name)
        if future is None or not future.done() or future.exception() is not None:
            return None
        return future.result()

    def tables(self) -> Iterable[Table]:
        """Make the tables of the scenarios that have run."""
        left: dict[TableWriter, dict[str, Evidence]] = {}
        for name, scenario in self._scenarios.items():
            if scenario.tables is not None:
                of_writer = left.setdefault(scenario.tables, {})
                if (evidence := self.left_by(scenario)) is not None:
                    of_writer[name] = evidence
        for writer, all_evidence in left.items():
            yield from writer(all_evidence)

    def close(self) -> None:
        """Run nothing more; return when nothing is running."""
        if not all(map(Future.done, self._evidence.values())):
            # The run ends before its end: nobody waits any longer.
            self._run.observer.stop_waits()
        self._director.join()
        for thread in self._threads:
            thread.join()

    def _allocated(self, scenario: str, devices: int, node: str) -> None:
        """Note that a scenario's claims are allocated."""
        self._reserved[scenario] = (node, devices)
        self._unplaced.discard(scenario)
        self._run.observer.poke()

    def _hold_off_others(self, scenario: str) -> None:
        """Wait until all claims of others are allocated, and let nobody begin from then on."""

        def taken() -> bool:
            if self._unplaced - {scenario}:
                return False
            self._unplaced.add(scenario)
            return True

        self._run.observer.wait(
            "the allocation of others' claims", taken, _UNTIL_THE_END, lambda: ""
        )

    def _direct(self) -> None:
        try:
            while self._pending:
                scenario, possible = self._run.observer.wait(
                    "a scenario's turn", self._next, _UNTIL_THE_END, lambda: ""
                )
                self._pending.remove(scenario)
                if not possible:
                    reason = UnmetError(
                        "devices of an earlier form were not given back, and none are free",
                        SkipKind.NOT_RUN,
                    )
                    self._evidence[scenario.name].set_result(scenario.not_run(reason))
                    continue
                self._running.add(scenario.name)
                thread = threading.Thread(
                    target=self._run_one, args=(scenario,), name=scenario.name, daemon=True
                )
                self._threads.append(thread)
                thread.start()
        except StoppedError:
            reason = UnmetError("the run was ended before", SkipKind.NOT_RUN)
            for scenario in self._pending:
                self._evidence[scenario.name].set_result(scenario.not_run(reason))
        except Exception as error:  # noqa: BLE001 - whoever asks for the evidence gets it
            for scenario in self._pending:
                self._evidence[scenario.name].set_exception(error)

    def _next(self) -> tuple[Scenario, bool] | None:
        """Answer the next scenario and whether it can run; None while that has to wait."""
        # Where the devices of an unallocated claim will be missing is not known.
        if self._unplaced or len(self._running) >= MOST_AT_A_TIME:
            return None
        free = max(self._run.free(dict(self._reserved)).values(), default=0)
        for scenario in self._pending:
            if scenario.alone and self._running:
                break  # those that run alone come last
            if Impact.DISRUPT in scenario.impacts and not self._may_disrupt:
                return None
            if self._waits_for_a_channel(scenario):
                continue
            if scenario.wanted(self._largest) <= free:
                self._unplaced.add(scenario.name)  # here: nobody may come in between
                return scenario, True
        return None if self._running else (self._pending[0], False)

    def _waits_for_a_channel(self, scenario: Scenario) -> bool:
        """Whether it claims an IMEX channel, and a scenario that runs has claimed one."""
        if not self._run.subject.profile.channel_class:
            return False
        running = [self._scenarios[name] for name in self._running]
        return _CHANNELS in scenario.uses and any(_CHANNELS in one.uses for one in running)

    def _run_one(self, scenario: Scenario) -> None:
        future = self._evidence[scenario.name]
        try:
            devices = scenario.wanted(self._largest)
            reservation = Reservation(
                devices,
                allocated_on=partial(self._allocated, scenario.name, devices),
                hold_off_others=partial(self._hold_off_others, scenario.name),
            )
            future.set_result(scenario.run(self._run, reservation))
        except BaseException as error:  # noqa: BLE001 - whoever asks for the evidence gets it
            future.set_exception(error)
        finally:
            self._running.discard(scenario.name)
            self._unplaced.discard(scenario.name)
            self._reserved.pop(scenario.name, None)
            self._run.observer.poke()
