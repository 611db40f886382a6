"""Simulated machines and real processes on them, in namespaces of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embedded.hardware import machine as hardware
from embedded.hardware.artifact import LIBRARIES

AGENT = Path(__file__).with_name("agent.py")

PTX = """\
.version 8.0
.target sm_50
.address_size 64
.visible .entry fill(.param .u64 a, .param .u64 b, .param .u64 c, .param .u64 d) { ret; }
.visible .entry verify(
  .param .u64 a, .param .u64 b, .param .u64 c, .param .u64 d, .param .u64 e) { ret; }
"""
"""A device image that defines the workload's kernels; the simulation looks at no more of it."""


class Process:
    """A process on a simulated machine that does driver calls on demand (agent.py)."""

    def __init__(self, argv: Sequence[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            argv, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, verb: str, *arguments: object) -> Any:
        """Do one verb of the agent and return its answer."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([verb, *arguments]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the process ended at {verb}{arguments} with {self._process.wait()}"
        return json.loads(line)

    def end(self, how: str = "exit") -> int:
        """End it (`exit`, `quit` without exit handlers, `kill`) and wait until it is gone."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(["ends", how]) + "\n")
        self._process.stdin.close()
        return self._process.wait(timeout=20)

    def close(self) -> None:
        """End it if it still runs."""
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()


@dataclass
class Machine:
    """A simulated machine, and the containers' view of it."""

    root: Path
    """What nodes have at /run/simulated-gpus."""
    driver_root: Path
    gpus: tuple[hardware.Gpu, ...]
    folder: Path
    processes: list[Process] = field(default_factory=list)

    def view(self, *minors: int, channels: int = 0) -> Path:
        """A /dev with the nodes of these GPUs and IMEX channels only, as a container has it."""
        dev = self.folder / f"dev-{'-'.join(map(str, minors))}-channels-{channels}"
        if not dev.is_dir():
            hardware.make_device_nodes(dev, len(self.gpus), channels=channels)
            for gpu in self.gpus:
                if gpu.minor not in minors:
                    (dev / f"nvidia{gpu.minor}").unlink()
        return dev

    def environment(self, *minors: int, **more: str) -> dict[str, str]:
        """The environment of a process that sees these GPUs (none named: all)."""
        seen = minors or tuple(gpu.minor for gpu in self.gpus)
        libraries = str(self.driver_root / LIBRARIES)
        return {
            "PATH": os.environ["PATH"],
            "SIMULATED_GPUS_ROOT": str(self.root),
            "SIMULATED_GPUS_DEV": str(self.view(*seen)),
            "LD_LIBRARY_PATH": libraries,
            "HARDWARE_LIBRARIES": libraries,
            **more,
        }

    def process(
        self,
        *,
        pid: int | None = None,
        namespaces: str = "",
        gpus: Sequence[int] = (),
        channels: int = 0,
        uid: int = 0,
        **environment: str,
    ) -> Process:
        """Start a process.

        Args:
            pid: its own PID, in a PID namespace of its own; None: the namespace of the test.
            namespaces: further ones: letters of unshare(1), of `U` `m` `i` `u` `n`.
            gpus: minor numbers of the GPUs injected; none named: all.
            channels: how many IMEX channels are injected.
            uid: the user.
            environment: more variables.
        """
        if uid:
            environment["OWN_UID"] = str(uid)
        if channels:
            seen = gpus or [gpu.minor for gpu in self.gpus]
            environment["SIMULATED_GPUS_DEV"] = str(self.view(*seen, channels=channels))
        argv = [sys.executable, "-S", "-E", str(AGENT)]
        flags = [f"-{letter}" for letter in namespaces]
        if "U" in namespaces:
            flags.append("-r")
        if pid is not None:
            environment["OWN_PID"] = str(pid)
            flags += ["-p", "-f"]
        if flags:
            argv = ["unshare", *flags, *argv]
        process = Process(argv, self.environment(*gpus, **environment))
        self.processes.append(process)
        return process

    def ready(self, ordinal: int = 0, **how: Any) -> Process:
        """Start a process (see `process`) that has a context on a device."""
        process = self.process(**how)
        assert process("init") == 0
        assert process("context", ordinal)[0] == 0
        return process


NewMachine = Callable[..., Machine]
"""Makes a machine: `new_machine(product, count, **driver)`, two H100 by default."""
