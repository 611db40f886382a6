"""The checks that only read, against a cluster in this process: what each break turns red."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cluster.kinds import NODE, POD, SLICE, Object
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
    return cluster


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
            "spec": {"nodeName": node, "containers": [{"name": "gpus", "image": "driver"}]},
            "status": {"containerStatuses": [{"name": "gpus", "state": state or {"running": {}}}]},
        }
    )


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
    assert (ended.code, outcomes(ended)) == (0, dict.fromkeys(CHECKS, "pass")), ended.output
    assert cluster.left() == before
    assert {method for method, _, _ in cluster.api.requests} <= {"GET", "POST"}
    made = [path for method, path, _ in cluster.api.requests if method == "POST"]
    assert all("/selfsubject" in path for path in made)


def test_junit_is_written_where_pytest_is_told(tmp_path: Path) -> None:
    """One JUnit file, with one set of names: ours."""
    with good().up(tmp_path) as kubeconfig:
        process = start(kubeconfig, tmp_path, "--junitxml", "mine.xml", *ONLY, "--dra-image", "")
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    root = ET.parse(tmp_path / "mine.xml").getroot()
    assert {suite.get("name") for suite in root.findall("testsuite")} == {"dra-conformance"}
    assert not list(tmp_path.glob("reports/out/*/junit.xml"))


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
        (crash_on_two_nodes, "SLICE-001", "runs on node-2 and 1 more node, but no device of them"),
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
        (described("numaNode", {"int": -1}), "SLICE-018", "is -1"),
        (described("numaNode", {"ints": []}), "SLICE-018", "is 'empty'"),
    ],
)
def test_a_break_turns_its_check_red(
    break_it: Callable[[FakeCluster], None], check: str, words: str, tmp_path: Path
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
    assert (ended.code, ended.red()) == (12, {"SLICE-001": "error"}), ended.output
    assert (
        "none of node-2, where pod nvidia/kubelet-plugin-node-2 is at: container waiting"
        " ImagePullBackOff no such image" in ended.output
    )


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
