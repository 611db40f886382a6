"""One process, one handle: right and wrong ways to open it, one after the other."""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, replace

from workload import attempts
from workload.buffer import PAGE, WORD, Buffer, Doorbell, small_seed
from workload.consumer import accept
from workload.cuda import LAZY_ENABLE_PEER_ACCESS, Context, Cuda, Findings, Opening
from workload.reading import read
from workload.result import (
    CONTEXT_BROKEN,
    HANDLE_BYTES,
    Attempt,
    Extras,
    Gpu,
    Offer,
    WorkloadError,
    with_pid,
)
from workload.task import Log, Task

_DONE = "DRA_PROBE_DONE"
"""What this process found before it became a fresh one: JSON, a list of attempts."""
_NOBODY = 1 << 22
"""A PID that no process has: PIDs are smaller (proc(5), ``pid_max``)."""
_OWN_SEED = 42


def probe(task: Task) -> None:
    """Make every attempt; then ring, so that the producer ends.

    Attempts that CUDA refuses are results, no errors.

    Raises:
        WorkloadError: the offer is of another run (stale-offer), or the doorbell cannot be rung.
    """
    offer, result = task.options.offer, task.result
    assert offer  # the options need it
    accept(task, offer)
    names = task.options.attempts or tuple(
        name for name, extra in attempts.NAMES.items() if offer.extras or not extra
    )
    result.attempts = tuple(read(Attempt, done) for done in json.loads(os.environ.pop(_DONE, "[]")))
    with task.cuda.context(importer(task, offer)) as context:
        prober = _Prober(task.cuda, context, offer)
        for number in range(len(result.attempts), len(names)):
            attempt = prober.attempt(names[number])
            broken = context.broken()
            if broken:
                note = f"{CONTEXT_BROKEN} ({broken.name}, {broken.code})"
                attempt = replace(attempt, note="; ".join(filter(None, (attempt.note, note))))
            result.attempts += (attempt,)
            _tell(task.log, attempt)
            if broken:
                _go_on_in_a_fresh_process(result.attempts)
        ring_looked(context, offer)


def importer(task: Task, offer: Offer) -> Gpu:
    """The GPU that imports: the first that was asked for, else the exporting one if visible."""
    same = next((gpu for gpu in task.gpus if gpu.uuid == offer.exporter), task.gpus[0])
    return task.gpus[0] if task.options.gpus else same


def ring_looked(context: Context, offer: Offer) -> None:
    """Tell the producer that nothing was written.

    Raises:
        WorkloadError: its memory cannot be opened for that (not-opened).
    """
    handle = bytes.fromhex(offer.handle)
    if offer.own_pid == os.getpid():
        handle = with_pid(handle, _NOBODY)
    with context.imported(handle) as address:
        Buffer(context, address, offer.bytes, offer.seed).ring(Doorbell.LOOKED)


def _go_on_in_a_fresh_process(done: tuple[Attempt, ...]) -> None:
    """Start this program again in place of itself: CUDA begins anew, the PID stays."""
    sys.stdout.flush()
    environment = {**os.environ, _DONE: json.dumps([asdict(attempt) for attempt in done])}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def _tell(log: Log, attempt: Attempt) -> None:
    if attempt.code:
        text = f"{attempt.function}: {attempt.error} ({attempt.code})"
    elif attempt.wrong_words is None:
        text = "opened"
    else:
        text = f"opened, {attempt.wrong_words} of {attempt.words} words wrong"
    log.say(f"{attempt.name}: {text}{f'; {attempt.note}' if attempt.note else ''}")


