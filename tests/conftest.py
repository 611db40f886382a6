"""Fixtures for all tests of the project."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from embedded.cluster import Cluster


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Bare ``pytest`` never touches a cluster, not even one of its own; ``./run tests`` does."""
    if config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("embedded")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster of one node with the NVIDIA driver and four simulated GPUs, for the session."""
    # Not above: `pytest -m dra` reads this file where the embedded cluster is not installed.
    from embedded import cluster as embedded_cluster  # noqa: PLC0415
    from embedded.progress import Progress  # noqa: PLC0415

    with embedded_cluster.running(embedded_cluster.Options(nodes=1), Progress()) as running:
        yield running
