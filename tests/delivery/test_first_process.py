"""The suite as the first process of a container, to which the kernel gives no signal unasked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from building.tree import ROOT

SECONDS = 30
"""A budget, not a delay: what it would sleep if the signal were dropped is longer."""


@pytest.mark.skipif(os.geteuid() != 0, reason="a namespace of PIDs needs root")
def test_a_signal_while_it_is_loaded_ends_it(tmp_path: Path) -> None:
    """Else the pod would stay until it is killed, and its job's deadline would not hold."""
    (tmp_path / "pytest.py").write_text("import time\nprint('loaded', flush=True)\ntime.sleep(600)")
    command = ("unshare", "--pid", "--fork", "--kill-child")
    with subprocess.Popen(
        [*command, sys.executable, "-m", "dra_conformance", "plan"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as outer:
        try:
            assert outer.stdout is not None
            assert outer.stdout.readline() == "loaded\n"
            (inner,) = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
            os.kill(int(inner), signal.SIGTERM)
            assert outer.wait(SECONDS) != 0
        finally:
            outer.kill()
