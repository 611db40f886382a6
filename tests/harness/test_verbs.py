"""Verbs over time: the driver restarts and stops, a node is read, a kubelet restarts."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, call, patch

import pytest

from harness.cluster.kinds import CLAIM, DAEMON_SET, NODE, POD, SLICE, Object, name_of, uid_of
from harness.cluster.kube import Kube, UnreachableError
from harness.cluster.observe import Budget
from harness.cluster.profile import named
from harness.options import Impact
from harness.scenario import slice_writes
from harness.scenario.controllers import Controllers
from harness.scenario.driver import NODE_AFFINITY, Driver, without_node
from harness.scenario.evidence import Claim, Evidence
from harness.scenario.node import Kubelet, Node
from harness.scenario.node_files import READ, File, parse
from harness.scenario.node_pods import KILL
from harness.scenario.pod_spec import resting
from harness.scenario.pods import health
from harness.scenario.run import RESTRICTED, Run, Subject
from harness.scenario.scenario import Scenario, scenario
from harness.scenario.slice_changes import SliceChanges
from harness.scenario.slice_writes import ADDED, CHANGED, DELETED
from harness.scenario.steps import Steps
from harness.scenario.taints import NO_SCHEDULE, Taints
from harness.scenario.verbs import Verb, needs_of
from harness.session.cleanup import clean_up
from harness.verdict.finding import (
    Blame,
    FailedError,
    InconclusiveError,
    SkipKind,
    UnmetError,
    UnsupportedError,
)
from harness.verdict.outcome import Outcome, Result
from suites.health import is_known, outlast_one_report
from suites.node import test_sigkill, test_stop
from suites.node.pods import Pods
from tests.harness import possessions
from tests.harness.fake_api import FakeApi
from tests.harness.possessions import a_run, thing
from tests.suite.made import DEVICES

PROFILES = Path(__file__).parents[2] / "profiles"
DRIVER = "gpu.nvidia.com"
LABELS = {"dra-driver-nvidia-gpu-component": "kubelet-plugin"}
EVERY_VERB = (
    *(Driver.pods, Driver.restart, Driver.kill, Driver.stop, Driver.upgrade, Driver.logs),
    *(Kubelet.restart, Node.files, Node.wipe, SliceChanges.delete, SliceChanges.edit),
    *(Node.watch, Steps.force_delete, Steps.generated_claim, Steps.device_class),
    *(Controllers.job, Controllers.deployment, Taints.add, Steps.volume, Steps.channels),
)
NODES = ("node-1", "node-2")
TEN = Budget("ten", 10)


class DaemonSets:
    """Runs a driver on every node that its DaemonSet fits, and ends what is deleted."""

    def __init__(self, api: FakeApi) -> None:
        self.api = api
        self.comes_back = True
        self.becomes_ready = True
        self.number = 0
        possessions.Controllers(api)
        for name in NODES:
            api.put({**thing("Node", name, ""), "status": ready_since("2026-11-23T00:00:00Z")})
            api.put(slice_of(name, 1))
        self.owner = api.put({**thing("DaemonSet", "plugin", "drivers"), "spec": SPEC})
        for name in NODES:
            self.run_on(name)
        api.reactions.append(self._react)

    def run_on(self, node: str) -> None:
        """Start a pod."""
        self.number += 1
        owner = {"kind": "DaemonSet", "name": "plugin", "uid": uid_of(self.owner)}
        pod = thing("Pod", f"plugin-{self.number}", "drivers", labels=LABELS)
        pod["metadata"]["ownerReferences"] = [{**owner, "controller": True}]
        ready = [{"type": "Ready", "status": "True" if self.becomes_ready else "False"}]
        running = {"name": "gpus", "containerID": "containerd://c0", "state": {"running": {}}}
        status = {"containerStatuses": [running]}
        spec = {**self.template(), "nodeName": node}
        self.api.put({**pod, "spec": spec, "status": {**status, "conditions": ready}})

    def _react(self, change: str, obj: Object) -> None:
        if obj["kind"] == POD.name and change == "DELETED" and "plugin-" in name_of(obj):
            node = obj["spec"]["nodeName"]
            if self.comes_back and node in self.wanted():
                self.run_on(node)
        if obj["kind"] == DAEMON_SET.name:
            pods = [one for key, one in self.api.objects.items() if key[1] == "drivers"]
            there = {one["spec"]["nodeName"]: one for one in pods if one["kind"] == POD.name}
            for node in there.keys() - self.wanted():
                self.api.remove(POD, "drivers", name_of(there[node]))
            for node in self.wanted() - there.keys():
                self.run_on(node)
            if obj["spec"]["updateStrategy"]["type"] == "RollingUpdate":
                for pod in there.values():
                    if pod["spec"]["containers"] != self.template()["containers"]:
                        self.api.remove(POD, "drivers", name_of(pod))

    def template(self) -> Object:
        """What its pods are."""
        now = self.api.get(DAEMON_SET, "drivers", "plugin")
        assert now is not None
        spec: Object = now["spec"]["template"]["spec"]
        return spec

    def wanted(self) -> set[str]:
        """The nodes that the DaemonSet fits."""
        affinity = self.template().get("affinity") or {}
        terms = affinity.get("nodeAffinity", {}).get(NODE_AFFINITY, {}).get("nodeSelectorTerms", [])
        return {*NODES} - {one["matchFields"][0]["values"][0] for one in terms}


IMAGES = {"containers": [{"name": "gpus", "image": "driver:1"}, {"name": "log", "image": "log:1"}]}
SPEC = {"updateStrategy": {"type": "RollingUpdate"}, "template": {"spec": IMAGES}}


def ready_since(moment: str) -> Object:
    """A node's status, as its kubelet says it."""
    ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": moment}
    return {"conditions": [ready]}


