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
        self.observe = self._budget("observe", 15)
        self.pull = self._budget("pull", 300)
        self.allocate = self._budget("allocate", 30)
        self.start = self._budget("start", 120)
        self.workload = self._budget("workload", 60)
        self.partner = self._budget("partner", 30)
        self.release = self._budget("release", 60)
        self.reclaim = self._budget("reclaim", 120)
        self.withdraw = self._budget("withdraw", 45)
        self.clean_up = self._budget("clean-up", 120)

    def _budget(self, name: str, seconds: float) -> Budget:
        return Budget(name, seconds * self.scale)
