"""Plays the scenarios ahead of the checks that judge them, as many at a time as devices allow.

While a check waits for its scenario, the objects of the next ones are in the cluster already. A
claim is only made when a node has devices for it, so nothing of a run is ever left pending by the
run itself, and what others hold is left to them. What exhausts or disrupts is played alone and
last.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any

from harness.checks.check import Scenario
from harness.cluster.budgets import Budget
from harness.cluster.observe import StoppedError
from harness.scenario.run import Run
from harness.verdict.finding import UnmetError

MOST_AT_A_TIME = 6
"""A node starts about five pods a second on two processors: more would only wait for each other."""
_UNTIL_THE_END = Budget("turn", threading.TIMEOUT_MAX / 2)


class Turn:
    """A scenario's permission to use devices."""

    def __init__(self, launcher: Launcher, scenario: Scenario, devices: int) -> None:
        self.devices = devices
        """How many devices of one node it may claim."""
        self._launcher = launcher
        self._scenario = scenario

    def placed(self, node: str) -> None:
        """Say that the claims are allocated, on this node: now it is known what others can have.

        What was granted stays reserved until the end of the play.
        """
        self._launcher.placed(self._scenario, node, self.devices)

    def keep_others_off(self) -> None:
        """Have no claim of another scenario be allocated until `placed` is called again.

        For who gives devices back and claims the same ones once more: the number that stays
        reserved says nothing about which ones the scheduler gives to others in between.
        """
        self._launcher.keep_others_off(self._scenario)


class Launcher:
    """Plays each scenario once, in the order given as far as devices allow."""

    def __init__(self, run: Run, scenarios: Iterable[Scenario]) -> None:
        self._run = run
        unique = {scenario.name: scenario for scenario in scenarios}
        self._pending = sorted(unique.values(), key=lambda scenario: scenario.alone)
        self._outcomes: dict[str, Future[Any]] = {name: Future() for name in unique}
        self._playing: set[str] = set()
        self._unplaced: set[str] = set()
        self._reserved: dict[str, tuple[str, int]] = {}
        self._threads: list[threading.Thread] = []
        self._largest = max(run.subject.slots.values(), default=0)
        self._director = threading.Thread(target=self._direct, name="launcher", daemon=True)

    def start(self) -> None:
        """Begin to play."""
        self._director.start()

    def outcome(self, scenario: Scenario) -> Any:
        """What came of a scenario, when it has been played."""
        return self._outcomes[scenario.name].result()

    def close(self) -> None:
        """Play nothing more; return when nothing is being played."""
        if not all(future.done() for future in self._outcomes.values()):
            # The run ends before its end: nobody waits any longer.
            self._run.observer.stop_waits()
        self._director.join()
        for thread in self._threads:
            thread.join()

    def placed(self, scenario: Scenario, node: str, devices: int) -> None:
        """The scenario's claims are allocated."""
        self._reserved[scenario.name] = (node, devices)
        self._unplaced.discard(scenario.name)
        self._run.observer.poke()

    def keep_others_off(self, scenario: Scenario) -> None:
        """Wait until all claims of others are allocated, and let nobody begin from then on."""

        def taken() -> bool | None:
            if self._unplaced - {scenario.name}:
                return None
            self._unplaced.add(scenario.name)
            return True

        self._run.observer.wait(
            "the allocation of others' claims", taken, _UNTIL_THE_END, lambda: ""
        )

    def _direct(self) -> None:
        while self._pending:
            try:
                scenario, playable = self._run.observer.wait(
                    "a scenario's turn", self._next, _UNTIL_THE_END, lambda: ""
                )
            except StoppedError:
                reason = UnmetError("the run was ended before")
                for scenario in self._pending:
                    self._outcomes[scenario.name].set_result(scenario.unplayed(reason))
                return
            self._pending.remove(scenario)
            if not playable:
                reason = UnmetError(
                    "not run: devices of an earlier form were not given back, and none are free"
                )
                self._outcomes[scenario.name].set_result(scenario.unplayed(reason))
                continue
            self._playing.add(scenario.name)
            thread = threading.Thread(
                target=self._play, args=(scenario,), name=scenario.name, daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def _next(self) -> tuple[Scenario, bool] | None:
        """The next scenario and whether it can be played; None while that has to wait."""
        # Where the devices of an unallocated claim will be missing is not known.
        if self._unplaced or len(self._playing) >= MOST_AT_A_TIME:
            return None
        free = max(self._run.free(dict(self._reserved)).values(), default=0)
        for scenario in self._pending:
            if scenario.alone and self._playing:
                break  # those that are played alone come last
            if scenario.wanted(self._largest) <= free:
                self._unplaced.add(scenario.name)  # here: nobody may come in between
                return scenario, True
        return None if self._playing else (self._pending[0], False)

    def _play(self, scenario: Scenario) -> None:
        future = self._outcomes[scenario.name]
        try:
            turn = Turn(self, scenario, scenario.wanted(self._largest))
            future.set_result(scenario.play(self._run, turn))
        except BaseException as error:  # noqa: BLE001 - whoever asks for the outcome gets it
            future.set_exception(error)
        finally:
            self._playing.discard(scenario.name)
            self._unplaced.discard(scenario.name)
            self._reserved.pop(scenario.name, None)
            self._run.observer.poke()