def running_since(container: str, time: str, **more: Any) -> Object:
    """A pod's status: its only container has run since a time of one day."""
    state = {"running": {"startedAt": f"2026-11-23T{time}Z"}}
    return {"containerStatuses": [{"name": container, "state": state, **more}]}


def slice_of(node: str, generation: int) -> Object:
    """What the driver publishes of a node."""
    pool = {"name": node, "generation": generation, "resourceSliceCount": 1}
    spec = {"driver": DRIVER, "nodeName": node, "pool": pool, "devices": [{"name": "gpu-0"}]}
    return {**thing("ResourceSlice", f"slice-{node}", ""), "spec": spec}


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no helper library that remembers what it wrote; the fake slices are always new."""
    monkeypatch.setattr(slice_writes, "REST_SECONDS", 0)


@pytest.fixture
def drivers(api: FakeApi) -> DaemonSets:
    """Two nodes with a driver."""
    return DaemonSets(api)


@pytest.fixture
def run(kube: Kube, drivers: DaemonSets, tmp_path: Path) -> Iterator[Run]:
    """A run that has found the driver."""
    run = a_run(kube, tmp_path, timeout_scale=0.02)
    profile = named("nvidia", PROFILES)
    run.subject = Subject(DRIVER, profile, "resource.k8s.io/v1", "image", {})
    for kind in (SLICE, NODE):
        run.observer.observe(kind)
    run.open_namespace(RESTRICTED)
    yield run
    run.close()


@pytest.fixture
def steps(run: Run) -> Steps:
    """Steps of a scenario that says that it uses every verb."""
    uses = [needs_of(verb) for verb in EVERY_VERB]
    return Steps(run, Evidence("scenario"), None, RESTRICTED, uses=uses)


def pods_on(api: FakeApi, node: str) -> list[str]:
    """The driver's pods on a node."""
    pods = [one for one in api.objects.values() if one["kind"] == POD.name]
    return [name_of(pod) for pod in pods if pod["spec"].get("nodeName") == node]


# What a verb needs


def test_a_scenario_needs_what_its_verbs_need() -> None:
    """Impacts and rights follow from what it says it uses."""

    @scenario(uses=(Driver.stop, Node.files))
    def of_two_impacts(_: Steps) -> None:
        """Nothing."""

    assert of_two_impacts.impacts == {Impact.DISRUPT, Impact.PRIVILEGED}
    assert of_two_impacts.alone
    rights = {
        (verb, rule.resource)
        for use in of_two_impacts.uses
        for rule in use.rules
        for verb in rule.verbs
    }
    assert ("update", "daemonsets") in rights
    assert ("delete", "pods") not in rights


@pytest.mark.parametrize("verb", EVERY_VERB, ids=lambda verb: needs_of(verb).verb)
def test_a_verb_that_a_scenario_does_not_name_is_refused(verb: Verb, run: Run) -> None:
    """Who allowed its impacts did not allow this one."""
    steps = Steps(run, Evidence("scenario"), None, RESTRICTED)
    does: dict[Any, Any] = {
        Driver.pods: lambda: steps.driver.pods("node-1"),
        Driver.restart: lambda: steps.driver.restart("node-1"),
        Driver.kill: lambda: steps.driver.kill("node-1"),
        Driver.stop: lambda: steps.driver.stop("node-1"),
        Driver.upgrade: lambda: steps.driver.upgrade("node-1"),
        Driver.logs: lambda: steps.driver.logs("node-1"),
        Kubelet.restart: lambda: steps.kubelet.restart("node-1"),
        Node.files: lambda: steps.node("node-1").files("cdi", "look"),
        Node.watch: lambda: steps.node("node-1").watch("cdi", "watch").__enter__(),
        Node.wipe: lambda: steps.node("node-1").wipe(a_claim(), "wiped"),
        SliceChanges.delete: lambda: steps.slice.delete("node-1"),
        SliceChanges.edit: lambda: steps.slice.edit("node-1"),
        Steps.force_delete: steps.force_delete,
        Steps.generated_claim: steps.generated_claim,
        Steps.device_class: lambda: steps.device_class("class"),
        Steps.volume: steps.volume,
        Steps.channels: steps.channels,
        Taints.add: lambda: steps.taints.add(DEVICES[0], NO_SCHEDULE),
        Controllers.job: lambda: steps.controllers.job(resting("job"), a_claim(), 1),
        Controllers.deployment: lambda: steps.controllers.deployment(resting("d"), a_claim(), 1),
    }
    with pytest.raises(InconclusiveError, match=f"does not say so: uses=.{needs_of(verb).verb}"):
        does[verb]()
    assert run.changes.told == []


