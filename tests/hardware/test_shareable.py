"""Memory shared by descriptors and fabric handles, of allocations and of pools, between processes.

The results measured on two H200, driver 580.159.04; docs/simulated-hardware.md has the tables, and
says which of these were not measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest

from embedded.hardware.products import RTX_4090
from tests.hardware.machines import PTX, Machine, NewMachine, Process

INVALID_VALUE, INVALID_DEVICE, INVALID_CONTEXT, NO_PEER_ACCESS = 1, 101, 201, 217
INVALID_HANDLE, NOT_PERMITTED, NOT_SUPPORTED, ILLEGAL_ADDRESS = 400, 800, 801, 700
DESCRIPTOR, FABRIC = 1, 8
SIZE = 4 << 20
WORD = bytes(range(64)).hex()
MAILBOXES = count()

EXPORT, IMPORT = "cuMemExportToShareableHandle", "cuMemImportFromShareableHandle"
EXPORT_POOL, IMPORT_POOL = "cuMemPoolExportToShareableHandle", "cuMemPoolImportFromShareableHandle"


@dataclass
class Offer:
    """What an exporter shares, of either kind."""

    process: Process
    pointer: int
    kind: int
    shared: Any
    """A descriptor of the exporter's, or a fabric handle."""
    handle: int
    """Of the allocation or the pool."""
    pointer_data: str = ""
    """Of a pool's memory."""


def allocation(machine: Machine, kind: int, **how: Any) -> Offer:
    """A process with an allocation that begins with WORD."""
    process = machine.ready(channels=int(kind == FABRIC), **how)
    code, handle = process("create", SIZE, kind)
    assert code == 0
    code, pointer = process("map", handle, SIZE)
    assert code == 0
    assert process("write", pointer, WORD) == 0
    code, shared = process("export_shareable", handle, kind, EXPORT)
    assert code == 0
    return Offer(process, pointer, kind, shared, handle)


def pool(machine: Machine, kind: int, **how: Any) -> Offer:
    """A process with a pool, and memory of it that begins with WORD."""
    process = machine.ready(channels=int(kind == FABRIC), **how)
    code, handle = process("pool", kind)
    assert code == 0
    code, pointer = process("pool_alloc", handle, SIZE)
    assert code == 0
    assert process("write", pointer, WORD) == 0
    assert process("pool_export_pointer", pointer)[0] == INVALID_VALUE  # measured
    code, shared = process("export_shareable", handle, kind, EXPORT_POOL)
    assert code == 0
    code, data = process("pool_export_pointer", pointer)
    assert code == 0
    return Offer(process, pointer, kind, shared, handle, data)


def importer(machine: Machine, offer: Offer, **how: Any) -> Process:
    return machine.ready(channels=int(offer.kind == FABRIC), **how)


def hand_over(machine: Machine, offer: Offer, to: Process) -> Any:
    """What the importer gives to CUDA: a descriptor of its own, or the fabric handle."""
    if offer.kind == FABRIC:
        return offer.shared
    folder = machine.folder / "mail"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    path = folder / str(next(MAILBOXES))
    to("open_mailbox", str(path))
    offer.process("send_descriptor", str(path), offer.shared)
    return to("receive_descriptor")


def import_it(to: Process, offer: Offer, shared: Any, ordinal: int = 0) -> tuple[int, int]:
    """Import what was handed over: the first code that is none of success, and the address."""
    if offer.pointer_data:
        code, handle = to("import_shareable", shared, offer.kind, IMPORT_POOL)
        code = code or to("pool_access", handle, ordinal)
        if code:
            return code, 0
        code, pointer = to("pool_import_pointer", handle, offer.pointer_data)
        return code, pointer
    code, handle = to("import_shareable", shared, offer.kind, IMPORT)
    if code:
        return code, 0
    code, pointer = to("map", handle, SIZE, ordinal)
    return code, pointer


