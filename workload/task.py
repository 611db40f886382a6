"""What a command that uses GPUs works with, and its lines for people."""

from __future__ import annotations

from dataclasses import dataclass

from workload.cuda import Cuda
from workload.options import Options
from workload.result import Gpu, Result


class Log:
    """The log of one process, each line headed by its role."""

    def __init__(self, role: str) -> None:
        self.prefix = f"{role.capitalize()}: "

    def say(self, text: str) -> None:
        """Print a line at once."""
        print(self.prefix + text, flush=True)

    def gpus(self, gpus: list[Gpu]) -> None:
        """Count and name the GPUs."""
        self.say(f"Found {len(gpus)} GPU(s)")
        for gpu in gpus:
            size = f"{gpu.memory / 1e9:.1f} GB"
            self.say(f"GPU {gpu.ordinal}: {gpu.name} ({gpu.uuid}, {gpu.pci}, {size})")


@dataclass(frozen=True)
class Task:
    """What to do, on which GPUs, and where what was done is noted."""

    options: Options
    cuda: Cuda
    gpus: list[Gpu]
    """The allocated ones, in order."""
    result: Result
    log: Log