def test_a_volume_is_of_the_class_that_is_known(steps: Steps, run: Run, api: FakeApi) -> None:
    """Where none is, the API server gives none either, and nothing is left."""
    with pytest.raises(UnsupportedError, match=r"no default StorageClass: --dra-volume-class$"):
        steps.volume()
    claims = [obj for obj in api.objects.values() if obj["kind"] == "PersistentVolumeClaim"]
    assert claims == []
    run.cluster = dataclasses.replace(run.cluster, volume_class="local")
    name = steps.volume()
    (claim,) = [obj for obj in api.objects.values() if obj["kind"] == "PersistentVolumeClaim"]
    assert (name_of(claim), claim["spec"]["storageClassName"]) == (name, "local")
    api.denied = {("create", "persistentvolumeclaims")}
    with pytest.raises(UnmetError, match=r"it creates a PersistentVolumeClaim: .* is forbidden$"):
        steps.volume()


# The driver


def test_the_driver_restarts(steps: Steps, run: Run, api: FakeApi) -> None:
    """One pod goes, another comes; the audit names it."""
    assert steps.driver.restart("node-1") > 0
    assert [name_of(pod) for pod in steps.driver.pods("node-1")] == ["plugin-3"]
    assert pods_on(api, "node-1") == ["plugin-3"]
    assert pods_on(api, "node-2") == ["plugin-2"]
    audit = {result.id: result for result in clean_up(run)}["HYGIENE-002"]
    assert not audit.red
    assert "pod/plugin-1 in drivers deleted (for scenario; its DaemonSet makes" in audit.headline


def test_something_happens_while_the_driver_restarts(steps: Steps, drivers: DaemonSets) -> None:
    """Its pod has been asked to end, and is not waited for yet."""
    told: list[str] = []

    def meanwhile() -> None:
        told.append(steps.evidence.steps[-1])
        drivers.run_on("node-1")

    drivers.comes_back = False
    steps.driver.restart("node-1", meanwhile)
    assert told[0].endswith("driver's pod plugin-1 on node-1 deleted")


def test_the_driver_is_killed(steps: Steps, run: Run, api: FakeApi) -> None:
    """A pod on its node ends the container's processes; the kubelet starts it in the same pod."""
    pods = end_pods(api, "")

    def meanwhile() -> None:
        pod = api.get(POD, "drivers", "plugin-1")
        assert pod is not None
        (status,) = pod["status"]["containerStatuses"]
        again = [{**status, "restartCount": 1}]
        api.edit(POD, "drivers", "plugin-1", status={**pod["status"], "containerStatuses": again})

    steps.driver.kill("node-1", meanwhile)
    assert pods_on(api, "node-1") == ["plugin-1"]
    (pod,) = pods
    assert (pod["spec"]["hostPID"], pod["spec"]["nodeName"]) == (True, "node-1")
    assert pod["spec"]["containers"][0]["command"][-1] == "c0"
    assert run.changes.told == ["driver on node-1 killed (for scenario)"]


def test_the_program_that_kills_ends_a_container() -> None:
    """By the ID in the cgroup of its processes; that there is none is told."""
    missed = subprocess.run([sys.executable, "-c", KILL, "no-container"], capture_output=True)
    assert (missed.returncode, missed.stderr) == (1, b"no process of container no-container\n")


def test_a_driver_that_does_not_come_back_is_told(steps: Steps, drivers: DaemonSets) -> None:
    """The cluster did not make it, or it is the driver that is not ready."""
    drivers.becomes_ready = False
    with pytest.raises(FailedError, match="the return of the restarted driver on node-1") as raised:
        steps.driver.restart("node-1")
    assert "plugin-3: container running, not ready" in raised.value.finding.observed
    drivers.comes_back = False
    with pytest.raises(InconclusiveError, match="the driver's new pod on node-1") as unmade:
        steps.driver.restart("node-1")
    assert unmade.value.finding.blame is Blame.CLUSTER
    with pytest.raises(UnmetError, match="no pod of the driver is on node-1"):
        steps.driver.restart("node-1")


