"""All that touches CUDA: PyCUDA, and the driver's library itself for what PyCUDA does not offer.

PyCUDA has no UUIDs, and its exceptions carry CUDA's text but not its number. Both come from the
``libcuda.so.1`` that PyCUDA loaded. Source of the calls: the CUDA Driver API reference; of PyCUDA's
way to say errors ("cuXxx failed: text"): its ``src/cpp/cuda.hpp``.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from workload.result import Gpu, Problem, Verdict, WorkloadError

NO_DEVICE = 100
_WORKLOADS_FAULT = {
    200: "the kernels' PTX is no valid image",
    218: "the kernels' PTX is not valid",
    222: "the kernels' PTX is newer than this driver understands",
}
"""Errors that say that this program was built wrongly, whatever the driver does."""

_LARGEST_CODE = 999
"""``CUDA_ERROR_UNKNOWN``, the last of ``CUresult``."""

THREADS = 256
"""Per block."""
WORDS_PER_THREAD = 8
SLOTS = 1024
"""Both as in ``kernels.cu``."""


def load() -> ModuleType:
    """Import PyCUDA, which loads ``libcuda.so.1``.

    Raises:
        WorkloadError: the library is not in this container (no-gpu), lacks functions that PyCUDA
            was built with, or the image is broken (both workload-fault).
    """
    try:
        from pycuda import driver  # noqa: PLC0415 - its import is what can fail
    except ImportError as error:
        raise _not_loaded(str(error)) from error
    module: ModuleType = driver
    return module


def _not_loaded(text: str) -> WorkloadError:
    step = "load libcuda.so.1"
    if "libcuda.so.1" in text and "cannot open shared object file" in text:
        return WorkloadError(
            Verdict.NO_GPU,
            Problem(
                step,
                "no driver library in this container (libcuda.so.1: cannot open shared object"
                " file): no GPU was injected, or the loader's cache was not updated",
            ),
        )
    if "undefined symbol: cu" in text:
        text = f"the driver's library lacks a function that this image's PyCUDA needs: {text}"
    return WorkloadError(Verdict.WORKLOAD_FAULT, Problem(step, text, blame="workload"))


class Cuda:
    """The CUDA driver, initialised, and its visible GPUs.

    Raises:
        WorkloadError: it cannot be initialised (cuda-error), or shows no GPU (no-gpu).
    """

    def __init__(self) -> None:
        self._driver = load()
        self._library = ctypes.CDLL("libcuda.so.1")
        with self.step("initialise CUDA"):
            self._driver.init()
            self.gpus = [self._gpu(ordinal) for ordinal in range(self._driver.Device.count())]
        if not self.gpus:
            raise WorkloadError(
                Verdict.NO_GPU,
                Problem("initialise CUDA", "the driver shows no GPU in this container"),
            )

    @property
    def version(self) -> int:
        """The driver's CUDA version: 13000 for 13.0."""
        version: int = self._driver.get_driver_version()
        return version

    def can_access_peer(self, importer: Gpu, exporter: Gpu) -> bool:
        """Whether one GPU can read and write the other's memory."""
        with self.step("ask for peer access"):
            device = self._driver.Device(importer.ordinal)
            return bool(device.can_access_peer(self._driver.Device(exporter.ordinal)))

    @contextmanager
    def context(self, gpu: Gpu) -> Iterator[Context]:
        """A context on a GPU; gone with all that was allocated in it when the body ends."""
        with self.step(f"create a context on GPU {gpu.ordinal}"):
            created = self._driver.Device(gpu.ordinal).make_context()
        try:
            yield Context(self, self._driver)
        finally:
            # PyCUDA aborts the process at exit where a context is left on its stack.
            created.pop()
            created.detach()

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Turn PyCUDA's errors of the body into ours, with CUDA's number and name.

        Raises:
            WorkloadError: a call of CUDA failed.
        """
        try:
            yield
        except (self._driver.Error, RuntimeError, MemoryError) as error:
            raise self._failure(what, str(error)) from error

    def _failure(self, step: str, text: str) -> WorkloadError:
        found = re.match(r"cu\w+ failed: (.*)", text, re.DOTALL)
        code = next(
            (
                code
                for words, code in self._errors().items()
                if found and found[1].startswith(words)
            ),
            None,
        )
        verdict, blame = Verdict.CUDA_ERROR, None
        if code == NO_DEVICE:
            verdict = Verdict.NO_GPU
        elif code in _WORKLOADS_FAULT:
            verdict, blame = Verdict.WORKLOAD_FAULT, "workload"
            text = f"{_WORKLOADS_FAULT[code]}: {text}"
        name = self._text("cuGetErrorName", code) if code is not None else None
        return WorkloadError(verdict, Problem(step, text, code, name, blame))

    @cache  # noqa: B019 - one object a process
    def _errors(self) -> dict[str, int]:
        """Every error's number by its text, the longest text first: one may begin like another."""
        codes = {
            text: code
            for code in range(_LARGEST_CODE, 0, -1)
            if (text := self._text("cuGetErrorString", code))
        }
        return dict(sorted(codes.items(), key=lambda item: -len(item[0])))

    def _text(self, function: str, code: int) -> str | None:
        answer = ctypes.c_char_p()
        if getattr(self._library, function)(code, ctypes.byref(answer)) or not answer.value:
            return None
        return answer.value.decode()

    def _gpu(self, ordinal: int) -> Gpu:
        device = self._driver.Device(ordinal)
        name = device.name()
        major, minor = device.compute_capability()
        return Gpu(
            ordinal=ordinal,
            uuid=("MIG-" if " MIG " in name else "GPU-") + self._uuid(ordinal),
            name=name,
            pci=device.pci_bus_id(),
            memory=device.total_memory(),
            compute_capability=f"{major}.{minor}",
        )

    def _uuid(self, ordinal: int) -> str:
        # A MIG device's own UUID needs the second version (CUDA 11.4 and later).
        function = (
            getattr(self._library, "cuDeviceGetUuid_v2", None) or self._library.cuDeviceGetUuid
        )
        device, uuid = ctypes.c_int(), (ctypes.c_ubyte * 16)()
        code = self._library.cuDeviceGet(ctypes.byref(device), ordinal) or function(uuid, device)
        if code:
            text = f"cuDeviceGetUuid failed: {self._text('cuGetErrorString', code)}"
            raise self._failure("read a GPU's UUID", text)
        digits = bytes(uuid).hex()
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


