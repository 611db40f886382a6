"""All that touches CUDA: PyCUDA, and `workload.library` for what PyCUDA does not offer.

Source of the calls: the CUDA Driver API reference; of PyCUDA's way to say errors ("cuXxx failed:
text"), and of its stack of contexts: its ``src/cpp/cuda.hpp``.
"""

from __future__ import annotations

import ctypes
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from workload.library import Handle, Library
from workload.nvml import Link, Links
from workload.result import Gpu, Peer, Problem, Verdict, WorkloadError

NO_DEVICE = 100
_PEER_ACCESS_ALREADY_ENABLED = 704
_WORKLOADS_FAULT = {
    200: "the kernels' PTX is no valid image",
    218: "the kernels' PTX is not valid",
    222: "the kernels' PTX is newer than this driver understands",
}
"""Errors that say that this program was built wrongly, whatever the driver does."""

THREADS = 256
"""Per block."""
WORDS_PER_THREAD = 8
SLOTS = 1024
"""Both as in ``kernels.cu``."""
ANSWER_BYTES = (2 * SLOTS + 1) * 8
"""What the kernel ``verify`` writes: wrong words, the first of them, the checksum."""

LAZY_ENABLE_PEER_ACCESS = 1
"""``CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS``: the only flag with which a handle opens."""
_NON_BLOCKING, _EQUAL = 1, 1
"""``CU_STREAM_NON_BLOCKING``, ``CU_STREAM_WAIT_VALUE_EQ``."""
_RANK, _ACCESS, _ATOMICS = 1, 2, 3
"""Of ``CUdevice_P2PAttribute``."""


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
        WorkloadError: its library is not in this container or shows no GPU (no-gpu), it cannot be
            initialised (cuda-error), it lacks functions that PyCUDA was built with, or the image is
            broken (both workload-fault).
    """

    def __init__(self) -> None:
        try:
            from pycuda import driver  # noqa: PLC0415 - its import is what can fail
        except ImportError as error:
            raise _not_loaded(str(error)) from error
        self._driver: ModuleType = driver
        self.library = Library()
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

    def peers(self, links: Links) -> tuple[Peer, ...]:
        """What each visible GPU is to each other one.

        Args:
            links: what connects two GPUs, by their UUIDs.
        """
        pairs = [(one, other) for one in self.gpus for other in self.gpus if one is not other]
        return tuple(
            Peer(
                importer=one.uuid,
                exporter=other.uuid,
                can_access_peer=self.can_access_peer(one, other),
                performance_rank=self._p2p(_RANK, one, other),
                access_supported=_truth(self._p2p(_ACCESS, one, other)),
                native_atomics=_truth(self._p2p(_ATOMICS, one, other)),
                link=link.kind,
                nvlinks=link.nvlinks,
                meet=link.meet,
            )
            for one, other in pairs
            for link in (links.get((one.uuid, other.uuid), Link()),)
        )

    def _p2p(self, attribute: int, one: Gpu, other: Gpu) -> int | None:
        value = ctypes.c_int()
        if not self.library.has("cuDeviceGetP2PAttribute"):
            return None
        devices = self._device(one.ordinal), self._device(other.ordinal)
        code = self.library.call(
            "cuDeviceGetP2PAttribute", ctypes.byref(value), attribute, *devices
        )
        return None if code else value.value

    @contextmanager
    def context(self, gpu: Gpu) -> Iterator[Context]:
        """A context on a GPU; gone with all that was allocated in it when the body ends."""
        with self.step(f"create a context on GPU {gpu.ordinal}"):
            created = self._driver.Device(gpu.ordinal).make_context()
            created.pop()  # each of its methods makes it current
        try:
            yield Context(self, self._driver, created, gpu)
        finally:
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

    def failure(self, step: str, function: str, code: int) -> WorkloadError:
        """The error of a call of `library` that returned a code."""
        return self._coded(step, f"{function} failed: {self.library.text(code)}", code)

    def _failure(self, step: str, text: str) -> WorkloadError:
        found = re.match(r"cu\w+ failed: (.*)", text, re.DOTALL)
        codes = self.library.codes().items() if found else ()
        code = next((code for words, code in codes if found and found[1].startswith(words)), None)
        return self._coded(step, text, code)

    def _coded(self, step: str, text: str, code: int | None) -> WorkloadError:
        verdict, blame = Verdict.CUDA_ERROR, None
        if code == NO_DEVICE:
            verdict = Verdict.NO_GPU
        elif code in _WORKLOADS_FAULT:
            verdict, blame = Verdict.WORKLOAD_FAULT, "workload"
            text = f"{_WORKLOADS_FAULT[code]}: {text}"
        name = self.library.name(code) if code is not None else None
        return WorkloadError(verdict, Problem(step, text, code, name, blame))

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

    def _device(self, ordinal: int) -> ctypes.c_int:
        """A GPU's ``CUdevice``."""
        device = ctypes.c_int()
        if code := self.library.call("cuDeviceGet", ctypes.byref(device), ordinal):
            raise self.failure(f"find GPU {ordinal}", "cuDeviceGet", code)
        return device

    def _uuid(self, ordinal: int) -> str:
        # A MIG device's own UUID needs the second version (CUDA 11.4 and later).
        second = self.library.has("cuDeviceGetUuid_v2")
        function = "cuDeviceGetUuid_v2" if second else "cuDeviceGetUuid"
        uuid = (ctypes.c_ubyte * 16)()
        if code := self.library.call(function, uuid, self._device(ordinal)):
            raise self.failure("read a GPU's UUID", function, code)
        digits = bytes(uuid).hex()
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _truth(value: int | None) -> bool | None:
    return None if value is None else bool(value)


