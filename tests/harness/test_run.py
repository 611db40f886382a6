"""A run's objects as the cluster gets them, and why they do not get on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.cluster.kinds import NODE, SLICE, Object
from harness.cluster.kube import Kube
from harness.cluster.profile import load
from harness.scenario.pod_spec import INIT, POD_TEMPLATE, PodSpec, resting
from harness.scenario.run import RESTRICTED, Run, Subject
from harness.session.session import MANIFESTS
from harness.verdict import causes
from harness.verdict.finding import Blame
from tests.harness.fake_api import FakeApi
from tests.harness.possessions import a_run, thing
from tests.harness.test_causes import EVENTS, GPU_NODE_MESSAGE, PREPARE
from tests.harness.test_knowledge import NVIDIA

SUBJECT = Subject(
    "driver", load(MANIFESTS.parents[1] / "profiles" / "reference.yaml"), "v1", "image", {}
)
POD_VALUES = {**PodSpec("pod", [resting("rest")], ["claim"]).values(SUBJECT), "namespace": "team"}
TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}


def node(name: str, ready: str = "True", **spec: Any) -> Object:
    """A node."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "spec": spec,
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def gpu_slice(on: str) -> Object:
    """A slice with one GPU."""
    attributes = {"type": {"string": "gpu"}, "uuid": {"string": "GPU-1"}}
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceSlice",
        "metadata": {"name": on},
        "spec": {
            "driver": "gpu.nvidia.com",
            "nodeName": on,
            "pool": {"name": on, "generation": 1, "resourceSliceCount": 1},
            "devices": [{"name": "gpu-0", "attributes": attributes}],
        },
    }


@pytest.fixture
def run(kube: Kube, api: FakeApi, tmp_path: Path) -> Iterator[Run]:
    """A run past its preflight, with one tainted GPU node."""
    api.put(node("gpu", taints=[TAINT]))
    api.put(node("other", taints=[{"key": "team", "effect": "NoSchedule"}]))
    api.put(gpu_slice("gpu"))
    run = a_run(
        kube,
        tmp_path,
        node_selector={"pool": "gpu"},
        image_pull_secret="pull",
        pod_patch={"spec": {"priority": 7}},
    )
    run.subject = Subject("gpu.nvidia.com", load(NVIDIA), "v1", "w", {"gpu": 1})
    run.observer.observe(SLICE)
    run.observe_cluster()
    yield run
    run.close()


