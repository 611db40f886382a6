"""Which GPUs a process sees, and that all interfaces tell the same about them."""

from __future__ import annotations

import os
from typing import Any

import pytest

from embedded.hardware import machine as hardware
from embedded.hardware.products import H100, PRODUCTS, RTX_4090
from tests.hardware.machines import Machine, NewMachine

NO_DEVICE, INVALID_DEVICE, NOT_INITIALIZED = 100, 101, 3
DRIVER_NOT_LOADED = 9


def seen(machine: Machine, **how: Any) -> list[str]:
    """The UUIDs of the devices that a process sees, in its order; none without a device."""
    process = machine.process(**how)
    code = process("init")
    assert code in (0, NO_DEVICE)
    return [device["uuid"] for device in process("devices")] if code == 0 else []


def uuids(machine: Machine, *minors: int) -> list[str]:
    return [machine.gpus[minor].uuid for minor in minors]


# ---------------------------------------------------------------- device nodes decide


@pytest.mark.parametrize("minors", [(0,), (1,), (0, 2), (0, 1, 2)])
def test_a_process_sees_the_gpus_whose_node_it_has(
    new_machine: NewMachine, minors: tuple[int, ...]
) -> None:
    machine = new_machine(count=3)
    assert seen(machine, gpus=minors) == uuids(machine, *minors)


def test_no_node_no_gpu(machine: Machine) -> None:
    nothing = machine.folder / "empty"
    nothing.mkdir()
    process = machine.process(SIMULATED_GPUS_DEV=str(nothing))
    assert process("init") == NO_DEVICE
    assert process("nvml") == {"code": DRIVER_NOT_LOADED}
    assert process("call", "cuCtxSynchronize") == NOT_INITIALIZED


def test_control_nodes_alone(machine: Machine) -> None:
    dev = machine.folder / "control"
    hardware.make_device_nodes(dev, 0)
    process = machine.process(SIMULATED_GPUS_DEV=str(dev))
    assert process("init") == NO_DEVICE
    assert process("nvml") == {"code": 0, "gpus": []}


def test_a_node_that_may_not_be_opened_is_no_gpu(machine: Machine) -> None:
    (machine.view(0, 1) / "nvidia1").chmod(0o600)
    assert seen(machine, gpus=[0, 1], uid=1001) == uuids(machine, 0)
    assert seen(machine, gpus=[0, 1]) == uuids(machine, 0, 1)  # root may


def test_what_is_no_device_node_is_no_gpu(machine: Machine) -> None:
    dev = machine.view(0, 1)
    (dev / "nvidia0").unlink()
    (dev / "nvidia0").write_text("")
    major = os.major((dev / "nvidia1").stat().st_rdev)
    (dev / "nvidia1").unlink()
    os.mknod(dev / "nvidia1", 0o020666, os.makedev(major, 0))  # GPU 0's node
    assert seen(machine, gpus=[0, 1]) == []


def test_no_machine(machine: Machine) -> None:
    process = machine.process(SIMULATED_GPUS_ROOT=str(machine.folder / "none"))
    assert process("init") == NO_DEVICE
    assert process("nvml") == {"code": DRIVER_NOT_LOADED}


# ---------------------------------------------------------------- CUDA_VISIBLE_DEVICES


@pytest.mark.parametrize(
    ("chosen", "minors"),
    [
        ("1", [1]),
        ("2,0", [2, 0]),
        ("1,7,0", [1]),
        ("1,x,0", [1]),
        ("-1", []),
        ("", []),
        ("7,1", []),
        ("0,0", []),
    ],
)
def test_visible_devices_by_index(new_machine: NewMachine, chosen: str, minors: list[int]) -> None:
    machine = new_machine(count=3)
    assert seen(machine, CUDA_VISIBLE_DEVICES=chosen) == uuids(machine, *minors)


def test_visible_devices_by_uuid(new_machine: NewMachine) -> None:
    machine = new_machine(count=3)
    one, other = machine.gpus[1].uuid, machine.gpus[2].uuid
    assert seen(machine, CUDA_VISIBLE_DEVICES=other) == [other]
    assert seen(machine, CUDA_VISIBLE_DEVICES=f"{other},{one[:12]}") == [other, one]
    assert seen(machine, CUDA_VISIBLE_DEVICES="GPU-") == []  # ambiguous
    assert seen(machine, CUDA_VISIBLE_DEVICES=f"GPU-zzzz,{one}") == []


def test_index_counts_injected_gpus_only(new_machine: NewMachine) -> None:
    machine = new_machine(count=3)
    assert seen(machine, gpus=[1, 2], CUDA_VISIBLE_DEVICES="1") == uuids(machine, 2)


# ---------------------------------------------------------------- what they are


@pytest.mark.parametrize("product", list(PRODUCTS))
def test_cuda_and_nvml_tell_the_same(new_machine: NewMachine, product: str) -> None:
    machine = new_machine(product)
    process = machine.process()
    assert process("init") == 0
    cuda, nvml = process("devices"), process("nvml")["gpus"]
    for gpu, by_cuda, by_nvml in zip(machine.gpus, cuda, nvml, strict=True):
        assert by_cuda == {
            "name": product,
            "uuid": gpu.uuid,
            "pci": gpu.pci.upper(),
            "memory": gpu.product.memory,
            "compute_capability": gpu.product.compute_capability,
        }
        assert by_nvml == {
            "name": product,
            "uuid": gpu.uuid,
            "minor": gpu.minor,
            "pci": gpu.pci.upper()[:15],
            "memory": gpu.product.memory,
            "used": 0,
        }
    multiprocessors, pci_bus = 16, 33  # CU_DEVICE_ATTRIBUTE_…
    assert process("attribute", multiprocessors, 0) == PRODUCTS[product].multiprocessors
    assert process("attribute", pci_bus, 1) == PRODUCTS[product].pci_buses[1]