def opened(machine: Machine, offer: Offer, to: Process, ordinal: int = 0) -> tuple[int, int]:
    return import_it(to, offer, hand_over(machine, offer, to), ordinal)


def shares_both_ways(machine: Machine, offer: Offer, to: Process, ordinal: int = 0) -> None:
    code, pointer = opened(machine, offer, to, ordinal)
    assert code == 0
    assert to("read", pointer, 64) == [0, WORD]
    assert to("write", pointer + SIZE - 64, WORD) == 0
    assert offer.process("read", offer.pointer + SIZE - 64, 64) == [0, WORD]


kinds = pytest.mark.parametrize("kind", [DESCRIPTOR, FABRIC], ids=["descriptor", "fabric"])
makers = pytest.mark.parametrize("make", [allocation, pool])
Make = Callable[..., Offer]

# ---------------------------------------------------------------- as measured


@kinds
@makers
def test_neither_own_pids_nor_users_nor_the_gpu_matter(
    machine: Machine, make: Make, kind: int
) -> None:
    offer = make(machine, kind, pid=1, uid=1000, namespaces="imn")
    for pid, ordinal in ((300, 0), (1, 1)):
        to = importer(machine, offer, pid=pid, uid=1001, ordinal=ordinal, namespaces="imn")
        shares_both_ways(machine, offer, to, ordinal)


@makers
@pytest.mark.parametrize(("kind", "code"), [(DESCRIPTOR, INVALID_DEVICE), (FABRIC, NOT_SUPPORTED)])
def test_the_exporting_gpu_is_not_injected(
    machine: Machine, make: Make, kind: int, code: int
) -> None:
    offer = make(machine, kind)
    assert opened(machine, offer, importer(machine, offer, gpus=[1]))[0] == code


def test_fabric_handles_need_a_channel(machine: Machine) -> None:
    process = machine.ready()
    assert process("create", SIZE, FABRIC)[0] == NOT_PERMITTED
    assert process("create", SIZE, FABRIC | DESCRIPTOR)[0] == NOT_PERMITTED
    assert process("pool", FABRIC)[0] == NOT_PERMITTED
    offer = allocation(machine, FABRIC)
    assert process("import_shareable", offer.shared, FABRIC, IMPORT)[0] == NOT_PERMITTED


def test_what_a_gpu_says_of_itself(machine: Machine, new_machine: NewMachine) -> None:
    """Fabric is supported whether or not there is a channel."""
    supported = {"VMM": 102, "descriptor": 103, "fabric": 128, "pools": 115, "pools' types": 119}
    process = machine.ready()
    assert [process("attribute", number, 0) for number in supported.values()] == [1, 1, 1, 1, 9]
    other = new_machine(RTX_4090.name).ready(channels=1)
    assert [other("attribute", number, 0) for number in supported.values()] == [1, 1, 0, 1, 1]
    assert other("create", SIZE, FABRIC)[0] == NOT_SUPPORTED
    assert process("granularity") == [0, 2 << 20]


# ---------------------------------------------------------------- allocations and addresses


def test_an_allocation_lives_as_long_as_it_is_used(machine: Machine) -> None:
    process, memory = machine.ready(), machine.gpus[0].product.memory
    _, handle = process("create", SIZE, 0)
    code, pointer = process("map", handle, SIZE)
    assert code == 0
    assert process("properties", handle) == [0, [1, 0, 1, 0]]
    assert process("export_shareable", handle, DESCRIPTOR, EXPORT)[0] == INVALID_VALUE
    assert process("call", "cuMemRelease", handle) == 0
    assert process("call", "cuMemRelease", handle) == INVALID_VALUE
    assert process("call", "cuMemMap", pointer, SIZE, 0, handle, 0) == INVALID_VALUE
    assert process("write", pointer, WORD) == 0
    assert process("memory")[1] == memory - SIZE
    assert process("call", "cuMemAddressFree", pointer, SIZE) == INVALID_VALUE  # it is in use
    assert process("call", "cuMemUnmap", pointer, SIZE) == 0
    assert process("memory")[1] == memory
    assert process("read", pointer, 64)[0] == INVALID_VALUE
    assert process("call", "cuMemUnmap", pointer, SIZE) == INVALID_VALUE
    assert process("call", "cuMemAddressFree", pointer, SIZE) == 0


