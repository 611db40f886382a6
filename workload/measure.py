"""How fast offered memory is opened, read and written: by CUDA events, warmed up, median.

The method is nvbandwidth's: events around each operation, some operations before that do not count,
the median of the rest. Paths:

* ``local``: an allocation of this process on the importing GPU;
* ``same``: the imported pointer, on the exporting GPU;
* ``cross``: the imported pointer, from another GPU;
* ``plain``: an allocation of this process on the exporting GPU, from the other GPU.

A ``kernel`` reads by the kernel ``verify``; a ``copy`` is ``cuMemcpyDtoDAsync`` from (``read``) or
to (``write``) the path's memory, the other side being local. The paths of one importing GPU are
measured in turns, so that their ratios are fair.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from workload.buffer import WORD
from workload.consumer import accept
from workload.cuda import ANSWER_BYTES, Context
from workload.probe import importer, ring_looked
from workload.result import PEER_ACCESS_UNSUPPORTED, Bandwidth, Gpu, Offer, OpenTime, handle_of
from workload.task import Task

_WARM_UP = 2
_SAMPLES = 7
"""Operations that do not count, and that count."""
_OPENINGS = 11


def measure(task: Task) -> None:
    """Measure every path that the GPUs allow; then ring, so that the producer ends.

    Raises:
        WorkloadError: the offer is of another run (stale-offer), its memory does not open
            (not-opened) or is wrong (checksum-wrong), or CUDA refused.
    """
    offer = task.options.offer
    assert offer  # the options need it
    accept(task, offer)
    # The exporting GPU first, as a consumer takes them.
    chosen = sorted(task.gpus[:2], key=lambda gpu: gpu.uuid != offer.exporter)
    for gpu in chosen:
        _path(gpu, task, offer)
    with task.cuda.context(importer(task, offer)) as context:
        ring_looked(context, offer)


def _path(gpu: Gpu, task: Task, offer: Offer) -> None:
    """Measure from one importing GPU."""
    path = "same" if gpu.uuid == offer.exporter else "cross"
    seed, size = offer.seed, task.options.bytes
    cuda, result, log = task.cuda, task.result, task.log
    with ExitStack() as stack:
        context = stack.enter_context(cuda.context(gpu))
        times = _open_times(context, offer)
        if times is None:
            log.say(f"{path}: the two GPUs have no peer access: not measured")
            return
        result.open += (OpenTime(path, statistics.median(times), tuple(times)),)
        own = stack.enter_context(context.allocated(size))
        scratch = stack.enter_context(context.allocated(size))
        answer = stack.enter_context(context.allocated(ANSWER_BYTES))
        imported = stack.enter_context(context.imported(handle_of(offer)))
        memories = {path: imported}
        if not any(done.path == "local" for done in result.bandwidth):
            memories = {"local": own, **memories}
        exporter = next((other for other in cuda.gpus if other.uuid == offer.exporter), None)
        if path == "cross" and exporter and cuda.can_access_peer(gpu, exporter):
            there = stack.enter_context(cuda.context(exporter))
            memories["plain"] = stack.enter_context(there.allocated(size))
            there.fill(memories["plain"], 0, size // WORD, seed)
            context.enable_peer_access(there)
        # All memory holds the same words, so what is written changes nothing.
        for address in (own, scratch):
            context.fill(address, 0, size // WORD, seed)
        operations: dict[tuple[str, str], Callable[[int], None]] = {
            ("read", "kernel"): lambda at: context.start_reading(at, 0, size // WORD, seed, answer),
            ("read", "copy"): lambda at: context.start_copy(scratch, at, size),
            ("write", "copy"): lambda at: context.start_copy(at, scratch, size),
        }
        for (direction, method), start in operations.items():
            for name, seconds in in_turns(context, memories, start).items():
                rates = tuple(round(size / each / 1e9, 3) for each in seconds)
                median = statistics.median(rates)
                result.bandwidth += (Bandwidth(name, direction, method, size, median, rates),)
                log.say(f"{name}: {direction} by {method} {median:.1f} GB/s")
        for name, address in memories.items():
            found = context.verify(address, 0, size // WORD, seed)
            found.must_be_right(f"verify over path {name} after measuring")


def _open_times(context: Context, offer: Offer) -> list[float] | None:
    """Open and close the handle some times; None where the GPUs have no peer access."""
    times = []
    for _ in range(_OPENINGS):
        with context.opened(handle_of(offer)) as opening:
            if opening.code == PEER_ACCESS_UNSUPPORTED:
                return None
            if opening.code:
                raise context.not_opened(opening)
            times.append(opening.ms)
    return times


def in_turns(
    context: Context, memories: Mapping[str, int], start: Callable[[int], None]
) -> dict[str, list[float]]:
    """The seconds that an operation took on each path's memory, the paths in turns."""
    taken: dict[str, list[float]] = {name: [] for name in memories}
    for number in range(_WARM_UP + _SAMPLES):
        for name, address in memories.items():
            with context.timed() as seconds:
                start(address)
            if number >= _WARM_UP:
                taken[name].append(seconds())
            else:
                context.synchronize()
    return taken
