"""Faults of nodes: kubelet, runtime, images, state."""

from __future__ import annotations

import json
import shutil
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from embedded.cluster import node_root
from images import oci
from tests.drivers.cluster import DriverCluster
from tests.zoo.blame import Options, row
from tests.zoo.blame.hands import (
    changed,
    items,
    on_node,
    runtime_with,
    started_with,
    stopped,
    until,
)
from tests.zoo.cri import without_cdi

NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}}


@row(
    "the node's kubelet is stopped",
    says="NODE-028",
    party="kubelet",
    words="the node's kubelet",
    next="whether the kubelet runs",
    hasty=True,
)
def _kubelet_stopped(cluster: DriverCluster) -> Iterator[Options]:
    with stopped(cluster, "kubelet"):
        yield []


@row(
    "the node's kubelet does nothing for 15 s in the middle of a run",
    says="",
    words="",
    next="",
    during=True,
)
def _kubelet_slow(cluster: DriverCluster) -> Iterator[Options]:
    with stopped(cluster, "kubelet"):
        time.sleep(15)
    yield []


@row(
    "the node's container runtime is stopped",
    says="NODE-028",
    party="kubelet",
    words="the node's kubelet",
    next="whether the kubelet runs",
    hasty=True,
)
def _runtime_stopped(cluster: DriverCluster) -> Iterator[Options]:
    with stopped(cluster, "containerd"):
        yield []


@row(
    "every node is cordoned",
    says="PF-08",
    words="unschedulable",
    next="kubectl uncordon",
)
def _cordoned(cluster: DriverCluster) -> Iterator[Options]:
    with changed(cluster, NODE, {"unschedulable": True}, {"unschedulable": None}):
        yield []


@row(
    "the workload image does not exist",
    says="PF-15",
    words="cannot pull the workload image localhost/none:1",
    next="push the workload image to a registry that the nodes pull from",
)
def _no_image(_cluster: DriverCluster) -> Iterator[Options]:
    yield ["--dra-image", "localhost/none:1"]


@row(
    "the registry of the workload image cannot be reached",
    says="PF-15",
    words="connection refused",
    next="push the workload image to a registry that the nodes pull from",
)
def _no_registry(_cluster: DriverCluster) -> Iterator[Options]:
    yield ["--dra-image", "127.0.0.1:1/none:1"]


@row(
    "the workload image is for another architecture",
    says="IPC-015",
    words="the workload image is not for the node's architecture",
    next="push --arch amd64,arm64",
    checks="IPC-015",
)
def _image_of_another_architecture(cluster: DriverCluster) -> Iterator[Options]:
    itanium = 50  # for which no machine has an emulator
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    program = header + struct.pack("<HHIQQQIHHHHHH", 2, itanium, 1, 0, 0, 0, 0, 64, 56, 0, 0, 0, 0)
    with image(cluster, "localhost/another-architecture:1", program) as name:
        yield ["--dra-image", name]


@row(
    "the image named is not the workload's",
    says="NODE-028",
    party="workload",
    words="the image does not have the program that is to run",
    next="--dra-image",
)
def _image_without_program(cluster: DriverCluster) -> Iterator[Options]:
    with image(cluster, "localhost/without-program:1", b"", entrypoint=()) as name:
        yield ["--dra-image", name]


@contextmanager
def image(
    cluster: DriverCluster, name: str, program: bytes, entrypoint: tuple[str, ...] = ("/program",)
) -> Iterator[str]:
    """Have an image with one program on the node."""
    archive = node_root(cluster.name) / "tmp/image.tar"
    with TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        root.mkdir()
        (root / "program").write_bytes(program)
        (root / "program").chmod(0o755)
        layer = oci.layer(root, Path(folder) / "layer.tar")
        oci.write(Path(folder) / "image.tar", [oci.Image(name, (layer,), entrypoint=entrypoint)])
        shutil.copyfile(Path(folder) / "image.tar", archive)
    images = ("/opt/runtime/ctr", "--namespace", "k8s.io", "images")
    on_node(cluster, *images, "import", "--local", "/tmp/image.tar")
    try:
        yield name
    finally:
        on_node(cluster, *images, "remove", name)
        archive.unlink()


@row(
    "the kubelet has another root directory",
    says="NODE-028",
    words="they look in different folders",
    next="compare the hostPath volumes of the driver's pod with the kubelet's --root-dir",
    hasty=True,
)
def _another_root(cluster: DriverCluster) -> Iterator[Options]:
    with started_with(cluster, "kubelet", lambda words: [*words, "--root-dir=/var/lib/data"]):
        yield []


@row(
    "the container runtime does not look where CDI specifications are",
    says="NODE-028",
    words="the node's container runtime does not look there (cdi_spec_dirs)",
    next="have the runtime on the node look in /etc/cdi and /var/run/cdi",
    hasty=True,
)
def _runtime_looks_elsewhere(cluster: DriverCluster) -> Iterator[Options]:
    with runtime_with(cluster, 'cdi_spec_dirs = ["/etc/none"]'):
        yield ["--dra-allow", "privileged"]


_NO_CDI = "the container runtime takes no notice of CDI devices"


