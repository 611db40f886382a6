"""Memory that is shared and given back many times, and signals through shared memory.

In a round an exporter makes memory by one mechanism, an importer opens and closes it, and the
exporter frees it. After some rounds the GPU has as much free memory as after the first one, or
something keeps it. In the last round each side's stream waits until the other's has written to the
memory (``cuStreamWaitValue32``, ``cuStreamWriteValue32``): so two processes can take turns without
events, which go by ``/dev/shm``, and containers of two pods do not share that.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace

from workload.buffer import PAGE
from workload.cuda import Context, Stream
from workload.exchange import Waiting
from workload.meeting import Line
from workload.reading import read
from workload.result import (
    Mechanism,
    OpenTime,
    Problem,
    Rounds,
    Signal,
    WorkloadError,
)
from workload.shareable import Exported, Opened, exported
from workload.task import Task

BYTES = 4 * PAGE
"""Of the memory of a round: what 50 of them leave is noticed on any GPU."""
_LATEST = 2.0
"""Seconds until a signal is seen that was given before anybody looks."""
_PAUSE = 0.001
"""Seconds between two looks whether it has."""
_OF_IMPORTER, _OF_EXPORTER = 0, 64
"""Where in the memory each side's signal goes, in bytes."""


def lend_rounds(
    task: Task,
    context: Context,
    line: Line,
    waiting: Waiting,
    mechanisms: Sequence[Mechanism],
    rounds: int,
) -> None:
    """Do the exporter's part of so many rounds by each mechanism.

    Raises:
        WorkloadError: the importer ended without a word (partner-never-came).
    """
    for mechanism in mechanisms:
        done = Rounds(mechanism, BYTES)
        for number in range(rounds + 1):  # in the first, CUDA takes what it keeps
            last = number == rounds
            problem = _lend_once(task, context, line, waiting, mechanism, signals=last)
            if problem is not None:
                done = replace(done, error=problem)
                break
            free = context.free_memory()
            done = replace(done, times=number, free_after=free)
            done = done if number else replace(done, free_before=free)
        task.result.rounds += (done,)
        task.log.say(f"{mechanism}: {done.kept} bytes less are free after {done.times} rounds")
    line.tell({"mechanism": None})


def _lend_once(
    task: Task,
    context: Context,
    line: Line,
    waiting: Waiting,
    mechanism: Mechanism,
    *,
    signals: bool,
) -> Problem | None:
    """One round; what went wrong, on either side."""
    with ExitStack() as stack:
        try:
            made = stack.enter_context(exported(context, mechanism, BYTES))
        except WorkloadError as error:
            return error.problem
        if signals:
            context.clear(made.address, PAGE)
        offer = {"mechanism": mechanism, "handle": made.handle.hex(), "signals": signals}
        line.tell(offer, [made.descriptor] if made.descriptor is not None else [])
        problem = _heard_problem(line, waiting)
        if problem is None and signals:
            _signal(task, context, line, waiting, made, mechanism)
        return problem


def _signal(
    task: Task,
    context: Context,
    line: Line,
    waiting: Waiting,
    made: Exported,
    mechanism: Mechanism,
) -> None:
    """Wait for the importer's signal, then give one."""
    with context.stream() as stream:
        awaited = _Awaited(context, stream, made.address + _OF_IMPORTER)
        line.tell({})
        problem = _heard_problem(line, waiting)
        _note(task, awaited.signal(mechanism, "importer", problem))
        line.tell({"problem": _given(stream, made.address + _OF_EXPORTER)})
        line.hear(waiting, "the importer's end of the round")


def borrow_rounds(task: Task, context: Context, line: Line, waiting: Waiting) -> None:
    """Do the importer's part of rounds, until the exporter says that there are no more.

    Raises:
        WorkloadError: the exporter ended without a word (partner-never-came).
    """
    taken: dict[Mechanism, list[float]] = {}
    while True:
        offer, descriptors = line.hear(waiting, "the next round")
        if offer["mechanism"] is None:
            break
        mechanism = Mechanism(offer["mechanism"])
        with ExitStack() as stack:
            for descriptor in descriptors:
                stack.callback(os.close, descriptor)
            opened = Opened(
                mechanism,
                bytes.fromhex(offer["handle"]),
                descriptors[0] if descriptors else None,
                BYTES,
                stack.enter_context(ExitStack()),
            )
            started = time.perf_counter()
            try:
                address = opened.address(context, context.gpu.uuid)
            except WorkloadError as error:
                line.tell({"problem": asdict(error.problem)})
                continue
            taken.setdefault(mechanism, []).append((time.perf_counter() - started) * 1000)
            if offer["signals"]:
                line.tell({"problem": None})
                _answer(task, context, line, waiting, address, mechanism)
        line.tell({"problem": None})
    task.result.open += tuple(
        OpenTime("same", round(statistics.median(times), 4), _rounded(times), mechanism)
        for mechanism, times in taken.items()
    )


def _answer(
    task: Task,
    context: Context,
    line: Line,
    waiting: Waiting,
    address: int,
    mechanism: Mechanism,
) -> None:
    """Give a signal, and wait for the exporter's."""
    line.hear(waiting, "the exporter that waits")
    with context.stream() as stream, context.stream() as other:
        given = _given(other, address + _OF_IMPORTER)
        awaited = _Awaited(context, stream, address + _OF_EXPORTER)
        line.tell({"problem": given})
        problem = _heard_problem(line, waiting)
        _note(task, awaited.signal(mechanism, "exporter", problem))


class _Awaited:
    """A signal for which a stream waits."""

    def __init__(self, context: Context, stream: Stream, address: int) -> None:
        self._context, self._stream, self._address = context, stream, address
        self._problem: Problem | None = None
        try:
            stream.wait_value(address, 1)
        except WorkloadError as error:
            self._problem = error.problem

    def signal(self, mechanism: Mechanism, writer: str, problem: Problem | None) -> Signal:
        """What came of it.

        Args:
            mechanism: by which the memory is shared.
            writer: who was to give it.
            problem: why that could not.
        """
        problem = problem or self._problem
        started = time.perf_counter()
        while problem is None and not (came := self._stream.done()):
            if time.perf_counter() - started > _LATEST:
                break
            time.sleep(_PAUSE)
        taken = round((time.perf_counter() - started) * 1000, 4)
        came = problem is None and came
        if not came and self._problem is None:
            self._context.write(self._address, 1)  # or the stream, and what closes it, waits on
        return Signal(mechanism, writer, came, taken if came else None, problem)


def _given(stream: Stream, address: int) -> dict[str, object] | None:
    """Give a signal; what went wrong, for the partner."""
    try:
        stream.write_value(address, 1)
    except WorkloadError as error:
        return asdict(error.problem)
    return None


def _heard_problem(line: Line, waiting: Waiting) -> Problem | None:
    heard, _ = line.hear(waiting, "the partner's word")
    return read(Problem, heard["problem"]) if heard["problem"] else None


def _note(task: Task, signal: Signal) -> None:
    task.result.signals += (signal,)
    said = signal.error.sentence() if signal.error else "came" if signal.came else "never came"
    task.log.say(f"{signal.mechanism}: the {signal.writer}'s signal {said}")


def _rounded(times: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(one, 4) for one in times)
