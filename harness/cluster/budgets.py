"""How long the suite waits for what: patience, not promises of the specification.

Each is generous to a slow but correct cluster. What includes the start of a container with a claim
is longer than 90 s: a kubelet does not take a failed NodePrepareResources for an error of the pod's
sync, so it tries again at the pod's next regular one only, after 60 to 90 s by default
(kubernetes/kubernetes#139836).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """A named time limit."""

    name: str
    seconds: float


class Budgets:
    """The time limits of a run, all multiplied by one factor (``--dra-timeout-scale``)."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale
        self.observe = Budget("observe", 15 * scale)
        self.pull = Budget("pull", 300 * scale)
        self.allocate = Budget("allocate", 30 * scale)
        self.start = Budget("start", 120 * scale)
        self.workload = Budget("workload", 60 * scale)
        self.partner = Budget("partner", 30 * scale)
        self.release = Budget("release", 60 * scale)
        self.reclaim = Budget("reclaim", 120 * scale)
        self.withdraw = Budget("withdraw", 45 * scale)
        self.clean_up = Budget("clean-up", 120 * scale)
