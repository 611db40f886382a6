"""The checks that only read, against a cluster in this process: what each break turns red."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cluster.kinds import CLAIM, DEVICE_CLASS, NODE, POD, SLICE, Object
from suites.__main__ import checks
from tests.suite.fake_cluster import DRIVER, FakeCluster
from tests.suite.fake_cluster import NODE as NAME
from tests.suite.test_shared_claim import ROOT, Ended, run, start

AREA = ROOT / "suites" / "slices"
CHECKS = sorted(check.id for check in checks() if check.area == AREA.name)
ONLY = ("--dra-check", ",".join(CHECKS), str(AREA))
SHORT = ("--dra-timeout-scale", "0.02")
"""Only where a time limit has to be reached."""
ADDRESS = "resource.kubernetes.io/pciBusID"


def good() -> FakeCluster:
    """A cluster whose driver runs on its node and has published all as it should be."""
    cluster = FakeCluster()
    node = cluster.api.get(NODE, "", NAME)
    assert node is not None
    owner = {"apiVersion": "v1", "kind": "Node", "name": NAME, "uid": node["metadata"]["uid"]}
    change(cluster, lambda item: item["metadata"].update(ownerReferences=[owner]))
    for number in range(4):
        describe(cluster, number, ADDRESS, {"string": f"0000:{number:02x}:00.0"})
        describe(cluster, number, "resource.kubernetes.io/pcieRoot", {"string": "pci10000:3a"})
        describe(cluster, number, "resource.kubernetes.io/numaNode", {"ints": [0, 1]})
    run_driver_on(cluster, NAME)
    cluster.api.of_accounts = {("create", "resourceslices"), ("delete", "resourceslices")}
    confine(cluster, "system:serviceaccount:nvidia:plugin")
    return cluster


def confine(cluster: FakeCluster, account: str) -> None:
    """An admission policy keeps an account to the slices of its node."""
    node = "authentication.kubernetes.io/node-name"
    api = {"apiVersion": "admissionregistration.k8s.io/v1"}
    rule = {"apiGroups": ["resource.k8s.io"], "resources": ["resourceslices"]}
    spec = {
        "matchConstraints": {"resourceRules": [rule]},
        "matchConditions": [{"expression": f'request.userInfo.username == "{account}"'}],
        "validations": [{"expression": f"request.userInfo.extra['{node}'][0] == object.node"}],
    }
    of_slices = {"metadata": {"name": "slices"}}
    cluster.api.put({**api, "kind": "ValidatingAdmissionPolicy", **of_slices, "spec": spec})
    bound = {"policyName": "slices", "validationActions": ["Deny"]}
    cluster.api.put({**api, "kind": "ValidatingAdmissionPolicyBinding", **of_slices, "spec": bound})


def change(cluster: FakeCluster, how: Callable[[Object], object]) -> None:
    """Change the driver's slice."""
    item = cluster.api.get(SLICE, "", "slice")
    assert item is not None
    how(item)
    cluster.api.put(item)


def describe(cluster: FakeCluster, number: int, name: str, value: dict[str, Any]) -> None:
    """Give a published device an attribute."""
    change(
        cluster,
        lambda item: item["spec"]["devices"][number]["attributes"].update({name: value}),
    )


def run_driver_on(cluster: FakeCluster, node: str, **state: Any) -> None:
    """A pod of the driver, whose container runs unless another state is given."""
    cluster.api.reactions.clear()  # these pods are started, and need no claim
    cluster.api.put(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"kubelet-plugin-{node}",
                "namespace": "nvidia",
                "labels": {"dra-driver-nvidia-gpu-component": "kubelet-plugin"},
            },
            "spec": {
                "nodeName": node,
                "serviceAccountName": "plugin",
                "containers": [{"name": "gpus", "image": "driver"}],
            },
            "status": {
                "conditions": [{"type": "Ready", "status": "False" if state else "True"}],
                "containerStatuses": [{"name": "gpus", "state": state or {"running": {}}}],
            },
        }
    )


PART = "gpu-3-part"
SEEN_IN_RICH = {f"SLICE-{number:03}" for number in (8, 19, 20, 24, 31, 32, 33, 34)}
"""Checks of what not every driver publishes."""


