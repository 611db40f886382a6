"""The exporting process: fills memory, offers it, and proves that it sees the consumer's write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext

from workload import process
from workload.buffer import PAGE, WORD, Buffer, Doorbell, seed_of, small_seed
from workload.cuda import Context
from workload.exchange import ProducerSide, Waiting, partner_never_came
from workload.options import End
from workload.result import Extras, Offer, Result, Seen, Verdict
from workload.task import Task

_SMALL = 16
"""How many small allocations there are among the extras."""
_INTERIOR = 1 << 20
"""Bytes into the main allocation: within its first block of 2 MiB."""

SHORTEST, LONGEST = 0.0005, 0.005
"""Seconds between two looks at the doorbell: device memory wakes nobody."""


def produce(task: Task, side: ProducerSide, waiting: Waiting) -> None:
    """Do the producer's part; what was done stands in the result, even when it fails.

    Raises:
        WorkloadError: something went wrong.
    """
    options, result, gpu = task.options, task.result, task.gpus[0]
    nonce = options.nonce or ""
    seed = seed_of(nonce)
    with (
        task.cuda.context(gpu) as context,
        context.allocated(options.bytes) as address,
        _extras(context, address, seed) if options.extras else nullcontext() as extras,
    ):
        buffer = Buffer(context, address, options.bytes, seed)
        checksum = buffer.prepare()
        result.offer = Offer(
            nonce=nonce,
            handle=context.export(address).hex(),
            bytes=options.bytes,
            seed=seed,
            checksum=f"{checksum:016x}",
            exporter=gpu.uuid,
            own_pid=result.process.own_pid,
            extras=extras,
        )
        task.log.say(f"filled {options.bytes >> 20} MiB on GPU {gpu.ordinal}, verified it")
        side.publish(result.offer, options.consumers)
        if options.end is End.KILL:
            process.kill_oneself()
        if options.end is End.EXIT:
            return
        rung = _wait_for_doorbells(buffer, side, waiting, options.consumers)
        if options.end is End.KILL_WHEN_RUNG:
            process.kill_oneself()
        task.log.say(_verify_write(buffer, rung, result))


@contextmanager
def _extras(context: Context, address: int, seed: int) -> Iterator[Extras]:
    """More handles; the memory behind them is there while the body runs."""
    with ExitStack() as stack:
        small = []
        for number in range(_SMALL):
            memory = stack.enter_context(context.allocated(PAGE))
            context.fill(memory, 0, PAGE // WORD, small_seed(seed, number))
            small.append(context.export(memory).hex())
        event = stack.enter_context(context.recorded_event()).hex()
        # The last one, or an allocation that follows could take its place.
        with context.allocated(PAGE) as memory:
            freed = context.export(memory).hex()
        yield Extras(
            freed=freed,
            interior=context.export(address + _INTERIOR).hex(),
            interior_offset=_INTERIOR,
            small=tuple(small),
            event=event,
        )


def _wait_for_doorbells(
    buffer: Buffer, side: ProducerSide, waiting: Waiting, consumers: int
) -> list[Doorbell]:
    """Wait until every consumer is done.

    Raises:
        WorkloadError: one of them failed or ended without ringing, or the patience is over.
    """
    # That a single consumer is gone is seen at its end of the FIFO. Where there are several, that
    # nobody has it open says nothing: others may be yet to come.
    descriptor = side.descriptor if consumers == 1 else None
    pause = SHORTEST
    while True:
        woken = waiting.wait(descriptor, "the consumer's write", at_most=pause)
        answers = side.answers()
        # It rings before it answers, so what it did can be heard now.
        heard = buffer.heard(consumers)
        if Doorbell.FAILED in heard:
            said = ", ".join(answers)
            raise partner_never_came(f"the consumer failed ({said or 'see its log'})")
        rung = [doorbell for doorbell in heard if doorbell is not None]
        if len(rung) == consumers:
            return rung
        if failed := [answer for answer in answers if answer != Verdict.OK]:
            raise partner_never_came(f"the consumer failed ({', '.join(failed)})")
        if woken:
            raise partner_never_came(
                "the consumer ended without a word, or its write cannot be seen"
            )
        pause = min(pause * 1.5, LONGEST)


def _verify_write(buffer: Buffer, rung: list[Doorbell], result: Result) -> str:
    """Verify what was written, where it is known who wrote what; say what was seen."""
    if set(rung) == {Doorbell.LOOKED}:
        found = buffer.verify(buffer.words, 0)
        found.must_be_right("verify the data that nobody wrote")
        return f"nobody wrote: {found.words} words as they were"
    if len(rung) > 1:
        return f"{len(rung)} consumers rang; what they wrote is not verified"
    _verify_write_of_one(buffer, rung[0], result)
    return f"saw the consumer's write: {sum(item.words for item in result.seen)} words right"


def _verify_write_of_one(buffer: Buffer, rung: Doorbell, result: Result) -> None:
    first, second = buffer.halves
    if rung is Doorbell.CROSS_WROTE_ALL:
        found = {"cross": buffer.verify(buffer.words, 2)}
    elif rung is Doorbell.SAME_WROTE_ALL:
        found = {"same": buffer.verify(buffer.words, 1)}
    elif rung is Doorbell.BOTH_WROTE:
        found = {"same": buffer.verify(first, 1), "cross": buffer.verify(second, 2)}
    else:
        found = {"same": buffer.verify(first, 1)}
        buffer.verify(second, 0).must_be_right("verify the half that nobody wrote")
    result.seen = tuple(
        Seen(path, each.words, each.wrong, each.first_wrong) for path, each in found.items()
    )
    for path, each in found.items():
        each.must_be_right(f"verify the consumer's write over path {path}")