@dataclass(frozen=True)
class Opening:
    """What came of opening an IPC handle."""

    function: str
    code: int
    """``CUresult``."""
    ms: float
    """That the call took."""
    address: int = 0
    """Of the memory, or the event; only if the code is 0."""


@dataclass(frozen=True)
class Findings:
    """What the kernel ``verify`` found of some words."""

    words: int = 0
    wrong: int = 0
    first_wrong: int | None = None
    checksum: int = 0
    """The sum of the words, modulo 2^64."""

    def __add__(self, other: Findings) -> Findings:
        """The findings of two parts together."""
        firsts = [index for index in (self.first_wrong, other.first_wrong) if index is not None]
        return Findings(
            self.words + other.words,
            self.wrong + other.wrong,
            min(firsts, default=None),
            (self.checksum + other.checksum) % (1 << 64),
        )

    def must_be_right(self, step: str) -> None:
        """Go on only if no word is wrong.

        Raises:
            WorkloadError: one is (checksum-wrong).
        """
        if self.wrong:
            text = f"{self.wrong} of {self.words} words are wrong, the first is {self.first_wrong}"
            raise WorkloadError(Verdict.CHECKSUM_WRONG, Problem(step, text))


class Context:
    """What is done on one GPU: memory, kernels, IPC. Current while one of its methods runs."""

    def __init__(self, cuda: Cuda, driver: ModuleType, created: Any, gpu: Gpu) -> None:
        self.gpu = gpu
        self._cuda = cuda
        self._driver = driver
        self._created = created
        with self._doing("load the kernels"):
            module = driver.module_from_file(str(Path(__file__).with_name("kernels.ptx")))
            self._fill = module.get_function("fill").prepare("PQQQ")
            self._verify = module.get_function("verify").prepare("PQQQP")

    @contextmanager
    def _doing(self, what: str) -> Iterator[None]:
        """Be current for the body, whose errors become ours."""
        with self._cuda.step(what):
            self._created.push()
            try:
                yield
            finally:
                self._driver.Context.pop()

    @contextmanager
    def allocated(self, size: int) -> Iterator[int]:
        """Device memory of ``size`` bytes; yields its address."""
        with self._doing(f"allocate {size} bytes"):
            memory = self._driver.mem_alloc(size)
        try:
            yield int(memory)
        finally:
            with self._doing("free memory"):  # PyCUDA frees nothing in a thread without it
                memory.free()

    def free_memory(self) -> int:
        """Bytes of the GPU's memory that nobody uses."""
        with self._doing("ask for free memory"):
            free: int = self._driver.mem_get_info()[0]
            return free

    # ---------------------------------------------------------------- IPC

    @contextmanager
    def imported(self, handle: bytes) -> Iterator[int]:
        """Another process's memory; yields its address in this one.

        Raises:
            WorkloadError: CUDA did not open it (not-opened).
        """
        with self.opened(handle) as opening:
            if opening.code:
                raise self.not_opened(opening)
            yield opening.address

    def opened(
        self, handle: bytes, flags: int = LAZY_ENABLE_PEER_ACCESS
    ) -> AbstractContextManager[Opening]:
        """Another process's memory, closed at the end; yields what came of opening it."""
        given = (Handle.from_buffer_copy(handle), ctypes.c_uint(flags))
        return self._opened("cuIpcOpenMemHandle_v2", "cuIpcCloseMemHandle", *given)

    def not_opened(self, opening: Opening) -> WorkloadError:
        """The error of an opening that was refused."""
        error = self._cuda.failure("open the IPC handle", opening.function, opening.code)
        if error.verdict is Verdict.CUDA_ERROR:
            error.verdict = Verdict.NOT_OPENED
        return error

    def opened_event(self, handle: bytes) -> AbstractContextManager[Opening]:
        """Another process's event, destroyed at the end; yields what came of opening it."""
        given = Handle.from_buffer_copy(handle)
        return self._opened("cuIpcOpenEventHandle", "cuEventDestroy_v2", given)

    def wait_for_event(self, event: int) -> Opening:
        """Wait until the work that was before an opened event is done."""
        with self._doing("wait for the event"):
            started = time.perf_counter()
            code = self._cuda.library.call("cuEventSynchronize", ctypes.c_void_p(event))
            return Opening("cuEventSynchronize", code, _since(started), event)

    @contextmanager
    def _opened(self, function: str, close: str, *arguments: object) -> Iterator[Opening]:
        address = ctypes.c_uint64()
        with self._doing("open the IPC handle"):
            started = time.perf_counter()
            code = self._cuda.library.call(function, ctypes.byref(address), *arguments)
            taken = _since(started)
        try:
            yield Opening(function.removesuffix("_v2"), code, taken, 0 if code else address.value)
        finally:
            # In a broken context nothing can be closed; whoever broke it says so.
            if not code and not self.broken():
                self.call("close the IPC handle", close, address)

    def call(self, step: str, function: str, *arguments: object) -> None:
        """Call a function of CUDA that PyCUDA does not offer.

        Args:
            step: what is being done.
            function: its name, with the version's suffix.
            arguments: ctypes values of the declared types.

        Raises:
            WorkloadError: it failed.
        """
        with self._doing(step):
            code = self._cuda.library.call(function, *arguments)
        if code:
            raise self._cuda.failure(step, function.removesuffix("_v2"), code)

    def undo(self, function: str, *arguments: object) -> None:
        """Let go of something; in a broken context nothing can be, whoever broke it says so."""
        if not self.broken():
            self.call("let go of memory", function, *arguments)

    def export(self, address: int) -> bytes:
        """The IPC handle of an allocation: 64 bytes."""
        with self._doing("export the memory (cuIpcGetMemHandle)"):
            return bytes(self._driver.mem_get_ipc_handle(address))

    @contextmanager
    def recorded_event(self) -> Iterator[bytes]:
        """An event for other processes behind all that was launched; yields its IPC handle."""
        flags = self._driver.event_flags
        with self._doing("export an event (cuIpcGetEventHandle)"):
            event = self._driver.Event(flags.INTERPROCESS | flags.DISABLE_TIMING)
            event.record()
            handle = bytes(event.ipc_handle())
        yield handle  # PyCUDA destroys the event when this generator lets go of it

    def broken(self) -> Problem | None:
        """The error that every call in this context returns from now on, if there is one."""
        try:
            self.synchronize()
        except WorkloadError as error:
            return error.problem
        return None

    def enable_peer_access(self, other: Context) -> None:
        """Let kernels and copies here use what another context of this process allocated."""
        try:
            with self._doing("enable peer access"):
                self._driver.Context.enable_peer_access(other._created, 0)
        except WorkloadError as error:
            if error.problem.code != _PEER_ACCESS_ALREADY_ENABLED:
                raise

    # ---------------------------------------------------------------- copies

    def clear(self, address: int, size: int) -> None:
        """Fill with zeros."""
        with self._doing("clear memory"):
            self._driver.memset_d8(address, 0, size)
            self._driver.Context.synchronize()

    def read(self, address: int, words: int) -> list[int]:
        """Copy words from the device."""
        copy = bytearray(8 * words)
        with self._doing("read words"):
            self._driver.memcpy_dtoh(copy, address)
        return memoryview(copy).cast("Q").tolist()

    def write(self, address: int, word: int) -> None:
        """Copy one word to the device."""
        with self._doing("write a word"):
            self._driver.memcpy_htod(address, word.to_bytes(8, "little"))
            self._driver.Context.synchronize()

    def start_copy(self, to: int, source: int, size: int) -> None:
        """Launch a copy between device memory; it is not done when this returns."""
        with self._doing("copy memory (cuMemcpyDtoDAsync)"):
            self._driver.memcpy_dtod_async(to, source, size)

    # ---------------------------------------------------------------- kernels

    def fill(self, address: int, first: int, words: int, seed: int) -> None:
        """Run the kernel ``fill``: ``words`` from ``first`` on become the seed's pattern."""
        self.start_fill(address, first, words, seed)
        self.synchronize()

    def verify(self, address: int, first: int, words: int, seed: int) -> Findings:
        """Run the kernel ``verify``: compare ``words`` from ``first`` on with the pattern."""
        with self.allocated(ANSWER_BYTES) as answer:
            self.start_verify(address, first, words, seed, answer)
            return self.verified(words, answer)

    def start_fill(self, address: int, first: int, words: int, seed: int) -> None:
        """Launch the kernel ``fill``; it is not done when this returns."""
        with self._doing("fill memory by a kernel"):
            self._fill.prepared_call(_grid(words), (THREADS, 1, 1), address, first, words, seed)

    def start_verify(self, address: int, first: int, words: int, seed: int, answer: int) -> None:
        """Launch the kernel ``verify``; what it finds goes to `ANSWER_BYTES` at ``answer``."""
        with self._doing("verify by a kernel"):
            self._driver.memset_d8(answer, 0, ANSWER_BYTES)
            self._driver.memset_d8(answer + SLOTS * 8, 0xFF, 8)
        self.start_reading(address, first, words, seed, answer)

    def start_reading(self, address: int, first: int, words: int, seed: int, answer: int) -> None:
        """Launch the kernel ``verify`` alone; its answer adds to what is there."""
        with self._doing("verify by a kernel"):
            self._verify.prepared_call(
                _grid(words), (THREADS, 1, 1), address, first, words, seed, answer
            )

    def verified(self, words: int, answer: int) -> Findings:
        """Wait for the kernel ``verify`` and fetch what it found of so many words."""
        with self._doing("verify by a kernel"):
            copy = bytearray(ANSWER_BYTES)
            self._driver.memcpy_dtoh(copy, answer)
        numbers = memoryview(copy).cast("Q")
        wrong = sum(numbers[:SLOTS])
        first = numbers[SLOTS] if wrong else None
        return Findings(words, wrong, first, sum(numbers[SLOTS + 1 :]) % (1 << 64))

    def synchronize(self) -> None:
        """Wait until all that was launched is done."""
        with self._doing("wait for the GPU"):
            self._driver.Context.synchronize()

    @contextmanager
    def stream(self) -> Iterator[Stream]:
        """A stream that runs beside all others."""
        with self._doing("make a stream"):
            made = self._driver.Stream(_NON_BLOCKING)
        yield Stream(self, made)

    def is_done(self, stream: Any) -> bool:
        """Whether all that was given to one of PyCUDA's streams is done."""
        with self._doing("ask a stream"):
            return bool(stream.is_done())

    @contextmanager
    def timed(self) -> Iterator[Callable[[], float]]:
        """Events around the body; yields what waits for the second and tells the seconds."""
        with self._doing("measure time by events"):
            begin, end = self._driver.Event(), self._driver.Event()
            begin.record()

        def seconds() -> float:
            with self._doing("measure time by events"):
                end.synchronize()
                return float(end.time_since(begin)) / 1000

        yield seconds
        with self._doing("measure time by events"):
            end.record()


