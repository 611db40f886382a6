"""The reference driver says in a claim's status what its GPUs are, where it is asked to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from embedded.drivers.reference.kubelet_plugin import DRIVER
from embedded.drivers.reference.kubelet_plugin.api import Api, ApiError
from embedded.drivers.reference.kubelet_plugin.faults import FILE, Faults, switch
from embedded.drivers.reference.kubelet_plugin.status import Status
from tests.drivers.node import Node

OTHERS = {"driver": "other.example", "pool": "node-1", "device": "gpu-0"}
GPU = {"driver": DRIVER, "pool": "node-1", "device": "gpu-0"}


class OneClaim(Api):
    """Has one claim, with two devices, and keeps what is written."""

    def __init__(self) -> None:
        self.written: list[list[dict[str, Any]]] = []
        self.refusals: list[int] = []
        self.said: list[dict[str, Any]] = [OTHERS]

    def version(self) -> str:
        """As every server of today."""
        return "v1"

    def claim(self, namespace: str, name: str) -> dict[str, Any]:
        """The claim."""
        results = [{**device, "request": "gpu"} for device in (OTHERS, GPU)]
        status = {"allocation": {"devices": {"results": results}}, "devices": self.said}
        return {"metadata": {"namespace": namespace, "name": name}, "status": status}

    def request(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """Keep what is written, unless it is refused."""
        assert method == "PUT"
        assert path.endswith("/namespaces/default/resourceclaims/one/status")
        if self.refusals:
            raise ApiError("no", self.refusals.pop())
        self.said = body["status"]["devices"]
        self.written.append(self.said)
        return {}


@pytest.fixture
def api() -> OneClaim:
    return OneClaim()


@pytest.fixture
def status(api: OneClaim, node: Node, tmp_path: Path) -> Status:
    return Status(api, "node-1", node.gpus, Faults(tmp_path / FILE))


def test_says_what_a_gpu_is(api: OneClaim, status: Status, node: Node, tmp_path: Path) -> None:
    """Beside what others say, once, and again where somebody was faster."""
    switch(tmp_path, "tells-of-devices")
    api.refusals = [409]
    for _ in range(2):
        status.tell("default", "one")
    assert api.written == [[OTHERS, {**GPU, "data": {"uuid": node.gpus[0].uuid}}]]


def test_says_nothing_unasked(api: OneClaim, status: Status) -> None:
    """No request more than a driver needs."""
    status.tell("default", "one")
    assert api.written == []


@pytest.mark.parametrize("refusal", [403, 404])
def test_a_claim_is_prepared_without_it(
    refusal: int, api: OneClaim, status: Status, tmp_path: Path
) -> None:
    """A server may refuse, and the claim may be gone."""
    switch(tmp_path, "tells-of-devices")
    api.refusals = [refusal]
    status.tell("default", "one")
    assert api.written == []