@row(
    _NO_CDI,
    says="ALLOC-007",
    words="either the driver gave the container nothing, or the node's container runtime takes no",
    next="--dra-allow privileged",
    checks="ALLOC-007",
)
def _runtime_without_cdi(cluster: DriverCluster) -> Iterator[Options]:
    with (
        without_cdi(node_root(cluster.name)) as endpoint,
        kubelet_with(cluster, containerRuntimeEndpoint=endpoint),
    ):
        yield []


@row(
    f"{_NO_CDI}, and the run may look on the node",
    says="ALLOC-007",
    words="the driver's CDI files have them, and the container has nothing",
    next="have the node's runtime give containers the CDI devices",
    checks="ALLOC-007",
)
def _runtime_without_cdi_seen(cluster: DriverCluster) -> Iterator[Options]:
    with contextmanager(_runtime_without_cdi)(cluster) as options:
        yield [*options, "--dra-allow", "privileged"]


@row(
    "the disk with the CDI specifications of the node is full",
    says="NODE-028",
    words="the node's disk has no room",
    next="df on the node",
    hasty=True,
)
def _no_room_for_cdi(cluster: DriverCluster) -> Iterator[Options]:
    on_node(cluster, "mount", "-t", "tmpfs", "-o", "nr_inodes=1", "full", "/var/run/cdi")
    try:
        _renew_driver(cluster)  # its pod has the folder that was there before
        yield []
    finally:
        on_node(cluster, "umount", "/var/run/cdi")
        _renew_driver(cluster)


def _renew_driver(cluster: DriverCluster) -> None:
    """Have another pod of the driver, in which the folders of the node are as they are now."""
    (driver,) = items(cluster, "apps/v1", "DaemonSet")
    pods, where = cluster.kind("v1", "Pod"), driver["metadata"]["namespace"]
    selector = ",".join(
        f"{key}={value}" for key, value in driver["spec"]["selector"]["matchLabels"].items()
    )

    def ready() -> set[str]:
        return {
            pod["metadata"]["uid"]
            for pod in pods.get(namespace=where, label_selector=selector).to_dict()["items"]
            for one in pod["status"].get("conditions") or []
            if (one["type"], one["status"]) == ("Ready", "True")
        }

    before = ready()
    pods.delete(namespace=where, label_selector=selector)
    until(lambda: ready() - before, "the driver's next pod")


@row(
    "the disk with the logs of the node's pods is full",
    says="ALLOC-007",
    words="or the disk that has it is full",
    next="df /var/log/pods on the node",
    checks="ALLOC-007",
)
def _no_room_for_logs(cluster: DriverCluster) -> Iterator[Options]:
    on_node(cluster, "mount", "-t", "tmpfs", "-o", "size=4k", "full", "/var/log/pods")
    try:
        yield []
    finally:
        on_node(cluster, "umount", "--lazy", "/var/log/pods")


@row(
    "the kubelet rotates the logs of pods every 3 s",
    says="",
    words="",
    next="",
    checks="ALLOC-007",
)
def _logs_rotate(cluster: DriverCluster) -> Iterator[Options]:
    with kubelet_with(
        cluster,
        containerLogMaxSize="1Ki",
        containerLogMaxFiles=2,
        containerLogMonitorInterval="3s",
    ):
        yield []


@contextmanager
def kubelet_with(cluster: DriverCluster, **settings: str | int) -> Iterator[None]:
    """Have the node's kubelet configured otherwise for as long as the block runs."""
    own = node_root(cluster.name) / "etc/kubelet-otherwise.json"
    before = json.loads((node_root(cluster.name) / "etc/kubelet.json").read_text())
    own.write_text(json.dumps({**before, **settings}))
    try:
        with started_with(
            cluster,
            "kubelet",
            lambda words: [word.replace("/kubelet.json", f"/{own.name}") for word in words],
        ):
            yield
    finally:
        own.unlink()


@row(
    "the network plugin of the node does not work",
    says="NODE-028",
    words="the node cannot set up the pod",
    next="kubectl describe pod",
    hasty=True,
)
def _network_plugin_broken(cluster: DriverCluster) -> Iterator[Options]:
    broken = node_root(cluster.name) / "etc/cni/net.d/00-broken.conflist"
    bridge = {"type": "bridge", "bridge": "pods", "ipam": {"type": "none"}}
    broken.write_text(json.dumps({"cniVersion": "1.0.0", "name": "broken", "plugins": [bridge]}))
    try:
        yield []
    finally:
        broken.unlink()


@row(
    "no node is Ready: none has a network plugin",
    says="PF-08",
    words="node is not Ready",
    next="kubectl describe node",
)
def _not_ready(cluster: DriverCluster) -> Iterator[Options]:
    network = node_root(cluster.name) / "etc/cni/net.d/10-bridge.conflist"
    text = network.read_text()
    network.unlink()
    try:
        until(lambda: _tainted(cluster, "node.kubernetes.io/not-ready"), "the taint")
        yield []
    finally:
        network.write_text(text)


def _tainted(cluster: DriverCluster, key: str) -> bool:
    taints = [
        one for node in items(cluster, "v1", "Node") for one in node["spec"].get("taints") or []
    ]
    return key in [taint["key"] for taint in taints]
