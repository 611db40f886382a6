"""What the faults are made with: processes, objects, and files of an embedded cluster."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kubernetes.client.exceptions import ApiException

from embedded.cluster import node_root
from tests import footprint
from tests.drivers.cluster import DriverCluster

Object = dict[str, Any]
SECONDS = 60
"""A budget, not a delay."""
NAMESPACE = "not-the-drivers"
"""Of faults that are in a namespace."""
_INSIDE = ("--mount", "--pid", "--net", "--uts", "--ipc", "--root", "--wd")
"""What nsenter makes of a process of a machine."""


def until(ready: Callable[[], Any], what: str, seconds: float = SECONDS) -> Any:
    """Ask again and again until something is so; answers what was answered."""
    end = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < end, f"{what} after {seconds} s"
        time.sleep(0.1)
    return found


# Processes


def process(cluster: DriverCluster, program: str) -> int:
    """The process of a component."""
    found = [
        pid
        for pid, words in footprint.processes(cluster.name)
        if words and words.split()[0].endswith(f"/{program}")
    ]
    assert found, f"no process of {program}"
    return min(found)


@contextmanager
def stopped(cluster: DriverCluster, program: str) -> Iterator[None]:
    """Stop a component for as long as the block runs: it is there and does nothing."""
    pid = process(cluster, program)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def killed(cluster: DriverCluster, program: str) -> Iterator[None]:
    """Have a component dead for as long as the block runs."""
    dead = _End(process(cluster, program))
    try:
        yield
    finally:
        dead.start(dead.words)


@contextmanager
def started_with(
    cluster: DriverCluster, program: str, change: Callable[[list[str]], list[str]]
) -> Iterator[None]:
    """Have a component run with another command line for as long as the block runs."""
    first = _End(process(cluster, program))
    first.start(change(first.words))
    try:
        yield
    finally:
        _kill(process(cluster, program))
        first.start(first.words)


def _kill(pid: int) -> None:
    """Kill a process and wait until it is gone."""
    handle = os.pidfd_open(pid)
    try:
        os.kill(pid, signal.SIGKILL)
        select.select([handle], [], [], SECONDS)
    finally:
        os.close(handle)


class _End:
    """A component that was killed, and can be started again where it was."""

    def __init__(self, pid: int) -> None:
        entry = Path(f"/proc/{pid}")
        self.words = (entry / "cmdline").read_text().split("\0")[:-1]
        pairs = (entry / "environ").read_text().split("\0")[:-1]
        self._environment = dict(pair.split("=", 1) for pair in pairs)
        status = (entry / "status").read_text().splitlines()
        (machine,) = (line.split()[1] for line in status if line.startswith("PPid:"))
        self._machine = machine
        _kill(pid)

    def start(self, words: Sequence[str]) -> None:
        """Start it in its machine's namespaces, as a child of the first process there.

        It ends with the machine, which ends when its first process has no child any more.
        """
        setsid, nsenter = shutil.which("setsid"), shutil.which("nsenter")
        assert setsid is not None
        assert nsenter is not None
        subprocess.run(
            [nsenter, "--target", self._machine, *_INSIDE, "--", setsid, "--fork", *words],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )


def _machine(cluster: DriverCluster) -> list[str]:
    """The command that runs another in the node."""
    nsenter = shutil.which("nsenter")
    assert nsenter is not None
    return [nsenter, "--target", node_root(cluster.name).parts[2], *_INSIDE, "--"]


def on_node(cluster: DriverCluster, *words: str) -> str:
    """Run a command in the node; answers what it printed."""
    done = subprocess.run([*_machine(cluster), *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def runtime_with(cluster: DriverCluster, line: str) -> Iterator[None]:
    """Have the node's container runtime configured otherwise for as long as the block runs.

    Args:
        cluster: its cluster.
        line: of its configuration, of what runs containers.
    """
    path = node_root(cluster.name) / "etc/containerd/config.toml"
    before, table = path.read_text(), '[plugins."io.containerd.cri.v1.runtime"]\n'
    assert table in before
    try:
        path.write_text(before.replace(table, f"{table}  {line}\n"))
        _restart_runtime(cluster)
        yield
    finally:
        path.write_text(before)
        _restart_runtime(cluster)


def _restart_runtime(cluster: DriverCluster) -> None:
    """Restart the node's container runtime, and wait until the kubelet has seen that it is well.

    The kubelet asks it every five seconds, and tells the API server when it was not.
    """
    runtime = _End(process(cluster, "containerd"))
    before = _answers_of_runtime(cluster)
    runtime.start(runtime.words)
    until(lambda: _answers_of_runtime(cluster) > before, "an answer of the runtime")
    until(lambda: is_well(cluster), "the node")


def _answers_of_runtime(cluster: DriverCluster) -> int:
    """How often the runtime has answered the node's kubelet how it is."""
    text = cluster.get("/api/v1/nodes/node-1/proxy/metrics")

    def count(metric: str) -> int:
        name = f'kubelet_runtime_{metric}_total{{operation_type="status"}} '
        found = [line for line in text.splitlines() if line.startswith(name)]
        return sum(int(float(line.removeprefix(name))) for line in found)

    return count("operations") - count("operations_errors")