def rich() -> FakeCluster:
    """A good cluster that has all that a driver can publish, and a claim that is in use."""
    cluster = good()
    draws = [{"counterSet": "board", "counters": {"memory": {"value": "80Gi"}}}]
    policy = {"default": "1Gi", "validRange": {"min": "1Gi"}}
    api, name = "resource.k8s.io/v1", {"driver": DRIVER}

    def divide(item: Object) -> None:
        item["spec"]["pool"]["resourceSliceCount"] = 2
        last = item["spec"]["devices"][3]
        last["consumesCounters"] = draws
        kind = {"type": {"string": "mig"}, "uuid": {"string": "MIG-1"}}
        part = {**last, "name": PART, "attributes": {**last["attributes"], **kind}}
        shared = item["spec"]["devices"][2]
        shared["allowMultipleAllocations"] = True
        shared["capacity"]["memory"]["requestPolicy"] = policy
        item["spec"]["devices"].append(part)

    change(cluster, divide)
    item = cluster.api.get(SLICE, "", "slice")
    assert item is not None
    counters = [{"name": "board", "counters": {"memory": {"value": "80Gi"}}}]
    spec = {"driver": DRIVER, "nodeName": NAME, "pool": item["spec"]["pool"]}
    owners = {"ownerReferences": item["metadata"]["ownerReferences"]}
    of_board = {"metadata": {"name": "counters", **owners}, "spec": spec}
    cluster.api.put({"apiVersion": api, "kind": "ResourceSlice", **of_board})
    change_counters(cluster, counters)
    term = {"matchExpressions": [{"key": "rack", "operator": "Exists"}]}
    fabric = {
        **name,
        "perDeviceNodeSelection": True,
        "pool": {"name": "fabric", "generation": 1, "resourceSliceCount": 1},
        "devices": [
            {"name": "by-term", "nodeSelector": {"nodeSelectorTerms": [term]}},
            {"name": "by-name", "nodeName": NAME},
        ],
    }
    cluster.api.put(
        {"apiVersion": api, "kind": "ResourceSlice", "metadata": {"name": "fabric"}, "spec": fabric}
    )
    key = {**name, "pool": NAME, "device": "gpu-0"}
    result = {**key, "request": "gpu", "bindingConditions": ["fabric.example/attached"]}
    allocation = {"devices": {"results": [result]}, "allocationTimestamp": "2026-01-01T00:00:00Z"}
    said = {"conditions": [{"type": "fabric.example/attached", "status": "True"}]}
    cluster.api.put(
        {
            "apiVersion": api,
            "kind": "ResourceClaim",
            "metadata": {"name": "train", "namespace": "team"},
            "spec": {"devices": {"requests": []}},
            "status": {"allocation": allocation, "devices": [{**key, **said}]},
        }
    )
    return cluster


def change_counters(cluster: FakeCluster, counters: list[Object]) -> None:
    """Say what counters the pool has."""
    item = cluster.api.get(SLICE, "", "counters")
    assert item is not None
    item["spec"]["sharedCounters"] = counters
    cluster.api.put(item)


def on_the_part(**fields: Any) -> Callable[[FakeCluster], None]:
    """The part of a GPU is published with other fields."""
    return lambda cluster: change(cluster, lambda item: item["spec"]["devices"][4].update(fields))


def on_the_fabric(number: int, **fields: Any) -> Callable[[FakeCluster], None]:
    """A device that is not of one node is published with other fields."""

    def make(cluster: FakeCluster) -> None:
        item = cluster.api.get(SLICE, "", "fabric")
        assert item is not None
        item["spec"]["devices"][number].update(fields)
        cluster.api.put(item)

    return make


def draw(set_name: str, amount: str) -> list[Object]:
    """What a device draws on a counter."""
    return [{"counterSet": set_name, "counters": {"memory": {"value": amount}}}]


def withdraw_an_allocated_device(cluster: FakeCluster) -> None:
    """The claim that has it stays."""
    change(cluster, lambda item: item["spec"]["devices"].pop(0))


