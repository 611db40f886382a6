"""What a command that uses GPUs works with."""

from __future__ import annotations

from dataclasses import dataclass

from workload.cuda import Cuda
from workload.log import Log
from workload.options import Options
from workload.result import Gpu, Result


@dataclass(frozen=True)
class Task:
    """What to do, on which GPUs, and where what was done is noted."""

    options: Options
    cuda: Cuda
    gpus: list[Gpu]
    """The allocated ones, in order."""
    result: Result
    log: Log
