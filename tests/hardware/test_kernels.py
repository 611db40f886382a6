"""Kernels: what they compute, which images load, and what a wild access does."""

from __future__ import annotations

from typing import Any

import pytest

from tests.hardware.machines import PTX, Machine, NewMachine, Process

SLOTS = 1024
MASK = (1 << 64) - 1
INVALID_IMAGE, INVALID_PTX, UNSUPPORTED_PTX_VERSION = 200, 218, 222
INVALID_HANDLE, NOT_FOUND, ILLEGAL_ADDRESS = 400, 500, 700


def pattern(seed: int, index: int) -> int:
    """The workload's pattern, computed independently of its source (splitmix64)."""
    z = (seed + index + 0x9E3779B97F4A7C15) & MASK
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def with_kernels(machine: Machine, **how: Any) -> Process:
    process = machine.ready(**how)
    code, module = process("load", PTX)
    assert code == 0
    assert process("function", module, "fill") == 0
    assert process("function", module, "verify") == 0
    return process


def words(process: Process, pointer: int, count: int) -> list[int]:
    code, data = process("read", pointer, 8 * count)
    assert code == 0
    raw = bytes.fromhex(data)
    return [int.from_bytes(raw[at : at + 8], "little") for at in range(0, len(raw), 8)]


def verify(process: Process, pointer: int, first: int, count: int, seed: int) -> dict[str, int]:
    """Run `verify` and add up its slots as the workload does."""
    _, results = process("alloc", 8 * (2 * SLOTS + 1))
    assert process("call", "cuMemsetD8_v2", results, 0, 8 * (2 * SLOTS + 1)) == 0
    assert process("call", "cuMemsetD8_v2", results + 8 * SLOTS, 0xFF, 8) == 0
    assert process("launch", "verify", count, pointer, first, count, seed, results) == 0
    assert process("call", "cuCtxSynchronize") == 0
    values = words(process, results, 2 * SLOTS + 1)
    return {
        "wrong": sum(values[:SLOTS]),
        "first_wrong": values[SLOTS],
        "checksum": sum(values[SLOTS + 1 :]) & MASK,
    }


@pytest.mark.parametrize("count", [1, 7, 2048, 5003])
def test_fill_writes_the_pattern(machine: Machine, count: int) -> None:
    process = with_kernels(machine)
    _, pointer = process("alloc", 8 * 6000)
    assert process("launch", "fill", count, pointer, 5, count, 77) == 0
    assert words(process, pointer + 40, count) == [pattern(77, 5 + i) for i in range(count)]
    assert words(process, pointer + 8 * (5 + count), 1) == [0]
    assert words(process, pointer, 5) == [0] * 5


def test_verify_counts_and_sums(machine: Machine) -> None:
    process = with_kernels(machine)
    count = 20_000
    _, pointer = process("alloc", 8 * count)
    assert process("launch", "fill", count, pointer, 0, count, 42) == 0
    checksum = sum(pattern(42, i) * (2 * i + 1) for i in range(count)) & MASK
    assert verify(process, pointer, 0, count, 42) == {
        "wrong": 0,
        "first_wrong": MASK,
        "checksum": checksum,
    }
    for index in (19_999, 12_345):
        assert (
            process(
                "write", pointer + 8 * index, (pattern(42, index) ^ 1).to_bytes(8, "little").hex()
            )
            == 0
        )
    found = verify(process, pointer, 0, count, 42)
    assert (found["wrong"], found["first_wrong"]) == (2, 12_345)
    assert verify(process, pointer, 0, 12_345, 42)["wrong"] == 0
    assert verify(process, pointer, 0, count, 43)["wrong"] == count


def test_parameters_as_a_list_of_addresses(machine: Machine) -> None:
    process = with_kernels(machine)
    _, pointer = process("alloc", 4096)
    assert process("launch_list", "fill", 16, pointer, 0, 16, 3) == 0
    assert words(process, pointer, 17) == [*(pattern(3, i) for i in range(16)), 0]


def test_a_kernel_reads_imported_memory(machine: Machine) -> None:
    producer = with_kernels(machine, pid=2)
    _, pointer = producer("alloc", 8 * 4096)
    assert producer("launch", "fill", 4096, pointer, 0, 4096, 9) == 0
    consumer = with_kernels(machine, pid=3, ordinal=1)
    code, mapped = consumer("open", producer("export", pointer)[1])
    assert code == 0
    assert verify(consumer, mapped, 0, 4096, 9)["wrong"] == 0
    assert consumer("launch", "fill", 2048, mapped, 2048, 2048, 10) == 0
    assert verify(producer, pointer, 2048, 2048, 10)["wrong"] == 0
    assert verify(producer, pointer, 0, 2048, 9)["wrong"] == 0


def test_a_wild_access_spoils_the_context_only(machine: Machine) -> None:
    process, other = with_kernels(machine), with_kernels(machine)
    _, pointer = process("alloc", 4096)
    assert process("launch", "fill", 1 << 16, pointer, 0, 1 << 16, 1) == 0  # asynchronous error
    assert process("call", "cuCtxSynchronize") == ILLEGAL_ADDRESS
    assert process("read", pointer, 8)[0] == ILLEGAL_ADDRESS
    assert process("alloc", 4096)[0] == ILLEGAL_ADDRESS
    assert process("context", 0)[0] == 0  # a new one works
    assert process("alloc", 4096)[0] == 0
    assert other("alloc", 4096)[0] == 0


def test_one_word_behind_an_allocation_is_a_wild_access(machine: Machine) -> None:
    process = with_kernels(machine)
    pointers = [process("alloc", 4096)[1] for _ in range(3)]
    for pointer in pointers:
        assert process("launch", "fill", 512, pointer, 0, 512, 1) == 0
        assert process("call", "cuCtxSynchronize") == 0
    assert process("launch", "fill", 513, min(pointers), 0, 513, 1) == 0
    assert process("call", "cuCtxSynchronize") == ILLEGAL_ADDRESS


@pytest.mark.parametrize(
    ("cuda_version", "ptx", "code"),
    [
        (13000, "9.0", 0),
        (13000, "9.1", UNSUPPORTED_PTX_VERSION),
        (12040, "8.4", 0),
        (12040, "8.5", UNSUPPORTED_PTX_VERSION),
        (12020, "8.0", 0),
    ],
)
def test_ptx_newer_than_the_driver(
    new_machine: NewMachine, cuda_version: int, ptx: str, code: int
) -> None:
    process = new_machine(cuda_version=cuda_version).ready()
    assert process("load", PTX.replace("8.0", ptx))[0] == code


def test_images(machine: Machine) -> None:
    process = machine.ready()
    assert process("load", "no image at all")[0] == INVALID_IMAGE
    assert process("load", "\x7fELF" + "0" * 100)[0] == INVALID_IMAGE
    assert process("load", PTX.replace("sm_50", "sm_100"))[0] == INVALID_PTX
    code, module = process("load", PTX.replace("entry verify", "entry verifying"))
    assert code == 0
    assert process("function", module, "fill") == 0
    assert process("function", module, "verify") == NOT_FOUND
    assert process("function", module, "verifying") == NOT_FOUND  # no CPU build of it
    assert process("call", "cuModuleUnload", module) == 0
    assert process("call", "cuModuleUnload", module) == INVALID_HANDLE