def share_nothing(cluster: FakeCluster) -> None:
    """A share of the third GPU may be nothing."""
    policy = {"requestPolicy": {"default": "0"}}
    how = ("capacity", "memory")
    change(cluster, lambda item: item["spec"]["devices"][2][how[0]][how[1]].update(policy))


def say_nothing_of_conditions(cluster: FakeCluster) -> None:
    """Nobody sets the binding condition of the allocated device."""
    claim = cluster.api.get(CLAIM, "team", "train")
    assert claim is not None
    cluster.api.edit(CLAIM, "team", "train", status={**claim["status"], "devices": []})


def take_the_driver_away(cluster: FakeCluster) -> None:
    """It runs on another node, and this one's slices stay."""
    cluster.api.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-2"}})
    pod = cluster.api.get(POD, "nvidia", f"kubelet-plugin-{NAME}")
    assert pod is not None
    cluster.api.put({**pod, "spec": {**pod["spec"], "nodeName": "node-2"}})
    change(cluster, lambda item: item["spec"].update(nodeName=NAME))


@pytest.mark.parametrize(
    ("break_it", "check", "words"),
    [
        (
            on_the_part(consumesCounters=[]),
            "SLICE-008",
            "gpu-3-part of node-1 and the whole gpu-3 can both",
        ),
        (
            on_the_part(consumesCounters=draw("board", "0")),
            "SLICE-008",
            "gpu-3-part of node-1 and the whole gpu-3 can both be allocated",
        ),
        (withdraw_an_allocated_device, "SLICE-024", "gpu-0 of pool node-1 is allocated, but not"),
        (
            on_the_part(consumesCounters=draw("card", "1Gi")),
            "SLICE-031",
            "gpu-3-part of node-1 draws on card, which its pool does not have",
        ),
        (
            on_the_part(consumesCounters=draw("board", "81Gi")),
            "SLICE-032",
            "gpu-3-part of node-1 draws 86973087744 of board/memory, which has 85899345920",
        ),
        (
            on_the_fabric(0, nodeSelector={"nodeSelectorTerms": [{}, {}]}),
            "SLICE-033",
            "the node selector of by-term of pool fabric has 2 terms",
        ),
        (
            on_the_fabric(1, nodeName="gone"),
            "SLICE-034",
            "by-name is published of gone, and there is no such node",
        ),
    ],
)
def test_a_break_of_what_few_publish_turns_its_check_red(
    break_it: Callable[[FakeCluster], object], check: str, words: str, tmp_path: Path
) -> None:
    """That one only."""
    cluster = rich()
    break_it(cluster)
    ended = run(cluster, tmp_path, *ONLY, *SHORT)
    assert (ended.code, ended.red()) == (1, {check: "fail"}), ended.output
    assert words in ended.first_lines()[0]


def test_what_few_publish_passes(tmp_path: Path) -> None:
    """Counters, parts, shares, node selectors, binding conditions."""
    ended = run(rich(), tmp_path, *ONLY)
    assert (ended.code, ended.red()) == (0, {}), ended.output
    assert {outcomes(ended)[check] for check in SEEN_IN_RICH} == {"pass"}, ended.output


@pytest.mark.parametrize(
    ("break_it", "check", "words"),
    [
        (share_nothing, "SLICE-019", "a share of gpu-2 of node-1 may take nothing of its memory"),
        (
            say_nothing_of_conditions,
            "SLICE-020",
            "nobody sets fabric.example/attached of gpu-0 of pool node-1",
        ),
    ],
)
def test_what_is_unwise_of_what_few_publish_is_advice(
    break_it: Callable[[FakeCluster], object], check: str, words: str, tmp_path: Path
) -> None:
    """It fails nothing."""
    cluster = rich()
    break_it(cluster)
    ended = run(cluster, tmp_path, *ONLY)
    assert (ended.code, ended.red()) == (0, {}), ended.output
    assert outcomes(ended)[check] == "advice"
    assert words in ended.output


def test_slices_that_outlive_their_driver_are_the_kubelets_fault(tmp_path: Path) -> None:
    """It has to withdraw them after half a minute."""
    cluster = good()
    take_the_driver_away(cluster)
    ended = run(cluster, tmp_path, *ONLY, *SHORT)
    assert ended.red()["SLICE-035"] == "error", ended.output
    assert "devices of node-1 are published, but no pod of the driver is there" in ended.output


