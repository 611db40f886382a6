"""How an exporter meets importers that need its descriptors: a Unix socket in a shared folder.

A descriptor crosses from one process to another by ``SCM_RIGHTS`` only (unix(7)), which needs no
privilege and works whatever the PID namespaces. The socket keeps the bounds of messages, and tells
either side when the other one is gone.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workload.exchange import Waiting, partner_never_came
from workload.result import Attempt, Mechanism, Problem, Verdict, WorkloadError

_LARGEST = 1 << 16
"""Bytes of a message."""
_DESCRIPTORS = 8
"""The most in one message."""
_SO_PEERPIDFD, _PIDFD_GETFD = 77, 438
"""Of Linux 6.5 and 5.6; the same on x86-64 and arm64."""
_PAUSE = 0.02
"""Seconds between two tries to reach a partner that has not come yet."""


@dataclass(frozen=True)
class Wrote:
    """What an importer tells of its writing over one path: words, and what they are now."""

    mechanism: Mechanism
    path: str
    first: int
    words: int
    step: int
    """They are pattern(seed + step)."""


class Line:
    """A connection to the partner."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    def tell(self, message: Mapping[str, object], descriptors: Sequence[int] = ()) -> None:
        """Send a message, and open files with it.

        Raises:
            WorkloadError: the partner is gone (partner-never-came).
        """
        try:
            socket.send_fds(self._socket, [json.dumps(message).encode()], descriptors)
        except OSError as error:
            raise partner_never_came(f"the partner cannot be told: {error}") from error

    def hear(self, waiting: Waiting, what: str) -> tuple[dict[str, Any], list[int]]:
        """Wait for a message; return it, and the open files that came with it.

        Raises:
            WorkloadError: the partner ended without one, or did not send any in time.
        """
        waiting.wait(self._socket.fileno(), what)
        try:
            text, descriptors, *_ = socket.recv_fds(self._socket, _LARGEST, _DESCRIPTORS)
        except OSError:
            text, descriptors = b"", []
        if not text:
            raise partner_never_came(f"the partner ended before {what}")
        return json.loads(text), descriptors

    def take(self, descriptor: int) -> Attempt:
        """Try to take an open file of the partner's that it did not send: ``pidfd_getfd(2)``.

        That takes the right to trace the partner, which containers of one user do not have over
        each other (ptrace(2), seccomp): it is expected to be refused.
        """
        started, code, file = time.perf_counter(), 0, -1
        try:
            partner = self._socket.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
        except OSError as error:
            code, note = error.errno or 0, "this kernel does not name the partner (SO_PEERPIDFD)"
        else:
            note = ""
            libc = ctypes.CDLL(None, use_errno=True)
            file = libc.syscall(_PIDFD_GETFD, partner, descriptor, 0)
            code = ctypes.get_errno() if file < 0 else 0
            os.close(partner)
        taken = round((time.perf_counter() - started) * 1000, 4)
        if file >= 0:
            os.close(file)
        name = errno.errorcode.get(code) if code else None
        return Attempt("pidfd-getfd", "pidfd_getfd", code, name, taken, note=note)

    def wait_until_gone(self, waiting: Waiting) -> None:
        """Wait until the partner has closed its end, as its death does.

        Raises:
            WorkloadError: it did not.
        """
        waiting.wait(self._socket.fileno(), "the partner's end")


class Door:
    """Where importers come to an exporter."""

    def __init__(self, folder: Path, name: str) -> None:
        """Open it; who knocks from now on is heard.

        Raises:
            WorkloadError: the folder has no room for a socket (usage).
        """
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        umask = os.umask(0)  # users may differ
        try:
            with _short(folder) as short:
                self._socket.bind(f"{short}/{name}")
        except OSError as error:
            problem = Problem("options", f"--folder: no socket can be made in {folder}: {error}")
            raise WorkloadError(Verdict.USAGE, problem) from error
        finally:
            os.umask(umask)
        self._socket.listen()
        self._lines: list[Line] = []
        """Open as long as this process has memory: their end is the exporter's."""

    def next(self, waiting: Waiting) -> Line:
        """Wait for the next importer.

        Raises:
            WorkloadError: nobody came.
        """
        waiting.wait(self._socket.fileno(), "an importer")
        connected, _ = self._socket.accept()
        self._lines.append(Line(connected))
        return self._lines[-1]


@contextmanager
def knock(folder: Path, name: str, waiting: Waiting) -> Iterator[Line]:
    """Come to an exporter, which may not be there yet.

    Raises:
        WorkloadError: it never came.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connected, _short(folder) as short:
        while connected.connect_ex(f"{short}/{name}"):
            waiting.wait(None, "the exporter", at_most=_PAUSE)
        yield Line(connected)


@contextmanager
def _short(folder: Path) -> Iterator[str]:
    """A path to the folder that is short: that of a socket has 107 bytes at most (unix(7))."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