def test_the_audit_tells_of_a_driver_that_does_not_serve_again(
    steps: Steps, run: Run, drivers: DaemonSets
) -> None:
    """Unless a check has told it, or it serves by then."""
    drivers.becomes_ready = False
    with pytest.raises(FailedError) as raised:
        steps.driver.restart("node-1")
    audit = {result.id: result for result in clean_up(run)}["HYGIENE-002"]
    assert audit.finding is not None
    assert (audit.outcome, audit.finding.blame) == (Outcome.ERROR, Blame.DRIVER)
    head = "does not serve again: the driver on node-1: pod plugin-3: container running, not ready"
    assert head in audit.finding.head
    assert "the driver on node-1: pod plugin-3" in run.record.leftovers[0]
    check = Result.passed("DISC-006", "comes_back", "node", "It MUST come back.")
    run.record.add(check.ended(Outcome.FAIL, raised.value.finding))
    audit = {result.id: result for result in clean_up(run)}["HYGIENE-002"]
    assert (audit.skip, audit.blocked_by) == (SkipKind.BLOCKED, "DISC-006")


def test_a_driver_is_back_when_its_pools_are_whole(steps: Steps, api: FakeApi) -> None:
    """A slice of two says that another has to come."""
    item = slice_of("node-1", 2)
    item["spec"]["pool"]["resourceSliceCount"] = 2
    api.put(item)
    with pytest.raises(FailedError, match="pool node-1 has 1 of 2 slices"):
        steps.driver.restart("node-1")


def test_a_pod_that_nobody_makes_again_is_not_deleted(steps: Steps, api: FakeApi) -> None:
    """A bare pod would be gone for ever."""
    pod = api.get(POD, "drivers", "plugin-1")
    assert pod is not None
    api.edit(POD, "drivers", "plugin-1", metadata={**pod["metadata"], "ownerReferences": []})
    with pytest.raises(UnmetError, match="nobody makes the driver's pod plugin-1 again"):
        steps.driver.restart("node-1")
    assert pods_on(api, "node-1") == ["plugin-1"]


def test_the_driver_stops_and_starts(steps: Steps, api: FakeApi) -> None:
    """On one node; the DaemonSet is as it was, and on the other node nothing has happened."""
    steps.driver.stop("node-1")
    assert pods_on(api, "node-1") == []
    changed = api.get(DAEMON_SET, "drivers", "plugin")
    assert changed is not None
    assert changed["spec"]["updateStrategy"] == {"type": "OnDelete"}
    steps.driver.start("node-1")
    assert pods_on(api, "node-1") == ["plugin-3"]
    assert pods_on(api, "node-2") == ["plugin-2"]
    now = api.get(DAEMON_SET, "drivers", "plugin")
    assert now is not None
    assert now["spec"] == SPEC


def test_the_driver_gets_another_version_and_its_own_again(steps: Steps, api: FakeApi) -> None:
    """On one node, in all containers of its image; where no other version is known, nothing."""
    with pytest.raises(UnsupportedError, match="no other version of the driver is known"):
        steps.driver.upgrade("node-1")
    steps.run.cluster = dataclasses.replace(steps.run.cluster, next_image="driver:2")

    def images() -> dict[str, list[str]]:
        pods = [one for key, one in api.objects.items() if key[1] == "drivers"]
        return {
            pod["spec"]["nodeName"]: [one["image"] for one in pod["spec"]["containers"]]
            for pod in pods
            if pod["kind"] == POD.name
        }

    old, new = ["driver:1", "log:1"], ["driver:2", "log:1"]
    steps.driver.upgrade("node-1")
    assert images() == {"node-1": new, "node-2": old}
    steps.driver.start("node-1")
    assert images() == {"node-1": old, "node-2": old}
    now = api.get(DAEMON_SET, "drivers", "plugin")
    assert now is not None
    assert now["spec"] == SPEC


def test_a_script_that_fails_leaves_no_driver_stopped(steps: Steps, api: FakeApi) -> None:
    """On both nodes, where it was stopped on both."""

    def script(_: Steps) -> None:
        for node in NODES:
            steps.driver.stop(node)
        raise UnmetError("nothing")

    steps.perform(script)
    assert [len(pods_on(api, node)) for node in NODES] == [1, 1]
    now = api.get(DAEMON_SET, "drivers", "plugin")
    assert now is not None
    assert now["spec"] == SPEC


