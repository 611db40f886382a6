"""When the claims and pods of each scenario came to be, got on and went, as the watches told."""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.cluster.inventory import is_allocated
from harness.cluster.kinds import CLAIM, POD, Object, is_over, name_of, uid_of


class Moment(enum.StrEnum):
    """Something that happens to a claim or a pod; only the first time of each is kept."""

    CREATED = "created"
    ALLOCATED = "allocated"
    """The claim has devices."""
    SCHEDULED = "scheduled"
    """The pod has a node."""
    PREPARED = "prepared"
    """The driver has prepared the pod's claims, and the pod has its sandbox and network."""
    RUNNING = "running"
    """The pod's first container runs, or ran."""
    DONE = "done"
    """The pod's containers have ended."""
    RELEASED = "released"
    """The claim has no devices any more."""
    DELETED = "deleted"
    """Its deletion was asked for."""
    GONE = "gone"


@dataclass(frozen=True)
class Life:
    """One claim or pod of a scenario from its creation to its end."""

    scenario: str
    kind: str
    name: str
    moments: Mapping[Moment, float]
    """When each was first seen, in seconds since the start of the run, in that order."""


class Timeline:
    """Notes the moments of what a run creates for its scenarios; see `Observer.listen`."""

    def __init__(
        self,
        began: float,
        scenario_label: str,
        mine: Mapping[str, str],
        now: Callable[[], float] = time.time,
    ) -> None:
        """Note nothing yet.

        Args:
            began: the start of the run, in seconds since 1970.
            scenario_label: the label that names an object's scenario.
            mine: the labels that tell the run's objects.
            now: the clock, in seconds since 1970.
        """
        self._now = now
        self._began = began
        self._label = scenario_label
        self._mine = mine.items()
        self._lock = threading.Lock()
        self._lives: dict[str, tuple[str, Object, dict[Moment, float]]] = {}

    def saw(self, changes: Iterable[tuple[Object, bool]]) -> None:
        """Take what was seen at the same time, each object with whether it is gone."""
        at = round(self._now() - self._began, 3)
        with self._lock:
            for obj, gone in changes:
                if obj["kind"] in (POD.name, CLAIM.name) and (scenario := self._scenario_of(obj)):
                    _, _, moments = self._lives.setdefault(uid_of(obj), (scenario, obj, {}))
                    for moment in _passed(obj, gone, moments):
                        moments.setdefault(moment, at)

    def _scenario_of(self, obj: Object) -> str:
        """Name the scenario of an object of the run; of what its objects own, theirs."""
        metadata = obj["metadata"]
        labels = metadata.get("labels") or {}
        if self._label in labels and labels.items() >= self._mine:
            return str(labels[self._label])
        owners = (self._lives.get(one["uid"]) for one in metadata.get("ownerReferences") or [])
        return next((owner[0] for owner in owners if owner is not None), "")

    def lives(self) -> list[Life]:
        """List what was noted, in the order of creation."""
        with self._lock:
            return [
                Life(scenario, str(obj["kind"]), name_of(obj), dict(moments))
                for scenario, obj, moments in self._lives.values()
            ]


def _passed(obj: Object, gone: bool, before: Mapping[Moment, Any]) -> Iterator[Moment]:
    """Say what has happened to an object by now, as far as its present state tells."""
    status = obj.get("status") or {}
    yield Moment.CREATED
    if obj["kind"] == CLAIM.name:
        if is_allocated(obj):
            yield Moment.ALLOCATED
        elif Moment.ALLOCATED in before:
            yield Moment.RELEASED
    else:
        yield from _of_pod(obj, status)
    if gone or obj["metadata"].get("deletionTimestamp"):
        yield Moment.DELETED
    if gone:
        yield Moment.GONE


def _of_pod(pod: Object, status: Mapping[str, Any]) -> Iterator[Moment]:
    states = [container.get("state") or {} for container in status.get("containerStatuses") or []]
    conditions = {one["type"]: one["status"] for one in status.get("conditions") or []}
    has_run = any(state.keys() & {"running", "terminated"} for state in states)
    if (pod.get("spec") or {}).get("nodeName"):
        yield Moment.SCHEDULED
    if has_run or conditions.get("PodReadyToStartContainers") == "True":
        yield Moment.PREPARED
    if has_run:
        yield Moment.RUNNING
    if is_over(pod):
        yield Moment.DONE
