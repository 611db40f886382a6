"""The reference driver says when GPUs are ready for which pods wait, and nothing else."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from embedded.drivers.reference.kubelet_plugin import DRIVER
from embedded.drivers.reference.kubelet_plugin.api import Api
from embedded.drivers.reference.kubelet_plugin.bindings import Binder
from embedded.drivers.reference.kubelet_plugin.faults import FILE, Faults, switch

GPU = {"driver": DRIVER, "pool": "node-1", "device": "gpu-1"}
ATTACHED = f"{DRIVER}/attached"


class Written(Api):
    """Keeps what would be written."""

    def __init__(self) -> None:
        self.bodies: dict[str, Any] = {}

    def request(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Keep it by method and path."""
        self.bodies[f"{method} {path}"] = body
        return {}


def claim(*said: Any, **result: Any) -> dict[str, Any]:
    """A claim that has the GPU, of which this is said."""
    waiting = {**GPU, "request": "gpu", "bindingConditions": [ATTACHED], **result}
    allocation = {"devices": {"results": [waiting]}}
    metadata = {"namespace": "default", "name": "one"}
    return {"metadata": metadata, "status": {"allocation": allocation, "devices": list(said)}}


@pytest.fixture
def api() -> Written:
    return Written()


@pytest.fixture
def binder(api: Written, tmp_path: Path) -> Binder:
    return Binder(api, "node-1", Faults(tmp_path / FILE), threading.Event())


def test_says_that_a_gpu_is_attached(api: Written, binder: Binder) -> None:
    """In the claim's status, beside what others say there of devices of theirs."""
    of_others = {"driver": "other.example", "pool": "node-1", "device": "gpu-1"}
    waiting = claim(of_others)
    binder.look_at("v1", waiting)
    ((path, body),) = api.bodies.items()
    assert path == "PUT /apis/resource.k8s.io/v1/namespaces/default/resourceclaims/one/status"
    kept, own = body["status"]["devices"]
    assert kept == of_others
    assert body["status"]["allocation"] == waiting["status"]["allocation"]
    assert {key: own[key] for key in GPU} == GPU
    assert [(one["type"], one["status"]) for one in own["conditions"]] == [(ATTACHED, "True")]
    api.bodies.clear()
    binder.look_at("v1", body)
    assert not api.bodies


def test_keeps_what_else_is_said_of_a_gpu(api: Written, binder: Binder) -> None:
    """The API server answers null for the conditions of a device that has only data."""
    binder.look_at("v1", claim({**GPU, "data": {"uuid": "GPU-1"}, "conditions": None}))
    (body,) = api.bodies.values()
    (own,) = body["status"]["devices"]
    assert own["data"] == {"uuid": "GPU-1"}
    assert [one["type"] for one in own["conditions"]] == [ATTACHED]


@pytest.mark.parametrize(
    "other",
    [{"driver": "other.example"}, {"pool": "node-2"}, {"bindingConditions": []}],
    ids=lambda one: next(iter(one)),
)
def test_says_nothing_of_what_is_not_its(api: Written, binder: Binder, other: Any) -> None:
    """Devices of others and of other nodes, and those for which nobody waits."""
    binder.look_at("v1", claim(**other))
    binder.look_at("v1", {"metadata": {"namespace": "default", "name": "two"}})
    assert not api.bodies


def test_never_attached(api: Written, binder: Binder, tmp_path: Path) -> None:
    """Nothing is said of a GPU for which a pod waits."""
    switch(tmp_path, "never-attached")
    binder.look_at("v1", claim())
    assert not api.bodies


def test_attaching_fails_once(api: Written, binder: Binder, tmp_path: Path) -> None:
    """Of the first allocation; the next one of the claim is attached."""
    switch(tmp_path, "attaching-fails-once")
    for time, wanted in (("1", "attaching-failed"), ("1", "attaching-failed"), ("2", "attached")):
        waiting = claim()
        waiting["status"]["allocation"]["allocationTimestamp"] = time
        binder.look_at("v1", waiting)
        (body,) = api.bodies.values()
        (condition,) = body["status"]["devices"][0]["conditions"]
        assert condition["type"] == f"{DRIVER}/{wanted}"
