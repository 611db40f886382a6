"""Parts of a scenario that run side by side and have pods in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Condition

from harness.cluster.kinds import Object
from harness.scenario.pod_spec import ContainerSpec


class Companions:
    """Parts that have a container each in the same pods.

    A pod is created once every part has said what it runs there, or is over; and no pod is deleted
    before every part is over. So one that fails takes nothing from the others.
    """

    def __init__(self, parts: Iterable[str]) -> None:
        self._parts = tuple(parts)
        self._changed = Condition()
        self._specs: dict[str, dict[str, ContainerSpec]] = {}
        """By pod and part."""
        self._pods: dict[str, Object] = {}
        self._over: set[str] = set()
        self._keeps: dict[str, bool] = {}

    @property
    def name(self) -> str:
        """What their pods are called by: the first part."""
        return self._parts[0]

    def gather(self, pod: str, part: str, spec: ContainerSpec) -> list[ContainerSpec]:
        """Say what a part runs in a pod, and wait until it is known of all.

        Returns:
            What runs in the pod, in the order of the parts.
        """
        with self._changed:
            specs = self._specs.setdefault(pod, {})
            specs[part] = spec
            self._await(lambda: self._over.union(specs))
            return [specs[name] for name in self._parts if name in specs]

    def once(self, pod: str, create: Callable[[], Object]) -> Object:
        """Create a pod unless another part has done so, and answer it."""
        with self._changed:
            if pod not in self._pods:
                self._pods[pod] = create()
            return self._pods[pod]

    def await_over(self, part: str) -> None:
        """Say that a part starts nothing more and needs no pod but its own, and wait for all."""
        with self._changed:
            self._over.add(part)
            self._await(lambda: self._over)

    def keep(self, part: str, *, keeps: bool) -> bool:
        """Say whether a part wants its pods kept, and wait for all.

        Returns:
            Whether any of them does.
        """
        with self._changed:
            self._over.add(part)
            self._keeps[part] = keeps
            self._await(lambda: self._keeps)
            return any(self._keeps.values())

    def leave(self, part: str) -> None:
        """Have nobody wait for a part any more, whatever became of it."""
        with self._changed:
            self._over.add(part)
            self._keeps.setdefault(part, False)
            self._changed.notify_all()

    def _await(self, said: Callable[[], Iterable[str]]) -> None:
        self._changed.notify_all()
        self._changed.wait_for(lambda: set(said()).issuperset(self._parts))
