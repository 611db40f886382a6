"""The reference driver misbehaves over time, and the checks of `suites/lifecycle` find it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embedded import cluster as embedded_cluster
from embedded.drivers.reference import set_fault
from tests.drivers.cluster import DriverCluster, running

pytestmark = pytest.mark.embedded

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def driver() -> Iterator[DriverCluster]:
    """A cluster with the reference driver."""
    with running("reference") as cluster:
        yield cluster


def judge(driver: DriverCluster, out: Path, fault: str | None) -> dict[str, dict[str, Any]]:
    """Run the checks with a fault in force; answer those that are red, by their ID."""
    root = embedded_cluster.node_root(driver.name)
    set_fault(root, fault)
    try:
        run = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml", "-m", "dra"),
                *("--dra-cluster", "kubeconfig", "--dra-image", driver.workload_image),
                *("--dra-allow", "privileged,disrupt", "--dra-output", out),
                ROOT / "suites" / "lifecycle",
            ],
            cwd=out.parent,
            env={**os.environ, "KUBECONFIG": str(driver.kubeconfig)},
            capture_output=True,
            text=True,
        )
    finally:
        set_fault(root, None)
    found = list(out.glob("*/results.json"))
    assert found, run.stdout + run.stderr
    results = json.loads(found[0].read_text())["results"]
    lifecycle = [entry for entry in results if entry["area"] == "lifecycle"]
    assert lifecycle, run.stdout
    assert all(entry["outcome"] != "skip" for entry in lifecycle), run.stdout
    return {entry["id"]: entry for entry in results if entry["outcome"] in ("fail", "error")}


def test_the_reference_driver_passes(driver: DriverCluster, tmp_path: Path) -> None:
    """With every check made."""
    assert judge(driver, tmp_path / "out", None) == {}


RED = (
    ("another-gpu-at-restart", "LIFE-002", "after its restart the container has /dev/nvidia"),
    ("another-gpu-at-restart", "SHARE-002", "the init container has /dev/nvidia"),
    (
        *("publishes-anew-after-restart", "SLICE-012"),
        "after a restart of the driver its ResourceSlice has generation ",
    ),
    (
        *("keeps-cdi-files-after-restart", "NODE-021"),
        "after its restart the driver keeps the CDI file of a claim that it prepared before",
    ),
)
"""Which fault turns which check red, and with which words."""


@pytest.mark.parametrize("fault", dict.fromkeys(fault for fault, _, _ in RED))
def test_a_fault_turns_its_checks_red(fault: str, driver: DriverCluster, tmp_path: Path) -> None:
    """Those only, and the driver is to blame."""
    wanted = {check: words for name, check, words in RED if name == fault}
    red = judge(driver, tmp_path / "out", fault)
    assert {name: entry["outcome"] for name, entry in red.items()} == dict.fromkeys(wanted, "fail")
    for check, words in wanted.items():
        assert words in red[check]["headline"]
        assert red[check]["finding"]["blame"] == "driver"
