"""Every GPU's memory opened on every GPU: one process exports, another one imports.

The exporter offers a buffer on each of its GPUs, all in one offer. The importer takes one buffer
after the other: first each of its GPUs opens it and verifies every word, so that all have it open
at once; then each writes a part of its own. Over one mapping it says by the doorbells which GPUs
wrote, and the exporter verifies their parts.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from workload.buffer import DOORBELLS, WORD, Buffer, Doorbell, seed_of
from workload.consumer import accept
from workload.cuda import Context
from workload.exchange import ProducerSide, Waiting
from workload.measure import in_turns
from workload.producer import LONGEST, SHORTEST
from workload.result import (
    Bandwidth,
    Offer,
    Problem,
    Seen,
    Verdict,
    WorkloadError,
    handle_of,
    path_between,
    transfer_between,
)
from workload.task import Task


def export_all(task: Task, waiting: Waiting) -> None:
    """Do the exporter's part; what was seen of each GPU's write stands in the result.

    Raises:
        WorkloadError: the importer never came (partner-never-came), or CUDA refused.
    """
    _need_doorbells(task)
    options, result = task.options, task.result
    with ExitStack() as stack:
        offers, buffers = [], []
        for gpu in task.gpus:
            context = stack.enter_context(task.cuda.context(gpu))
            address = stack.enter_context(context.allocated(options.bytes))
            seed = seed_of(f"{options.nonce}/{gpu.uuid}")
            buffers.append(Buffer(context, address, options.bytes, seed))
            offers.append(
                Offer(
                    nonce=options.nonce or "",
                    handle=context.export(address).hex(),
                    bytes=options.bytes,
                    seed=seed,
                    checksum=f"{buffers[-1].prepare():016x}",
                    exporter=gpu.uuid,
                    own_pid=result.process.own_pid,
                )
            )
        result.offer = replace(offers[0], others=tuple(offers[1:]))
        task.log.say(f"filled {options.bytes >> 20} MiB on each GPU, verified it")
        ProducerSide(None).publish(result.offer, 1)
        for buffer, offer in zip(buffers, offers, strict=True):
            _verify_parts(task, waiting, buffer, offer.exporter)


def _need_doorbells(task: Task) -> None:
    if len(task.gpus) > DOORBELLS:
        text = f"--gpus: {len(task.gpus)} GPUs are too many: give at most {DOORBELLS}"
        raise WorkloadError(Verdict.USAGE, Problem("options", text))


def _verify_parts(task: Task, waiting: Waiting, buffer: Buffer, exporter: str) -> None:
    """Wait for an importer's doorbells at one buffer, and verify what its GPUs wrote."""
    count, pause = len(task.gpus), SHORTEST
    while None in (heard := buffer.heard(count)):
        waiting.wait(None, "the importer's writes", at_most=pause)
        pause = min(pause * 1.5, LONGEST)
    for number, (gpu, said) in enumerate(zip(task.gpus, heard, strict=True)):
        if said is not Doorbell.WROTE_PART:
            continue
        found = buffer.verify(buffer.part(number, count), number + 1)
        path = path_between(gpu.uuid, exporter)
        seen = Seen(path, found.words, found.wrong, found.first_wrong)
        task.result.seen += (replace(seen, importer=gpu.uuid, exporter=exporter),)
    wrote = sum(said is Doorbell.WROTE_PART for said in heard)
    task.log.say(f"{exporter}: {wrote} of {count} GPUs wrote")


def import_all(task: Task) -> None:
    """Do the importer's part; that CUDA refused to open memory is a result, no error.

    Raises:
        WorkloadError: the offer is of another run (stale-offer), or the exporter cannot be told of
            a buffer because no GPU could open it (not-opened).
    """
    _need_doorbells(task)
    offer = task.options.offer
    assert offer  # the options need it
    accept(task, offer)
    with ExitStack() as stack:
        contexts = [stack.enter_context(task.cuda.context(gpu)) for gpu in task.gpus]
        lost = [one for one in (offer, *offer.others) if not _import(task, contexts, one)]
    if lost:
        text = f"no GPU could open what {lost[0].exporter} exports"
        raise WorkloadError(Verdict.NOT_OPENED, Problem("open the IPC handle", text))


