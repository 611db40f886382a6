"""Beside another driver, of which claims have devices, too, the reference driver misbehaves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from building.artifacts import obtain
from building.binaries import KUBELET_PROTOCOL
from building.progress import Progress
from embedded.cluster import node_root
from embedded.drivers.reference.kubelet_plugin import DRIVER
from tests.admin import ROOT, run_suite
from tests.drivers.cluster import DriverCluster, running
from tests.zoo.blame.hands import Object, there
from tests.zoo.matrix.rows import Made, Tell, Tried, row
from tests.zoo.relay import idle

pytestmark = [pytest.mark.embedded, pytest.mark.matrix]

OTHER = "gpu.other.example"


@pytest.fixture(scope="module")
def drivers(kubernetes: str) -> Iterator[DriverCluster]:
    """A node with the reference driver, and another one that has nothing to do for its device."""
    protocol = obtain([KUBELET_PROTOCOL], Progress())[KUBELET_PROTOCOL.name]
    with running("reference", 1, kubernetes) as cluster, ExitStack() as stack:
        stack.enter_context(idle(node_root(cluster.name), OTHER, protocol))
        stack.enter_context(there(cluster, *published()))
        yield cluster


def published() -> tuple[Object, Object]:
    """What the other driver publishes, and its class."""
    api = {"apiVersion": "resource.k8s.io/v1"}
    pool = {"name": "others", "generation": 1, "resourceSliceCount": 1}
    spec = {"driver": OTHER, "nodeName": "node-1", "pool": pool, "devices": [{"name": "other-0"}]}
    expression = f'device.driver == "{OTHER}"'
    return (
        {**api, "kind": "ResourceSlice", "metadata": {"name": "others"}, "spec": spec},
        {
            **api,
            "kind": "DeviceClass",
            "metadata": {"name": OTHER},
            "spec": {"selectors": [{"cel": {"expression": expression}}]},
        },
    )


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        pytest.param(
            None,
            ("pass", ""),
            marks=row("reference", Tried("a claim of two drivers", Made.NOTHING)),
        ),
        pytest.param(
            "devices-of-others",
            ("fail", "the container has gpu-0 and gpu-3; its own in the claim"),
            marks=row("reference", Tried("devices-of-others", Made.REFERENCE, ("ALLOC-018",))),
        ),
    ],
)
def test_a_driver_has_to_leave_devices_of_others_alone(
    fault: str | None, found: tuple[str, str], drivers: DriverCluster, tmp_path: Path, tell: Tell
) -> None:
    """Of a claim that has devices of two drivers."""
    with drivers.fault(fault):
        done = run_suite(
            drivers.kubeconfig,
            tmp_path / "out",
            *("--dra-driver", DRIVER),
            *("--dra-image", drivers.workload_image, "--dra-check", "ALLOC-018", ROOT / "suites"),
        )
    tell(done.results)
    (result,) = (one for one in done.results if one["id"] == "ALLOC-018")
    assert result["outcome"] == found[0], done.printed
    assert found[1] in (result["headline"] or "")
    assert not fault or result["finding"]["blame"] == "driver"