def test_nvml_takes_no_notice_of_visible_devices(machine: Machine) -> None:
    process = machine.process(CUDA_VISIBLE_DEVICES="1")
    assert [gpu["uuid"] for gpu in process("nvml")["gpus"]] == uuids(machine, 0, 1)


@pytest.mark.parametrize(("product", "able"), [(H100.name, 1), (RTX_4090.name, 0)])
def test_peer_access(new_machine: NewMachine, product: str, able: int) -> None:
    process = new_machine(product).process()
    assert process("init") == 0
    assert process("can_access_peer", 0, 1) == able
    assert process("can_access_peer", 0, 0) == 0
    peer = process("context", 1)[1]
    assert process("context", 0)[0] == 0
    assert process("call", "cuCtxEnablePeerAccess", peer, 0) == (0 if able else 217)
    assert process("call", "cuCtxEnablePeerAccess", peer, 0) == (704 if able else 217)


def test_driver_version_is_the_machines(new_machine: NewMachine) -> None:
    process = new_machine(cuda_version=12040).process()
    assert process("init") == 0
    assert process("entry_point", "cuCtxCreate", 12040) == [0, 0, "cuCtxCreate_v3"]


# ---------------------------------------------------------------- life of the driver in a process


def test_before_and_after_init(machine: Machine) -> None:
    process = machine.process()
    assert process("call", "cuCtxSynchronize") == NOT_INITIALIZED
    assert process("call", "cuInit", 1) == 1
    assert process("init") == 0
    assert process("init") == 0
    assert process("call", "cuCtxSynchronize") == 201
    assert process("context", 2)[0] == INVALID_DEVICE
    assert process("forked_init") == NOT_INITIALIZED


def test_contexts(machine: Machine) -> None:
    process = machine.ready()
    second = process("context", 1)[1]
    assert process("call", "cuCtxPopCurrent_v2", 0) == 0
    assert process("call", "cuCtxPushCurrent_v2", second) == 0
    code, pointer = process("alloc", 4096)
    assert code == 0
    assert process("call", "cuCtxDestroy_v2", second) == 0
    assert process("call", "cuCtxPushCurrent_v2", second) == 201
    assert process("call", "cuCtxDestroy_v2", 0x1234) == 201
    assert process("read", pointer, 8)[0] == 1  # its memory went with it
    assert [gpu["used"] for gpu in process("nvml")["gpus"]] == [0, 0]


def test_entry_points(machine: Machine) -> None:
    process = machine.process()
    assert process("entry_point", "cuMemAlloc", 12000) == [0, 0, "cuMemAlloc_v2"]
    assert process("entry_point", "cuMemAlloc", 2000) == [0, 0, "cuMemAlloc"]
    assert process("entry_point", "cuCtxCreate", 13000) == [0, 0, "cuCtxCreate_v4"]
    assert process("entry_point", "cuGetProcAddress", 12000) == [0, 0, "cuGetProcAddress_v2"]
    assert process("entry_point", "cuGetProcAddress", 11030) == [0, 0, "cuGetProcAddress"]
    assert process("entry_point", "cuMemAlloc", 1000) == [0, 2, None]
    assert process("entry_point", "cuNoSuchThing", 13000) == [0, 1, None]


@pytest.mark.parametrize(
    ("code", "name", "text"),
    [
        (1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"),
        (100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"),
        (201, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"),
        (400, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"),
        (12345, "", ""),
    ],
)
def test_errors_have_names(machine: Machine, code: int, name: str, text: str) -> None:
    assert machine.process()("error", code) == [name, text]


@pytest.mark.parametrize(("product", "peers"), [(H100.name, 1), (RTX_4090.name, 0)])
def test_what_two_devices_are_to_each_other(
    new_machine: NewMachine, product: str, peers: int
) -> None:
    rank, access, atomics = 1, 2, 3
    process = new_machine(product).process()
    assert process("init") == 0
    assert process("p2p", rank, 0, 1) == [0, 0]
    assert process("p2p", access, 0, 1) == process("p2p", access, 1, 0) == [0, peers]
    assert process("p2p", atomics, 0, 1) == [0, peers]
    assert process("p2p", access, 0, 0)[0] == INVALID_DEVICE


# ---------------------------------------------------------------- the description of a machine


def test_uuids_are_stable_and_distinct() -> None:
    one = hardware.gpus("node-1", H100.name, 8)
    assert one == hardware.gpus("node-1", H100.name, 8)
    both = [*one, *hardware.gpus("node-2", H100.name, 8)]
    assert len({gpu.uuid for gpu in both}) == 16
    assert len({gpu.pci for gpu in one}) == 8


def test_nodes_never_get_a_major_with_a_driver(
    monkeypatch: pytest.MonkeyPatch, machine: Machine
) -> None:
    monkeypatch.setattr(hardware, "_used_majors", lambda: {195, 196, 240, 241})
    dev = machine.folder / "beside-a-real-driver"
    hardware.make_device_nodes(dev, 1)
    majors = {node.name: os.major(node.stat().st_rdev) for node in dev.iterdir()}
    assert majors == {
        "nvidia0": 242,
        "nvidiactl": 242,
        "nvidia-uvm": 243,
        "nvidia-uvm-tools": 243,
    }