def _import(task: Task, contexts: Sequence[Context], offer: Offer) -> bool:
    """Take one buffer; return whether its exporter could be told."""
    pairs = [_Pair(task, context, offer) for context in contexts]
    with ExitStack() as stack:
        for pair in pairs:
            with pair.noting_errors():
                pair.open_and_verify(stack)
        for number, pair in enumerate(pairs):
            with pair.noting_errors():
                pair.write(number, len(pairs))
        task.result.transfers += tuple(pair.transfer for pair in pairs)
        opened = [pair.buffer for pair in pairs if pair.buffer]
        for number, pair in enumerate(pairs if opened else ()):
            wrote = pair.transfer.wrote
            opened[0].ring(Doorbell.WROTE_PART if wrote else Doorbell.FAILED, number)
    good = sum(pair.transfer.wrong_words == 0 for pair in pairs)
    task.log.say(f"{offer.exporter}: opens and is right on {good} of {len(pairs)} GPUs")
    return bool(opened)


class _Pair:
    """An importing GPU, and memory of an exporting one."""

    def __init__(self, task: Task, context: Context, offer: Offer) -> None:
        peers = task.result.peers
        self.transfer = transfer_between(context.gpu.uuid, offer.exporter, peers)
        self.buffer: Buffer | None = None
        """Where the memory is, once it is open."""
        self._task = task
        self._context = context
        self._offer = offer

    @contextmanager
    def noting_errors(self) -> Iterator[None]:
        """Make CUDA's refusal in the body the transfer's error."""
        try:
            yield
        except WorkloadError as error:
            if error.verdict is Verdict.WORKLOAD_FAULT:
                raise
            self.transfer = replace(self.transfer, error=error.problem)

    def open_and_verify(self, stack: ExitStack) -> None:
        """Open the memory, verify every word and, if asked to, measure."""
        context, offer = self._context, self._offer
        opening = stack.enter_context(context.opened(handle_of(offer)))
        self.transfer = replace(self.transfer, open_ms=opening.ms, opened=not opening.code)
        if opening.code:
            raise context.not_opened(opening)
        self.buffer = Buffer(context, opening.address, offer.bytes, offer.seed)
        found = self.buffer.verify(self.buffer.words, 0)
        self.transfer = replace(
            self.transfer,
            words=found.words,
            wrong_words=found.wrong,
            first_wrong=found.first_wrong,
            checksum=f"{found.checksum:016x}",
            expected_checksum=offer.checksum,
        )
        if self._task.options.speeds:
            self._measure(opening.address, len(self.buffer.words) * WORD)

    def _measure(self, address: int, size: int) -> None:
        """Copy the data to this GPU and back some times; what is written is what was there."""
        context = self._context
        path = self.transfer.path
        with context.allocated(size) as own:
            copies: dict[str, Callable[[int], None]] = {
                "read": lambda at: context.start_copy(own, at, size),
                "write": lambda at: context.start_copy(at, own, size),
            }
            for direction, start in copies.items():
                seconds = in_turns(context, {path: address}, start)[path]
                rates = tuple(round(size / each / 1e9, 3) for each in seconds)
                self._task.result.bandwidth += (
                    Bandwidth(
                        *(path, direction, "copy", size, statistics.median(rates), rates),
                        *(self.transfer.importer, self.transfer.exporter),
                    ),
                )

    def write(self, number: int, parts: int) -> None:
        """Overwrite this GPU's part, if all went well so far."""
        if self.buffer is not None and self.transfer.error is None:
            self.buffer.fill(self.buffer.part(number, parts), number + 1)
            self.transfer = replace(self.transfer, wrote=True)
