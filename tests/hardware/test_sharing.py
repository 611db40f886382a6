"""CUDA IPC between real processes: the results measured on H100, driver 580.159.04.

docs/simulated-hardware.md has the tables. "Own PID" is what a process sees of itself.
"""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from embedded.hardware.products import RTX_4090
from tests.hardware.machines import Machine, NewMachine, Process

INVALID_VALUE, INVALID_CONTEXT, INVALID_HANDLE, NO_PEER_ACCESS = 1, 201, 400, 217
MIB = 1 << 20
WORD = bytes(range(64)).hex()


def exporter(machine: Machine, **how: Any) -> tuple[Process, int, str]:
    """A process with 2 MiB that begin with WORD: the process, the pointer and the handle."""
    process = machine.ready(**how)
    code, pointer = process("alloc", 2 * MIB)
    assert code == 0
    assert process("write", pointer, WORD) == 0
    code, handle = process("export", pointer)
    assert code == 0
    return process, pointer, handle


def opens(process: Process, handle: str) -> bool:
    """Whether the handle opens; then the memory must be the exporter's, too."""
    code, pointer = process("open", handle)
    if code == 0:
        assert process("read", pointer, 64) == [0, WORD]
        assert process("call", "cuIpcCloseMemHandle", pointer) == 0
    return bool(code == 0)


def flipped(handle: str, byte: int) -> str:
    raw = bytearray.fromhex(handle)
    raw[byte] ^= 0xFF
    return raw.hex()


def with_pid(handle: str, pid: int) -> str:
    raw = bytearray.fromhex(handle)
    raw[8:12] = pid.to_bytes(4, "little")
    return raw.hex()


# ---------------------------------------------------------------- what decides: equal own PIDs


@pytest.mark.parametrize("pid", [1, 3, 7, 300])
def test_equal_own_pids_do_not_share(machine: Machine, pid: int) -> None:
    _, _, handle = exporter(machine, pid=pid)
    importer = machine.ready(pid=pid)
    assert importer("pid") == pid
    assert importer("open", handle)[0] == INVALID_CONTEXT


@pytest.mark.parametrize(("one", "other"), [(1, 3), (3, 1), (3, 7), (300, 301)])
def test_different_own_pids_share(machine: Machine, one: int, other: int) -> None:
    _, _, handle = exporter(machine, pid=one)
    assert opens(machine.ready(pid=other), handle)


def test_the_other_gpu_makes_no_difference(machine: Machine) -> None:
    _, _, handle = exporter(machine, pid=7)
    assert machine.ready(ordinal=1, pid=7)("open", handle)[0] == INVALID_CONTEXT
    assert opens(machine.ready(ordinal=1, pid=8), handle)


def test_pid_of_the_hosts_namespace_equal_to_one_of_another(machine: Machine) -> None:
    producer, _, handle = exporter(machine)
    pid = producer("pid")
    assert machine.ready(pid=pid)("open", handle)[0] == INVALID_CONTEXT
    assert opens(machine.ready(pid=pid - 1), handle)


def test_different_users(machine: Machine) -> None:
    _, _, handle = exporter(machine, pid=4, uid=1001)
    assert machine.ready(pid=4, uid=1002)("open", handle)[0] == INVALID_CONTEXT
    assert opens(machine.ready(pid=5, uid=1002), handle)


def test_separate_user_namespaces(machine: Machine) -> None:
    _, _, handle = exporter(machine, pid=6, namespaces="U")
    assert machine.ready(pid=6, namespaces="U")("open", handle)[0] == INVALID_CONTEXT
    assert opens(machine.ready(pid=9, namespaces="U"), handle)


def test_other_namespaces_make_no_difference(machine: Machine) -> None:
    _, _, handle = exporter(machine, pid=2)
    assert opens(machine.ready(pid=3, namespaces="Uimun"), handle)


def test_the_pid_in_the_handle_is_what_is_compared(machine: Machine) -> None:
    _, _, handle = exporter(machine, pid=1)
    assert bytes.fromhex(handle)[8:12] == (1).to_bytes(4, "little")
    assert opens(machine.ready(pid=1), with_pid(handle, 99))
    assert machine.ready(pid=3)("open", with_pid(handle, 3))[0] == INVALID_CONTEXT


