"""Every break of the zoo turns exactly its declared checks red, in words for strangers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from embedded import cluster as embedded_cluster
from embedded.artifacts import obtain
from embedded.binaries import KUBELET_PROTOCOL
from embedded.drivers.nvidia import NVIDIA
from embedded.images import oci
from embedded.images.cpython import SITE_PACKAGES
from embedded.images.workload import PYTHON, WORKLOAD_IMAGE
from embedded.progress import Progress
from tests.zoo.breaks import BREAKS, Break
from tests.zoo.relay import relay

pytestmark = pytest.mark.embedded

ROOT = Path(__file__).parents[2]
LONGEST_HEAD = 120


def broken_image(broken: Break, cluster: embedded_cluster.Cluster, folder: Path) -> str:
    """Load the workload's image with one more layer into the cluster; returns its name."""
    tree = folder / "tree"
    code = tree / PYTHON / SITE_PACKAGES / "sitecustomize.py"
    code.parent.mkdir(parents=True)
    code.write_text(broken.workload)
    name = f"localhost/dra-conformance/workload-broken:{BREAKS.index(broken)}"
    archive = folder / "image.tar"
    base = obtain([WORKLOAD_IMAGE], Progress())[WORKLOAD_IMAGE.name] / "image.tar"
    layer = oci.layer(tree, folder / "layer.tar")
    oci.add_layer(base, cluster.workload_image, layer, name, archive)
    embedded_cluster.load_images(cluster.name, archive)
    archive.unlink()
    return name


def run_suite(
    cluster: embedded_cluster.Cluster, image: str, out: Path
) -> tuple[int, list[dict[str, Any]]]:
    """Run the checks as an admin does against a cluster; returns exit code and results."""
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml", "-m", "dra"),
            *("--dra-cluster", "kubeconfig", "--dra-allow", "privileged", "--dra-image", image),
            *("--dra-output", out, ROOT / "suites"),
        ],
        cwd=out.parent,
        env={**os.environ, "KUBECONFIG": str(cluster.kubeconfig)},
        capture_output=True,
        text=True,
    )
    (results,) = out.rglob("results.json")
    found: list[dict[str, Any]] = json.loads(results.read_text())["results"]
    assert "Traceback" not in run.stdout, run.stdout[-4000:]
    return run.returncode, found


@pytest.mark.parametrize("broken", BREAKS, ids=lambda broken: broken.name.replace(" ", "-"))
def test_break_turns_exactly_its_checks_red(
    broken: Break, cluster: embedded_cluster.Cluster, tmp_path: Path
) -> None:
    """The declared checks are red, no other is, and the first line says what was wrong."""
    image = cluster.workload_image
    with ExitStack() as stack:
        if broken.alteration:
            protocol = obtain([KUBELET_PROTOCOL], Progress())[KUBELET_PROTOCOL.name]
            node = embedded_cluster.node_root(cluster.name)
            stack.enter_context(relay(node, NVIDIA.name, protocol, broken.alteration))
        if broken.workload:
            image = broken_image(broken, cluster, tmp_path)
        code, results = run_suite(cluster, image, tmp_path / "out")
    red = [result for result in results if result["outcome"] in ("fail", "error")]
    assert {result["case"].partition("_")[0] + _form(result["case"]) for result in red} == {
        f"{check}[{form}]" for check, forms in broken.red.items() for form in forms
    }, "\n".join(result["headline"] for result in red)
    assert {result["outcome"] for result in red} == broken.outcomes
    for result in red:
        assert re.search(broken.head, result["headline"]), result["headline"]
        assert len(result["headline"]) <= LONGEST_HEAD
    assert code == (1 if "fail" in broken.outcomes else 12)


def _form(case: str) -> str:
    return "[" + case.partition("[")[2]
