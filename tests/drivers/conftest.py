"""Fixtures: a node without a cluster, and the API server that its driver talks to."""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from building.artifacts import obtain
from building.progress import Progress
from embedded.drivers.reference.image import REFERENCE_PROTOCOL
from tests.drivers.api_server import ApiServer
from tests.drivers.node import Node


@pytest.fixture(scope="session")
def services() -> ModuleType:
    """The driver's gRPC services, with the kubelet's protocols as its image has them."""
    built = obtain([REFERENCE_PROTOCOL], Progress())
    sys.path.append(str(built["reference-protocol"]))
    return importlib.import_module("embedded.drivers.reference.kubelet_plugin.services")


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder whose path is short: a socket's has at most 108 bytes."""
    with tempfile.TemporaryDirectory(prefix="driver-") as folder:
        yield Path(folder)


@pytest.fixture(params=["v1"])
def api(root: Path, request: pytest.FixtureRequest) -> Iterator[ApiServer]:
    """An API server; parametrize indirectly for one that serves another version."""
    folder = root / "api"
    folder.mkdir()
    with ApiServer(folder, request.param).serving() as server:
        yield server


@pytest.fixture
def node(root: Path, api: ApiServer, services: ModuleType) -> Node:
    """A node with four GPUs."""
    return Node(root, api, services)
