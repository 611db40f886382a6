"""Every break of the zoo turns exactly its declared checks red, in words for strangers."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from kubernetes import config, dynamic
from kubernetes.dynamic.exceptions import NotFoundError

from building.artifacts import obtain
from building.binaries import KUBELET_PROTOCOL
from building.progress import Progress
from embedded import cluster as embedded_cluster
from embedded.drivers.nvidia import NVIDIA
from embedded.drivers.reference.kubelet_plugin.faults import FAULTS
from embedded.layout import SIMULATED_GPUS, VOLUMES, Plan, states
from images import oci
from images.cpython import SITE_PACKAGES
from images.workload import PYTHON, WORKLOAD_IMAGE
from tests.admin import ROOT, Finished, run_suite
from tests.images import archives
from tests.zoo.breaks import RUNS, Break, Run
from tests.zoo.matrix.rows import Made, Tell, Tried, row
from tests.zoo.relay import Read, relay

pytestmark = pytest.mark.embedded

SHARED_CLAIM = [
    ROOT / "suites" / "sharing" / f"test_shared_{name}.py" for name in ("claim", "memory")
]
LONGEST_HEAD = 120


def broken_image(broken: Run, cluster: embedded_cluster.Cluster, folder: Path) -> str:
    """Load the workload's image with one more layer into the cluster; returns its name."""
    tree = folder / "tree"
    code = tree / PYTHON / SITE_PACKAGES / "sitecustomize.py"
    code.parent.mkdir(parents=True)
    code.write_text(broken.workload)
    name = f"localhost/dra-conformance/workload-broken:{RUNS.index(broken)}"
    archive = folder / "image.tar"
    base = obtain([WORKLOAD_IMAGE], Progress())[WORKLOAD_IMAGE.name] / "image.tar"
    layer = oci.layer(tree, folder / "layer.tar")
    archives.add_layer(base, cluster.workload_image, layer, name, archive)
    load(archive, cluster)
    archive.unlink()
    return name


def load(archive: Path, cluster: embedded_cluster.Cluster) -> None:
    """Import an OCI archive into every node of a running cluster."""
    for node in Plan.load(states() / cluster.name / "cluster.json").nodes:
        pid = embedded_cluster.node_root(cluster.name, node.number).parts[2]
        enter = ["nsenter", "--target", pid, "--mount", "--", "/opt/runtime/ctr"]
        command = [*enter, "--namespace", "k8s.io", "images", "import", "-"]
        with archive.open("rb") as images:
            done = subprocess.run(command, stdin=images, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@contextmanager
def faulty(node: Path, fault: str) -> Iterator[None]:
    """Give the node's simulated GPUs a fault, for the duration of a block."""
    descriptions = sorted((node / SIMULATED_GPUS.lstrip("/")).glob("gpu*/info"))
    before = {path: path.read_text() for path in descriptions}
    try:
        for path, text in before.items():
            path.write_text(re.sub("^fault=", f"fault={fault},", text, flags=re.MULTILINE))
        yield
    finally:
        for path, text in before.items():
            path.write_text(text)
            for left in path.parent.glob("left-*"):
                left.unlink()


def reads(cluster: embedded_cluster.Cluster) -> Read:
    """Read ResourceClaims of a cluster."""
    api = dynamic.DynamicClient(
        config.new_client_from_config(config_file=str(cluster.kubeconfig))
    ).resources.get(api_version="resource.k8s.io/v1", kind="ResourceClaim")

    def read(namespace: str, name: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = api.get(name=name, namespace=namespace).to_dict()
        except NotFoundError:
            return None
        return found

    return read


def judge(cluster: embedded_cluster.Cluster, image: str, broken: Run, out: Path) -> Finished:
    """Run checks against a cluster, or the shared claim's where none are named."""
    which: list[str | Path] = ["--dra-allow", "privileged", *SHARED_CLAIM]
    if broken.checks:
        allow = ["--dra-allow", broken.allow] if broken.allow else []
        which = [*allow, "--dra-check", ",".join(broken.checks), ROOT / "suites"]
    own = ("--dra-image", image, "--dra-volume-class", VOLUMES)
    done = run_suite(cluster.kubeconfig, out, *own, *which)
    assert "Traceback" not in done.printed, done.printed[-4000:]
    return done


def as_row(run: Run) -> pytest.MarkDecorator:
    """What is broken, as the matrix has it: what has one name is one fault."""
    named: dict[str, list[Break]] = {}
    for one in run.breaks:
        named.setdefault(one.name, []).append(one)
    tried = []
    for name, breaks in named.items():
        made = Made.RELAY if breaks[0].fault else Made.WORKLOAD
        if breaks[0].hardware:
            made = Made.HARDWARE
        checks = dict.fromkeys(check for one in breaks for check in one.red)
        what = FAULTS[name].sentence if name in FAULTS else ""
        tried.append(Tried(name, made, tuple(checks), what))
    return row("nvidia", *tried)


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(
            run,
            id=run.name.replace(" ", "-"),
            marks=(as_row(run), *(() if run.sample else (pytest.mark.matrix,))),
        )
        for run in RUNS
    ],
)
def test_breaks_turn_exactly_their_checks_red(
    broken: Run,
    cluster: embedded_cluster.Cluster,
    tmp_path: Path,
    tell: Tell,
) -> None:
    """The declared checks are red, no other is, and the first line says what was wrong."""
    image = cluster.workload_image
    node = embedded_cluster.node_root(cluster.name)
    with ExitStack() as stack:
        if broken.faults:
            protocol = obtain([KUBELET_PROTOCOL], Progress())[KUBELET_PROTOCOL.name]
            between = relay(node, NVIDIA.name, protocol, broken.faults, reads(cluster))
            stack.enter_context(between)
        for one in broken.breaks:
            if one.hardware:
                stack.enter_context(faulty(node, one.hardware))
        if broken.workload:
            image = broken_image(broken, cluster, tmp_path)
        done = judge(cluster, image, broken, tmp_path / "out")
    tell(done.results)
    red = [result for result in done.results if result["outcome"] in ("fail", "error")]
    assert {(result["id"], result["variant"]) for result in red} == broken.red, "\n".join(
        result["headline"] for result in red
    )
    for result in red:
        by = broken.by(result["id"], result["variant"])
        assert result["outcome"] in by.outcomes
        assert re.search(by.head, result["headline"]), result["headline"]
        assert len(result["headline"]) <= LONGEST_HEAD
    blamed = any("fail" in one.outcomes for one in broken.breaks)
    assert done.code == (1 if blamed else 12)