class _Prober:
    """The attempts on one offer."""

    def __init__(self, cuda: Cuda, context: Context, offer: Offer) -> None:
        self._cuda = cuda
        self._context = context
        self._offer = offer
        self._handle = bytes.fromhex(offer.handle)
        self._special: dict[str, Callable[[], Attempt]] = {
            "reopened": self._reopened,
            "twice": self._twice,
            "many": self._many,
            "interior": self._interior,
            "own": self._own,
            "event": self._event,
        }

    def attempt(self, name: str) -> Attempt:
        """Make the attempt of this name."""
        if special := self._special.get(name):
            return replace(special(), name=name)
        handle, flags, note = self._changed(name)
        with self._context.opened(handle, flags) as opening:
            return replace(self._judged(opening, self._verify_main, note), name=name)

    def _changed(self, name: str) -> tuple[bytes, int, str]:
        """The handle and the flags to open it with, and what is to be said of them."""
        kind, _, value = name.rpartition("-")
        handle, flags, note = bytearray(self._handle), LAZY_ENABLE_PEER_ACCESS, ""
        if name == "freed":
            handle = bytearray.fromhex(self._extras().freed)
        elif name == "garbage-zeros":
            handle = bytearray(HANDLE_BYTES)
        elif name == "garbage-random":
            handle = bytearray(random.Random(0).randbytes(HANDLE_BYTES))
        elif name == "truncated-32":
            handle[32:] = bytes(HANDLE_BYTES - 32)
        elif kind == "flip":
            handle[int(value)] ^= 0xFF
        elif kind == "flags":
            flags = int(value)
        elif kind == "pid-of":
            pid = _NOBODY if value == "nobody" else os.getpid()
            handle, note = bytearray(with_pid(bytes(handle), pid)), f"PID {pid}"
        return bytes(handle), flags, note

    def _judged(
        self, opening: Opening, verify: Callable[[int], tuple[Findings, str]] | None, note: str = ""
    ) -> Attempt:
        """What came of an opening; what opened is verified, where it has words."""
        attempt = Attempt(
            name="",
            function=opening.function,
            code=opening.code,
            error=self._cuda.library.name(opening.code) if opening.code else None,
            ms=opening.ms,
            note=note,
        )
        if opening.code or not verify:
            return attempt
        try:
            found, more = verify(opening.address)
        except WorkloadError as error:
            more = error.problem.sentence()
        else:
            attempt = replace(attempt, words=found.words, wrong_words=found.wrong)
        return replace(attempt, note="; ".join(filter(None, (note, more))))

    def _verify_main(self, address: int) -> tuple[Findings, str]:
        buffer = Buffer(self._context, address, self._offer.bytes, self._offer.seed)
        return buffer.verify(buffer.words, 0), ""

    def _reopened(self) -> Attempt:
        with self._context.opened(self._handle) as opening:
            if opening.code:
                return self._judged(opening, self._verify_main, "the first time")
        with self._context.opened(self._handle) as opening:
            return self._judged(opening, self._verify_main)

    def _twice(self) -> Attempt:
        with self._context.opened(self._handle) as one:
            if one.code:
                return self._judged(one, self._verify_main, "the first time")
            with self._context.opened(self._handle) as other:
                same = "the same pointer" if one.address == other.address else "another pointer"
                note = "" if other.code else f"{same} came"
                return self._judged(other, self._verify_main, note)

    def _many(self) -> Attempt:
        handles = [bytes.fromhex(handle) for handle in self._extras().small]
        with ExitStack() as stack:
            openings = []
            for number, handle in enumerate(handles):
                openings.append(stack.enter_context(self._context.opened(handle)))
                if openings[-1].code:
                    return self._judged(openings[-1], self._verify_main, f"number {number}")

            def verify(_address: int) -> tuple[Findings, str]:
                found = Findings()
                for number, opening in enumerate(openings):
                    seed = small_seed(self._offer.seed, number)
                    found += self._context.verify(opening.address, 0, PAGE // WORD, seed)
                addresses = len({opening.address for opening in openings})
                return found, f"{len(openings)} opened at once, at {addresses} addresses"

            slowest = max(openings, key=lambda opening: opening.ms)
            return self._judged(slowest, verify)

    def _interior(self) -> Attempt:
        extras = self._extras()

        def verify(address: int) -> tuple[Findings, str]:
            from_base, _ = self._verify_main(address)
            if not from_base.wrong:
                return from_base, "the base of the allocation came"
            # As if the base lay before what came: that is where the words are right, if anywhere.
            first = extras.interior_offset // WORD
            words = from_base.words - first
            base = address - extras.interior_offset
            inside = self._context.verify(base, first, words, self._offer.seed)
            if not inside.wrong:
                return inside, "the pointer itself came, not the base of the allocation"
            return from_base, "neither the base of the allocation nor the pointer itself came"

        with self._context.opened(bytes.fromhex(extras.interior)) as opening:
            return self._judged(opening, verify)

    def _own(self) -> Attempt:
        def verify(address: int) -> tuple[Findings, str]:
            return self._context.verify(address, 0, PAGE // WORD, _OWN_SEED), ""

        with self._context.allocated(PAGE) as memory:
            self._context.fill(memory, 0, PAGE // WORD, _OWN_SEED)
            with self._context.opened(self._context.export(memory)) as opening:
                return self._judged(opening, verify)

    def _event(self) -> Attempt:
        with self._context.opened_event(bytes.fromhex(self._extras().event)) as opening:
            if not opening.code:
                waited = self._context.wait_for_event(opening.address)
                if waited.code:
                    return self._judged(waited, None, f"opened; then {waited.function} failed")
            return self._judged(opening, None)

    def _extras(self) -> Extras:
        assert self._offer.extras  # the options and `probe` need them for these attempts
        return self._offer.extras