def outcomes(ended: Ended) -> dict[str, str]:
    """How each of the checks ended."""
    return {
        entry["id"]: "advice" if entry["advice"] else entry["outcome"]
        for entry in ended.results["results"]
        if entry["area"] == AREA.name
    }


def test_a_good_driver_passes_everything(tmp_path: Path) -> None:
    """Without an image, and without an object."""
    cluster = good()
    before = cluster.left()
    ended = run(cluster, tmp_path, *ONLY, "--dra-image", "")
    assert (ended.code, ended.red()) == (0, {}), ended.output
    passed = {check for check, outcome in outcomes(ended).items() if outcome == "pass"}
    assert passed == set(CHECKS) - SEEN_IN_RICH, ended.output
    assert cluster.left() == before
    assert {method for method, _, _ in cluster.api.requests} <= {"GET", "POST"}
    made = [path for method, path, _ in cluster.api.requests if method == "POST"]
    assert all(path.endswith("reviews") for path in made)  # answered, not stored


def test_a_pool_of_all_nodes_is_no_fault(tmp_path: Path) -> None:
    """Nor is, where nothing is claimed, that there is no DeviceClass."""
    cluster = FakeCluster(driver="gpu.unknown.example")
    change(cluster, belong_to_all_nodes)
    cluster.api.remove(DEVICE_CLASS, "", "gpu.unknown.example")
    ended = run(cluster, tmp_path, *ONLY)
    assert (ended.code, ended.red()) == (0, {}), ended.output
    assert outcomes(ended)["SLICE-010"] == "pass"


def belong_to_all_nodes(item: Object) -> None:
    """Devices that every node can reach."""
    del item["spec"]["nodeName"]
    item["spec"]["allNodes"] = True


def test_junit_is_written_where_pytest_is_told(tmp_path: Path) -> None:
    """One JUnit file, with one set of names: ours."""
    with good().up(tmp_path) as kubeconfig:
        process = start(kubeconfig, tmp_path, "--junitxml", "mine.xml", *ONLY, "--dra-image", "")
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    root = ET.parse(tmp_path / "mine.xml").getroot()
    assert {suite.get("name") for suite in root.findall("testsuite")} == {"dra-conformance"}
    assert not list(tmp_path.glob("reports/out/*/junit.xml"))


def select(expression: str) -> Callable[[FakeCluster], object]:
    """The driver's class has another selector."""
    spec = {"selectors": [{"cel": {"expression": expression}}]}
    return lambda cluster: cluster.api.edit(DEVICE_CLASS, "", DRIVER, spec=spec)


def add_another_driver(cluster: FakeCluster) -> None:
    """It publishes a network card, which has no attributes."""
    pool = {"name": "nic", "generation": 1, "resourceSliceCount": 1}
    spec = {"driver": "nic.example.com", "nodeName": NAME, "pool": pool}
    cluster.api.put(
        {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "ResourceSlice",
            "metadata": {"name": "nic"},
            "spec": {**spec, "devices": [{"name": "nic-0"}]},
        }
    )


def fail_on_others(cluster: FakeCluster) -> None:
    """The selector asks every device for an attribute of this driver's."""
    add_another_driver(cluster)
    select(f"device.attributes['{DRIVER}'].type == 'gpu'")(cluster)


def match_others(cluster: FakeCluster) -> None:
    """The class has no selector."""
    add_another_driver(cluster)
    cluster.api.edit(DEVICE_CLASS, "", DRIVER, spec={})


def offer_by_device_plugin(cluster: FakeCluster) -> None:
    """The same GPUs."""
    cluster.api.edit(NODE, "", NAME, status={"allocatable": {"nvidia.com/gpu": "4"}})


