"""Real PyCUDA, the workload's own kernels and real processes on the simulated driver."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.hardware.machines import Machine, NewMachine

PROGRAM = Path(__file__).with_name("pycuda_program.py")

UNSUPPORTED_PTX = "the provided PTX was compiled with an unsupported toolchain."

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(workload_python: Path, kernels_ptx: Path) -> Start:
    """Start pycuda_program.py: `start(machine, verb, …)`, as PID 1 of its own with `pid_1=True`."""

    def start(machine: Machine, *arguments: str, pid_1: bool = False) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [
                *(("unshare", "-p", "-f") if pid_1 else ()),
                *(str(workload_python), str(PROGRAM), *arguments),
            ],
            env=machine.environment(KERNELS=str(kernels_ptx)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    return start


def answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What it says last."""
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return dict(json.loads(output.splitlines()[-1]))


def test_inventory(new_machine: NewMachine, start: Start) -> None:
    machine = new_machine(count=3)
    assert answer(start(machine, "inventory")) == {
        "version": 13000,
        "gpus": [
            {"name": gpu.product.name, "pci": gpu.pci.upper(), "memory": gpu.product.memory}
            for gpu in machine.gpus
        ],
    }


def test_kernels(machine: Machine, start: Start) -> None:
    assert answer(start(machine, "kernels")) == {"right": 0, "flipped": 1, "timed": True}


def test_errors(machine: Machine, start: Start) -> None:
    assert answer(start(machine, "errors")) == {
        "memory": ["MemoryError", "cuMemAlloc failed: out of memory"],
        "handle": ["LogicError", "cuIpcOpenMemHandle failed: invalid argument"],
        "image": [
            "LogicError",
            f"cuModuleLoadDataEx failed: {UNSUPPORTED_PTX} - ",
        ],
    }


@pytest.mark.parametrize("ordinal", ["0", "1"])
def test_sharing(machine: Machine, start: Start, ordinal: str) -> None:
    producer = start(machine, "produce", pid_1=True)
    assert producer.stdout
    offer = json.loads(producer.stdout.readline())
    assert offer["pid"] == 1
    equal = answer(start(machine, "consume", offer["handle"], ordinal, pid_1=True))
    assert equal == {"error": "cuIpcOpenMemHandle failed: invalid device context", "pid": 1}
    assert answer(start(machine, "consume", offer["handle"], ordinal))["wrong"] == 0
    assert answer(producer)["wrong"] == 0  # every word is what the consumer wrote
