"""The reference driver on an embedded cluster: what pods get, and what the kubelet sees."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embedded import cluster as embedded_cluster
from embedded.drivers.reference import NAMESPACE, REFERENCE, set_fault
from tests.admin import ROOT, run_suite
from tests.drivers.cluster import SLEEP, DriverCluster, running, state

pytestmark = pytest.mark.embedded

COMMON = ["/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidiactl"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[DriverCluster]:
    """A cluster of its own, with four GPUs."""
    with running("reference") as up:
        yield up


@pytest.fixture
def fault(cluster: DriverCluster) -> Iterator[Any]:
    """Switches faults; none is left at the end."""
    node = embedded_cluster.node_root(cluster.name)
    yield lambda name: set_fault(node, name)
    set_fault(node, None)


def restart(cluster: DriverCluster) -> None:
    """Delete the driver's pod and wait until the next one is Ready."""
    pods = cluster.kind("v1", "Pod")
    (old,) = pods.get(namespace=NAMESPACE).to_dict()["items"]
    pods.delete(name=old["metadata"]["name"], namespace=NAMESPACE)
    cluster.wait("v1", "Pod", old["metadata"]["name"], lambda pod: pod is None, NAMESPACE)
    cluster.wait(
        "apps/v1",
        "DaemonSet",
        "kubelet-plugin",
        lambda one: one["status"].get("numberReady") == 1,
        NAMESPACE,
    )


def gpus(nodes: list[str]) -> list[str]:
    """Those of the device nodes that are GPUs."""
    return [node for node in nodes if node not in COMMON]


def test_a_pod_gets_exactly_what_was_allocated(cluster: DriverCluster) -> None:
    """Two device nodes and what they need; CUDA sees the GPUs with the UUIDs of the slice."""
    cluster.claim("exactly", REFERENCE.name, 2)
    cluster.pod("holds", "exactly", SLEEP)
    cluster.wait("v1", "Pod", "holds", lambda pod: "running" in state(pod))
    allocated = cluster.allocated("exactly")
    seen = cluster.look("looks", "exactly")
    cluster.delete("holds")
    assert len(allocated) == 2
    minors = [device["name"].removeprefix("gpu-") for device in allocated]
    assert seen["nodes"] == sorted([*COMMON, *(f"/dev/nvidia{minor}" for minor in minors)])
    assert seen["uuids"] == sorted(one["attributes"]["uuid"]["string"] for one in allocated)
    assert seen["env"] == [f"REFERENCE_GPU_{minor}" for minor in minors]


def test_one_too_many_is_switched_on_and_off(cluster: DriverCluster, fault: Any) -> None:
    """On the running driver; CUDA sees the third GPU, too."""
    cluster.claim("faulty", REFERENCE.name, 2)
    for name, count in (("one-too-many", 3), (None, 2)):
        fault(name)
        seen = cluster.look("looks", "faulty")
        assert len(gpus(seen["nodes"])) == count
        assert len(seen["uuids"]) == count


def test_a_full_cluster_is_judged_by_admin_access(cluster: DriverCluster, tmp_path: Path) -> None:
    """Every device is another pod's, which keeps them."""
    cluster.claim("everything", REFERENCE.name, 4)
    cluster.pod("owner", "everything", SLEEP)
    cluster.wait("v1", "Pod", "owner", lambda pod: "running" in state(pod))
    checks = ("--dra-check", "SHARE-002,ISO-012,ALLOC-005")
    options = ("--dra-image", cluster.workload_image, "--dra-admin", *checks, ROOT / "suites")
    run = run_suite(cluster.kubeconfig, tmp_path / "out", *options)
    assert run.code == 0, run.printed
    ended = {one["id"]: one["skip"] or one["outcome"] for one in run.results}
    assert ended["SHARE-002"] == ended["ISO-012"] == "pass", run.printed
    assert ended["ALLOC-005"] == "own-devices"
    owner = cluster.wait("v1", "Pod", "owner", lambda pod: "running" in state(pod))
    assert owner["status"]["containerStatuses"][0]["restartCount"] == 0
    cluster.delete("owner")