def test_addresses_are_of_whole_granules_and_used_once(machine: Machine) -> None:
    process = machine.ready()
    assert process("reserve", SIZE - 1)[0] == INVALID_VALUE
    assert process("create", SIZE - 1, 0)[0] == INVALID_VALUE
    assert process("create", SIZE, 2)[0] == NOT_SUPPORTED  # a handle of Windows
    assert process("create", SIZE, 0, 7)[0] == INVALID_DEVICE
    _, pointer = process("reserve", 2 * SIZE)
    assert pointer % (2 << 20) == 0
    _, handle = process("create", SIZE, 0)
    assert process("call", "cuMemMap", pointer + SIZE, SIZE, 0, handle, 0) == 0
    assert process("call", "cuMemMap", pointer + SIZE, SIZE, 0, handle, 0) == INVALID_VALUE
    assert process("call", "cuMemMap", pointer + 2 * SIZE, SIZE, 0, handle, 0) == INVALID_VALUE
    assert process("set_access", pointer, SIZE, 0) == INVALID_VALUE  # nothing is mapped there
    assert process("write", pointer + SIZE, WORD) == INVALID_VALUE  # no access yet
    assert process("set_access", pointer + SIZE, SIZE, 0, 1) == NOT_SUPPORTED  # to read only
    assert process("set_access", pointer + SIZE, SIZE, 0) == 0
    assert process("call", "cuMemMap", pointer, SIZE, 0, handle, 0) == 0  # the same memory again
    assert process("set_access", pointer, 2 * SIZE, 0) == 0
    assert process("write", pointer, WORD) == 0
    assert process("read", pointer + SIZE, 64) == [0, WORD]
    assert process("set_access", pointer, SIZE, 0, 0) == 0
    assert process("read", pointer, 64)[0] == INVALID_VALUE
    assert process("call", "cuMemUnmap", pointer, SIZE // 2) == INVALID_VALUE
    assert process("call", "cuMemUnmap", pointer, 2 * SIZE) == 0


def test_pools_give_memory_of_their_own(machine: Machine) -> None:
    process, memory = machine.ready(), machine.gpus[0].product.memory
    _, handle = process("pool", 0)
    _, pointer = process("pool_alloc", handle, SIZE)
    assert process("memory")[1] == memory - SIZE
    assert process("export_shareable", handle, DESCRIPTOR, EXPORT_POOL)[0] == INVALID_VALUE
    assert process("export", pointer)[0] == INVALID_VALUE  # by legacy IPC
    assert process("call", "cuMemFreeAsync", pointer, 0) == 0
    assert process("memory")[1] == memory
    assert process("call", "cuMemPoolDestroy", handle) == 0
    assert process("call", "cuMemPoolDestroy", handle) == INVALID_VALUE


# ---------------------------------------------------------------- ends: not measured


@makers
def test_mapped_memory_outlives_its_exporter(machine: Machine, make: Make) -> None:
    for how in ("exit", "kill"):
        offer = make(machine, DESCRIPTOR)
        to = machine.ready()
        _, pointer = opened(machine, offer, to)
        offer.process.end(how)
        assert to("read", pointer, 64) == [0, WORD]


def test_what_is_imported_when_the_exporter_is_gone(machine: Machine) -> None:
    """A descriptor keeps the memory; whoever is only named has to be there."""
    found = {}
    for make in (allocation, pool):
        for kind in (DESCRIPTOR, FABRIC):
            offer = make(machine, kind)
            to = importer(machine, offer)
            shared = hand_over(machine, offer, to)
            offer.process.end("exit")
            code, pointer = import_it(to, offer, shared)
            found[make.__name__, kind] = code
            if code == 0:
                assert to("read", pointer, 64) == [0, WORD]
    assert found == {
        ("allocation", DESCRIPTOR): 0,
        ("allocation", FABRIC): INVALID_HANDLE,
        ("pool", DESCRIPTOR): INVALID_HANDLE,
        ("pool", FABRIC): INVALID_HANDLE,
    }


def test_what_is_no_handle(machine: Machine) -> None:
    process = machine.ready(channels=1)
    for function in (IMPORT, IMPORT_POOL):
        assert process("import_shareable", 999, DESCRIPTOR, function)[0] == INVALID_VALUE
        assert process("import_shareable", process("null"), DESCRIPTOR, function)[0] == (
            INVALID_VALUE
        )
        assert process("import_shareable", "00" * 64, FABRIC, function)[0] == INVALID_VALUE
        assert process("import_shareable", 0, 2, function)[0] == INVALID_VALUE
    memory, shared = allocation(machine, DESCRIPTOR), pool(machine, DESCRIPTOR)
    for offer, function in ((memory, IMPORT_POOL), (shared, IMPORT)):
        given = hand_over(machine, offer, other := machine.ready())
        assert other("import_shareable", given, DESCRIPTOR, function)[0] == INVALID_VALUE


@makers
def test_gpus_without_peer_access(new_machine: NewMachine, make: Make) -> None:
    machine = new_machine(RTX_4090.name)
    offer = make(machine, DESCRIPTOR)
    to = machine.ready(ordinal=1)
    assert opened(machine, offer, to, ordinal=1)[0] == NO_PEER_ACCESS


# ---------------------------------------------------------------- values that streams wait for

WAIT, WRITE, NOT_READY = "cuStreamWaitValue32_v2", "cuStreamWriteValue32_v2", 600
GEQ, EQ, AND, NOR = range(4)


@makers
def test_a_stream_waits_for_what_another_process_writes(
    new_machine: NewMachine, make: Make
) -> None:
    machine = new_machine()
    offer = make(machine, DESCRIPTOR)
    _, pointer = opened(machine, offer, to := machine.ready())
    _, waiting = offer.process("stream")
    _, writing = to("stream")
    assert offer.process("stream_value", WAIT, waiting, offer.pointer, 7, EQ) == 0
    assert offer.process("call", "cuStreamQuery", waiting) == NOT_READY
    if make is pool:  # measured: not to a pool's memory, wherever it is
        assert to("stream_value", WRITE, writing, pointer, 7, 0) == INVALID_VALUE
        _, own = offer.process("stream")
        assert offer.process("stream_value", WRITE, own, offer.pointer, 7, 0) == INVALID_VALUE
        return
    assert to("stream_value", WRITE, writing, pointer, 6, 0) == 0
    assert offer.process("call", "cuStreamQuery", waiting) == NOT_READY
    assert to("stream_value", WRITE, writing, pointer, 7, 0) == 0
    assert offer.process("call", "cuStreamSynchronize", waiting) == 0


def test_how_a_stream_waits(new_machine: NewMachine) -> None:
    process = new_machine().ready()
    _, pointer = process("alloc", SIZE)
    assert process("write", pointer, "06000000") == 0
    for flags, value, code in (
        *((GEQ, 6, 0), (GEQ, 7, NOT_READY), (GEQ, 5, 0)),
        *((EQ, 6, 0), (EQ, 5, NOT_READY), (AND, 2, 0), (AND, 1, NOT_READY)),
    ):
        _, stream = process("stream")
        assert process("stream_value", WAIT, stream, pointer, value, flags) == 0
        assert process("call", "cuStreamQuery", stream) == code
    for function in (WAIT, WRITE):
        assert process("stream_value", function, stream, pointer, 1, EQ) == NOT_SUPPORTED
    _, stream = process("stream")
    assert process("stream_value", WAIT, stream, pointer, 1, NOR) == NOT_SUPPORTED
    assert process("stream_value", WAIT, 0, pointer, 1, EQ) == NOT_SUPPORTED
    for address in (pointer + 1, pointer + SIZE):
        assert process("stream_value", WAIT, stream, address, 1, EQ) == INVALID_VALUE
        assert process("stream_value", WRITE, stream, address, 1, 0) == INVALID_VALUE
    assert process("stream_value", WAIT, pointer, pointer, 1, EQ) == INVALID_HANDLE


# ---------------------------------------------------------------- faults


@makers
def test_faults_that_refuse(new_machine: NewMachine, make: Make) -> None:
    for fault, code in (("refuses-imports", NOT_SUPPORTED), ("refuses-pid-1", INVALID_CONTEXT)):
        machine = new_machine(fault=fault)
        offer = make(machine, DESCRIPTOR)
        assert opened(machine, offer, machine.ready(pid=1))[0] == code


@makers
def test_faults_of_the_way_between_gpus(new_machine: NewMachine, make: Make) -> None:
    machine = new_machine(fault="refuses-peers")
    offer = make(machine, DESCRIPTOR)
    assert opened(machine, offer, machine.ready(ordinal=1), ordinal=1)[0] == NO_PEER_ACCESS
    assert opened(machine, offer, machine.ready())[0] == 0
    machine = new_machine(fault="opens-any-gpu")
    offer = allocation(machine, DESCRIPTOR)
    code, pointer = opened(machine, offer, to := machine.ready(gpus=[1]))
    assert code == 0
    assert to("read", pointer, 64) == [0, WORD]


@makers
def test_faults_of_mappings(new_machine: NewMachine, make: Make) -> None:
    machine = new_machine(fault="loses-a-page")
    offer = make(machine, DESCRIPTOR)
    _, pointer = opened(machine, offer, to := machine.ready())
    assert to("read", pointer, 64) == [0, "00" * 64]
    machine = new_machine(fault="lacks-a-page")
    offer = make(machine, DESCRIPTOR)
    _, pointer = opened(machine, offer, to := machine.ready())
    assert to("function", to("load", PTX)[1], "fill") == 0
    assert to("launch", "fill", 1, pointer, 0, 1, 0) == 0
    assert to("call", "cuCtxSynchronize") == 0
    assert to("launch", "fill", 1, pointer + SIZE - 8, 0, 1, 0) == 0
    assert to("call", "cuCtxSynchronize") == ILLEGAL_ADDRESS
    machine = new_machine(fault="refuses-pid-1,loses-writes")
    offer = make(machine, DESCRIPTOR)
    _, pointer = opened(machine, offer, to := machine.ready())
    assert to("read", pointer, 64) == [0, WORD]
    assert to("write", pointer, WORD[::-1]) == 0
    assert offer.process("read", offer.pointer, 64) == [0, WORD]


def test_faults_of_an_exporters_end(new_machine: NewMachine) -> None:
    machine = new_machine(fault="clears-late")
    offer = allocation(machine, DESCRIPTOR)
    shared = hand_over(machine, offer, to := machine.ready())
    offer.process.end("exit")
    _, pointer = import_it(to, offer, shared)
    assert to("read", pointer, 64) == [0, "00" * 64]
    machine = new_machine(fault="ends-with-exporter")
    offer = allocation(machine, DESCRIPTOR)
    _, pointer = opened(machine, offer, to := machine.ready())
    offer.process.end("exit")
    assert to("function", to("load", PTX)[1], "fill") == 0
    assert to("launch", "fill", 1, pointer, 0, 1, 0) == 0
    assert to("call", "cuCtxSynchronize") == ILLEGAL_ADDRESS
