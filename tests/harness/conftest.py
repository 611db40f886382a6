"""Fixtures: an API server in this process, and what talks to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.cluster.journal import Journal
from harness.cluster.kube import Kube
from harness.cluster.observe import Observer
from tests.harness.fake_api import FakeApi, client, serving


@pytest.fixture
def api() -> FakeApi:
    """The server's state."""
    api = FakeApi()
    api.documents["/version"] = {"gitVersion": "v1.37.2"}
    return api


@pytest.fixture
def kube(api: FakeApi) -> Iterator[Kube]:
    """A client of the server."""
    with serving(api) as address:
        yield client(address)


@pytest.fixture
def observer(kube: Kube) -> Iterator[Observer]:
    """An observer of the server."""
    observer = Observer(kube, Journal(None))
    yield observer
    observer.close()