class Stream:
    """A queue of work on one GPU."""

    def __init__(self, context: Context, made: Any) -> None:
        self._context, self._made = context, made

    def write_value(self, address: int, value: int) -> None:
        """Write 32 bits of device memory when all before it is done.

        Raises:
            WorkloadError: CUDA refused (cuda-error).
        """
        self._with_value("cuStreamWriteValue32_v2", address, value, 0)

    def wait_value(self, address: int, value: int) -> None:
        """Let what comes after it wait until 32 bits of device memory have a value.

        Raises:
            WorkloadError: CUDA refused (cuda-error).
        """
        self._with_value("cuStreamWaitValue32_v2", address, value, _EQUAL)

    def done(self) -> bool:
        """Whether all that it was given is done."""
        return self._context.is_done(self._made)

    def _with_value(self, function: str, address: int, value: int, flags: int) -> None:
        given = (ctypes.c_uint64(address), ctypes.c_uint32(value), ctypes.c_uint(flags))
        stream = ctypes.c_void_p(self._made.handle)
        self._context.call("signal by a stream", function, stream, *given)


def _since(started: float) -> float:
    """Milliseconds."""
    return round((time.perf_counter() - started) * 1000, 4)


def _grid(words: int) -> tuple[int, int]:
    """Blocks so that every word has its thread."""
    return -(-words // (THREADS * WORDS_PER_THREAD)), 1