@pytest.mark.parametrize("pid", [2, 258, 770])
def test_the_handle_carries_the_pid_little_endian(machine: Machine, pid: int) -> None:
    _, _, handle = exporter(machine, pid=pid)
    assert bytes.fromhex(handle)[8:12] == pid.to_bytes(4, "little")


def test_own_handle(machine: Machine) -> None:
    process, _, handle = exporter(machine)
    assert process("open", handle)[0] == INVALID_CONTEXT


# ---------------------------------------------------------------- stale handles, garbage


def test_freed_allocation(machine: Machine) -> None:
    producer, pointer, handle = exporter(machine)
    assert producer("call", "cuMemFree_v2", pointer) == 0
    assert machine.ready()("open", handle)[0] == INVALID_VALUE


@pytest.mark.parametrize("how", ["exit", "quit", "kill"])
def test_exporter_is_gone(machine: Machine, how: str) -> None:
    producer, _, handle = exporter(machine)
    producer.end(how)
    importer = machine.ready()
    assert importer("open", handle)[0] == INVALID_HANDLE
    assert importer("memory")[1] == machine.gpus[0].product.memory  # its memory was removed
    assert importer("open", handle)[0] == INVALID_HANDLE


def test_exporter_is_gone_in_a_namespace(machine: Machine) -> None:
    producer, _, handle = exporter(machine, pid=5)
    producer.end("kill")
    assert machine.ready(pid=6)("open", handle)[0] == INVALID_HANDLE


def test_garbage(machine: Machine) -> None:
    importer = machine.ready()
    assert importer("open", bytes(64).hex())[0] == INVALID_VALUE
    assert importer("open", secrets.token_hex(64))[0] == INVALID_VALUE


def test_handles_are_not_authenticated(machine: Machine) -> None:
    _, _, handle = exporter(machine)
    importer = machine.ready()
    ignored = (0, 1, 4, 8, 12, 16, 63)
    assert [byte for byte in ignored if opens(importer, flipped(handle, byte))] == [*ignored]
    assert [importer("open", flipped(handle, byte))[0] for byte in (24, 32, 48)] == [
        INVALID_VALUE,
        INVALID_VALUE,
        INVALID_HANDLE,
    ]


@pytest.mark.parametrize("flags", [0, 2])
def test_flags_must_enable_peer_access(machine: Machine, flags: int) -> None:
    _, _, handle = exporter(machine)
    assert machine.ready()("open", handle, flags)[0] == INVALID_VALUE


# ---------------------------------------------------------------- which GPU


def test_exporting_gpu_is_not_injected(machine: Machine) -> None:
    _, _, handle = exporter(machine)
    assert machine.ready(gpus=[1])("open", handle)[0] == INVALID_VALUE


def test_hidden_gpu_is_no_obstacle(machine: Machine) -> None:
    _, _, handle = exporter(machine)
    importer = machine.process(CUDA_VISIBLE_DEVICES="1")
    assert importer("init") == 0
    assert len(importer("devices")) == 1
    assert importer("context", 0)[0] == 0
    assert opens(importer, handle)


def test_no_peer_access(new_machine: NewMachine) -> None:
    machine = new_machine(RTX_4090.name)
    _, _, handle = exporter(machine)
    other = machine.ready(ordinal=1)
    assert other("can_access_peer", 1, 0) == 0
    assert other("open", handle)[0] == NO_PEER_ACCESS
    assert opens(machine.ready(ordinal=0), handle)


# ---------------------------------------------------------------- mappings


def test_interior_pointer_gives_the_base(machine: Machine) -> None:
    producer, pointer, _ = exporter(machine)
    code, handle = producer("export", pointer + MIB)
    assert code == 0
    assert opens(machine.ready(), handle)  # what is read is the beginning


def test_opening_again_counts(machine: Machine) -> None:
    _, _, handle = exporter(machine)
    importer = machine.ready()
    code, pointer = importer("open", handle)
    assert code == 0
    assert importer("open", handle) == [0, pointer]
    assert importer("call", "cuIpcCloseMemHandle", pointer) == 0
    assert importer("read", pointer, 64) == [0, WORD]
    assert importer("call", "cuIpcCloseMemHandle", pointer) == 0
    assert importer("call", "cuIpcCloseMemHandle", pointer) == INVALID_VALUE
    assert importer("read", pointer, 64)[0] == INVALID_VALUE


