"""Kernels on fresh memory of all allocated GPUs at once: do they compute, is it really fresh?"""

from __future__ import annotations

from contextlib import ExitStack

from workload.buffer import PAGE, WORD, seed_of
from workload.cuda import ANSWER_BYTES, Context, Cuda, Findings
from workload.options import Size
from workload.result import Computed, Gpu
from workload.task import Task


def compute(task: Task) -> None:
    """Fill and verify memory on every GPU; all of them work before any is awaited.

    What another run left in the memory is counted, not judged.

    Raises:
        WorkloadError: words are wrong (checksum-wrong), or CUDA refused.
    """
    options, result = task.options, task.result
    seed = seed_of(options.nonce or "")
    foreign = seed_of(options.foreign) if options.foreign else None
    with ExitStack() as stack:
        parts = [_Part(gpu, task.cuda, options.size, stack) for gpu in task.gpus]
        for part in parts:
            part.start(seed, foreign)
        result.compute = tuple(part.finish() for part in parts)
    for gpu, done in zip(task.gpus, result.compute, strict=True):
        wrong = f"{done.wrong_words} wrong" if done.wrong_words else "right"
        seen = f", {done.foreign_words} foreign before" if done.foreign_words else ""
        task.log.say(f"GPU {gpu.ordinal}: {done.words} words {wrong}{seen}")
    for done in result.compute:
        found = Findings(done.words, done.wrong_words, done.first_wrong)
        found.must_be_right(f"verify the own fill on {done.uuid}")


class _Part:
    """The work on one GPU."""

    def __init__(self, gpu: Gpu, cuda: Cuda, size: Size, stack: ExitStack) -> None:
        self._gpu = gpu
        self._context = stack.enter_context(cuda.context(gpu))
        # Before the memory, whose size may be a share of what is left.
        self._found = stack.enter_context(self._context.allocated(ANSWER_BYTES))
        self._foreign = stack.enter_context(self._context.allocated(ANSWER_BYTES))
        self._looked = False
        self._bytes = _bytes(self._context, size)
        self._words = self._bytes // WORD
        self._address = stack.enter_context(self._context.allocated(self._bytes))

    def start(self, seed: int, foreign: int | None) -> None:
        """Launch everything, in the GPU's own order."""
        with self._context.timed() as self._seconds:
            if foreign is not None:
                self._looked = True
                self._context.start_verify(self._address, 0, self._words, foreign, self._foreign)
            self._context.start_fill(self._address, 0, self._words, seed)
            self._context.start_verify(self._address, 0, self._words, seed, self._found)

    def finish(self) -> Computed:
        """Wait for all of it."""
        seconds = self._seconds()
        found = self._context.verified(self._words, self._found)
        foreign = None
        if self._looked:
            foreign = self._words - self._context.verified(self._words, self._foreign).wrong
        return Computed(
            uuid=self._gpu.uuid,
            bytes=self._bytes,
            words=self._words,
            wrong_words=found.wrong,
            first_wrong=found.first_wrong,
            foreign_words=foreign,
            seconds=round(seconds, 6),
        )


def _bytes(context: Context, size: Size) -> int:
    if size.bytes:
        return size.bytes
    return max(PAGE, int(context.free_memory() * size.percent / 100) // PAGE * PAGE)
