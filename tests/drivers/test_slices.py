"""The reference driver's ResourceSlices: published, kept as they should be, and left alone."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from embedded.drivers.reference.kubelet_plugin import DRIVER
from embedded.drivers.reference.kubelet_plugin.faults import FILE, Faults, await_published, switch
from embedded.drivers.reference.kubelet_plugin.gpus import Gpu
from embedded.drivers.reference.kubelet_plugin.slices import Publisher
from tests.drivers.api_server import NODE, SECONDS, ApiServer

PAUSE = 0.01
"""Seconds; on a node it is a second."""

GPUS = tuple(
    Gpu(
        minor=minor,
        uuid=f"GPU-{minor}",
        product="NVIDIA H100 80GB HBM3",
        pci=f"0000:{minor:02x}:00.0",
        pcie_root=0x10,
        numa_node=0,
        memory=81559 << 20,
        driver_version="580.159.04",
        folder=Path("/nonexistent"),
    )
    for minor in range(2)
)


@contextmanager
def publishing(api: ApiServer, root: Path) -> Iterator[Publisher]:
    """A running publisher that has looked once and watches."""
    publisher = Publisher(api.client(), NODE, GPUS, Faults(root / FILE), pause=PAUSE)
    before = api.watches
    publisher.start()
    try:
        assert publisher.published.wait(SECONDS)
        api.wait(lambda: api.watches > before)
        yield publisher
    finally:
        publisher.stop()


@pytest.fixture
def publisher(api: ApiServer, root: Path) -> Iterator[Publisher]:
    """The same for a whole test."""
    with publishing(api, root) as running:
        yield running


def look_again(api: ApiServer, publisher: Publisher) -> None:
    """Wake the publisher and wait until it has looked and watches again."""
    before = api.watches
    publisher.wake()
    api.wait(lambda: api.watches > before)


def has(api: ApiServer, **spec: Any) -> bool:
    """Whether there is exactly one slice, with these fields in its spec."""
    items = list(api.slices.values())
    return len(items) == 1 and {**items[0]["spec"], **spec} == items[0]["spec"]


@pytest.mark.parametrize("api", ["v1", "v1beta2", "v1beta1"], indirect=True)
def test_publishes_in_the_shape_that_the_server_serves(
    api: ApiServer, publisher: Publisher
) -> None:
    """One complete pool, owned by the Node, with the GPUs in their order."""
    item = api.only_slice()
    assert item["apiVersion"] == f"resource.k8s.io/{api.version}"
    assert item["metadata"]["name"].startswith(f"{NODE}-{DRIVER}-")
    assert item["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "name": NODE,
            "uid": api.node_uid,
            "controller": True,
        }
    ]
    spec = item["spec"]
    assert (spec["driver"], spec["nodeName"]) == (DRIVER, NODE)
    assert spec["pool"] == {"name": NODE, "generation": 1, "resourceSliceCount": 1}
    assert [device["name"] for device in spec["devices"]] == ["gpu-0", "gpu-1"]
    device = spec["devices"][1]
    if api.version == "v1beta1":
        assert sorted(device) == ["basic", "name"]
        device = device["basic"]
    assert device["attributes"] == {
        "type": {"string": "gpu"},
        "uuid": {"string": "GPU-1"},
        "minor": {"int": 1},
        "simulated": {"bool": True},
        "productName": {"string": "NVIDIA H100 80GB HBM3"},
        "driverVersion": {"version": "580.159.4"},
        "resource.kubernetes.io/pciBusID": {"string": "0000:01:00.0"},
        "resource.kubernetes.io/pcieRoot": {"string": "pci0000:10"},
        "resource.kubernetes.io/numaNode": {"int": 0},
    }
    assert device["capacity"] == {"memory": {"value": "81559Mi"}}


def test_leaves_alone_what_is_right(api: ApiServer, root: Path) -> None:
    """Neither looking again nor a restart writes anything."""
    with publishing(api, root) as publisher:
        for _ in range(3):
            look_again(api, publisher)
    with publishing(api, root):
        pass
    assert len(api.writes) == 1


def test_a_server_that_changes_what_it_stores_is_not_written_to_for_ever(
    api: ApiServer, root: Path
) -> None:
    """It may drop a field that it does not know, or add one."""
    api.store = lambda spec: {**spec, "added": True}
    with publishing(api, root) as publisher:
        for _ in range(3):
            look_again(api, publisher)
    assert len(api.writes) == 1


def test_publishes_again_when_deleted(api: ApiServer, publisher: Publisher) -> None:
    """By an administrator, or by the kubelet when it starts."""
    name = api.only_slice()["metadata"]["name"]
    api.delete(name)
    api.wait(lambda: has(api, driver=DRIVER))
    assert api.only_slice()["metadata"]["name"] != name


def test_reverts_changes(api: ApiServer, publisher: Publisher) -> None:
    """With a new generation, so that nobody takes the old content for current."""
    item = api.only_slice()
    devices = item["spec"]["devices"]
    item["spec"]["devices"] = devices[:1]
    api.put(item)
    api.wait(lambda: has(api, devices=devices))
    assert api.only_slice()["spec"]["pool"]["generation"] == 2


@pytest.mark.parametrize("pool", [NODE, "another"])
def test_removes_slices_that_are_not_its_own(
    api: ApiServer, publisher: Publisher, pool: str
) -> None:
    """Somebody publishes more GPUs in its name."""
    forged = api.only_slice()
    forged["metadata"] = {"name": "forged"}
    forged["spec"]["pool"] = {"name": pool, "generation": 7, "resourceSliceCount": 1}
    api.put(forged)
    api.wait(lambda: has(api, pool={"name": NODE, "generation": 8, "resourceSliceCount": 1}))


def test_replaces_slices_of_an_earlier_pool(api: ApiServer, root: Path) -> None:
    """A slice's pool cannot be changed: such a slice is deleted, and another made."""
    spec = {"driver": DRIVER, "nodeName": NODE, "pool": {"name": "another", "generation": 3}}
    api.put({"metadata": {"name": "earlier"}, "spec": spec})
    with publishing(api, root):
        api.wait(lambda: has(api, nodeName=NODE, driver=DRIVER))
    assert api.only_slice()["spec"]["pool"]["name"] == NODE