def test_a_node_is_left_out_whatever_the_affinity() -> None:
    """Every term leaves it out, as one of them has to fit."""
    other = {"key": "metadata.name", "operator": "NotIn", "values": ["node-1"]}
    term = {"matchExpressions": [{"key": "gpu", "operator": "Exists"}]}
    given: Object = {"nodeAffinity": {NODE_AFFINITY: {"nodeSelectorTerms": [term, {}]}}, "a": 1}
    made = without_node(given, "node-1")
    assert made["a"] == 1
    assert made["nodeAffinity"][NODE_AFFINITY]["nodeSelectorTerms"] == [
        {**term, "matchFields": [other]},
        {"matchFields": [other]},
    ]
    assert without_node(None, "node-1") == {
        "nodeAffinity": {NODE_AFFINITY: {"nodeSelectorTerms": [{"matchFields": [other]}]}}
    }
    assert "matchFields" not in term


def test_the_drivers_log(steps: Steps, api: FakeApi) -> None:
    """Of the node's pod."""
    api.write_log("drivers", "plugin-2", "one\ntwo\n", complete=True)
    assert steps.driver.logs("node-2") == ["one", "two"]


def test_a_driver_of_which_nothing_is_known_is_left_alone(run: Run) -> None:
    """The default profile does not say which pods are its."""
    run.subject = dataclasses.replace(run.subject, profile=named("default", PROFILES))
    steps = Steps(run, Evidence("s"), None, RESTRICTED, uses=[needs_of(Driver.restart)])
    with pytest.raises(UnsupportedError, match="does not say which pods are the driver's"):
        steps.driver.restart("node-1")


# Slices over time


def mending(api: FakeApi) -> None:
    """A driver that puts its slices right at once."""

    def react(change: str, obj: Object) -> None:
        if obj["kind"] != SLICE.name:
            return
        node = obj["spec"]["nodeName"]
        if change == "DELETED":
            api.put(slice_of(node, 2))
        elif not obj["spec"]["devices"]:
            api.edit(SLICE, "", name_of(obj), spec=slice_of(node, 3)["spec"])

    api.reactions.append(react)


