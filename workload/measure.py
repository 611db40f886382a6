"""How fast shared memory is read and written: by CUDA events, warmed up, median.

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
from workload.cuda import ANSWER_BYTES, Context
from workload.result import Bandwidth, Lent, path_between
from workload.task import Task

_WARM_UP = 2
_SAMPLES = 7
"""Operations that do not count, and that count."""


def measure(
    task: Task, context: Context, address: int, lent: Lent, exporter: str, size: int
) -> None:
    """Measure imported memory from one GPU, beside what it is to be compared with.

    Args:
        task: where the speeds are noted.
        context: on the importing GPU.
        address: of the imported memory; every word of it is the seed's pattern, and stays so.
        lent: by which mechanism it was shared, and its seed.
        exporter: UUID of the GPU that it is on.
        size: of the memory, in bytes.

    Raises:
        WorkloadError: CUDA refused (cuda-error), or memory was wrong (checksum-wrong).
    """
    path = path_between(context.gpu.uuid, exporter)
    cuda, words = task.cuda, size // WORD
    with ExitStack() as stack:
        own, scratch = (stack.enter_context(context.allocated(size)) for _ in range(2))
        answer = stack.enter_context(context.allocated(ANSWER_BYTES))
        memories = {path: address}
        if path == "same":
            memories["local"] = own
        there = next((gpu for gpu in cuda.gpus if gpu.uuid == exporter), None)
        if path == "cross" and there and cuda.can_access_peer(context.gpu, there):
            other = stack.enter_context(cuda.context(there))
            memories["plain"] = stack.enter_context(other.allocated(size))
            other.fill(memories["plain"], 0, words, lent.seed)
            context.enable_peer_access(other)
        # All memory holds the same words, so what is written changes nothing.
        for filled in (own, scratch):
            context.fill(filled, 0, words, lent.seed)
        operations: dict[tuple[str, str], Callable[[int], None]] = {
            ("read", "kernel"): lambda at: context.start_reading(at, 0, words, lent.seed, answer),
            ("read", "copy"): lambda at: context.start_copy(scratch, at, size),
            ("write", "copy"): lambda at: context.start_copy(at, scratch, size),
        }
        measured: list[Bandwidth] = []
        for (direction, method), start in operations.items():
            for name, seconds in in_turns(context, memories, start).items():
                rates = tuple(round(size / each / 1e9, 3) for each in seconds)
                median = statistics.median(rates)
                measured.append(
                    Bandwidth(
                        name, direction, method, size, median, rates, mechanism=lent.mechanism
                    )
                )
                task.log.say(f"{lent.mechanism}, {name}: {direction} by {method} {median:.1f} GB/s")
        for name, at in memories.items():
            found = context.verify(at, 0, words, lent.seed)
            found.must_be_right(f"verify over path {name} after measuring")
        task.result.bandwidth += tuple(measured)  # speeds of wrong memory are none


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
