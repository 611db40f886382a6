"""The importing process of every mechanism: opens what is offered, verifies it, writes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace

from workload.buffer import WORD
from workload.cuda import Context, Findings
from workload.exchange import Waiting
from workload.lending import SOCKET
from workload.measure import measure
from workload.meeting import Wrote, knock
from workload.reading import read
from workload.result import (
    AfterGone,
    Lent,
    Mechanism,
    Problem,
    Transfer,
    Verdict,
    WorkloadError,
    transfer_between,
)
from workload.rounds import borrow_rounds
from workload.shareable import Opened, is_pool
from workload.task import Task

LATE = "late"
_LONGEST = 15.0
"""Seconds that a mechanism may take: some calls of CUDA were seen to give no answer."""
_MODULUS = 1 << 64


def borrow(task: Task, waiting: Waiting) -> None:
    """Do the importer's part; what was done stands in the result.

    That CUDA has a mechanism refused is a result, no error.

    Raises:
        WorkloadError: the exporter never came (partner-never-came), or is of another run
            (stale-offer).
    """
    options, result = task.options, task.result
    assert options.folder  # the options need it
    with knock(options.folder, SOCKET.format(options.nonce), waiting) as line:
        offer, descriptors = line.hear(waiting, "the exporter's offer")
        result.lent = tuple(read(Lent, lent) for lent in offer["lent"])
        exporter, size = offer["exporter"], offer["bytes"]
        result.attempts = tuple(line.take(number) for number in offer["descriptors"][:1])
        given = iter(descriptors)
        with ExitStack() as stack:
            chosen = sorted(task.gpus[:2], key=lambda gpu: gpu.uuid != exporter)
            contexts = [stack.enter_context(task.cuda.context(gpu)) for gpu in chosen]
            borrowed = [
                _Borrowed(task, lent, next(given) if lent.by_descriptor else None, exporter, size)
                for lent in result.lent
                if lent.error is None
            ]
            for one in borrowed:
                one.in_time(stack, one.open_and_verify, contexts)
            wrote = [asdict(written) for one in borrowed for written in one.wrote]
            more = chosen[0].uuid == exporter and not any(one.silent for one in borrowed)
            word = {"measure": more and options.measure, "rounds": more and options.rounds}
            line.tell({"role": options.role, "wrote": wrote, **word})
            if word["measure"]:
                line.hear(waiting, "the exporter's look at what was written")
                for one in borrowed:
                    one.measure(contexts)
                line.tell({})
            if word["rounds"]:
                borrow_rounds(task, contexts[0], line, waiting)
            if options.until_gone:
                line.wait_until_gone(waiting)
                for one in borrowed:
                    one.in_time(stack, one.verify_again, contexts)
                for one in borrowed:
                    # CUDA crashes at a pool's fabric handle while its exporter is being ended.
                    if one.lent.mechanism is not Mechanism.POOL_FABRIC:
                        one.in_time(stack, one.open_late, contexts)


@dataclass
class _Borrowed:
    """What one mechanism offers."""

    task: Task
    lent: Lent
    descriptor: int | None
    exporter: str
    _bytes: int
    wrote: list[Wrote] = field(default_factory=list)
    _stack: ExitStack = field(default_factory=ExitStack)
    """What is open."""
    _address: int | None = None
    silent: bool = False
    """Whether a call was left without an answer: then nothing more is asked of it."""

    def in_time(
        self,
        contexts_stack: ExitStack,
        do: Callable[[Sequence[Context]], None],
        contexts: Sequence[Context],
    ) -> None:
        """Do a part; when CUDA gives no answer, note that and leave all as it is."""
        if self.silent:
            return
        problem: list[BaseException] = []

        def work() -> None:
            try:
                do(contexts)
            except BaseException as error:  # noqa: BLE001 - it is raised again below
                problem.append(error)

        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        worker.join(_LONGEST)
        if worker.is_alive():
            self.silent = True
            contexts_stack.pop_all()  # closing them might wait for the same
            text = f"no answer within {_LONGEST:g} s"
            self._note(self._transfer(contexts[0]), Problem("open the memory", text))
        if problem:
            raise problem[0]

    def open_and_verify(self, contexts: Sequence[Context]) -> None:
        """Open the memory on each GPU, verify every word, and overwrite this GPU's part."""
        given = {gpu.uuid for gpu in self.task.result.nvml or ()}
        if is_pool(self.lent.mechanism) and self.exporter not in given:
            text = "not tried: CUDA crashes at a pool of a GPU that the container does not have"
            self._note(self._transfer(contexts[0]), Problem("import the handle", text))
            return
        opened = self._opened(self._stack)
        middle = self._words // 2
        halves = [range(middle), range(middle, self._words)]
        steps = [0, 0]
        for context in contexts:
            transfer = self._transfer(context)
            started = time.perf_counter()
            try:
                address = opened.address(context, self.exporter)
                taken = round((time.perf_counter() - started) * 1000, 4)
                transfer = replace(transfer, opened=True, open_ms=taken)
                self._address = self._address or address
                transfer = self._verified(transfer, context, address, halves, steps)
                if not transfer.wrong_words and not self.task.options.until_gone:
                    self._write(transfer.path, context, address, halves, steps, len(contexts))
                    transfer = replace(transfer, wrote=True)
            except WorkloadError as error:
                self._note(transfer, error.problem, error)
            else:
                self._note(transfer)
        if not self.task.options.until_gone:
            self._stack.close()

    def measure(self, contexts: Sequence[Context]) -> None:
        """Measure the memory from each GPU on which it opened and was right."""
        right = {
            transfer.importer
            for transfer in self.task.result.transfers
            if transfer.mechanism is self.lent.mechanism and transfer.wrote
        }
        try:
            with ExitStack() as stack:
                opened = self._opened(stack)
                for context in (one for one in contexts if one.gpu.uuid in right):
                    address = opened.address(context, self.exporter)
                    context.fill(address, 0, self._words, self.lent.seed)
                    measure(self.task, context, address, self.lent, self.exporter, self._bytes)
        except WorkloadError as error:
            self.task.log.say(f"{self.lent.mechanism}: not measured: {error.problem.sentence()}")

    def verify_again(self, contexts: Sequence[Context]) -> None:
        """Verify the memory that is still open, now that its exporter is gone."""
        transfers = self.task.result.transfers
        mine = next((one for one in transfers if one.mechanism is self.lent.mechanism), None)
        if mine is None or self._address is None:
            return
        try:
            found = contexts[0].verify(self._address, 0, self._words, self.lent.seed)
            again = replace(mine, after_gone=AfterGone(found.words, found.wrong))
        except WorkloadError as error:
            again = replace(mine, error=error.problem)
        self.task.result.transfers = tuple(again if one is mine else one for one in transfers)
        self._stack.close()

    def open_late(self, contexts: Sequence[Context]) -> None:
        """Open the memory once more, after its exporter's end."""
        opened = self._opened(self._stack)
        transfer = replace(self._transfer(contexts[0]), path=LATE)
        try:
            address = opened.address(contexts[0], self.exporter)
            transfer = replace(transfer, opened=True)
            everything = [range(self._words)]
            transfer = self._verified(transfer, contexts[0], address, everything, [0])
        except WorkloadError as error:
            self._note(transfer, error.problem, error)
        else:
            self._note(transfer)
        self._stack.close()

    def _opened(self, stack: ExitStack) -> Opened:
        handle = bytes.fromhex(self.lent.handle)
        return Opened(self.lent.mechanism, handle, self.descriptor, self._bytes, stack)

    @property
    def _words(self) -> int:
        return self._bytes // WORD

    def _transfer(self, context: Context) -> Transfer:
        transfer = transfer_between(context.gpu.uuid, self.exporter, self.task.result.peers)
        return replace(transfer, mechanism=self.lent.mechanism)

    def _verified(
        self,
        transfer: Transfer,
        context: Context,
        address: int,
        parts: Sequence[range],
        steps: Sequence[int],
    ) -> Transfer:
        found = Findings()
        for part, step in zip(parts, steps, strict=True):
            found += context.verify(address, part.start, len(part), self._stepped(step))
        return replace(
            transfer,
            words=found.words,
            wrong_words=found.wrong,
            first_wrong=found.first_wrong,
        )

    def _write(
        self,
        path: str,
        context: Context,
        address: int,
        halves: Sequence[range],
        steps: list[int],
        gpus: int,
    ) -> None:
        """Overwrite this path's part: all where there is one GPU, else a half each."""
        mine = [0, 1] if gpus == 1 else [0] if path == "same" else [1]
        step = 1 if path == "same" else 2
        for number in mine:
            half = halves[number]
            context.fill(address, half.start, len(half), self._stepped(step))
            steps[number] = step
            self.wrote.append(Wrote(self.lent.mechanism, path, half.start, len(half), step))

    def _stepped(self, step: int) -> int:
        return (self.lent.seed + step) % _MODULUS

    def _note(
        self, transfer: Transfer, problem: Problem | None = None, error: WorkloadError | None = None
    ) -> None:
        if error is not None and error.verdict is Verdict.WORKLOAD_FAULT:
            raise error
        if problem is not None:
            transfer = replace(transfer, error=problem)
        self.task.result.transfers += (transfer,)
        wrong = f"{transfer.wrong_words} of {transfer.words} words wrong"
        said = problem.sentence() if problem else wrong
        self.task.log.say(f"{transfer.mechanism}, {transfer.path}: {said}")
