"""What test_pycuda.py runs with PyCUDA: answers with one JSON object a line.

    inventory | kernels | errors | produce | consume HANDLE ORDINAL

`produce` ends when its input ends.
"""

import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pycuda.driver as drv

np: Any = import_module("numpy")  # as PyCUDA, only in the Python of the workload's image

WORDS, THREADS, PER_THREAD, SLOTS = 1 << 16, 256, 8, 1024


def say(**answer: object) -> None:
    print(json.dumps(answer), flush=True)


class Kernels:
    def __init__(self) -> None:
        module = drv.module_from_file(os.environ["KERNELS"])
        self._fill, self._verify = module.get_function("fill"), module.get_function("verify")
        self._shape = {
            "block": (THREADS, 1, 1),
            "grid": (WORDS // (THREADS * PER_THREAD), 1),
        }

    def fill(self, pointer: int, seed: int) -> None:
        words, first = np.uint64(WORDS), np.uint64(0)
        self._fill(np.uintp(pointer), first, words, np.uint64(seed), **self._shape)
        drv.Context.synchronize()

    def wrong(self, pointer: int, seed: int) -> int:
        """How many words of the buffer are not the pattern's."""
        results = np.zeros(2 * SLOTS + 1, np.uint64)
        results[SLOTS] = ~np.uint64(0)
        words, first = np.uint64(WORDS), np.uint64(0)
        self._verify(
            np.uintp(pointer), first, words, np.uint64(seed), drv.InOut(results), **self._shape
        )
        drv.Context.synchronize()
        return int(results[:SLOTS].sum())


def inventory() -> None:
    devices = [drv.Device(ordinal) for ordinal in range(drv.Device.count())]
    say(
        version=drv.get_driver_version(),
        gpus=[
            {"name": item.name(), "pci": item.pci_bus_id(), "memory": item.total_memory()}
            for item in devices
        ],
    )


def kernels() -> None:
    kernel, buffer = Kernels(), drv.mem_alloc(8 * WORDS)
    start, end = drv.Event(), drv.Event()
    start.record()
    kernel.fill(int(buffer), 5)
    end.record()
    end.synchronize()
    host = np.empty(WORDS, np.uint64)
    drv.memcpy_dtoh(host, buffer)
    right = kernel.wrong(int(buffer), 5)
    host[WORDS // 2] ^= np.uint64(1)
    drv.memcpy_htod(buffer, host)
    say(right=right, flipped=kernel.wrong(int(buffer), 5), timed=end.time_since(start) > 0)


def errors() -> None:
    said = {}
    tries: dict[str, Callable[[], object]] = {
        "memory": lambda: drv.mem_alloc(1 << 50),
        "handle": lambda: drv.IPCMemoryHandle(bytearray(64)),
        "image": lambda: drv.module_from_buffer(b".version 9.9\n.target sm_50\n"),
    }
    for name, attempt in tries.items():
        try:
            attempt()
        except drv.Error as error:
            said[name] = [type(error).__name__, str(error)]
    say(**said)


def produce() -> None:
    kernel, buffer = Kernels(), drv.mem_alloc(8 * WORDS)
    kernel.fill(int(buffer), 11)
    say(handle=bytes(drv.mem_get_ipc_handle(buffer)).hex(), pid=os.getpid())
    sys.stdin.read()
    say(wrong=kernel.wrong(int(buffer), 12))


def consume(handle: str) -> None:
    kernel = Kernels()
    try:
        mapped = drv.IPCMemoryHandle(bytearray.fromhex(handle))
    except drv.Error as error:
        say(error=str(error), pid=os.getpid())
        return
    wrong = kernel.wrong(int(mapped), 11)
    kernel.fill(int(mapped), 12)
    mapped.close()
    say(wrong=wrong, pid=os.getpid())


def main() -> None:
    drv.init()
    verb, *arguments = sys.argv[1:]
    if verb == "inventory":
        inventory()
        return
    context = drv.Device(int(arguments.pop()) if verb == "consume" else 0).make_context()
    try:
        if verb == "consume":
            consume(*arguments)
        else:
            {"kernels": kernels, "errors": errors, "produce": produce}[verb]()
    finally:
        context.pop()


main()
