"""The process itself: which PID it has, what the kernel lets it do."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

from workload.result import Problem, Process, Verdict, WorkloadError

_FORKED = 8
"""How many of the last numbers are taken by forks, which can be told exactly."""
_SYS_CLONE = {"x86_64": 56, "aarch64": 220}
"""The number of the system call, by machine."""
_CLONE_SHARED = 0x100 | 0x200 | 0x400 | 0x800
"""CLONE_VM, CLONE_FS, CLONE_FILES, CLONE_SIGHAND: nothing of the caller is copied."""
_CLONE_PIDFD = 0x1000


def describe() -> Process:
    """This process, as ``/proc/self`` shows it (proc(5), namespaces(7))."""
    fields = dict(
        line.split(":", 1)
        for line in Path("/proc/self/status").read_text().splitlines()
        if ":" in line
    )
    return Process(
        own_pid=os.getpid(),
        nspid=tuple(int(pid) for pid in fields["NSpid"].split()),
        uid=os.getuid(),
        gid=os.getgid(),
        uid_map=tuple(
            " ".join(line.split()) for line in Path("/proc/self/uid_map").read_text().splitlines()
        ),
        pid_namespace=_namespace("pid"),
        ipc_namespace=_namespace("ipc"),
        user_namespace=_namespace("user"),
        network_namespace=_namespace("net"),
        mount_namespace=_namespace("mnt"),
        cap_eff=fields["CapEff"].strip(),
        no_new_privs=int(fields["NoNewPrivs"]),
        seccomp=int(fields["Seccomp"]),
    )


def _namespace(kind: str) -> str:
    return str(Path("/proc/self/ns", kind).readlink())


def become(pid: int) -> None:
    """Go on as the process that sees itself as ``pid``; return in that process only.

    The kernel numbers a namespace's processes and threads one after the other, so numbers are used
    up and then children are made until one has the number: exact and without privilege where
    nothing else starts processes, as in a container. The first process waits, passes signals on and
    exits as the last one does.

    Raises:
        WorkloadError: the number is taken or passed already.
    """
    if os.getpid() == pid:
        return
    _use_up_numbers_up_to(pid - _FORKED)
    _number_threads_up_to(pid - _FORKED)  # where that could not be done
    while True:
        child = os.fork()
        if child == 0:
            if os.getpid() == pid:
                return
            os._exit(0)
        if child == pid:
            _stand_for(child)
        os.waitpid(child, 0)
        if child > pid:
            raise WorkloadError(
                Verdict.USAGE,
                Problem(
                    "options",
                    f"--own-pid: {pid} cannot be had, the next process of this PID namespace was"
                    f" {child}: give a larger number, or run in a fresh PID namespace",
                ),
            )


def _use_up_numbers_up_to(pid: int) -> None:
    """Have the kernel number processes that it then does not make: 50,000 in two seconds, and on a
    machine with load there is nobody to wait for.

    clone(2) numbers a process before it says which file descriptor is the process's (CLONE_PIDFD).
    That can be stored nowhere at address 0, so it fails, and the number is passed.
    """
    number = _SYS_CLONE.get(os.uname().machine)
    try:
        # Who does not know CLONE_PIDFD does not know this, and would make the processes.
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return
    if number is None or pid <= os.getpid():
        return
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    call, nowhere = ctypes.CDLL(None).syscall, ctypes.c_void_p(0)
    arguments = (ctypes.c_long(number), ctypes.c_ulong(_CLONE_SHARED | _CLONE_PIDFD))
    for _ in range(child + 1, pid):
        call(*arguments, nowhere, nowhere, nowhere, nowhere)


def _number_threads_up_to(pid: int) -> None:
    """Let threads take numbers: a thread costs a small part of what a fork of Python does."""
    last = os.getpid()
    while last < pid:
        told: list[int] = []
        thread = threading.Thread(target=lambda told=told: told.append(threading.get_native_id()))
        thread.start()
        thread.join()
        if told[0] < last:
            return  # the numbers began anew from below
        last = told[0]


def _stand_for(child: int) -> None:
    """Be the container's first process for a child: pass signals on, reap, exit as it does."""

    def forward(number: int, _frame: FrameType | None) -> None:
        os.kill(child, number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, forward)
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            # 128 + signal, as shells and container runtimes say it.
            os._exit(code if code >= 0 else 128 - code)


def kill_oneself() -> NoReturn:
    """End by SIGKILL: nothing is cleaned up but by the kernel.

    The first process of a PID namespace cannot be killed from inside of it, not even by itself
    (pid_namespaces(7)). What it used up of CPU time kills it all the same (setrlimit(2),
    RLIMIT_CPU: SIGKILL at the hard limit), within a second.
    """
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)
    used = int(time.process_time())
    resource.setrlimit(resource.RLIMIT_CPU, (used + 1, used + 1))
    while True:
        pass
