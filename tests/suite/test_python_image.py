"""The workload in images that are not ours: it comes to the containers in a ConfigMap."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from building.artifacts import Artifact
from building.progress import Progress
from embedded import cluster
from images.pause import ARCHIVE
from tests.images import shell
from tests.images.python import NAME, PYTHON_IMAGE
from tests.zoo.test_breaks import load

ROOT = Path(__file__).parents[2]


@pytest.mark.embedded
@pytest.mark.matrix
def test_the_shared_claim_passes_with_python_and_pycuda_alone(
    obtained: Callable[[Artifact], Path], tmp_path: Path
) -> None:
    """Two containers share GPU memory, their kernels from the ConfigMap, too."""
    archive = obtained(PYTHON_IMAGE) / ARCHIVE
    options = cluster.Options(nodes=1, driver="reference", name="python-image")
    with cluster.running(options, Progress()) as running:
        load(archive, running)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-m", "dra", "--dra-python-image", NAME),
                *("--dra-allow", "privileged", "--dra-check", "ALLOC-003,IPC-001,LIFE-002"),
                f"--dra-output={tmp_path}",
            ],
            cwd=ROOT,
            env={"PATH": "/usr/bin:/bin", "KUBECONFIG": str(running.kubeconfig)},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stdout
    (results,) = tmp_path.glob("*/results.json")
    cases = json.loads(results.read_text())["results"]
    passed = {case["id"] for case in cases if case["outcome"] == "pass"}
    assert passed >= {"ALLOC-003", "LIFE-002"}


@pytest.mark.embedded
@pytest.mark.matrix
@pytest.mark.parametrize(
    ("driver", "visible_by", "broken"),
    # What the example driver is known for, see docs/known-findings.yaml.
    [("example", "env", {"ALLOC-014"}), ("reference", "devnode", set())],
    ids=["env", "devnode"],
)
def test_a_shell_is_enough_for_devices_that_it_can_see(
    driver: str,
    visible_by: str,
    broken: set[str],
    obtained: Callable[[Artifact], Path],
    tmp_path: Path,
) -> None:
    """Every check that acts on no node and uses no CUDA; each says what it says with Python."""
    archive = obtained(shell.SHELL_IMAGE) / ARCHIVE
    options = cluster.Options(nodes=1, driver=driver, name=f"shell-image-{driver}")
    with cluster.running(options, Progress()) as running:
        load(archive, running)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-m", "dra", "--dra-shell-image", shell.NAME),
                *("--dra-allow", "exhaust", "--dra-visible-by", visible_by),
                f"--dra-output={tmp_path}",
            ],
            cwd=ROOT,
            env={"PATH": "/usr/bin:/bin", "KUBECONFIG": str(running.kubeconfig)},
            capture_output=True,
            text=True,
        )
    (results,) = tmp_path.glob("*/results.json")
    cases = json.loads(results.read_text())["results"]
    assert {case["id"] for case in cases if case["outcome"] in ("fail", "error")} == broken, (
        done.stdout
    )
    passed = {case["id"] for case in cases if case["outcome"] == "pass"}
    assert passed >= {"ALLOC-004", "LIFE-002", "SHARE-002", "ISO-012"}
