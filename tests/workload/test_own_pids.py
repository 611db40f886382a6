"""A process that goes on under a number of its choice."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from building.tree import ROOT
from tests.workload.processes import Node

BECOME = """
import os, sys
from workload import process
{before}
process.become(int(sys.argv[1]))
print(os.getpid(), flush=True)
os._exit(0)
"""
FORGET = "del os.pidfd_open"
"""An interpreter that is older than the call, or a kernel, knows nothing of CLONE_PIDFD."""
REFUSE = "os.pidfd_open = lambda pid: os.open('/nowhere', 0)"


def test_a_large_number(node: Node) -> None:
    """Such as a process has in the host's PID namespace."""
    result = node.start("inventory", "--own-pid", "20000", namespace=True).end()
    assert result["process"]["own_pid"] == 20000


@pytest.mark.parametrize("before", ["", FORGET, REFUSE])
@pytest.mark.parametrize("pid", [2, 9, 10, 300, 3000])
def test_a_number_is_exact_in_whatever_way(pid: int, before: str) -> None:
    """Also where numbers can be used up by threads and processes alone."""
    program = BECOME.format(before=before)
    command = ["unshare", "--pid", "--fork", sys.executable, "-c", program, str(pid)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert found.stdout.split() == [str(pid)]


def test_few_processes_are_made_for_it() -> None:
    """A machine with load has a process wait for its turn; so has a limit of processes."""
    before = "\n".join(
        (
            "import threading",
            "made, fork, start = [], os.fork, threading.Thread.start",
            "os.fork = lambda: made.append(1) or fork()",
            "threading.Thread.start = lambda self: made.append(1) or start(self)",
        )
    )
    program = BECOME.format(before=before).replace("os.getpid()", "len(made)")
    command = ["unshare", "--pid", "--fork", sys.executable, "-c", program, "30000"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert int(found.stdout) < 12
