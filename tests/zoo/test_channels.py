"""The reference driver misbehaves with IMEX channels, and the check of them finds it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from embedded.drivers.reference import CHANNELS
from embedded.drivers.reference.kubelet_plugin import DRIVER
from tests.admin import ROOT, run_suite
from tests.drivers.cluster import DriverCluster, running
from tests.zoo.matrix.rows import Made, Tell, Tried, row

pytestmark = pytest.mark.embedded

OF_CHANNELS = ",".join(f"IPC-0{number}" for number in (*range(23, 31), 35))


@pytest.fixture(scope="module")
def drivers(kubernetes: str) -> Iterator[DriverCluster]:
    """A node with the reference driver, which publishes GPUs, and channels under another name."""
    with running("reference,channels", 1, kubernetes) as cluster:
        yield cluster


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        pytest.param(
            None,
            "",
            marks=row("reference", Tried("channels by claim", Made.NOTHING)),
        ),
        pytest.param(
            "no-channel-node",
            "has 0 IMEX channels, its claim 1",
            marks=(
                row("reference", Tried("no-channel-node", Made.REFERENCE, ("IPC-035",))),
                pytest.mark.matrix,
            ),
        ),
        pytest.param(
            "a-channel-too-many",
            "has 2 IMEX channels, its claim 1",
            marks=(
                row("reference", Tried("a-channel-too-many", Made.REFERENCE, ("IPC-035",))),
                pytest.mark.matrix,
            ),
        ),
    ],
)
def test_a_fault_of_channels_turns_their_check_red(
    fault: str | None, words: str, drivers: DriverCluster, tmp_path: Path, tell: Tell
) -> None:
    """And no other; without one, memory is shared by fabric handles, too."""
    with drivers.fault(fault):
        done = run_suite(
            drivers.kubeconfig,
            tmp_path / "out",
            *("--dra-driver", DRIVER, "--dra-channel-class", CHANNELS.name),
            *("--dra-image", drivers.workload_image, "--dra-check", OF_CHANNELS, ROOT / "suites"),
        )
    tell(done.results)
    red = [one["headline"] for one in done.results if one["outcome"] in ("fail", "error")]
    assert [words in headline for headline in red] == [True] * bool(fault), done.printed
    of_fabric = {one["id"]: one["outcome"] for one in done.results if one["variant"] == "fabric"}
    assert of_fabric["IPC-023"] == ("skip" if fault == "no-channel-node" else "pass")