class Context:
    """What is done on one GPU: memory, kernels, IPC. Current until its ``with`` block ends."""

    def __init__(self, cuda: Cuda, driver: ModuleType) -> None:
        self._cuda = cuda
        self._driver = driver
        with cuda.step("load the kernels"):
            module = driver.module_from_file(str(Path(__file__).with_name("kernels.ptx")))
            self._fill = module.get_function("fill").prepare("PQQQ")
            self._verify = module.get_function("verify").prepare("PQQQP")

    @contextmanager
    def allocated(self, size: int) -> Iterator[int]:
        """Device memory of ``size`` bytes; yields its address."""
        with self._cuda.step(f"allocate {size} bytes"):
            memory = self._driver.mem_alloc(size)
        try:
            yield int(memory)
        finally:
            memory.free()

    @contextmanager
    def imported(self, handle: bytes) -> Iterator[int]:
        """Another process's memory; yields its address in this one.

        Raises:
            WorkloadError: CUDA did not open it (not-opened).
        """
        memory: Any = None
        try:
            with self._cuda.step("open the IPC handle"):
                # Other flags are refused (cuIpcOpenMemHandle). PyCUDA wants a bytearray.
                memory = self._driver.IPCMemoryHandle(
                    bytearray(handle), self._driver.ipc_mem_flags.LAZY_ENABLE_PEER_ACCESS
                )
        except WorkloadError as error:
            if error.verdict is Verdict.CUDA_ERROR:
                raise WorkloadError(Verdict.NOT_OPENED, error.problem) from error
            raise
        try:
            yield int(memory)
        finally:
            memory.close()

    def export(self, address: int) -> bytes:
        """The IPC handle of an allocation: 64 bytes."""
        with self._cuda.step("export the memory (cuIpcGetMemHandle)"):
            return bytes(self._driver.mem_get_ipc_handle(address))

    def clear(self, address: int, size: int) -> None:
        """Fill with zeros."""
        with self._cuda.step("clear memory"):
            self._driver.memset_d8(address, 0, size)
            self._driver.Context.synchronize()

    def read(self, address: int) -> int:
        """Copy one word from the device."""
        word = bytearray(8)
        with self._cuda.step("read a word"):
            self._driver.memcpy_dtoh(word, address)
        return int.from_bytes(word, "little")

    def write(self, address: int, word: int) -> None:
        """Copy one word to the device."""
        with self._cuda.step("write a word"):
            self._driver.memcpy_htod(address, word.to_bytes(8, "little"))
            self._driver.Context.synchronize()

    def fill(self, address: int, first: int, words: int, seed: int) -> None:
        """Run the kernel ``fill``: ``words`` from ``first`` on become the seed's pattern."""
        with self._cuda.step("fill memory by a kernel"):
            self._fill.prepared_call(_grid(words), (THREADS, 1, 1), address, first, words, seed)
            self._driver.Context.synchronize()

    def verify(
        self, address: int, first: int, words: int, seed: int
    ) -> tuple[int, int | None, int]:
        """Run the kernel ``verify`` over ``words`` from ``first`` on.

        Returns:
            How many differ from the seed's pattern, the first that does, and the checksum.
        """
        with self.allocated((2 * SLOTS + 1) * 8) as answer, self._cuda.step("verify by a kernel"):
            self._driver.memset_d8(answer, 0, (2 * SLOTS + 1) * 8)
            self._driver.memset_d8(answer + SLOTS * 8, 0xFF, 8)
            self._verify.prepared_call(
                _grid(words), (THREADS, 1, 1), address, first, words, seed, answer
            )
            copy = bytearray((2 * SLOTS + 1) * 8)
            self._driver.memcpy_dtoh(copy, answer)
        numbers = memoryview(copy).cast("Q")
        wrong = sum(numbers[:SLOTS])
        return wrong, numbers[SLOTS] if wrong else None, sum(numbers[SLOTS + 1 :]) % (1 << 64)


def _grid(words: int) -> tuple[int, int]:
    """Blocks so that every word has its thread."""
    return -(-words // (THREADS * WORDS_PER_THREAD)), 1