@pytest.mark.parametrize(
    ("break_it", "check", "words"),
    [
        (
            fail_on_others,
            "DISC-015",
            "DeviceClass gpu.nvidia.com has an error on nic-0 of node-1: no such key: type",
        ),
        (
            match_others,
            "DISC-016",
            "DeviceClass gpu.nvidia.com also matches a device of nic.example.com",
        ),
        (
            offer_by_device_plugin,
            "DISC-012",
            "a device plugin offers 4 nvidia.com/gpu on node-1, beside the driver",
        ),
    ],
)
def test_what_the_installation_got_wrong_is_the_clusters(
    break_it: Callable[[FakeCluster], object], check: str, words: str, tmp_path: Path
) -> None:
    """The driver is not to blame."""
    cluster = good()
    break_it(cluster)
    ended = run(cluster, tmp_path, *ONLY, "--dra-driver", DRIVER)
    assert (ended.code, ended.red()) == (12, {check: "error"}), ended.output
    assert words in ended.first_lines()[0]


def run_two_versions(cluster: FakeCluster) -> None:
    """One on each node."""
    cluster.api.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-2"}})
    run_driver_on(cluster, "node-2")
    pod = cluster.api.get(POD, "nvidia", "kubelet-plugin-node-2")
    assert pod is not None
    spec = {**pod["spec"], "containers": [{"name": "gpus", "image": "driver:older"}]}
    cluster.api.edit(POD, "nvidia", "kubelet-plugin-node-2", spec=spec)
    item = cluster.api.get(SLICE, "", "slice")
    node = cluster.api.get(NODE, "", "node-2")
    assert item is not None
    assert node is not None
    owner = {**item["metadata"]["ownerReferences"][0], "name": "node-2"}
    owner["uid"] = node["metadata"]["uid"]
    pool = {"name": "node-2", "generation": 1, "resourceSliceCount": 1}
    (device,) = item["spec"]["devices"][:1]
    uuid = {"uuid": {"string": "GPU-90000000-0000-0000-0000-000000000000"}}
    other = {**device, "attributes": {**device["attributes"], **uuid}}
    spec = {"driver": DRIVER, "nodeName": "node-2", "pool": pool, "devices": [other]}
    cluster.api.put(
        {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "ResourceSlice",
            "metadata": {"name": "slice-2", "ownerReferences": [owner]},
            "spec": spec,
        }
    )


@pytest.mark.parametrize(
    ("break_it", "check", "words"),
    [
        (run_two_versions, "DISC-011", "2 images of the driver run, such as"),
        (
            lambda cluster: confine(cluster, "system:serviceaccount:nvidia:other"),
            "DISC-013",
            "no policy keeps the driver's account from writing slices of other nodes",
        ),
        (
            lambda cluster: cluster.api.of_accounts.add(("get", "secrets")),
            "SEC-007",
            "the driver's nvidia/plugin may read every Secret",
        ),
    ],
)
def test_what_is_unwise_in_an_installation_is_advice(
    break_it: Callable[[FakeCluster], object], check: str, words: str, tmp_path: Path
) -> None:
    """It fails nothing."""
    cluster = good()
    break_it(cluster)
    ended = run(cluster, tmp_path, *ONLY)
    assert (ended.code, ended.red()) == (0, {}), ended.output
    assert outcomes(ended)[check] == "advice"
    assert words in ended.output
    if check == "DISC-013":
        (told,) = (one["finding"] for one in ended.results["results"] if one["id"] == check)
        assert "slices (names system:serviceaccount:nvidia:other)" in told["observed"]


def run_on_a_second_node(cluster: FakeCluster) -> None:
    """Nothing is published of it."""
    cluster.api.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-2"}})
    run_driver_on(cluster, "node-2")


def publish_no_devices_there(cluster: FakeCluster) -> None:
    """A slice is there, but empty."""
    run_on_a_second_node(cluster)
    cluster.api.put(
        {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "ResourceSlice",
            "metadata": {"name": "empty"},
            "spec": {
                "driver": DRIVER,
                "nodeName": "node-2",
                "pool": {"name": "node-2", "generation": 1, "resourceSliceCount": 1},
            },
        }
    )


def crash_on_two_nodes(cluster: FakeCluster) -> None:
    """Again and again."""
    for node in ("node-2", "node-3"):
        cluster.api.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}})
        run_driver_on(cluster, node, waiting={"reason": "CrashLoopBackOff"})


def remove_the_node(cluster: FakeCluster) -> None:
    """Its slice and the driver's pod are still there, another node is, too."""
    cluster.api.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-2"}})
    cluster.api.remove(NODE, "", NAME)


