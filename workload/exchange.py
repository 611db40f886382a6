"""How the two processes meet: a shared folder with two FIFOs, or the log and the caller.

In a folder either side may come first. Both make the FIFOs and open them before anything else; the
kernel wakes whoever waits, and tells it when the other's end closes, so a partner that dies is
noticed at once. A FIFO holds nothing when nobody has it open: what an earlier run left cannot be
taken for an offer. An offer fills PIPE_BUF bytes, which are written and read at once (pipe(7)), so
that each of several consumers takes exactly one.
"""

from __future__ import annotations

import os
import select
import signal
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from workload.reading import ReportError
from workload.result import OFFER_MARK, Offer, Problem, Verdict, WorkloadError

_OFFER = "offer.fifo"
"""From producer to consumer: the offer, filled up with blanks, once for each consumer."""
_ANSWER = "answer.fifo"
"""From consumer to producer: one line each, its verdict."""

_READABLE = select.POLLIN
_CLOSED = select.POLLHUP | select.POLLERR | select.POLLNVAL


def partner_never_came(text: str) -> WorkloadError:
    """The error of a wait that was in vain."""
    return WorkloadError(Verdict.PARTNER_NEVER_CAME, Problem("wait for the partner", text))


class Waiting:
    """Waits for the partner, which end with the patience or with SIGTERM.

    The patience counts from the first wait on: starting CUDA is nobody's delay.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._until: float | None = None
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._told_to_stop = False

    @contextmanager
    def heeding_signals(self) -> Iterator[None]:
        """While the body runs, SIGTERM and SIGINT end the present or next wait, not the process."""
        handlers = {
            number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)
        }
        wakeup = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._told_to_stop = True

    def wait(
        self,
        descriptor: int | None,
        what: str,
        at_most: float | None = None,
        events: int = _READABLE,
    ) -> int:
        """Wait for something to read, or for the other end to close.

        Args:
            descriptor: what to read; None to let time pass only.
            what: what is waited for, for the error.
            at_most: seconds after which to return in any case.
            events: what to wait for; 0: for the other end to close only.

        Returns:
            The descriptor's events; 0 when ``at_most`` is over.

        Raises:
            WorkloadError: the patience is over, or the process was told to stop.
        """
        if self._told_to_stop:
            raise partner_never_came(f"stopped by a signal while waiting for {what}")
        now = time.monotonic()
        self._until = self._until or now + self._patience
        left = self._until - now
        if left <= 0:
            raise partner_never_came(f"waited {self._patience:g} s in vain for {what}")
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        if descriptor is not None:
            poll.register(descriptor, events)
        pause = left if at_most is None else min(left, at_most)
        happened = dict(poll.poll(max(1.0, pause * 1000)))
        if descriptor in happened:
            return happened[descriptor]
        if at_most is None or self._told_to_stop:
            return self.wait(descriptor, what, at_most, events)
        return 0


class ProducerSide:
    """The producer's end of the exchange."""

    def __init__(self, folder: Path | None) -> None:
        self.descriptor, self._offer = _ends(folder, _ANSWER, _OFFER)
        """What becomes readable when the consumer answers, if there is such a way."""

    def publish(self, offer: Offer, consumers: int) -> None:
        """Hand the offer over.

        Args:
            offer: what to hand over.
            consumers: to how many, in a folder.
        """
        if self._offer is None:
            print(OFFER_MARK + offer.line(), flush=True)
            return
        for _ in range(consumers):
            os.write(self._offer, offer.line().encode().ljust(select.PIPE_BUF))

    def answers(self) -> list[str]:
        """What consumers said since the last look; nothing when one ended without a word."""
        return _now(self.descriptor).split() if self.descriptor is not None else []


class ConsumerSide:
    """The consumer's end of the exchange."""

    def __init__(self, folder: Path | None) -> None:
        self._offer, self._answer = _ends(folder, _OFFER, _ANSWER)

    def take(self, waiting: Waiting) -> Offer:
        """Wait for the offer.

        Raises:
            WorkloadError: the producer never came, ended without an offer, or wrote something else.
        """
        text = ""
        while not text:
            events = waiting.wait(self._offer, "the producer's offer")
            if self._offer is not None and events & _READABLE:
                text = _now(self._offer)  # nothing, if another consumer was faster
            if not text and events & _CLOSED:
                raise partner_never_came("the producer ended without an offer")
        try:
            return Offer.parse(text)
        except ReportError as error:
            raise partner_never_came(f"what stood in the folder is no offer: {error}") from error

    def wait_until_gone(self, waiting: Waiting) -> None:
        """Wait until the producer has closed its end, as its death does.

        Raises:
            WorkloadError: it did not.
        """
        waiting.wait(self._offer, "the producer's end", events=0)

    def tell(self, verdict: Verdict) -> None:
        """Tell the producer how it went, where there is a way."""
        if self._answer is not None:
            os.write(self._answer, f"{verdict}\n".encode())


def _ends(folder: Path | None, reading: str, writing: str) -> tuple[int | None, int | None]:
    """Open the FIFOs to read from and to write to; there are none without a folder."""
    if not folder:
        return None, None
    # O_RDWR: opening waits for no reader, and the line stays until one comes (fifo(7)).
    return (
        os.open(_fifo(folder / reading), os.O_RDONLY | os.O_NONBLOCK),
        os.open(_fifo(folder / writing), os.O_RDWR | os.O_NONBLOCK),
    )


def _fifo(path: Path) -> Path:
    """Make the FIFO unless the partner did; users may differ, so everyone may use it."""
    umask = os.umask(0)
    try:
        os.mkfifo(path, 0o666)
    except FileExistsError:
        if not stat.S_ISFIFO(path.stat().st_mode):
            raise WorkloadError(
                Verdict.USAGE,
                Problem("options", f"--folder: {path} is no FIFO: give a folder of the run's own"),
            ) from None
    finally:
        os.umask(umask)
    return path


def _now(descriptor: int) -> str:
    """What can be read now, at most one offer."""
    try:
        return os.read(descriptor, select.PIPE_BUF).decode(errors="replace").strip()
    except BlockingIOError:
        return ""
