"""The exporting process of every mechanism: fills memory, offers it to importers in turn."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict

from workload import process
from workload.buffer import WORD, seed_of
from workload.cuda import Context
from workload.exchange import Waiting
from workload.meeting import Door, Line, Wrote
from workload.options import End
from workload.reading import read
from workload.result import Lent, Mechanism, Seen, WorkloadError
from workload.rounds import lend_rounds
from workload.shareable import Exported, exported
from workload.task import Task

SOCKET = "{}.socket"
"""The name of the socket, by the run's nonce."""
_MODULUS = 1 << 64


def lend(task: Task, door: Door, waiting: Waiting) -> None:
    """Do the exporter's part for each importer; what was done stands in the result.

    That CUDA has a mechanism refused is a result, no error.

    Raises:
        WorkloadError: an importer never came or ended without a word (partner-never-came).
    """
    options, result = task.options, task.result
    with ExitStack() as stack:
        context = stack.enter_context(task.cuda.context(task.gpus[0]))
        memory: dict[Mechanism, Exported] = {}
        for mechanism in Mechanism:
            without_channel = next(
                (one.error for one in result.lent if one.mechanism is Mechanism.FABRIC), None
            )
            if mechanism is Mechanism.POOL_FABRIC and without_channel:
                # CUDA makes such a pool, refuses to export it, and crashes when it is let go.
                result.lent += (Lent(mechanism, error=without_channel),)
                continue
            try:
                made = stack.enter_context(exported(context, mechanism, options.bytes))
            except WorkloadError as error:
                lent = Lent(mechanism, error=error.problem)
                task.log.say(f"{mechanism}: {error.problem.sentence()}")
            else:
                memory[mechanism] = made
                lent = Lent(
                    mechanism,
                    seed_of(f"{options.nonce}/{mechanism}"),
                    made.handle.hex(),
                    made.descriptor is not None,
                )
            result.lent += (lent,)
        task.log.say(f"shares {options.bytes >> 20} MiB by {', '.join(memory)}")
        for _ in range(options.consumers):
            _serve(task, context, memory, door.next(waiting), waiting)


def _serve(
    task: Task, context: Context, memory: dict[Mechanism, Exported], line: Line, waiting: Waiting
) -> None:
    """Offer all memory, filled anew, to one importer; verify what it wrote."""
    options, result = task.options, task.result
    words = options.bytes // WORD
    seeds = {lent.mechanism: lent.seed for lent in result.lent}
    for mechanism, made in memory.items():
        context.fill(made.address, 0, words, seeds[mechanism])
    descriptors = [made.descriptor for made in memory.values() if made.descriptor is not None]
    offer = {
        "nonce": options.nonce,
        "bytes": options.bytes,
        "exporter": context.gpu.uuid,
        "lent": [asdict(lent) for lent in result.lent],
        "descriptors": descriptors,
    }
    line.tell(offer, descriptors)
    heard, _ = line.hear(waiting, "an importer's word")
    if options.end is End.KILL:
        process.kill_oneself()
    for written in heard["wrote"] if options.end is None else ():
        wrote = read(Wrote, written)
        seed = (seeds[wrote.mechanism] + wrote.step) % _MODULUS
        found = context.verify(memory[wrote.mechanism].address, wrote.first, wrote.words, seed)
        result.seen += (
            Seen(
                *(wrote.path, found.words, found.wrong, found.first_wrong),
                *(wrote.mechanism, heard["role"]),
            ),
        )
        task.log.say(
            f"{wrote.mechanism}, {wrote.path}: {found.wrong} of {found.words} words that the"
            f" {heard['role']} wrote are wrong"
        )
    if options.end is not None:
        return
    if heard["measure"]:
        line.tell({})
        line.hear(waiting, "the importer's speeds")
    if heard["rounds"]:
        lend_rounds(task, context, line, waiting, list(memory), heard["rounds"])
