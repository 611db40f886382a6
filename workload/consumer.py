"""The importing process: opens offered memory, verifies every word, writes back."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from workload.buffer import Buffer, Doorbell
from workload.cuda import Findings
from workload.exchange import ConsumerSide, Waiting
from workload.options import OWN
from workload.result import (
    AfterGone,
    Gpu,
    Offer,
    Problem,
    Transfer,
    Verdict,
    WorkloadError,
    handle_of,
)
from workload.task import Task


def consume(task: Task, side: ConsumerSide, waiting: Waiting) -> None:
    """Do the consumer's part; what was done stands in the result, even when it fails.

    Raises:
        WorkloadError: something went wrong.
    """
    options = task.options
    offer = options.offer or side.take(waiting)
    if options.rewrite_pid is not None:
        own = options.rewrite_pid == OWN
        pid = task.result.process.own_pid if own else int(options.rewrite_pid)
        offer = replace(offer, rewritten_pid=pid)
    accept(task, offer)
    consumer = _Consumer(task, offer)
    with ExitStack() as held:
        consumer.run(held)
        if options.until_gone:
            side.wait_until_gone(waiting)
            consumer.verify_again()


def accept(task: Task, offer: Offer) -> None:
    """Note the offer in the result; refuse what another run offered.

    Raises:
        WorkloadError: it is of another run (stale-offer).
    """
    task.result.offer = offer
    nonce = task.options.nonce
    if offer.nonce != nonce:
        problem = Problem("take the offer", f"it is of run {offer.nonce}, this is run {nonce}")
        raise WorkloadError(Verdict.STALE_OFFER, problem)


_WROTE = {
    (0, 0): Doorbell.LOOKED,
    (1, 1): Doorbell.SAME_WROTE_ALL,
    (2, 2): Doorbell.CROSS_WROTE_ALL,
    (1, 2): Doorbell.BOTH_WROTE,
}
"""What to say by how far each half of the data is; else only the first one is written."""


class _Consumer:
    """The work on one offer."""

    def __init__(self, task: Task, offer: Offer) -> None:
        self._cuda = task.cuda
        self._offer = offer
        self._options = task.options
        self._result = task.result
        self._log = task.log
        # The exporting GPU first: that is the path "same", whatever the order of the rest.
        self._importers = sorted(task.gpus[:2], key=lambda gpu: gpu.uuid != offer.exporter)
        self._exporter = next((gpu for gpu in task.cuda.gpus if gpu.uuid == offer.exporter), None)
        self._held: dict[str, Buffer] = {}
        """Mappings that stay, by the importing GPU."""
        self._steps = [0, 0]
        """How far each half of the data is: pattern(seed + step)."""
        self._checksums: list[int | None] = [None, None]
        """Of each half, as verified on the exporting GPU."""

    def run(self, held: ExitStack) -> None:
        """Take every path; then ring, and say what was wrong.

        Args:
            held: where mappings go that are to stay until the exporter is gone.
        """
        for gpu in self._importers:
            with ExitStack() as passing:
                stack = held if self._options.until_gone else passing
                self._result.transfers += (self._transfer(gpu, stack),)
            self._tell(self._result.transfers[-1])
        problem = self._problem()
        try:
            self._ring(Doorbell.FAILED if problem else self._done())
        except WorkloadError:
            if not problem:
                raise
        if problem:
            raise problem  # it came first, and may be why the bell could not be rung

    def verify_again(self) -> None:
        """Verify the mappings that stayed; the exporter is gone.

        Raises:
            WorkloadError: they do not hold what they held before (checksum-wrong), or cannot be
                read (cuda-error).
        """
        again = {
            transfer.importer: self._once_more(buffer, transfer)
            for transfer in self._result.transfers
            if (buffer := self._held.get(transfer.importer))
        }
        self._result.transfers = tuple(
            again.get(transfer.importer, transfer) for transfer in self._result.transfers
        )
        for transfer in again.values():
            self._tell(transfer)
        if problem := self._problem():
            raise problem

    def _once_more(self, buffer: Buffer, transfer: Transfer) -> Transfer:
        try:
            found = self._compare(buffer)
        except WorkloadError as error:
            return replace(transfer, error=error.problem)
        whole = found[0] + found[1]
        return replace(transfer, after_gone=AfterGone(whole.words, whole.wrong))

    def _transfer(self, gpu: Gpu, stack: ExitStack) -> Transfer:
        same = gpu.uuid == self._offer.exporter
        transfer = Transfer(
            "same" if same else "cross", importer=gpu.uuid, exporter=self._offer.exporter
        )
        try:
            if self._exporter and not same:
                asked = self._cuda.can_access_peer(gpu, self._exporter)
                transfer = replace(transfer, can_access_peer=asked)
            context = stack.enter_context(self._cuda.context(gpu))
            opening = stack.enter_context(context.opened(handle_of(self._offer)))
            transfer = replace(transfer, open_ms=opening.ms)
            if opening.code:
                raise context.not_opened(opening)
            transfer = replace(transfer, opened=True)
            buffer = Buffer(context, opening.address, self._offer.bytes, self._offer.seed)
            if self._options.until_gone:
                self._held[gpu.uuid] = buffer
            transfer = self._verify(buffer, transfer)
            right = not transfer.wrong_words and transfer.checksum == transfer.expected_checksum
            if right and not self._options.read_only:
                self._write_back(buffer, same)
                transfer = replace(transfer, wrote=True)
        except WorkloadError as error:
            if error.verdict is Verdict.WORKLOAD_FAULT:
                raise
            transfer = replace(transfer, error=error.problem)
        return transfer

    def _compare(self, buffer: Buffer) -> list[Findings]:
        """Compare every word of both halves with what must be there now."""
        return [
            buffer.verify(half, step) for half, step in zip(buffer.halves, self._steps, strict=True)
        ]

    def _verify(self, buffer: Buffer, transfer: Transfer) -> Transfer:
        """Compare every word, and the checksum with what is known of the content."""
        parts = self._compare(buffer)
        found = parts[0] + parts[1]
        if any(self._steps):
            # The same path wrote: its checksums of both halves are what must be there now.
            expected = sum(checksum or 0 for checksum in self._checksums) % (1 << 64)
        else:
            expected = int(self._offer.checksum, 16)
            self._checksums = [part.checksum for part in parts]
        return replace(
            transfer,
            words=found.words,
            wrong_words=found.wrong,
            first_wrong=found.first_wrong,
            checksum=f"{found.checksum:016x}",
            expected_checksum=f"{expected:016x}",
        )

    def _write_back(self, buffer: Buffer, same: bool) -> None:
        """Overwrite this path's part: all where there is one importer, else a half each."""
        mine = [0, 1] if len(self._importers) == 1 else [0] if same else [1]
        step = 1 if same else 2
        for half in mine:
            buffer.fill(buffer.halves[half], step)
            self._checksums[half] = buffer.verify(buffer.halves[half], step).checksum
            self._steps[half] = step

    def _problem(self) -> WorkloadError | None:
        """What is wrong with the transfers, if anything: the first that counts."""
        for transfer in self._result.transfers:
            if not transfer.opened and not transfer.lacks_peer_access and transfer.error:
                return WorkloadError(Verdict.NOT_OPENED, transfer.error)
        for transfer in self._result.transfers:
            where = f"verify over path {transfer.path}"
            if transfer.error and not transfer.lacks_peer_access:
                return WorkloadError(Verdict.CUDA_ERROR, transfer.error)
            if transfer.wrong_words or transfer.checksum != transfer.expected_checksum:
                text = (
                    f"{transfer.wrong_words} of {transfer.words} words are wrong, the first is"
                    f" {transfer.first_wrong}; checksum {transfer.checksum},"
                    f" expected {transfer.expected_checksum}"
                )
                return WorkloadError(Verdict.CHECKSUM_WRONG, Problem(where, text))
            after = transfer.after_gone
            if after and after.wrong_words:
                text = (
                    f"{after.wrong_words} of {after.words} words are wrong since the exporter is"
                    " gone"
                )
                return WorkloadError(Verdict.CHECKSUM_WRONG, Problem(where, text))
        return None

    def _done(self) -> Doorbell:
        first, second = self._steps
        return _WROTE.get((first, second), Doorbell.SAME_WROTE_HALF)

    def _ring(self, what: Doorbell) -> None:
        """Ring through the first path that opened; where none did, there is no bell to reach."""
        index = self._options.index
        opened = [transfer.importer for transfer in self._result.transfers if transfer.opened]
        if self._held:
            next(iter(self._held.values())).ring(what, index)
        elif gpu := next((gpu for gpu in self._importers if gpu.uuid in opened), None):
            with (
                self._cuda.context(gpu) as context,
                context.imported(handle_of(self._offer)) as address,
            ):
                buffer = Buffer(context, address, self._offer.bytes, self._offer.seed)
                buffer.ring(what, index)

    def _tell(self, transfer: Transfer) -> None:
        if transfer.error:
            text = transfer.error.sentence()
        elif after := transfer.after_gone:
            text = f"the producer is gone, {after.wrong_words} of {after.words} words wrong"
        else:
            wrong = f"{transfer.wrong_words} wrong" if transfer.wrong_words else "right"
            wrote = ", wrote back" if transfer.wrote else ""
            text = f"opened in {transfer.open_ms} ms, {transfer.words} words {wrong}{wrote}"
        self._log.say(f"{transfer.path}: {text}")
