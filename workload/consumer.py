"""The importing process: opens offered memory, verifies every word, writes back."""

from __future__ import annotations

import time
from dataclasses import replace

from workload.buffer import Buffer, Doorbell, Findings
from workload.cuda import Cuda
from workload.exchange import ConsumerSide, Waiting
from workload.log import Log
from workload.options import Options
from workload.result import Gpu, Offer, Problem, Result, Transfer, Verdict, WorkloadError


def consume(
    options: Options,
    side: ConsumerSide,
    waiting: Waiting,
    cuda: Cuda,
    gpus: list[Gpu],
    result: Result,
    log: Log,
) -> None:
    """Do the consumer's part; what was done stands in the result, even when it fails.

    Raises:
        WorkloadError: something went wrong.
    """
    offer = options.offer or side.take(waiting)
    result.offer = offer
    if offer.nonce != options.nonce:
        raise WorkloadError(
            Verdict.STALE_OFFER,
            Problem("take the offer", f"it is of run {offer.nonce}, this is run {options.nonce}"),
        )
    _Consumer(cuda, gpus, offer, result, log).run()


class _Consumer:
    """The work on one offer."""

    def __init__(self, cuda: Cuda, gpus: list[Gpu], offer: Offer, result: Result, log: Log) -> None:
        self._cuda = cuda
        self._offer = offer
        self._result = result
        self._log = log
        # The exporting GPU first: that is the path "same", whatever the order of the rest.
        self._importers = sorted(gpus[:2], key=lambda gpu: gpu.uuid != offer.exporter)
        self._exporter = next((gpu for gpu in cuda.gpus if gpu.uuid == offer.exporter), None)
        self._steps = [0, 0]
        """How far each half of the data is: pattern(seed + step)."""
        self._checksums: list[int | None] = [None, None]
        """Of each half, as verified on the exporting GPU."""

    def run(self) -> None:
        """Take every path; then ring, and say what was wrong."""
        for gpu in self._importers:
            self._result.transfers.append(self._transfer(gpu))
            self._tell(self._result.transfers[-1])
        problem = self._problem()
        self._ring(Doorbell.FAILED if problem else self._done())
        if problem:
            raise problem

    def _transfer(self, gpu: Gpu) -> Transfer:
        same = gpu.uuid == self._offer.exporter
        transfer = Transfer(
            "same" if same else "cross", importer=gpu.uuid, exporter=self._offer.exporter
        )
        try:
            if self._exporter and not same:
                asked = self._cuda.can_access_peer(gpu, self._exporter)
                transfer = replace(transfer, can_access_peer=asked)
            with self._cuda.context(gpu) as context:
                started = time.perf_counter()
                with context.imported(bytes.fromhex(self._offer.handle)) as address:
                    taken = (time.perf_counter() - started) * 1000
                    transfer = replace(transfer, opened=True, open_ms=round(taken, 3))
                    buffer = Buffer(context, address, self._offer.bytes, self._offer.seed)
                    transfer = self._verify(buffer, transfer)
                    if not transfer.wrong_words and transfer.checksum == transfer.expected_checksum:
                        self._write_back(buffer, same)
                        transfer = replace(transfer, wrote=True)
        except WorkloadError as error:
            if error.verdict is Verdict.WORKLOAD_FAULT:
                raise
            transfer = replace(transfer, error=error.problem)
        return transfer

    def _verify(self, buffer: Buffer, transfer: Transfer) -> Transfer:
        """Compare every word, and the checksum with what is known of the content."""
        parts = [
            buffer.verify(half, step) for half, step in zip(buffer.halves, self._steps, strict=True)
        ]
        found: Findings = parts[0] + parts[1]
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
        return None

    def _done(self) -> Doorbell:
        if self._steps == [1, 1]:
            return Doorbell.SAME_WROTE_ALL
        return Doorbell.BOTH_WROTE if self._steps == [1, 2] else Doorbell.SAME_WROTE_HALF

    def _ring(self, what: Doorbell) -> None:
        """Ring through the first path that opened; where none did, there is no bell to reach."""
        opened = [transfer.importer for transfer in self._result.transfers if transfer.opened]
        for gpu in self._importers:
            if gpu.uuid in opened[:1]:
                with (
                    self._cuda.context(gpu) as context,
                    context.imported(bytes.fromhex(self._offer.handle)) as address,
                ):
                    Buffer(context, address, self._offer.bytes, self._offer.seed).ring(what)

    def _tell(self, transfer: Transfer) -> None:
        if transfer.error:
            self._log.say(f"{transfer.path}: {transfer.error.sentence()}")
            return
        wrong = f"{transfer.wrong_words} wrong" if transfer.wrong_words else "right"
        wrote = ", wrote back" if transfer.wrote else ""
        self._log.say(
            f"{transfer.path}: opened in {transfer.open_ms} ms,"
            f" {transfer.words} words {wrong}{wrote}"
        )
