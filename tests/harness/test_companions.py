"""Parts of a scenario that have pods in common: each has its own end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from harness.cluster.kinds import POD, Object, name_of
from harness.cluster.kube import Kube
from harness.cluster.profile import named
from harness.scenario.evidence import Container, Evidence
from harness.scenario.pod_spec import ContainerSpec, resting
from harness.scenario.run import RESTRICTED, Run, Subject
from harness.scenario.steps import Steps
from harness.verdict.finding import JudgementError, UnsupportedError
from tests.harness.fake_api import FakeApi
from tests.harness.possessions import Controllers, a_run
from workload.result import Process, Result

PROFILES = Path(__file__).parents[2] / "profiles"
REPORT = Result("worker", Process(own_pid=1)).line()
FIRST, SECOND = "first", "second"


class Cluster(Controllers):
    """Runs every container but those that cannot start."""

    def __init__(self, api: FakeApi) -> None:
        super().__init__(api)
        self.broken: set[str] = set()

    def _react(self, change: str, obj: Object) -> None:
        super()._react(change, obj)
        if change == "ADDED" and obj["kind"] == POD.name:
            name, namespace = name_of(obj), obj["metadata"]["namespace"]
            self.api.write_log(namespace, name, REPORT + "\n", complete=True)
            found = [self._status(one["name"]) for one in obj["spec"]["containers"]]
            self.api.edit(POD, namespace, name, status={"containerStatuses": found})

    def _status(self, container: str) -> Object:
        never = {"terminated": {"reason": "StartError", "message": "no such file", "exitCode": 1}}
        return {"name": container, "state": never if container in self.broken else {"running": {}}}


@pytest.fixture
def cluster(api: FakeApi) -> Cluster:
    """The cluster's control loops."""
    return Cluster(api)


@pytest.fixture
def run(kube: Kube, cluster: Cluster, tmp_path: Path) -> Iterator[Run]:
    """A run that has found a driver."""
    run = a_run(kube, tmp_path, timeout_scale=0.02)
    run.subject = Subject("driver", named("nvidia", PROFILES), "resource.k8s.io/v1", "image", {})
    yield run
    run.close()


def steps_of(run: Run) -> Steps:
    """Steps of a scenario."""
    return Steps(run, Evidence("scenario"), None, RESTRICTED)


def rest(steps: Steps, role: str) -> Container:
    """Start a container that only rests."""
    return steps.start_in_common(role, resting(f"{role}-of-{steps.name}"))


def both(steps: Steps) -> None:
    """Start a container in each of two pods."""
    rest(steps, FIRST)
    rest(steps, SECOND)


def created(run: Run) -> dict[str, list[str]]:
    """The pods that the run has created, with their containers."""
    made = (one.obj for one in run.kube.writes if one.method == "create")
    pods = {name_of(obj): obj["spec"]["containers"] for obj in made if obj["kind"] == POD.name}
    return {name: [one["name"] for one in containers] for name, containers in pods.items()}


def test_each_part_has_a_container_in_each_pod(run: Run, api: FakeApi) -> None:
    """Each pod comes once, its containers in the order of the parts; at the end it is gone."""
    steps = steps_of(run)
    steps.parts_in_common({"one": both, "two": both})
    assert created(run) == {
        "first-one": ["first-of-one", "first-of-two"],
        "second-one": ["second-of-one", "second-of-two"],
    }
    assert len([path for path in api.asked_to_create() if path.endswith("/pods")]) == 2
    for part in steps.evidence.parts.values():
        assert part.ended.get()
        assert [one.role for one in part.containers.values()] == [
            f"{role}-of-{part.name}" for role in (FIRST, SECOND)
        ]
        manifests = [name_of(one) for one in part.script.lines if isinstance(one, dict)]
        assert manifests[-2:] == ["first-one", "second-one"]
    assert not [kind for kind, *_ in api.objects if kind == "Pod"]


def test_a_container_that_cannot_start_is_the_end_of_its_part_only(
    run: Run, cluster: Cluster
) -> None:
    """It is missed in the next pod, and nobody waits for it."""
    cluster.broken = {"first-of-one"}
    steps = steps_of(run)
    steps.parts_in_common({"one": both, "two": both})
    assert created(run)["second-one"] == ["second-of-two"]
    with pytest.raises(JudgementError, match="the first-of-one's container cannot start"):
        steps.evidence.part("one").ended.get()
    assert steps.evidence.part("two").ended.get()


def test_a_pod_that_is_refused_is_the_end_of_all(run: Run, api: FakeApi) -> None:
    """For the same reason."""
    api.denied = {("create", "pods")}
    steps = steps_of(run)
    steps.parts_in_common({"one": both, "two": both})
    for part in steps.evidence.parts.values():
        assert part.containers[FIRST].refused is not None
        with pytest.raises(JudgementError, match=f"the first-of-{part.name}'s pod is refused"):
            part.ended.get()


def test_nothing_is_ended_before_every_part_is_over(run: Run, api: FakeApi) -> None:
    """Also a container that waits in vain stays until then: it has the others beside it."""
    over, deleted = Event(), list[bool]()

    def has_nothing_to_do(steps: Steps) -> None:
        steps.start_in_common(FIRST, ContainerSpec("waits", ["produce"]))
        over.set()

    def goes_on(steps: Steps) -> None:
        rest(steps, FIRST)
        over.wait()
        time.sleep(0.2)  # in which the other part would have ended all that it has
        deleted.append(any(method == "DELETE" for method, *_ in api.requests))

    steps = steps_of(run)
    steps.parts_in_common({"one": has_nothing_to_do, "two": goes_on})
    assert deleted == [False]
    assert steps.evidence.part("one").containers[FIRST].ended_by_suite


def test_pods_are_kept_for_all_if_one_part_failed(run: Run, api: FakeApi) -> None:
    """Its containers are among them."""

    def fails(steps: Steps) -> None:
        rest(steps, FIRST)
        raise UnsupportedError("cannot be done here")

    run.options = replace(run.options, keep="failed")
    steps = steps_of(run)
    steps.parts_in_common({"one": fails, "two": both})
    assert sorted(name for kind, _, name in api.objects if kind == "Pod") == [
        "first-one",
        "second-one",
    ]
