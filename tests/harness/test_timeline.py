"""The moments of a run's claims and pods, as a watch tells of them."""

from __future__ import annotations

from typing import Any

from harness.cluster.kinds import Object
from harness.verdict.timeline import Life, Moment, Timeline

SCENARIO, RUN = "example/scenario", {"example/run": "r"}


class Clock:
    """Goes on by a second each time that it is asked."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        self.seconds += 1
        return self.seconds


def made(kind: str, name: str, labels: dict[str, str] | None = None, **more: Any) -> Object:
    """An object as the watch has it."""
    metadata = {"uid": name, "name": name, "labels": {**RUN, SCENARIO: "one", **(labels or {})}}
    return {"kind": kind, "metadata": {**metadata, **more.pop("metadata", {})}, **more}


def pod(status: dict[str, Any], node: str = "node-1") -> Object:
    """A pod in a state."""
    return made("Pod", "pod", spec={"nodeName": node}, status=status)


def seen(*objects: tuple[Object, bool]) -> list[Life]:
    """What is noted when objects are seen one after another, a second apart."""
    timeline = Timeline(1000.0, SCENARIO, RUN, Clock())
    for one in objects:
        timeline.saw([one])
    return timeline.lives()


def test_a_pod_from_its_creation_to_its_end() -> None:
    """The first time of each moment counts; what was not seen by itself came with the next."""
    ready = {"conditions": [{"type": "PodReadyToStartContainers", "status": "True"}]}
    runs: dict[str, Any] = {"containerStatuses": [{"state": {"running": {}}}]}
    ended = {"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": {}}}]}
    deleted = {
        **pod(ended),
        "metadata": made("Pod", "pod")["metadata"] | {"deletionTimestamp": "x"},
    }
    (life,) = seen(
        (pod({}, node=""), False),
        (pod({}), False),
        (pod(ready), False),
        (pod(runs), False),
        (pod(runs), False),
        (deleted, False),
        (deleted, True),
    )
    assert (life.scenario, life.kind, life.name) == ("one", "Pod", "pod")
    assert life.moments == {
        Moment.CREATED: 1,
        Moment.SCHEDULED: 2,
        Moment.PREPARED: 3,
        Moment.RUNNING: 4,
        Moment.DONE: 6,
        Moment.DELETED: 6,
        Moment.GONE: 7,
    }


def test_a_claim_from_its_creation_to_its_end() -> None:
    """That it has no devices yet is no release."""
    allocated = made("ResourceClaim", "c", status={"allocation": {"devices": {}}})
    (life,) = seen(
        (made("ResourceClaim", "c"), False),
        (allocated, False),
        (made("ResourceClaim", "c"), False),
        (made("ResourceClaim", "c"), True),
    )
    assert life.moments == {
        Moment.CREATED: 1,
        Moment.ALLOCATED: 2,
        Moment.RELEASED: 3,
        Moment.DELETED: 4,
        Moment.GONE: 4,
    }


def test_only_what_belongs_to_a_scenario_of_the_run_is_noted() -> None:
    """With what is made for its pods; not what others make, and nothing of another kind."""
    owned = {"labels": {}, "ownerReferences": [{"uid": "pod"}]}
    lives = seen(
        (made("Pod", "other", {"example/run": "another"}), False),
        (made("Pod", "foreign", metadata={"labels": None}), False),
        (made("Event", "event"), False),
        (made("Pod", "pod"), False),
        (made("ResourceClaim", "generated", metadata=owned), False),
        (made("ResourceClaim", "not-ours", metadata={**owned, "ownerReferences": []}), False),
    )
    assert [(life.name, life.scenario) for life in lives] == [("pod", "one"), ("generated", "one")]
