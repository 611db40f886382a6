"""dra-example-driver on an embedded cluster: it runs, and a pod sees its devices."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from embedded.drivers.example import EXAMPLE
from tests.drivers.cluster import DriverCluster, running

pytestmark = pytest.mark.embedded


@pytest.fixture(scope="module")
def cluster() -> Iterator[DriverCluster]:
    """A cluster of its own."""
    with running("example") as up:
        yield up


def test_a_pod_gets_a_variable_for_each_device(cluster: DriverCluster) -> None:
    """Which is all that this driver does to a container."""
    assert len(cluster.slices[0]["spec"]["devices"]) == 4
    cluster.claim("two", EXAMPLE.name, 2)
    seen = cluster.look("looks", "two")
    devices = [name for name in seen["env"] if name.removeprefix("GPU_DEVICE_").isdigit()]
    assert devices == ["GPU_DEVICE_0", "GPU_DEVICE_1"]
    assert not seen["nodes"]