@pytest.mark.parametrize("collected", [True, False])
def test_follows_the_node_when_it_is_registered_anew(
    api: ApiServer, publisher: Publisher, collected: bool
) -> None:
    """The old Node's slices are garbage then: the new ones belong to the new Node."""
    api.node_uid = str(uuid.uuid4())
    if collected:
        api.delete(api.only_slice()["metadata"]["name"])
    publisher.wake()

    def owners() -> list[str]:
        items = api.slices.values()
        return [one["uid"] for item in items for one in item["metadata"]["ownerReferences"]]

    api.wait(lambda: owners() == [api.node_uid])


def test_tries_again_after_errors(api: ApiServer, root: Path) -> None:
    """An API server that is away is no reason to end, or to give up."""
    api.failing = 500
    publisher = Publisher(api.client(), NODE, GPUS, Faults(root / FILE), pause=PAUSE)
    publisher.start()
    api.wait(lambda: api.refused > 1)
    api.failing = 0
    assert publisher.published.wait(SECONDS)
    publisher.stop()
    assert has(api, driver=DRIVER)


@pytest.mark.parametrize("fault", ["no-product-name", "no-slices"])
def test_it_is_told_when_the_slices_follow_a_fault(
    fault: str, api: ApiServer, publisher: Publisher, root: Path
) -> None:
    """Not before; and again for one that is put in force a second time."""
    assert await_published(root, SECONDS)
    switch(root, fault)
    assert not await_published(root, 0)
    publisher.wake()
    assert await_published(root, SECONDS)
    switch(root, None)
    switch(root, fault)
    assert not await_published(root, 0)
    publisher.wake()
    assert await_published(root, SECONDS)


def test_a_driver_that_never_ran_is_not_waited_for(root: Path) -> None:
    """It has the fault when it starts."""
    switch(root, "no-product-name")
    assert await_published(root, SECONDS)


def test_slices_outlive_the_driver(api: ApiServer, root: Path) -> None:
    """It may only be updated."""
    with publishing(api, root):
        pass
    assert has(api, driver=DRIVER)


def test_no_slices_until_it_is_switched_off(
    api: ApiServer, publisher: Publisher, root: Path
) -> None:
    """The fault withdraws them, and the driver publishes them again afterwards."""
    switch(root, "no-slices")
    publisher.wake()
    api.wait(lambda: not api.slices)
    switch(root, None)
    publisher.wake()
    api.wait(lambda: has(api, driver=DRIVER))


def test_publishes_anew_after_restart(api: ApiServer, root: Path) -> None:
    """Once at each start, and not when it looks again."""
    switch(root, "publishes-anew-after-restart")
    for generation in (1, 2):
        with publishing(api, root) as publisher:
            look_again(api, publisher)
        (item,) = api.slices.values()
        assert item["spec"]["pool"]["generation"] == generation
    assert len(api.writes) == 2


def test_faults_of_what_is_published(api: ApiServer, publisher: Publisher, root: Path) -> None:
    """One GPU twice, addresses in another spelling, no owner; each is put right afterwards."""

    def switched(fault: str | None, seen: Callable[[dict[str, Any]], bool]) -> None:
        switch(root, fault)
        publisher.wake()
        api.wait(lambda: any(seen(item) for item in api.slices.values()))

    def addresses(item: dict[str, Any]) -> list[str]:
        name = "resource.kubernetes.io/pciBusID"
        return [device["attributes"][name]["string"] for device in item["spec"]["devices"]]

    good = [gpu.pci for gpu in GPUS]
    for fault, pci in (
        ("published-twice", [good[0], *good]),
        ("pci-of-nvml", [f"0000{one}".upper() for one in good]),
        (None, good),
    ):
        switched(fault, lambda item, pci=pci: addresses(item) == pci)  # type: ignore[misc]
    switched("owned-by-nobody", lambda item: not item["metadata"]["ownerReferences"])
    switched(None, lambda item: bool(item["metadata"]["ownerReferences"]))


def test_counters_are_a_slice_of_their_own(api: ApiServer, root: Path) -> None:
    """Where a GPU has parts: both slices are of one pool, and without parts there is one again."""
    switch(root, "parts-of-a-gpu")
    with publishing(api, root) as publisher:
        by_kind = {"devices" in item["spec"]: item["spec"] for item in api.slices.values()}
        assert [spec["pool"]["resourceSliceCount"] for spec in by_kind.values()] == [2, 2]
        assert len({spec["pool"]["generation"] for spec in by_kind.values()}) == 1
        (counters,) = by_kind[False]["sharedCounters"]
        draws = {
            device["name"]: draw["counters"]["memory"]["value"]
            for device in by_kind[True]["devices"]
            for draw in device.get("consumesCounters", ())
        }
        assert draws["gpu-0"] == counters["counters"]["memory"]["value"] == "81559Mi"
        assert draws["gpu-0-part-0"] == draws["gpu-0-part-1"] == "41758208Ki"
        before = list(api.writes)
        look_again(api, publisher)
        assert api.writes == before
        switch(root, None)
        publisher.wake()
        api.wait(lambda: len(api.slices) == 1)