def own_by_a_daemon_set(cluster: FakeCluster) -> None:
    """Which outlives nodes."""
    owner = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "plugin", "uid": "1"}
    change(cluster, lambda item: item["metadata"].update(ownerReferences=[owner]))


def same(name: str) -> Callable[[FakeCluster], None]:
    """Two devices have one value of an attribute."""

    def make(cluster: FakeCluster) -> None:
        item = cluster.api.get(SLICE, "", "slice")
        assert item is not None
        describe(cluster, 2, name, item["spec"]["devices"][1]["attributes"][name])

    return make


def test_a_gpu_and_its_parts_may_have_one_uuid(tmp_path: Path) -> None:
    """They draw on one counter set, so they are never given away together."""
    cluster = good()
    same("uuid")(cluster)
    item = cluster.api.get(SLICE, "", "slice")
    assert item is not None
    for one in item["spec"]["devices"]:
        one["consumesCounters"] = [{"counterSet": "gpu", "counters": {"memory": {"value": "1"}}}]
    cluster.api.put(item)
    assert outcomes(run(cluster, tmp_path, *ONLY))["SLICE-009"] == "pass"


def described(name: str, value: dict[str, Any]) -> Callable[[FakeCluster], None]:
    """The last device has an attribute of this value."""
    return lambda cluster: describe(cluster, 3, f"resource.kubernetes.io/{name}", value)


@pytest.mark.parametrize(
    ("break_it", "check", "words"),
    [
        (
            run_on_a_second_node,
            "SLICE-001",
            "the driver runs on node-2, but no device of it is published",
        ),
        (publish_no_devices_there, "SLICE-001", "runs on node-2, but no device of it"),
        (crash_on_two_nodes, "DISC-004", "the driver's pod on node-2 is not ready, and 1 more"),
        (
            lambda cluster: cluster.api.remove(DEVICE_CLASS, "", DRIVER),
            "DISC-010",
            "there is no DeviceClass gpu.nvidia.com, so nobody can ask for the driver's devices",
        ),
        (
            select("device.driver == 'gpu.example.com'"),
            "DISC-010",
            "DeviceClass gpu.nvidia.com matches none of the driver's devices",
        ),
        (remove_the_node, "SLICE-002", "there is no node node-1, and its slice publishes 4 dev"),
        (
            same("uuid"),
            "SLICE-009",
            "gpu-1 of node-1 and gpu-2 of node-1 have the same UUID: GPU-10000000…",
        ),
        (same(ADDRESS), "SLICE-009", "have the same PCI address on node-1: 0000:01:00.0"),
        (
            described("pciBusID", {"string": "00000000:3B:00.0"}),
            "SLICE-018",
            "resource.kubernetes.io/pciBusID of gpu-3 of node-1 is '00000000:3B:00.0'",
        ),
        (described("pcieRoot", {"string": "0000:3a"}), "SLICE-018", "is '0000:3a'"),
        (described("numaNode", {"ints": [-1]}), "SLICE-018", "is -1"),
        (described("numaNode", {"ints": []}), "SLICE-018", "is 'empty'"),
    ],
)
def test_a_break_turns_its_check_red(
    break_it: Callable[[FakeCluster], object], check: str, words: str, tmp_path: Path
) -> None:
    """That one only, in words for strangers."""
    cluster = good()
    break_it(cluster)
    ended = run(cluster, tmp_path, *ONLY, *SHORT)
    assert (ended.code, ended.red()) == (1, {check: "fail"}), ended.output
    assert words in ended.first_lines()[0]


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (own_by_a_daemon_set, "stays when the node goes: it is owned by DaemonSet plugin"),
        (
            lambda cluster: change(cluster, lambda item: item["metadata"].pop("ownerReferences")),
            "stays when the node goes: it is owned by nothing",
        ),
    ],
)
def test_slices_that_outlive_their_node_are_advice(
    break_it: Callable[[FakeCluster], None], words: str, tmp_path: Path
) -> None:
    """Nothing is wrong until a node goes."""
    cluster = good()
    break_it(cluster)
    ended = run(cluster, tmp_path, *ONLY)
    assert (ended.code, ended.red()) == (0, {}), ended.output
    assert outcomes(ended)["SLICE-022"] == "advice"
    assert words in ended.output


