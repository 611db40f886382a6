"""The exporting process: fills memory, offers it, and proves that it sees the consumer's write."""

from __future__ import annotations

from workload.buffer import Buffer, Doorbell, Findings, seed_of
from workload.cuda import Cuda
from workload.exchange import ProducerSide, Waiting, partner_never_came
from workload.log import Log
from workload.options import Options
from workload.result import Gpu, Offer, Problem, Result, Seen, Verdict, WorkloadError

_SHORTEST, _LONGEST = 0.0005, 0.005
"""Seconds between two looks at the doorbell: device memory wakes nobody."""


def produce(
    options: Options,
    side: ProducerSide,
    waiting: Waiting,
    cuda: Cuda,
    gpus: list[Gpu],
    result: Result,
    log: Log,
) -> None:
    """Do the producer's part; what was done stands in the result, even when it fails.

    Raises:
        WorkloadError: something went wrong.
    """
    nonce = options.nonce or ""
    with cuda.context(gpus[0]) as context, context.allocated(options.bytes) as address:
        buffer = Buffer(context, address, options.bytes, seed_of(nonce))
        checksum = _fill(buffer)
        result.offer = Offer(
            nonce=nonce,
            handle=context.export(address).hex(),
            bytes=options.bytes,
            seed=seed_of(nonce),
            checksum=f"{checksum:016x}",
            exporter=gpus[0].uuid,
            own_pid=result.process.own_pid,
        )
        log.say(f"filled {options.bytes >> 20} MiB on GPU {gpus[0].ordinal}, verified it")
        side.publish(result.offer, log.prefix)
        rung = _wait_for_doorbell(buffer, side, waiting)
        if rung is Doorbell.FAILED:
            raise partner_never_came(f"the consumer failed ({side.answer() or 'see its log'})")
        _verify_write(buffer, rung, result)
    log.say(f"saw the consumer's write: {_sum(result.seen)} words right")


def _fill(buffer: Buffer) -> int:
    """Fill everything, verify it, and return the checksum."""
    buffer.silence()
    found = Findings(0, 0, None, 0)
    for half in buffer.halves:
        buffer.fill(half, 0)
        found += buffer.verify(half, 0)
    if found.wrong:
        raise _wrong("verify the own fill", found)
    return found.checksum


def _wait_for_doorbell(buffer: Buffer, side: ProducerSide, waiting: Waiting) -> Doorbell:
    pause = _SHORTEST
    while (rung := buffer.heard()) is None:
        if waiting.wait(side.descriptor, "the consumer's write", at_most=pause):
            # It rings before it answers, so what it did can be heard now.
            answer = side.answer()
            if (rung := buffer.heard()) is None:
                raise partner_never_came(
                    f"the consumer failed ({answer})"
                    if answer
                    else "the consumer ended without a word, or its write cannot be seen"
                )
            return rung
        pause = min(pause * 1.5, _LONGEST)
    return rung


def _verify_write(buffer: Buffer, rung: Doorbell, result: Result) -> None:
    first, second = buffer.halves
    found: dict[str, Findings] = {"same": buffer.verify(first, 1)}
    if rung is Doorbell.SAME_WROTE_ALL:
        found["same"] += buffer.verify(second, 1)
    elif rung is Doorbell.BOTH_WROTE:
        found["cross"] = buffer.verify(second, 2)
    elif (untouched := buffer.verify(second, 0)).wrong:
        raise _wrong("verify the half that nobody wrote", untouched)
    result.seen = [
        Seen(path, each.words, each.wrong, each.first_wrong) for path, each in found.items()
    ]
    for path, each in found.items():
        if each.wrong:
            raise _wrong(f"verify the consumer's write over path {path}", each)


def _wrong(step: str, found: Findings) -> WorkloadError:
    return WorkloadError(
        Verdict.CHECKSUM_WRONG,
        Problem(
            step,
            f"{found.wrong} of {found.words} words are wrong, the first is {found.first_wrong}",
        ),
    )


def _sum(seen: list[Seen]) -> int:
    return sum(item.words for item in seen)