# Objects


@contextmanager
def there(cluster: DriverCluster, *objects: Object) -> Iterator[None]:
    """Have objects for as long as the block runs."""
    with ExitStack() as stack:
        for obj in objects:
            kind = cluster.kind(obj["apiVersion"], obj["kind"])
            place = {"namespace": obj["metadata"]["namespace"]} if kind.namespaced else {}
            kind.create(body=obj, **place)
            stack.callback(_gone, kind, obj["metadata"]["name"], place)
        yield


def _gone(kind: Any, name: str, place: dict[str, str]) -> None:
    with suppress(ApiException):
        kind.delete(name=name, **place)


@contextmanager
def changed(cluster: DriverCluster, obj: Object, spec: Object, back: Object) -> Iterator[None]:
    """Have an object with another spec for as long as the block runs.

    Args:
        cluster: its cluster.
        obj: its ``apiVersion``, ``kind`` and ``metadata``.
        spec: the merge patch of its spec.
        back: the merge patch that puts that back.
    """
    kind = cluster.kind(obj["apiVersion"], obj["kind"])
    place = {key: obj["metadata"][key] for key in ("name", "namespace") if key in obj["metadata"]}

    def patch(fields: Object) -> None:
        kind.patch(body={"spec": fields}, content_type="application/merge-patch+json", **place)

    patch(spec)
    try:
        yield
    finally:
        patch(back)


@contextmanager
def namespace(cluster: DriverCluster, *objects: Object) -> Iterator[str]:
    """Have a namespace with objects for as long as the block runs; answers its name."""
    taken = {one["metadata"]["name"] for one in items(cluster, "v1", "Namespace")}
    number = sum(name.startswith(NAMESPACE) for name in taken)
    name = next(n for i in range(number + 1) if (n := f"{NAMESPACE}-{i}") not in taken)
    own = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    for obj in objects:
        obj["metadata"]["namespace"] = name
    with there(cluster, own), there(cluster, *objects):
        yield name


def items(cluster: DriverCluster, api_version: str, kind: str) -> list[Object]:
    """All objects of a kind."""
    found: list[Object] = cluster.kind(api_version, kind).get().to_dict()["items"]
    return found


def refused(
    cluster: DriverCluster, api_version: str, kind: str, body: Object, place: str
) -> Callable[[], bool]:
    """Ask whether the API server refuses an object by now."""

    def asked() -> bool:
        try:
            cluster.kind(api_version, kind).create(
                body=body, namespace=place, query_params=[("dryRun", "All")]
            )
        except ApiException:
            return True
        return False

    return asked


def is_well(cluster: DriverCluster) -> bool:
    """Whether every node is Ready and has no taint."""
    nodes = items(cluster, "v1", "Node")
    ready = [
        one["status"] == "True"
        for node in nodes
        for one in node["status"]["conditions"]
        if one["type"] == "Ready"
    ]
    return all(ready) and not any(node["spec"].get("taints") for node in nodes)


POD: Object = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "probe"},
    "spec": {"containers": [{"name": "main", "image": "none"}]},
}
"""One that is never to run."""


def quota(**hard: str) -> Object:
    """A quota that allows so much."""
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "few"},
        "spec": {"hard": hard},
    }


def patched(spec: Object) -> Iterator[list[str]]:
    """Have the pods of a run with other fields; answers the options for it."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "patch.yaml"
        path.write_text(json.dumps({"spec": spec}))
        yield [f"--dra-pod-patch={path}"]
