"""A run that is killed leaves what a sweep removes, on a real cluster and from the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from embedded.cluster import Cluster, node_root
from harness.cluster.anchor import PREFIX, RUN_LABEL, moment
from harness.cluster.kinds import CLAIM, LEASE, NAMESPACE, POD, Object, name_of, namespace_of
from harness.cluster.kube import Kube
from harness.cluster.kubeconfig import from_kubeconfig

pytestmark = pytest.mark.embedded

ROOT = Path(__file__).parents[2]
LONG_AGO = moment(0)


@pytest.fixture
def kube(cluster: Cluster) -> Kube:
    """A client of the session's cluster."""
    return from_kubeconfig([cluster.kubeconfig], "", "test")


@pytest.fixture
def suite(cluster: Cluster, tmp_path: Path) -> list[Any]:
    """The suite's command for the cluster."""
    return [
        *(sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml", "-p", "no:cacheprovider"),
        *("-m", "dra", "--dra-image", cluster.workload_image, f"--dra-output={tmp_path}"),
        ROOT / "suites",
    ]


@pytest.fixture
def environment(cluster: Cluster) -> dict[str, str]:
    """The environment of the suite's command."""
    return {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}


def anchors(kube: Kube) -> list[Object]:
    """The namespaces of any run, without those that another one owns."""
    found, _ = kube.list(NAMESPACE, labels=RUN_LABEL)
    return [item for item in found if not item["metadata"].get("ownerReferences")]


def changes(kube: Kube, kind: Any, version: str) -> Iterator[Object]:
    """The objects of a kind as they change."""
    for line in kube.watch(kind, None, version).lines():
        change = json.loads(line)
        if change["type"] != "BOOKMARK":
            yield change["object"]


def copy_of(obj: Object, name: str, namespace: str | None = None) -> Object:
    """An object of another name with the same labels and annotations, as one is made by hand."""
    kept = ("labels", "annotations")
    metadata = {key: value for key, value in obj["metadata"].items() if key in kept}
    metadata["name"] = name
    if namespace is not None:
        metadata["namespace"] = namespace
    spec = {"spec": obj["spec"]} if obj["kind"] == LEASE.name else {}
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata, **spec}


def kill_in_the_middle(
    kube: Kube, suite: list[Any], environment: dict[str, str], folder: Path, pod_name: str
) -> None:
    """Begin a run and kill it when a pod of this name runs."""
    _, version = kube.list(POD)
    running = subprocess.Popen(
        suite, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    for pod in changes(kube, POD, version):
        statuses = (pod.get("status") or {}).get("containerStatuses") or []
        running_now = "running" in (statuses or [{"state": ""}])[0]["state"]
        if name_of(pod).startswith(pod_name) and running_now:
            break
    running.kill()
    running.wait()


def swept(suite: list[Any], environment: dict[str, str], folder: Path) -> str:
    """Sweep, and answer what is printed."""
    done = subprocess.run(
        [*suite, "--dra-sweep"], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_folder_that_a_killed_run_left_on_a_node_is_swept(
    kube: Kube, cluster: Cluster, suite: list[Any], environment: dict[str, str], tmp_path: Path
) -> None:
    """The Lease says that there is one, the pods on which node."""
    allowed = [*suite, "--dra-allow", "privileged", "--dra-check", "IPC-001"]
    kill_in_the_middle(kube, allowed, environment, tmp_path, "consumer-privileged")

    def left() -> list[str]:
        return [path.name for path in (node_root(cluster.name) / "tmp").glob("dra-conformance-*")]

    (anchor,) = anchors(kube)
    assert left() == [f"{name_of(anchor)}-privileged"]
    lease = kube.get(LEASE, name_of(anchor), name_of(anchor))
    kube.update({**lease, "spec": {**lease["spec"], "renewTime": LONG_AGO}})
    printed = swept(suite, environment, tmp_path)
    assert f"RESTORED folder /tmp/{name_of(anchor)}-privileged on node-" in printed
    assert f"REMOVED  namespace/{name_of(anchor)} of run " in printed
    assert (left(), anchors(kube)) == ([], [])


def test_a_killed_run_is_swept_and_nothing_else(
    kube: Kube, suite: list[Any], environment: dict[str, str], tmp_path: Path
) -> None:
    """Not while its Lease is valid; then all of it, and neither a copy nor a similar name."""
    kill_in_the_middle(kube, suite, environment, tmp_path, "consumer")
    (anchor,) = anchors(kube)

    sweep = partial(swept, suite, environment, tmp_path)
    assert f"KEPT     namespace/{name_of(anchor)}: run " in sweep()
    lease = kube.get(LEASE, name_of(anchor), name_of(anchor))
    foreign = [
        kube.create(copy_of(anchor, f"{name_of(anchor)}-copy")),
        kube.create(copy_of(lease, f"{name_of(anchor)}-copy", f"{name_of(anchor)}-copy")),
        kube.create(copy_of(anchor, f"{name_of(anchor)}-restricted-2")),
    ]
    kube.update({**lease, "spec": {**lease["spec"], "renewTime": LONG_AGO}})
    printed = sweep()
    assert f"REMOVED  namespace/{name_of(anchor)} of run " in printed
    assert "it is a copy" in printed
    assert "no Lease of a run names it" in printed
    left = [item for item in kube.list(NAMESPACE)[0] if name_of(item).startswith(f"{PREFIX}-2")]
    try:
        assert {name_of(item) for item in left} == {
            name_of(obj) for obj in foreign if obj["kind"] == NAMESPACE.name
        }
        for kind in (POD, CLAIM):
            where = {str(namespace_of(obj)) for obj in kube.list(kind)[0]}
            assert not [name for name in where if name.startswith(f"{PREFIX}-2")]
    finally:
        for item in left:
            kube.delete(item)
