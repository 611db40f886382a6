"""Says what is going on during anything longer than two seconds."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


class Progress:
    """Lines on a stream: each step once when it takes two seconds, and when it is done.

    A step that goes on is repeated with the time it has taken: every second in place on a
    terminal, every 30 seconds elsewhere (logs of CI).
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr

    def say(self, text: str) -> None:
        """Print one line."""
        print(text, file=self.stream, flush=True)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Show ``what`` while the body runs, and how long it took when that was noticeable."""
        started = time.monotonic()
        done = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(what, started, done), daemon=True)
        ticker.start()
        try:
            yield
        finally:
            done.set()
            ticker.join()
        taken = time.monotonic() - started
        if taken >= 2:
            self._clear()
            self.say(f"{what}: {taken:.1f} s")

    def _tick(self, what: str, started: float, done: threading.Event) -> None:
        terminal = self.stream.isatty()
        if done.wait(2):
            return
        while True:
            taken = time.monotonic() - started
            if terminal:
                print(f"\r{what} … {taken:.0f} s", end="", file=self.stream, flush=True)
            else:
                self.say(f"{what} … {taken:.0f} s")
            if done.wait(1 if terminal else 30):
                return

    def _clear(self) -> None:
        if self.stream.isatty():
            print("\r\x1b[K", end="", file=self.stream, flush=True)