def test_a_driver_that_never_started_is_not_to_blame(tmp_path: Path) -> None:
    """Its image is missing on a second node; who looks for the cause finds it in the report."""
    cluster = good()
    cluster.api.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-2"}})
    waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
    run_driver_on(cluster, "node-2", waiting=waiting)
    ended = run(cluster, tmp_path, *ONLY, *SHORT)
    assert (ended.code, ended.red()) == (12, {"DISC-004": "error"}), ended.output
    assert (
        "nvidia/kubelet-plugin-node-2: container waiting ImagePullBackOff no such image"
        in ended.output
    )


def test_a_driver_that_has_just_started_has_the_time_to_be_ready(tmp_path: Path) -> None:
    """Its pod is ready when it is looked at again."""
    cluster = good()
    pod = cluster.api.get(POD, "nvidia", f"kubelet-plugin-{NAME}")
    assert pod is not None
    ready = pod["status"]
    status = {**ready, "conditions": [{"type": "Ready", "status": "False"}]}
    cluster.api.put({**pod, "status": status})
    looks = 0

    def look(method: str, path: str) -> None:
        nonlocal looks
        looks += method == "GET" and path == "/api/v1/pods"
        if looks == 3:  # the first one is for the report
            cluster.api.edit(POD, "nvidia", f"kubelet-plugin-{NAME}", status=ready)

    cluster.api.asked = look
    ended = run(cluster, tmp_path, *ONLY)
    assert (ended.code, ended.red()) == (0, {}), ended.output
    assert outcomes(ended)["DISC-004"] == "pass"


def test_a_driver_whose_pods_are_not_found_is_not_judged_by_them(tmp_path: Path) -> None:
    """Its chart gave them other labels."""
    cluster = good()
    cluster.api.remove(POD, "nvidia", f"kubelet-plugin-{NAME}")
    ended = run(cluster, tmp_path, *ONLY)
    assert (ended.code, outcomes(ended)["SLICE-001"]) == (0, "skip"), ended.output
    assert "no pod has the labels dra-driver-nvidia-gpu-component=kubelet-plugin" in ended.output


def test_what_may_not_be_seen_is_skipped(tmp_path: Path) -> None:
    """Nodes and the driver's pods, with the right that is missing."""
    cluster = good()
    cluster.api.denied = {("list", "nodes"), ("watch", "nodes"), ("list", "pods")}
    ended = run(cluster, tmp_path, *ONLY)
    assert (ended.code, ended.red()) == (0, {}), ended.output
    skipped = {entry["id"]: entry["headline"] for entry in ended.results["results"]}
    assert skipped["SLICE-001"] == "not allowed: list pods of the whole cluster"
    assert skipped["SLICE-002"] == "not allowed: list nodes of the whole cluster"
    assert skipped["SLICE-022"] == skipped["SLICE-002"]


def test_of_an_unknown_driver_what_needs_no_knowledge_is_judged(tmp_path: Path) -> None:
    """The rest says what its profile lacks."""
    cluster = FakeCluster(driver="gpu.unknown.example")
    ended = run(cluster, tmp_path, *ONLY)
    assert ended.code == 0, ended.output
    assert outcomes(ended)["SLICE-002"] == "pass"
    skipped = {e["id"]: e["headline"] for e in ended.results["results"] if e["outcome"] == "skip"}
    assert skipped["SLICE-001"] == (
        "unsupported: profile default does not say which pods are the driver's"
    )
    assert skipped["SLICE-009"].startswith("unsupported: the driver's profile does not say")


def test_nodes_that_the_run_is_not_to_use_are_not_judged(tmp_path: Path) -> None:
    """By their labels."""
    cluster = good()
    run_on_a_second_node(cluster)
    cluster.api.edit(NODE, "", NAME, metadata={"name": NAME, "labels": {"pool": "a"}, "uid": "1"})
    ended = run(cluster, tmp_path, *ONLY, "--dra-node-selector", "pool=a")
    assert (ended.code, ended.red()) == (0, {}), ended.output
