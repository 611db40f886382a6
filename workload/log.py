"""Lines for people."""

from __future__ import annotations

from workload.result import Gpu


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
