"""A driver misbehaves with a daemon that a claim asks for (MPS), and exactly one check finds it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from building.artifacts import obtain
from building.binaries import KUBELET_PROTOCOL
from building.progress import Progress
from embedded.cluster import node_root
from embedded.drivers.nvidia import NVIDIA
from embedded.drivers.reference.kubelet_plugin import faults
from embedded.drivers.reference.kubelet_plugin.claims import Ending
from embedded.drivers.reference.kubelet_plugin.faults import Fault, Point
from embedded.drivers.reference.kubelet_plugin.gpus import Gpu
from tests.admin import ROOT, run_suite
from tests.drivers.cluster import DriverCluster, running
from tests.zoo.matrix.rows import Made, Tell, Tried, row
from tests.zoo.relay import relay
from tests.zoo.test_breaks import faulty

pytestmark = [pytest.mark.embedded, pytest.mark.matrix]

WITH_MPS = "nvidia+mps"
CHECKS = "ALLOC-029,ALLOC-030,ALLOC-054,ALLOC-055"


def _without_the_pipe(spec: dict[str, Any], _gpus: Sequence[Gpu]) -> dict[str, Any]:
    for device in spec["devices"]:
        edits = device["containerEdits"]
        mounts = edits.get("mounts") or []
        edits["mounts"] = [one for one in mounts if "nvidia-mps" not in one["containerPath"]]
    return spec


def _forgets_the_daemon(ending: Ending, _gpus: Sequence[Gpu]) -> Ending:
    """The driver takes a claim for one with MPS by a folder."""
    for folder in faults.OWN_FOLDER.glob(f"mps/{ending.uid}*"):
        folder.rename(folder.with_name(f"forgotten-{folder.name}"))
    return ending


RELAYED = {
    "containers get no pipe of their daemon": (
        Fault("", Point.INJECT, _without_the_pipe, benign=False),
        "ALLOC-054",
        "the daemon of parameters mps does not serve its claim's containers",
    ),
    "the daemon of a claim is forgotten": (
        Fault("", Point.UNPREPARE, _forgets_the_daemon, benign=False),
        "ALLOC-055",
        "the daemon of parameters mps stays when their claim is gone",
    ),
}
KEPT = "GPUs keep their compute mode"


@pytest.fixture(scope="module")
def cluster(kubernetes: str) -> Iterator[DriverCluster]:
    """A node with the NVIDIA driver, where claims can ask for MPS."""
    with running(WITH_MPS, 1, kubernetes) as made:
        yield made


@pytest.mark.parametrize(
    ("fault", "check", "words"),
    [
        pytest.param(
            "", "", "", marks=row(WITH_MPS, Tried("claims that ask for MPS", Made.NOTHING))
        ),
        pytest.param(
            *(KEPT, "ALLOC-030", "parameters mps stay when their claim is gone: Exclusive_Process"),
            marks=row(WITH_MPS, Tried(KEPT, Made.HARDWARE, ("ALLOC-030",))),
        ),
        # What stays of these does not matter to those after them.
        *(
            pytest.param(name, check, words, marks=row(WITH_MPS, Tried(name, Made.RELAY, (check,))))
            for name, (_, check, words) in RELAYED.items()
        ),
    ],
)
def test_a_fault_of_daemons_turns_its_check_red(
    fault: str, check: str, words: str, cluster: DriverCluster, tmp_path: Path, tell: Tell
) -> None:
    """And no other."""
    node = node_root(cluster.name)
    with ExitStack() as stack:
        if fault in RELAYED:
            protocol = obtain([KUBELET_PROTOCOL], Progress())[KUBELET_PROTOCOL.name]
            made = [RELAYED[fault][0]]
            stack.enter_context(relay(node, NVIDIA.name, protocol, made, lambda *_: None))
        elif fault:
            stack.enter_context(faulty(node, "keeps-compute-mode"))
        done = run_suite(
            cluster.kubeconfig,
            tmp_path / "out",
            *("--dra-image", cluster.workload_image, "--dra-check", CHECKS, ROOT / "suites"),
        )
    tell(done.results)
    red = {
        one["id"]: one["headline"] for one in done.results if one["outcome"] in ("fail", "error")
    }
    assert red.keys() == {check} - {""}, done.printed
    assert all(re.search(re.escape(words), headline) for headline in red.values())
    skipped = {one["id"]: one["blocked_by"] for one in done.results if one["outcome"] == "skip"}
    assert set(skipped.values()) <= {check}, skipped