def test_the_kubelet_reports_health(cluster: DriverCluster) -> None:
    """By the stream of DRAResourceHealth (KEP-4680)."""
    cluster.claim("healthy", REFERENCE.name, 1)
    cluster.pod("healthy", "healthy", SLEEP)

    def health(pod: Any) -> list[str]:
        resources = (
            pod["status"].get("containerStatuses", [{}])[0].get("allocatedResourcesStatus", ())
        )
        return [one["health"] for resource in resources for one in resource["resources"]]

    cluster.wait("v1", "Pod", "healthy", lambda pod: health(pod) == ["Healthy"])
    cluster.delete("healthy")


def test_a_restart_is_not_noticed(cluster: DriverCluster) -> None:
    """Slices stay as they are; a pod that joins the claim afterwards gets the same devices."""
    before = cluster.slices
    cluster.claim("shared", REFERENCE.name, 1)
    cluster.pod("first", "shared", SLEEP)
    cluster.wait("v1", "Pod", "first", lambda pod: "running" in state(pod))
    restart(cluster)
    seen = cluster.look("second", "shared")
    assert seen["nodes"] == sorted(
        [*COMMON, f"/dev/nvidia{cluster.allocated('shared')[0]['name'].removeprefix('gpu-')}"]
    )
    cluster.delete("first")
    assert cluster.slices == before


def test_forgetting_after_a_restart_is_noticed(cluster: DriverCluster, fault: Any) -> None:
    """The runtime cannot start a pod that joins the claim: its CDI device is unknown."""
    cluster.claim("forgotten", REFERENCE.name, 1)
    cluster.pod("first", "forgotten", SLEEP)
    cluster.wait("v1", "Pod", "first", lambda pod: "running" in state(pod))
    fault("forgets-after-restart")
    restart(cluster)
    cluster.pod("second", "forgotten", SLEEP)
    pod = cluster.wait(
        "v1", "Pod", "second", lambda pod: "message" in state(pod).get("waiting", {})
    )
    assert "unresolvable CDI devices" in state(pod)["waiting"]["message"]
    cluster.delete("second")
    cluster.delete("first")


def test_never_preparing_is_in_the_pods_events(cluster: DriverCluster, fault: Any) -> None:
    """With the driver's own words."""
    fault("never-prepares")
    cluster.claim("refused", REFERENCE.name, 1)
    cluster.pod("refused", "refused", SLEEP)
    events = cluster.kind("v1", "Event").watch(
        namespace="default",
        field_selector="involvedObject.name=refused,reason=FailedPrepareDynamicResources",
        timeout=60,
    )
    assert "fault never-prepares" in next(events)["raw_object"]["message"]
    cluster.delete("refused")


def test_slices_come_back(cluster: DriverCluster, fault: Any) -> None:
    """After somebody deleted them, and after the fault that withdraws them."""
    slices = cluster.kind("resource.k8s.io/v1", "ResourceSlice")
    (old,) = cluster.slices
    slices.delete(name=old["metadata"]["name"])
    (new,) = cluster.wait_for_slices(
        lambda now: len(now) == 1 and now[0]["metadata"]["uid"] != old["metadata"]["uid"]
    )
    assert new["spec"] == old["spec"]
    fault("no-slices")
    cluster.wait_for_slices(lambda now: not now)
    fault(None)
    cluster.wait_for_slices(lambda now: len(now) == 1)


def test_publishes_for_its_own_node_only(cluster: DriverCluster) -> None:
    """The admission policy holds for the token of the driver's pod, in every direction."""
    (pod,) = cluster.kind("v1", "Pod").get(namespace=NAMESPACE).to_dict()["items"]
    (item,) = cluster.slices
    refused = {
        "of its own node only": {**item["spec"], "nodeName": "node-2"},
        "in its own name only": {**item["spec"], "driver": "gpu.nvidia.com"},
    }
    for message, spec in refused.items():
        assert message in cluster.create_slice_as(pod, spec)
    assert cluster.create_slice_as(pod, item["spec"]) == "created"
