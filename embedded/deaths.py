"""Word of components that ended by themselves: left by a machine, read by the cluster's owner.

Each death is a file in one folder that all machines of a cluster share. Files appear whole, so
that whoever sees one can read it.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

_BELL = ".bell"
"""A named pipe, there while somebody listens: a byte in it says that there is news."""


def leave_word(folder: Path, component: str, text: str) -> None:
    """Say that a component has ended."""
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".{component}"
    unfinished.write_text(text + "\n")
    unfinished.rename(folder / component)
    with suppress(OSError):  # nobody listens
        bell = os.open(folder / _BELL, os.O_WRONLY | os.O_NONBLOCK)
        os.write(bell, b"!")
        os.close(bell)


def known(folder: Path) -> list[str]:
    """What was said, one text a component."""
    return [path.read_text().rstrip() for path in _words(folder)]


@contextmanager
def told(
    folder: Path, processes: Sequence[int], tell: Callable[[str], None], whole: Callable[[], str]
) -> Iterator[None]:
    """Have every death told while the body runs, as soon as it happens.

    Args:
        folder: where the machines leave word; it must exist.
        processes: with the end of any of them there is nobody left to leave word.
        tell: called with what was said of each death, from a thread of its own.
        whole: says what is to be told when one of the processes has ended.
    """
    with ExitStack() as stack:
        folder.stat()  # where there is none, this error names it and mkfifo's does not
        os.mkfifo(folder / _BELL)
        stack.callback(os.unlink, folder / _BELL)
        news = os.open(folder / _BELL, os.O_RDWR | os.O_NONBLOCK)
        stack.callback(os.close, news)
        over = os.eventfd(0)
        stack.callback(os.close, over)
        handles = []
        gone = not processes
        for pid in processes:
            try:
                handles.append(os.pidfd_open(pid))
                stack.callback(os.close, handles[-1])
            except ProcessLookupError:
                gone = True

        def look() -> None:
            seen: set[Path] = set()
            ended = gone
            while True:
                for path in _words(folder):
                    if path not in seen:
                        seen.add(path)
                        tell(path.read_text().rstrip())
                if ended:
                    tell(whole())
                    return
                ready, _, _ = select.select([news, over, *handles], [], [])
                if over in ready:
                    return
                if news in ready:
                    os.read(news, 1 << 16)
                ended = bool({*handles} & {*ready})

        thread = threading.Thread(target=look, name="deaths", daemon=True)
        thread.start()
        try:
            yield
        finally:
            os.eventfd_write(over, 1)
            thread.join()


def _words(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if not path.name.startswith("."))