def test_slices_are_put_right_by_the_driver(
    steps: Steps, run: Run, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was deleted, once nobody had written it for a while, and what was edited; the audit
    names both.
    """
    monkeypatch.setattr(slice_writes, "REST_SECONDS", 0.3)
    mending(api)
    with steps.slices() as seen:
        written = slice_writes.written(run, "node-1")
        steps.slice.delete("node-1")
        assert time.time() - written >= 0.3
        steps.slice.edit("node-2")
        assert steps.slice.await_mended() == []
    steps.slice.put_back()
    assert seen.of_node("node-1").after[0]["spec"]["devices"] == [{"name": "gpu-0"}]
    assert seen.of_node("node-2").after[0]["spec"] == slice_of("node-2", 3)["spec"]
    assert steps.evidence.steps[-1].endswith("not put right: none")
    assert [told.partition(" ")[0] for told in run.changes.told] == [
        "resourceslice/slice-node-1",
        "resourceslice/slice-node-2:",
    ]
    assert run.changes.stays() == []


def test_waits_that_overlap_begin_together(steps: Steps) -> None:
    """One that comes after another that was in vain has nothing left, but looks once more; what a
    container reports has its own time.
    """

    def seconds(budget: Budget, ready: object = None) -> float:
        began = time.monotonic()
        steps.wait("it", lambda: ready, budget, str, Blame.DRIVER, optional=True)
        return time.monotonic() - began

    with steps.together():
        assert seconds(Budget("first", 0.4)) >= 0.4
        assert seconds(Budget("second", 0.4)) < 0.3
        assert steps.evidence.steps[-1].endswith("it not within 0.4 s (budget second); seen: ")
        assert seconds(Budget("third", 0), ready=True) < 0.3
    assert seconds(Budget("fourth", 0.4)) >= 0.4


def test_waits_that_overlap_know_that_the_server_was_away(
    steps: Steps, kube: Kube, api: FakeApi
) -> None:
    """Since they began together, and not only since the wait before was over."""

    def away() -> bool:
        api.silent = True
        with pytest.raises(UnreachableError):
            kube.list(POD)
        api.silent = False
        return True

    def wait_in_vain() -> None:
        steps.wait("it", lambda: None, Budget("second", 0.1), str, Blame.DRIVER)

    with steps.together():
        steps.wait("the first", away, Budget("first", 0.1), str, Blame.DRIVER)
        with pytest.raises(UnreachableError, match="it was not seen, as the API server did not"):
            wait_in_vain()
    with pytest.raises(FailedError, match="it did not come within"):
        wait_in_vain()


def test_pods_that_find_no_device_say_how_many_it_takes(steps: Steps, run: Run) -> None:
    """Those that use the device of one of them, too."""
    run.observer.observe(CLAIM)
    run.subject = dataclasses.replace(run.subject, slots={"node-1": 0})
    pods = Pods(steps, ("ends", "runs"))
    pods.late("late", "runs")
    for role, needed in (("ends", "1 free device"), ("late", "2 free devices")):
        with pytest.raises(UnsupportedError, match=f"needs {needed} on one node; the most .* 0$"):
            steps.evidence.container(role)


@pytest.mark.parametrize(("started", "waits"), [("09:59:31", True), ("09:59:20", False)])
def test_a_driver_has_to_outlast_one_report(
    started: str, waits: bool, steps: Steps, run: Run, api: FakeApi
) -> None:
    """What is known 30 s after its start is more than its first word."""
    (driver,) = steps.driver.pods("node-1")
    plugin = run.subject.profile.plugin_container
    since = running_since(plugin, started)
    api.edit(POD, "drivers", name_of(driver), status=since)
    run.observer.wait("it", lambda: run.observer.last(driver).obj["status"] == since, TEN, str)
    (container,) = steps.submit_pod("runs", [resting("runs")])
    pod = container.the_pod()

    def tell(health: str) -> None:
        told = [{"name": "claim:gpus", "resources": [{"resourceID": "gpu-0", "health": health}]}]
        status = running_since("runs", "10:00:00", allocatedResourcesStatus=told)
        api.edit(POD, steps.namespace, name_of(pod), status=status)

    tell("Healthy")
    run.observer.wait("it", lambda: health(run.observer.last(pod).obj, "runs"), TEN, str)
    timer = threading.Timer(0.3, tell, ("Unknown",))
    timer.start()
    outlast_one_report(steps, container, "node-1")
    assert is_known(health(run.observer.last(pod).obj, "runs")) is not waits
    timer.join()


def test_a_start_has_its_time_from_the_allocation_on(steps: Steps, run: Run, api: FakeApi) -> None:
    """However late a device comes: before that nobody can start the pod."""
    run.observer.observe(CLAIM)
    run.subject = dataclasses.replace(run.subject, slots={"node-1": 0})
    run.budgets.allocate, run.budgets.start = Budget("allocate", 1), Budget("start", 1)
    run.budgets.workload = Budget("workload", 0.1)
    pods, claim = Pods(steps, ()), steps.claim(1)
    (container,) = steps.submit_pod("waits", [resting("waits")], claim)

    def allocate() -> None:
        results = [{"request": "gpu-0", "driver": DRIVER, "pool": "node-1", "device": "gpu-0"}]
        status = {"allocation": {"devices": {"results": results}}}
        api.edit(CLAIM, steps.namespace, claim.name, status=status)

    def start() -> None:
        running = {"name": "waits", "containerID": "containerd://c1", "state": {"running": {}}}
        status = {"containerStatuses": [running]}
        api.edit(POD, steps.namespace, name_of(container.the_pod()), status=status)

    timers = [threading.Timer(0.7, allocate), threading.Timer(1.3, start)]
    for timer in timers:
        timer.start()
    pods.await_reports("waits")
    for timer in timers:
        timer.join()
    assert container.started.get()["spec"]


@pytest.mark.parametrize(
    ("played", "first", "later"),
    [
        (test_stop.driver_away, ("ends",), ("starts", "next", "waits")),
        (test_sigkill.driver_killed, ("ends", "dropped"), ("cut", "again", "next")),
    ],
)
def test_who_gets_the_device_of_another_is_waited_for_when_that_has_ended(
    played: Scenario, first: tuple[str, ...], later: tuple[str, ...]
) -> None:
    """Not together with its end, which may take longer than an allocation may."""
    said = MagicMock()
    with patch.dict(played.script.__globals__, on_one_node=said.on_one_node):
        played.script(said.steps)
    pods = call.on_one_node().__enter__()
    gone, reports = pods.await_gone(*first), pods.await_reports(*later)
    assert said.mock_calls.index(gone) < said.mock_calls.index(reports)
    said.steps.together.assert_not_called()


def test_slices_that_never_rest_are_waited_for_twice(
    steps: Steps, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the scenario ends, and says why."""
    monkeypatch.setattr(slice_writes, "REST_SECONDS", 1.5)  # its writer may be held up
    ends = threading.Event()

    def write() -> None:
        generation = 2
        while not ends.wait(0.05):
            api.edit(SLICE, "", "slice-node-1", spec=slice_of("node-1", generation)["spec"])
            generation += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with pytest.raises(UnmetError, match=r"^the ResourceSlices of node-1 are written again"):
            steps.slice.delete("node-1")
    finally:
        ends.set()
        writer.join()


def test_an_edit_that_the_driver_leaves_is_put_back(steps: Steps, run: Run, api: FakeApi) -> None:
    """When time is up; what is missing then is in the evidence."""
    steps.slice.edit("node-2")
    assert steps.slice.await_mended() == ["node-2"]
    steps.slice.put_back()
    now = api.get(SLICE, "", "slice-node-2")
    assert now is not None
    assert now["spec"] == slice_of("node-2", 1)["spec"]
    assert run.changes.stays() == []


def test_a_node_without_devices_has_no_slice_to_delete(steps: Steps) -> None:
    """It is said, and nothing is changed."""
    with pytest.raises(UnmetError, match="no ResourceSlice with devices of node-9"):
        steps.slice.delete("node-9")


def test_every_write_of_a_slice_is_seen(steps: Steps, api: FakeApi) -> None:
    """In order, with what was there before and after; other drivers' are none of its business."""
    other = slice_of("node-9", 1)
    other["spec"]["driver"] = "other.example"
    with steps.slices() as seen:
        api.put(other)
        for generation in (2, 3):
            api.edit(SLICE, "", "slice-node-1", spec=slice_of("node-1", generation)["spec"])
        api.remove(SLICE, "", "slice-node-2")
        api.put(slice_of("node-3", 1))
    assert [(write.event, name_of(write.obj)) for write in seen.writes] == [
        (CHANGED, "slice-node-1"),
        (CHANGED, "slice-node-1"),
        (DELETED, "slice-node-2"),
        (ADDED, "slice-node-3"),
    ]
    assert [name_of(item) for item in seen.before] == ["slice-node-1", "slice-node-2"]
    assert [item["spec"]["pool"]["generation"] for item in seen.of_node("node-1").after] == [3]
    assert sorted(seen.differences()) == [
        "ResourceSlice slice-node-2 is gone",
        "its ResourceSlice has generation 3 instead of 1",
        "there is a new ResourceSlice slice-node-3",
    ]
    assert steps.evidence.slices.get() is seen


def test_nothing_is_seen_of_what_came_before_or_after(steps: Steps, api: FakeApi) -> None:
    """And what stays the same differs in nothing."""
    with steps.slices() as seen:
        pass
    api.put(slice_of("node-1", 2))
    steps.run.observer.wait(
        "the write",
        lambda: (
            any(s["spec"]["pool"]["generation"] == 2 for s in steps.run.observer.objects(SLICE))
            or None
        ),
        steps.run.budgets.observe,
        lambda: "",
    )
    assert (seen.writes, seen.differences()) == ([], [])


# Nodes


def read(folder: Path, *folders: Path, most: int = 100) -> tuple[File, ...]:
    """Run the program that a pod on a node runs, without a root of its own."""
    program = READ.replace("os.chroot(root)\n", "")
    assert program != READ
    command = [sys.executable, "-c", program, str(folder), str(most), *map(str, folders)]
    return parse(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_folders_are_read_with_all_that_is_in_them(tmp_path: Path) -> None:
    """Names, kinds, sizes and hashes; the content of small files only; links are not followed."""
    folder = tmp_path / "run" / "cdi"
    (folder / "inner").mkdir(parents=True)
    (folder / "small.json").write_text("{}")
    (folder / "inner" / "large").write_bytes(b"x" * 101)
    (folder / "link").symlink_to("/etc/passwd")
    (tmp_path / "var").symlink_to("run")
    found = {file.path: file for file in read(tmp_path, tmp_path / "var" / "cdi", tmp_path / "no")}
    assert {path.removeprefix(str(folder)): file.kind for path, file in found.items()} == {
        "": "folder",
        "/inner": "folder",
        "/inner/large": "file",
        "/link": "link",
        "/small.json": "file",
    }
    small, large = found[f"{folder}/small.json"], found[f"{folder}/inner/large"]
    assert (small.size, small.text, small.sha256[:4]) == (2, "{}", "4413")
    assert (large.size, large.text, len(large.sha256)) == (101, None, 64)
    assert small.mentions("small")
    assert small.mentions("{")
    assert not large.mentions("x" * 10)


def end_pods(api: FakeApi, said: str, exit_code: int = 0) -> list[Object]:
    """Have every pod of the run end at once, having said something; answers those pods."""
    ended: list[Object] = []

    def react(change: str, obj: Object) -> None:
        if change == "ADDED" and obj["kind"] == POD.name and "scenario" in name_of(obj):
            ended.append(obj)
            where, role = obj["metadata"]["namespace"], obj["spec"]["containers"][0]["name"]
            api.write_log(where, name_of(obj), said, complete=True)
            state = {"terminated": {"exitCode": exit_code}}
            status = {"containerStatuses": [{"name": role, "state": state}]}
            api.edit(POD, where, name_of(obj), status=status)

    api.reactions.append(react)
    return ended


def test_a_node_is_read_by_a_pod_that_cannot_write(steps: Steps, api: FakeApi) -> None:
    """It runs on that node, in the namespace for privileged pods, and is gone afterwards."""
    entry = {"path": "/run/cdi", "kind": "folder", "size": 40}
    pods = end_pods(api, json.dumps([entry]) + "\n")
    found = steps.node("node-2").files("plugin", "look")
    assert found == steps.evidence.files("look") == (File("/run/cdi", "folder", 40),)
    (pod,) = pods
    assert pod["spec"]["nodeName"] == "node-2"
    assert pod["metadata"]["namespace"].endswith("-privileged")
    (container,) = pod["spec"]["containers"]
    assert container["command"][-1] == f"/var/lib/kubelet/plugins/{DRIVER}"
    assert all(mount["readOnly"] for mount in container["volumeMounts"])
    assert "privileged" not in container["securityContext"]
    assert api.get(POD, pod["metadata"]["namespace"], name_of(pod)) is None


def a_claim() -> Claim:
    """A claim of the run."""
    obj = thing("ResourceClaim", "gpus", "n")
    return Claim({**obj, "metadata": {**obj["metadata"], "uid": "u1"}}, ())


def test_the_files_of_a_claim_are_removed(steps: Steps, run: Run, api: FakeApi) -> None:
    """Those that are called after it; where none is, there is nothing to see."""
    claim = a_claim()
    pods = end_pods(api, "/run/cdi/claim.json\n")
    steps.node("node-1").wipe(claim, "wiped")
    assert pods[0]["spec"]["containers"][0]["command"][3:] == ["u1", "/var/run/cdi", "/etc/cdi"]
    assert steps.evidence.files("wiped") == (File("/run/cdi/claim.json", "file", 0),)
    assert run.changes.told == ["CDI files of gpus on node-1 removed"]


def test_a_driver_may_call_its_files_otherwise(steps: Steps, api: FakeApi) -> None:
    """Then they are left alone."""
    end_pods(api, "")
    steps.node("node-1").wipe(a_claim(), "wiped")
    assert steps.evidence.files("wiped") == ()


def test_a_pod_that_cannot_read_is_no_fault_of_the_driver(steps: Steps, api: FakeApi) -> None:
    """Its last words are the reason."""
    end_pods(api, "Traceback\nPermissionError: /run/cdi\n", exit_code=1)
    with pytest.raises(InconclusiveError, match=r"failed: PermissionError: /run/cdi$"):
        steps.node("node-1").files("cdi", "look")


def come_back(api: FakeApi, node: str) -> None:
    """A kubelet starts: it is heard of, and the slices of its node are made anew."""
    api.edit(NODE, "", node, status=ready_since("2026-11-23T00:05:00Z"))
    api.remove(SLICE, "", f"slice-{node}")
    api.put(slice_of(node, 1))


def beats_after_pod(api: FakeApi, pods: list[Object]) -> None:
    """The kubelet says that its node is ready once the pod has ended."""

    def react(change: str, obj: Object) -> None:
        if change == "MODIFIED" and obj["kind"] == POD.name and pods:
            come_back(api, "node-1")

    api.reactions.append(react)


def test_a_kubelet_is_restarted_by_a_pod(steps: Steps, run: Run, api: FakeApi) -> None:
    """And is back when it says something newer; the audit names it."""
    pods = end_pods(api, "")
    beats_after_pod(api, pods)
    steps.kubelet.restart("node-1")
    (pod,) = pods
    assert (pod["spec"]["hostPID"], pod["spec"]["nodeName"]) == (True, "node-1")
    assert run.changes.told == ["kubelet of node-1 restarted (for scenario)"]


def test_an_embedded_kubelet_is_restarted_by_its_cluster(
    steps: Steps, run: Run, api: FakeApi
) -> None:
    """Without a pod."""
    asked: list[str] = []

    def restart(node: str) -> None:
        asked.append(node)
        come_back(api, node)

    run.cluster = dataclasses.replace(run.cluster, restart_kubelet=restart)
    steps.kubelet.restart("node-1")
    assert asked == ["node-1"]


def test_a_driver_that_does_not_publish_again_is_told(steps: Steps, run: Run, api: FakeApi) -> None:
    """The kubelet removes its slices; it is to bring them back."""

    def restart(node: str) -> None:
        api.edit(NODE, "", node, status=ready_since("2026-11-23T00:05:00Z"))
        api.remove(SLICE, "", f"slice-{node}")

    run.cluster = dataclasses.replace(run.cluster, restart_kubelet=restart)
    with pytest.raises(FailedError, match="no ResourceSlice of node-1"):
        steps.kubelet.restart("node-1")


def test_a_kubelet_that_stays_silent_is_told(steps: Steps, run: Run) -> None:
    """It is to blame."""
    run.cluster = dataclasses.replace(run.cluster, restart_kubelet=lambda _: None)
    with pytest.raises(InconclusiveError, match="last heard of at 2026-11-23") as raised:
        steps.kubelet.restart("node-1")
    assert raised.value.finding.blame is Blame.KUBELET
