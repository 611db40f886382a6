"""Fixtures for all tests of the project."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from embedded import cluster as embedded_cluster
from embedded.progress import Progress


@pytest.fixture(scope="session")
def cluster() -> Iterator[embedded_cluster.Cluster]:
    """An embedded cluster with the NVIDIA driver and four simulated GPUs, for the whole session."""
    with embedded_cluster.running(embedded_cluster.Options(), Progress()) as running:
        yield running