def test_a_pod_gets_what_lets_it_in(run: Run) -> None:
    """Of the nodes with devices only; and the user's patch last."""
    pod = run.render(POD_TEMPLATE, POD_VALUES)
    assert pod["spec"]["tolerations"] == [{**TAINT, "operator": "Equal"}]
    assert pod["spec"]["nodeSelector"] == {"pool": "gpu"}
    assert pod["spec"]["imagePullSecrets"] == [{"name": "pull"}]
    assert pod["spec"]["priority"] == 7
    assert pod["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"


def test_a_pod_lingers_for_as_long_as_it_is_told_to(run: Run) -> None:
    """It is given a second more to end; one that is told nothing ends at once."""
    specs = [resting("first", kind=INIT), resting("rest")]
    values = PodSpec("pod", specs, ["claim"], lingers=5).values(SUBJECT)
    spec = run.render(POD_TEMPLATE, {**values, "namespace": "team"})["spec"]
    assert spec["terminationGracePeriodSeconds"] == 6
    assert spec["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    assert "lifecycle" not in spec["initContainers"][0]
    at_once = run.render(POD_TEMPLATE, POD_VALUES)["spec"]
    assert at_once["terminationGracePeriodSeconds"] == 1
    assert "lifecycle" not in at_once["containers"][0]


def test_without_a_right_to_see_nodes_a_run_goes_on(
    kube: Kube, api: FakeApi, tmp_path: Path
) -> None:
    """Then what the profile tolerates has to do."""
    api.forbidden.add(NODE.path())
    run = a_run(kube, tmp_path)
    run.observe_cluster()
    assert run.render(POD_TEMPLATE, POD_VALUES)["spec"]["tolerations"] == []
    run.close()


def pod_with_event(run: Run, api: FakeApi, reason: str = "", message: str = "") -> Object:
    """A pod of the run, and what was said about it."""
    namespace = run.open_namespace(RESTRICTED)
    pod = run.create(thing("Pod", "p", namespace))
    if reason:
        about = {"uid": pod["metadata"]["uid"], "name": "p"}
        event = thing("Event", "e", namespace)
        api.put({**event, "reason": reason, "message": message, "involvedObject": about})
        run.observer.wait(
            "the event", lambda: run.events_of(pod) or None, run.budgets.observe, lambda: ""
        )
    return pod


def test_what_events_tell_comes_first(run: Run, api: FakeApi) -> None:
    """And is what it is."""
    reason, message, (blame, _) = EVENTS["prepare failed"]
    cause = run.cause_of(pod_with_event(run, api, reason, message))
    assert cause is not None
    assert cause.blame is blame


def test_silence_is_explained(run: Run, api: FakeApi) -> None:
    """By the run's own look at pod and node."""
    pod = pod_with_event(run, api)
    assert run.cause_of(pod) is causes.SCHEDULER_SILENT


@pytest.mark.parametrize(
    ("ready", "expected"),
    [
        ("True", causes.TAINTED),
        ("Unknown", causes.KUBELET_STOPPED),
        ("False", causes.NODE_NOT_READY),
    ],
)
def test_a_taint_may_be_that_of_a_node_that_is_lost(
    ready: str, expected: causes.Cause, run: Run, api: FakeApi
) -> None:
    """The scheduler of 1.37 does not name it."""
    api.put(node("gpu", ready, taints=[TAINT]))
    run.observer.wait(
        "the node",
        lambda: (
            any(causes.of_node(n) for n in run.observer.objects(NODE)) or ready == "True" or None
        ),
        run.budgets.observe,
        lambda: "",
    )
    pod = pod_with_event(run, api, "FailedScheduling", GPU_NODE_MESSAGE)
    assert run.cause_of(pod) is expected


NODE_TIMES = pytest.mark.parametrize("node_time", ["2001-01-01T00:00:00Z", "2999-01-01T00:00:00Z"])
"""Of nodes whose clocks are wrong."""


def say(run: Run, api: FakeApi, pod: Object, name: str, **parts: Any) -> None:
    """Have an event about a pod, and wait until the run has it."""
    event = thing("Event", name, pod["metadata"]["namespace"])
    about = {"uid": pod["metadata"]["uid"], "name": "p"}
    api.put({**event, "involvedObject": about, **parts})
    run.observer.wait(
        "the event",
        lambda: any(one["count"] == parts["count"] for one in run.events_of(pod)),
        run.budgets.observe,
        lambda: "",
    )


@NODE_TIMES
@pytest.mark.parametrize(
    ("before", "after", "blame"),
    [(True, False, None), (False, True, Blame.DRIVER), (True, True, Blame.DRIVER)],
)
def test_what_was_said_before_a_deletion_is_no_cause(
    before: bool,
    after: bool,
    blame: Blame | None,
    node_time: str,
    run: Run,
    api: FakeApi,
) -> None:
    """What is said again counts; what is before and what after, no clock of a node tells."""
    pod = run.create(thing("Pod", "p", run.open_namespace(RESTRICTED)))
    reason, message, _ = EVENTS["prepare failed"]
    said = {"reason": reason, "message": message, "lastTimestamp": node_time}
    if before:
        say(run, api, pod, "e", count=1, **said)
    ends = {**pod["metadata"], "deletionTimestamp": "2026-11-23T00:00:00Z"}
    api.put({**pod, "metadata": ends})
    since = run.observer.wait(
        "the deletion",
        lambda: run.observer.last(pod).ends_since,
        run.budgets.observe,
        lambda: "",
    )
    if after:
        run.observer.last(pod).ends_since = since - 5
        say(run, api, pod, "e", count=2, **said)
    cause = run.cause_of(pod)
    assert (cause.blame if cause else None) is blame


@pytest.mark.parametrize(
    ("node", "since", "expected"),
    [
        ("node-1", 0, causes.NOT_ASKED_AGAIN),
        ("node-1", -20, causes.NOT_REGISTERED),
        ("node-2", 0, causes.NOT_REGISTERED),
    ],
)
def test_what_was_said_while_the_driver_was_away_is_no_cause(
    node: str, since: float, expected: causes.Cause, run: Run, api: FakeApi
) -> None:
    """Of a driver that is back only what it was asked since then tells; a slow kubelet is slow."""
    pod = thing("Pod", "p", run.open_namespace(RESTRICTED))
    pod = run.create({**pod, "spec": {**pod.get("spec", {}), "nodeName": "node-1"}})
    said = f"{PREPARE}DRA driver gpu.example.com is not registered"
    say(run, api, pod, "e", count=1, reason="FailedPrepareDynamicResources", message=said)
    run.driver_back[node] = time.time() + since
    assert run.cause_of(pod) is expected