@pytest.mark.parametrize("how", ["exit", "kill"])
def test_mapping_outlives_its_exporter(machine: Machine, how: str) -> None:
    producer, _, handle = exporter(machine)
    importer = machine.ready()
    code, pointer = importer("open", handle)
    assert code == 0
    producer.end(how)
    assert importer("memory")[1] == machine.gpus[0].product.memory
    assert importer("read", pointer, 64) == [0, WORD]


def test_exporter_sees_what_the_importer_writes(machine: Machine) -> None:
    producer, pointer, handle = exporter(machine)
    importer = machine.ready(ordinal=1)
    code, mapped = importer("open", handle)
    assert code == 0
    assert importer("range", mapped) == [0, mapped, 2 * MIB]
    assert importer("write", mapped, WORD[::-1]) == 0
    assert producer("read", pointer, 64) == [0, WORD[::-1]]


def test_only_memory_of_cumemalloc_is_exported(machine: Machine) -> None:
    _, _, handle = exporter(machine)
    importer = machine.ready()
    _, mapped = importer("open", handle)
    assert importer("export", mapped)[0] == INVALID_VALUE
    assert importer("export", 4096)[0] == INVALID_VALUE


# ---------------------------------------------------------------- events: not measured

INTERPROCESS, DISABLE_TIMING = 4, 2


def event_exporter(machine: Machine, **how: Any) -> tuple[Process, int, str]:
    """A process with a recorded event: the process, the event and its handle."""
    process = machine.ready(**how)
    code, event = process("event", INTERPROCESS | DISABLE_TIMING)
    assert code == 0
    code, handle = process("export_event", event)
    assert code == 0
    assert process("export_event", event) == [0, handle]
    return process, event, handle


def test_an_event_opens_in_another_process(machine: Machine) -> None:
    _, _, handle = event_exporter(machine)
    for ordinal in (0, 1):
        importer = machine.ready(ordinal=ordinal)
        code, event = importer("open_event", handle)
        assert code == 0
        assert importer("call", "cuEventSynchronize", event) == 0
        assert importer("call", "cuEventQuery", event) == 0
        assert importer("call", "cuEventDestroy_v2", event) == 0
        assert importer("call", "cuEventDestroy_v2", event) == INVALID_HANDLE
        assert importer("open_event", handle)[0] == 0  # the exporter's is still there


def test_events_and_equal_own_pids(machine: Machine) -> None:
    process, _, handle = event_exporter(machine, pid=7)
    assert process("open_event", handle)[0] == INVALID_CONTEXT
    assert machine.ready(pid=7)("open_event", handle)[0] == INVALID_CONTEXT
    assert machine.ready(pid=8)("open_event", handle)[0] == 0


def test_an_event_that_is_gone(machine: Machine) -> None:
    importer = machine.ready()
    process, event, handle = event_exporter(machine)
    assert process("call", "cuEventDestroy_v2", event) == 0
    assert importer("open_event", handle)[0] == INVALID_VALUE
    for how in ("exit", "kill"):
        process, _, handle = event_exporter(machine)
        process.end(how)
        assert importer("open_event", handle)[0] == INVALID_HANDLE
    assert importer("memory")[0] == 0  # whoever looks removes what the dead left
    assert list(machine.root.glob("gpu0/mem-*")) == []


def test_events_and_memory_are_not_taken_for_each_other(machine: Machine) -> None:
    importer = machine.ready()
    _, _, memory = exporter(machine)
    _, _, event = event_exporter(machine)
    assert importer("open_event", memory)[0] == INVALID_VALUE
    assert importer("open", event)[0] == INVALID_VALUE


def test_only_interprocess_events_are_exported(machine: Machine) -> None:
    process = machine.ready()
    assert process("export_event", process("event", 0)[1])[0] == INVALID_VALUE
    assert process("export_event", 4096)[0] == INVALID_HANDLE
    assert process("event", INTERPROCESS)[0] == INVALID_VALUE  # has no timing (cuda.h)


def test_events_and_gpus_without_peer_access(new_machine: NewMachine) -> None:
    machine = new_machine(RTX_4090.name)
    _, _, handle = event_exporter(machine)
    assert machine.ready(ordinal=1)("open_event", handle)[0] == NO_PEER_ACCESS
    assert machine.ready(gpus=[1])("open_event", handle)[0] == INVALID_VALUE
