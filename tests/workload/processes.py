"""Real processes of the workload, with real PyCUDA, on simulated machines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests.hardware.machines import Machine

PYTHON = "opt/python/bin/python3"
"""Below the directory of the artifact `WORKLOAD_PYTHON`."""


class Workload:
    """One process of the workload, and what it prints."""

    def __init__(self, argv: list[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            argv,
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        """The log so far."""

    @property
    def pid(self) -> int:
        """The PID that it has in the test's namespace."""
        return self._process.pid

    def until(self, beginning: str) -> str:
        """Read the log up to the line that begins so; return the rest of that line."""
        for line in self._read():
            if line.startswith(beginning):
                return line.removeprefix(beginning).strip()
        raise AssertionError(f"the log ended without {beginning!r}:\n" + "".join(self.lines))

    def end(self) -> dict[str, Any]:
        """Wait until it is gone; return its result, whose exit code must be the process's."""
        for _ in self._read():
            pass
        code = self._process.wait()
        assert self.lines, f"no output, exit code {code}"
        result: dict[str, Any] = json.loads(self.lines[-1])
        assert result["exit"] == code
        return result

    def died(self) -> int:
        """Wait until it is gone without a result; return how, as `subprocess` has it."""
        for _ in self._read():
            pass
        assert not self.lines[-1].startswith("{"), self.lines[-1]
        return self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, or to the one that stands for it in its PID namespace."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        first = int(children.split()[0]) if children.strip() else self._process.pid
        os.kill(first, number)

    def kill(self) -> None:
        """Kill it and wait until nothing of it is left."""
        self._process.kill()
        for _ in self._read():
            pass  # its children hold the pipe until they are gone
        self._process.wait()

    def close(self) -> None:
        """End it if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._output().close()

    def _read(self) -> Iterator[str]:
        for line in self._output():
            self.lines.append(line)
            yield line

    def _output(self) -> IO[str]:
        assert self._process.stdout
        return self._process.stdout


@dataclass
class Node:
    """A simulated machine on which workload processes run."""

    machine: Machine
    python: Path
    started: list[Workload]

    def start(
        self,
        *arguments: str,
        gpus: tuple[int, ...] = (0, 1),
        channels: int = 0,
        namespace: bool = False,
        library: bool = True,
        **environment: str,
    ) -> Workload:
        """Start ``python -m workload``.

        Args:
            arguments: its command line.
            gpus: minor numbers of the GPUs that it sees.
            channels: how many IMEX channels it has.
            namespace: whether it gets a PID namespace of its own, as a container does.
            library: whether the driver's library is there.
            environment: more variables.
        """
        variables = self.machine.environment()
        variables["SIMULATED_GPUS_DEV"] = str(self.machine.view(*gpus, channels=channels))
        if not library:
            del variables["LD_LIBRARY_PATH"]
        argv = [str(self.python), "-P", "-m", "workload", *arguments]
        if namespace:
            argv = ["unshare", "--pid", "--fork", "--kill-child", *argv]
        self.started.append(Workload(argv, {**variables, **environment}))
        return self.started[-1]

    def uuids(self, *minors: int) -> str:
        """GPUs by UUID, as ``--gpus`` takes them."""
        return ",".join(self.machine.gpus[minor].uuid for minor in minors)

    def allocations(self, minor: int) -> list[Path]:
        """The files that are a GPU's allocated memory, the largest first."""
        found = (self.machine.root / f"gpu{minor}").glob("mem-*")
        return sorted(found, key=lambda path: path.stat().st_size, reverse=True)
