"""Devices that cannot be had, through no fault of their driver."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack

from embedded.cluster import node_root
from tests.drivers.cluster import SLEEP, DriverCluster
from tests.zoo.blame import Options, row
from tests.zoo.blame.hands import Object, changed, items, there, until


@row(
    "a DeviceTaintRule without selector taints every device",
    says="PF-07",
    words="DeviceTaintRule everything keeps claims away",
    next="kubectl delete devicetaintrule everything",
)
def _taint_rule(cluster: DriverCluster) -> Iterator[Options]:
    taint = {"key": "example.com/maintenance", "effect": "NoSchedule"}
    rule = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "DeviceTaintRule",
        "metadata": {"name": "everything"},
        "spec": {"deviceSelector": {}, "taint": taint},
    }
    with there(cluster, rule):
        yield []


@row(
    "another workload holds every device",
    says="PF-07",
    words="held by default/others",
    next="wait until they are given back",
)
def _all_held(cluster: DriverCluster) -> Iterator[Options]:
    (device_class,) = (
        one["metadata"]["name"] for one in items(cluster, "resource.k8s.io/v1", "DeviceClass")
    )
    devices = sum(len(one["spec"]["devices"]) for one in cluster.slices)
    cluster.claim("others", device_class, devices)
    cluster.pod("others", "others", SLEEP)
    cluster.wait("v1", "Pod", "others", lambda pod: pod["status"].get("phase") == "Running")
    try:
        yield []
    finally:
        cluster.delete("others")
        cluster.kind("resource.k8s.io/v1", "ResourceClaim").delete(
            name="others", namespace="default"
        )


@row(
    "no node is one for GPUs: the driver runs nowhere",
    says="PF-03",
    words="no driver publishes devices",
    next="no node has the labels it wants",
)
def _no_gpu_nodes(cluster: DriverCluster) -> Iterator[Options]:
    (driver,) = items(cluster, "apps/v1", "DaemonSet")
    nobody = {"template": {"spec": {"nodeSelector": {"example.com/none": "true"}}}}
    everybody = {"template": {"spec": {"nodeSelector": {"example.com/none": None}}}}
    with changed(cluster, driver, nobody, everybody):
        where = driver["metadata"]["namespace"]
        until(lambda: not _pods(cluster, where), "the end of the driver's pods")
        for item in cluster.slices:
            cluster.kind("resource.k8s.io/v1", "ResourceSlice").delete(
                name=item["metadata"]["name"]
            )
        yield []


@row(
    "a device belongs to no one node",
    says="PF-06",
    party="suite",
    words="belongs to no one node",
    next="--dra-level 0",
)
def _device_of_all_nodes(cluster: DriverCluster) -> Iterator[Options]:
    (item,) = cluster.slices
    spec = {key: item["spec"][key] for key in ("driver", "devices")}
    spec |= {"allNodes": True, "pool": {"name": "shared", "generation": 1, "resourceSliceCount": 1}}
    shared = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceSlice",
        "metadata": {"name": "shared"},
        "spec": spec,
    }
    with there(cluster, shared):
        yield []


@row(
    "the selector of the DeviceClass has an error",
    says="PF-08",
    words="a selector of the DeviceClass that the message names",
    next="guard the expression with has()",
)
def _class_with_error(cluster: DriverCluster) -> Iterator[Options]:
    (found,) = items(cluster, "resource.k8s.io/v1", "DeviceClass")
    driver = cluster.slices[0]["spec"]["driver"]
    wrong = {"cel": {"expression": f'device.attributes["{driver}"].none == "x"'}}
    with changed(cluster, found, {"selectors": [wrong]}, found["spec"]):
        yield []


@row(
    "a device plugin gives the same GPUs away",
    says="PF-07",
    advice=True,
    words="by a device plugin, which knows nothing of claims",
    next="take the device plugin from nodes with a DRA driver",
)
def _device_plugin(cluster: DriverCluster) -> Iterator[Options]:
    nodes = cluster.kind("v1", "Node")

    def offer(amount: str | None) -> None:
        offered = {"example.dra-conformance.example/gpu": amount}
        body = {"status": {"capacity": offered, "allocatable": offered}}
        merge = "application/merge-patch+json"
        nodes.status.patch(body=body, name="node-1", content_type=merge)

    offer("4")
    try:
        yield []
    finally:
        offer(None)


@row(
    "somebody uses a GPU without a claim",
    says="IPC-001",
    words="another process uses it",
    next="run nvidia-smi on the node",
    checks="IPC-001",
)
def _gpus_in_use(cluster: DriverCluster) -> Iterator[Options]:
    with ExitStack() as stack:
        for number, gpu in enumerate((node_root(cluster.name) / "run/simulated-gpus").glob("gpu*")):
            info = dict(line.split("=", 1) for line in (gpu / "info").read_text().splitlines())
            process = gpu / f"process-{number + 1:016x}"
            memory = gpu / f"mem-{number + 1:016x}{1:016x}"
            for file in (process, memory):
                stack.callback(file.unlink, missing_ok=True)
            alive = stack.enter_context(process.open("w"))
            lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0)
            fcntl.fcntl(alive, fcntl.F_OFD_SETLK, lock)
            memory.touch()
            os.truncate(memory, int(info["memory"]))
        yield []


def _pods(cluster: DriverCluster, where: str) -> list[Object]:
    return [pod for pod in items(cluster, "v1", "Pod") if pod["metadata"]["namespace"] == where]
