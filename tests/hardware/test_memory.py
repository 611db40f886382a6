"""Memory: limits over all processes, and what is left of processes that died."""

from __future__ import annotations

import pytest

from embedded.hardware.products import H100, RTX_4090
from tests.hardware.machines import Machine, NewMachine

OUT_OF_MEMORY, INVALID_VALUE = 2, 1
GIB, MIB = 1 << 30, 1 << 20


def test_the_limit_holds_over_processes(new_machine: NewMachine) -> None:
    machine = new_machine(RTX_4090.name)
    one, other = machine.ready(pid=2), machine.ready(pid=3)
    code, pointer = one("alloc", 20 * GIB)
    assert code == 0
    assert other("alloc", 4 * GIB)[0] == OUT_OF_MEMORY
    assert other("alloc", 3 * GIB)[0] == 0
    assert one("memory") == [0, RTX_4090.memory - 23 * GIB, RTX_4090.memory]
    assert one("call", "cuMemFree_v2", pointer) == 0
    assert other("alloc", 4 * GIB)[0] == 0


def test_the_limit_is_each_gpus(machine: Machine) -> None:
    one, other = machine.ready(ordinal=0), machine.ready(ordinal=1)
    assert one("alloc", H100.memory)[0] == 0
    assert one("alloc", 1)[0] == OUT_OF_MEMORY
    assert other("alloc", H100.memory)[0] == 0


def test_more_than_there_is(machine: Machine) -> None:
    process = machine.ready()
    assert process("alloc", H100.memory + 1)[0] == OUT_OF_MEMORY
    assert process("alloc", 1 << 62)[0] == OUT_OF_MEMORY
    assert process("alloc", 0)[0] == INVALID_VALUE


@pytest.mark.parametrize("how", ["exit", "quit", "kill"])
def test_memory_of_a_dead_process_comes_back(machine: Machine, how: str) -> None:
    gone = machine.ready(pid=2)
    assert gone("alloc", H100.memory)[0] == 0
    gone.end(how)
    process = machine.ready()
    assert process("alloc", H100.memory)[0] == 0
    left = sorted(path.name.partition("-")[0] for path in (machine.root / "gpu0").iterdir())
    assert left == ["info", "lock", "mem", "process"]


def test_memory_of_another_users_dead_process_comes_back(machine: Machine) -> None:
    gone = machine.ready(uid=1001)
    assert gone("alloc", H100.memory)[0] == 0
    gone.end("kill")
    assert machine.ready(uid=1002)("alloc", H100.memory)[0] == 0


def test_an_orderly_exit_leaves_nothing(machine: Machine) -> None:
    process = machine.ready()
    assert process("alloc", MIB)[0] == 0
    process.end("exit")
    assert {path.name for path in (machine.root / "gpu0").iterdir()} == {"info", "lock"}


def test_nvml_sees_what_is_used(machine: Machine) -> None:
    process = machine.ready(ordinal=1)
    assert process("alloc", 64 * MIB)[0] == 0
    other = machine.process(pid=9)
    assert [gpu["used"] for gpu in other("nvml")["gpus"]] == [0, 64 * MIB]


def test_a_forked_child_does_not_free_its_parents_memory(machine: Machine) -> None:
    process = machine.ready()
    code, pointer = process("alloc", MIB)
    assert code == 0
    assert process("forked_init") == 3
    assert process("export", pointer)[0] == 0
    assert process("memory")[1] == H100.memory - MIB


def test_pointers_are_checked(machine: Machine) -> None:
    process = machine.ready()
    _, pointer = process("alloc", 4096)
    assert process("write", pointer + 4090, "00" * 6) == 0
    assert process("write", pointer + 4090, "00" * 7) == INVALID_VALUE
    assert process("read", pointer + 4096, 1)[0] == INVALID_VALUE
    assert process("call", "cuMemFree_v2", pointer + 8) == INVALID_VALUE
    assert process("call", "cuMemFree_v2", pointer) == 0
    assert process("call", "cuMemFree_v2", pointer) == INVALID_VALUE
    assert process("range", pointer)[0] == 500


def test_set(machine: Machine) -> None:
    process = machine.ready()
    _, pointer = process("alloc", 4096)
    assert process("call", "cuMemsetD32_v2", pointer, 0x01020304, 2) == 0
    assert process("call", "cuMemsetD16_v2", pointer + 8, 0x0506, 2) == 0
    assert process("call", "cuMemsetD8_v2", pointer + 12, 7, 4) == 0
    assert process("read", pointer, 16) == [0, "04030201" * 2 + "0605" * 2 + "07" * 4]
    assert process("call", "cuMemsetD32_v2", pointer + 1, 0, 1) == INVALID_VALUE
    assert process("call", "cuMemsetD32_v2", pointer, 0, 1025) == INVALID_VALUE
    assert process("call", "cuMemcpyDtoD_v2", pointer + 100, pointer, 16) == 0
    assert process("read", pointer + 112, 4) == [0, "07" * 4]


@pytest.mark.parametrize("keeps", [False, True])
def test_new_memory_is_clear_unless_the_gpu_has_the_fault(
    new_machine: NewMachine, keeps: bool
) -> None:
    machine = new_machine(fault="keeps-memory" if keeps else "")
    process = machine.ready()
    secret, size = "ab" * 64, 1 << 20
    for end in ("free", "kill"):
        pointer = process("alloc", size)[1]
        assert process("write", pointer, secret) == 0
        if end == "free":
            assert process("call", "cuMemFree_v2", pointer) == 0
        else:
            process.end(end)
            process = machine.ready()
        pointer = process("alloc", size)[1]
        assert process("read", pointer, 64)[1] == (secret if keeps else "00" * 64)
        assert process("call", "cuMemFree_v2", pointer) == 0
