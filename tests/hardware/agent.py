"""A process of a test: does single driver calls on demand and tells their codes.

It reads one JSON list a line, `["verb", argument, …]`, from standard input and answers with one
JSON value a line. Numbers are the driver's own codes. Environment: HARDWARE_LIBRARIES is where the
libraries lie, OWN_PID the PID that it must have, OWN_UID the user that it becomes.
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import Any

HANDLE_BYTES = 64
LAZY_ENABLE_PEER_ACCESS = 1
PINNED, ON_DEVICE, READ_WRITE = 1, 1, 3
DESCRIPTOR = 1
WORDS_PER_THREAD, THREADS = 8, 256


def fork_until(wanted: int) -> None:
    """Become a process whose own PID is `wanted`; those before it wait and pass on its end."""
    if os.getpid() == wanted:
        return
    with contextlib.suppress(OSError):  # makes it one fork instead of many
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(wanted - 1))
    while (child := os.fork()) != wanted:
        if child == 0:
            if os.getpid() == wanted:
                return
            os._exit(0)
        os.waitpid(child, 0)
        if child > wanted:
            sys.exit(f"PID {wanted} was passed over: {child}")
    status = os.waitpid(child, 0)[1]
    os._exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


class Handle(ctypes.Structure):
    """CUipcMemHandle."""

    _fields_ = [("reserved", ctypes.c_char * HANDLE_BYTES)]


class Agent:
    """The verbs."""

    def __init__(self, libraries: str) -> None:
        self.cuda = ctypes.CDLL(f"{libraries}/libcuda.so.1")
        self.nvml_library = f"{libraries}/libnvidia-ml.so.1"
        self.functions: dict[str, ctypes.c_void_p] = {}
        self.mailbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.cuda.cuIpcOpenMemHandle_v2.argtypes = [ctypes.c_void_p, Handle, ctypes.c_uint]
        self.cuda.cuIpcOpenEventHandle.argtypes = [ctypes.c_void_p, Handle]

    def pid(self) -> int:
        return os.getpid()

    def init(self) -> Any:
        return self.cuda.cuInit(0)

    def call(self, name: str, *arguments: int) -> Any:
        """Any function whose arguments are numbers that fit."""
        return getattr(self.cuda, name)(*(ctypes.c_uint64(value) for value in arguments))

    def devices(self) -> list[dict[str, object]]:
        number = ctypes.c_int()
        self.cuda.cuDeviceGetCount(ctypes.byref(number))
        return [self._device(ordinal) for ordinal in range(number.value)]

    def _device(self, ordinal: int) -> dict[str, object]:
        name, pci = ctypes.create_string_buffer(96), ctypes.create_string_buffer(32)
        uuid, memory = (ctypes.c_ubyte * 16)(), ctypes.c_size_t()
        major, minor = ctypes.c_int(), ctypes.c_int()
        self.cuda.cuDeviceGetName(name, 96, ordinal)
        self.cuda.cuDeviceGetPCIBusId(pci, 32, ordinal)
        self.cuda.cuDeviceGetUuid_v2(uuid, ordinal)
        self.cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), ordinal)
        self.cuda.cuDeviceComputeCapability(ctypes.byref(major), ctypes.byref(minor), ordinal)
        hexadecimal = bytes(uuid).hex()
        parts = (hexadecimal[a:b] for a, b in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32)))
        return {
            "name": name.value.decode(),
            "uuid": "GPU-" + "-".join(parts),
            "pci": pci.value.decode(),
            "memory": memory.value,
            "compute_capability": f"{major.value}.{minor.value}",
        }

    def can_access_peer(self, one: int, other: int) -> int:
        able = ctypes.c_int()
        self.cuda.cuDeviceCanAccessPeer(ctypes.byref(able), one, other)
        return able.value

    def attribute(self, attribute: int, ordinal: int) -> int:
        value = ctypes.c_int()
        self.cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, ordinal)
        return value.value

    def context(self, ordinal: int = 0) -> list[int]:
        context = ctypes.c_void_p()
        code = self.cuda.cuCtxCreate_v2(ctypes.byref(context), 0, ordinal)
        return [code, context.value or 0]

    def alloc(self, size: int) -> list[int]:
        pointer = ctypes.c_uint64()
        return [
            self.cuda.cuMemAlloc_v2(ctypes.byref(pointer), ctypes.c_size_t(size)),
            pointer.value,
        ]

    def export(self, pointer: int) -> list[object]:
        handle = Handle()
        code = self.cuda.cuIpcGetMemHandle(ctypes.byref(handle), ctypes.c_uint64(pointer))
        return [code, ctypes.string_at(ctypes.byref(handle), HANDLE_BYTES).hex()]

    def open(self, handle: str, flags: int = LAZY_ENABLE_PEER_ACCESS) -> list[int]:
        pointer = ctypes.c_uint64()
        opaque = Handle.from_buffer_copy(bytes.fromhex(handle))
        code = self.cuda.cuIpcOpenMemHandle_v2(ctypes.byref(pointer), opaque, flags)
        return [code, pointer.value]

    def event(self, flags: int) -> list[int]:
        """Make an event and record it."""
        event = ctypes.c_void_p()
        code = self.cuda.cuEventCreate(ctypes.byref(event), flags)
        return [code or self.cuda.cuEventRecord(event, None), event.value or 0]

    def stream(self) -> list[int]:
        stream = ctypes.c_void_p()
        code = self.cuda.cuStreamCreate(ctypes.byref(stream), 1)
        return [code, stream.value or 0]

    def stream_value(self, function: str, stream: int, pointer: int, value: int, flags: int) -> Any:
        where = ctypes.c_void_p(stream), ctypes.c_uint64(pointer)
        return getattr(self.cuda, function)(*where, ctypes.c_uint32(value), ctypes.c_uint(flags))

    def export_event(self, event: int) -> list[object]:
        handle = Handle()
        code = self.cuda.cuIpcGetEventHandle(ctypes.byref(handle), ctypes.c_void_p(event))
        return [code, ctypes.string_at(ctypes.byref(handle), HANDLE_BYTES).hex()]

    def open_event(self, handle: str) -> list[int]:
        event = ctypes.c_void_p()
        opaque = Handle.from_buffer_copy(bytes.fromhex(handle))
        return [self.cuda.cuIpcOpenEventHandle(ctypes.byref(event), opaque), event.value or 0]

    # Memory that is shared by descriptors and fabric handles

    def create(self, size: int, types: int, ordinal: int = 0) -> list[int]:
        handle = ctypes.c_uint64()
        wanted = self._wanted(types, ordinal)
        code = self.cuda.cuMemCreate(
            ctypes.byref(handle), ctypes.c_size_t(size), wanted, ctypes.c_uint64(0)
        )
        return [code, handle.value]

    def granularity(self) -> list[int]:
        size = ctypes.c_size_t()
        wanted = self._wanted(0, 0)
        return [
            self.cuda.cuMemGetAllocationGranularity(ctypes.byref(size), wanted, 0),
            size.value,
        ]

    def properties(self, handle: int) -> list[object]:
        found = ctypes.create_string_buffer(32)
        code = self.cuda.cuMemGetAllocationPropertiesFromHandle(found, ctypes.c_uint64(handle))
        return [code, list(struct.unpack("<iiii16x", found.raw))]

    def _wanted(self, types: int, ordinal: int) -> bytes:
        return struct.pack("<iiii16x", PINNED, types, ON_DEVICE, ordinal)

    def reserve(self, size: int) -> list[int]:
        pointer, none = ctypes.c_uint64(), ctypes.c_uint64(0)
        code = self.cuda.cuMemAddressReserve(
            ctypes.byref(pointer), ctypes.c_size_t(size), none, none, none
        )
        return [code, pointer.value]

    def set_access(self, pointer: int, size: int, ordinal: int, flags: int = READ_WRITE) -> Any:
        return self.cuda.cuMemSetAccess(
            *(ctypes.c_uint64(pointer), ctypes.c_size_t(size)),
            *(struct.pack("<iii", ON_DEVICE, ordinal, flags), ctypes.c_size_t(1)),
        )

    def map(self, handle: int, size: int, ordinal: int = 0) -> list[int]:
        """Reserve addresses, map there, and give one GPU access."""
        code, pointer = self.reserve(size)
        code = code or self.call("cuMemMap", pointer, size, 0, handle, 0)
        return [code or self.set_access(pointer, size, ordinal), pointer]

    def export_shareable(self, handle: int, kind: int, function: str) -> list[object]:
        """A descriptor, or the bytes of a fabric handle."""
        out = ctypes.create_string_buffer(HANDLE_BYTES)
        code = getattr(self.cuda, function)(out, ctypes.c_uint64(handle), kind, ctypes.c_uint64(0))
        return [code, struct.unpack("<i60x", out.raw)[0] if kind == DESCRIPTOR else out.raw.hex()]

    def import_shareable(self, shared: int | str, kind: int, function: str) -> list[int]:
        handle = ctypes.c_uint64()
        given = ctypes.c_void_p(shared) if isinstance(shared, int) else bytes.fromhex(shared)
        code = getattr(self.cuda, function)(ctypes.byref(handle), given, kind, ctypes.c_uint64(0))
        return [code, handle.value]

    def pool(self, types: int, ordinal: int = 0) -> list[int]:
        pool = ctypes.c_uint64()
        wanted = struct.pack("<iiii72x", PINNED, types, ON_DEVICE, ordinal)
        return [self.cuda.cuMemPoolCreate(ctypes.byref(pool), wanted), pool.value]

    def pool_access(self, pool: int, ordinal: int) -> Any:
        wanted = struct.pack("<iii", ON_DEVICE, ordinal, READ_WRITE)
        return self.cuda.cuMemPoolSetAccess(ctypes.c_uint64(pool), wanted, ctypes.c_size_t(1))

    def pool_alloc(self, pool: int, size: int) -> list[int]:
        pointer = ctypes.c_uint64()
        code = self.cuda.cuMemAllocFromPoolAsync(
            ctypes.byref(pointer), ctypes.c_size_t(size), ctypes.c_uint64(pool), None
        )
        return [code, pointer.value]

    def pool_export_pointer(self, pointer: int) -> list[object]:
        out = ctypes.create_string_buffer(HANDLE_BYTES)
        return [self.cuda.cuMemPoolExportPointer(out, ctypes.c_uint64(pointer)), out.raw.hex()]

    def pool_import_pointer(self, pool: int, shared: str) -> list[int]:
        pointer, given = ctypes.c_uint64(), bytes.fromhex(shared)
        code = self.cuda.cuMemPoolImportPointer(ctypes.byref(pointer), ctypes.c_uint64(pool), given)
        return [code, pointer.value]

    def open_mailbox(self, path: str) -> None:
        self.mailbox.bind(path)
        Path(path).chmod(0o777)

    def send_descriptor(self, path: str, descriptor: int) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(path)
            socket.send_fds(sender, [b"."], [descriptor])

    def receive_descriptor(self) -> int:
        return socket.recv_fds(self.mailbox, 1, 1)[1][0]

    def null(self) -> int:
        """A descriptor of something else."""
        return os.open(os.devnull, os.O_RDWR)

    def p2p(self, attribute: int, one: int, other: int) -> list[int]:
        value = ctypes.c_int(-1)
        code = self.cuda.cuDeviceGetP2PAttribute(ctypes.byref(value), attribute, one, other)
        return [code, value.value]

    def read(self, pointer: int, size: int) -> list[object]:
        data = ctypes.create_string_buffer(size)
        code = self.cuda.cuMemcpyDtoH_v2(data, ctypes.c_uint64(pointer), ctypes.c_size_t(size))
        return [code, data.raw.hex()]

    def write(self, pointer: int, data: str) -> Any:
        raw = bytes.fromhex(data)
        return self.cuda.cuMemcpyHtoD_v2(ctypes.c_uint64(pointer), raw, ctypes.c_size_t(len(raw)))

    def memory(self) -> list[int]:
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        code = self.cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
        return [code, free.value, total.value]

    def range(self, pointer: int) -> list[int]:
        base, size = ctypes.c_uint64(), ctypes.c_size_t()
        code = self.cuda.cuMemGetAddressRange_v2(
            ctypes.byref(base), ctypes.byref(size), ctypes.c_uint64(pointer)
        )
        return [code, base.value, size.value]

    def load(self, image: str) -> list[int]:
        module = ctypes.c_void_p()
        code = self.cuda.cuModuleLoadData(ctypes.byref(module), image.encode() + b"\0")
        return [code, module.value or 0]

    def function(self, module: int, name: str) -> Any:
        function = ctypes.c_void_p()
        code = self.cuda.cuModuleGetFunction(
            ctypes.byref(function), ctypes.c_void_p(module), name.encode()
        )
        if code == 0:
            self.functions[name] = function
        return code

    def launch(self, name: str, words: int, *arguments: int) -> Any:
        """Launch a kernel over so many words, parameters packed as PyCUDA does; all are 64 bits."""
        values = (ctypes.c_uint64 * len(arguments))(*arguments)
        size = ctypes.c_size_t(ctypes.sizeof(values))
        extra = (ctypes.c_void_p * 5)(1, ctypes.addressof(values), 2, ctypes.addressof(size), None)
        return self._launch(name, words, None, extra)

    def launch_list(self, name: str, words: int, *arguments: int) -> Any:
        """The same with a list of the parameters' addresses."""
        values = (ctypes.c_uint64 * len(arguments))(*arguments)
        addresses = [ctypes.addressof(values) + 8 * index for index in range(len(arguments))]
        return self._launch(name, words, (ctypes.c_void_p * len(arguments))(*addresses), None)

    def _launch(self, name: str, words: int, parameters: object, extra: object) -> Any:
        blocks = max(1, -(-words // (THREADS * WORDS_PER_THREAD)))
        return self.cuda.cuLaunchKernel(
            self.functions[name], blocks, 1, 1, THREADS, 1, 1, 0, None, parameters, extra
        )

    def error(self, code: int) -> list[str]:
        name, text = ctypes.c_char_p(), ctypes.c_char_p()
        self.cuda.cuGetErrorName(code, ctypes.byref(name))
        self.cuda.cuGetErrorString(code, ctypes.byref(text))
        return [(name.value or b"").decode(), (text.value or b"").decode()]

    def entry_point(self, name: str, version: int) -> list[object]:
        """Whether a name and CUDA version lead to the exported symbol of which suffix."""
        pointer, status = ctypes.c_void_p(), ctypes.c_int()
        code = self.cuda.cuGetProcAddress_v2(
            name.encode(), ctypes.byref(pointer), version, ctypes.c_uint64(0), ctypes.byref(status)
        )
        for suffix in ("", "_v2", "_v3", "_v4"):
            symbol = getattr(self.cuda, name + suffix, None)
            if symbol and ctypes.cast(symbol, ctypes.c_void_p).value == pointer.value:
                return [code, status.value, name + suffix]
        return [code, status.value, None]

    def forked_init(self) -> int:
        """What cuInit returns in a child of this process."""
        child = os.fork()
        if child == 0:
            os._exit(self.cuda.cuInit(0))
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def nvml(self) -> dict[str, object]:
        """What NVML tells about each GPU."""
        nvml = ctypes.CDLL(self.nvml_library)
        if code := nvml.nvmlInit_v2():
            return {"code": code}
        number = ctypes.c_uint()
        nvml.nvmlDeviceGetCount_v2(ctypes.byref(number))
        gpus = [self._nvml_gpu(nvml, index) for index in range(number.value)]
        nvml.nvmlShutdown()
        return {"code": 0, "gpus": gpus}

    def _nvml_gpu(self, nvml: ctypes.CDLL, index: int) -> dict[str, object]:
        device, minor = ctypes.c_void_p(), ctypes.c_uint()
        name, uuid = ctypes.create_string_buffer(96), ctypes.create_string_buffer(96)
        pci, memory = (ctypes.c_char * 68)(), (ctypes.c_ulonglong * 3)()
        nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device))
        nvml.nvmlDeviceGetName(device, name, 96)
        nvml.nvmlDeviceGetUUID(device, uuid, 96)
        nvml.nvmlDeviceGetMinorNumber(device, ctypes.byref(minor))
        nvml.nvmlDeviceGetPciInfo_v3(device, ctypes.byref(pci))
        nvml.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory))
        return {
            "name": name.value.decode(),
            "uuid": uuid.value.decode(),
            "minor": minor.value,
            "pci": pci.raw[:16].split(b"\0")[0].decode(),
            "memory": memory[0],
            "used": memory[2],
        }

    def ends(self, how: str) -> None:
        """End this process: `exit` (atexit handlers run), `quit` (none do), `kill`."""
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif how == "quit":
            os._exit(0)
        else:
            sys.exit(0)


def main() -> None:
    own_pid, uid = int(os.environ.get("OWN_PID", "0")), int(os.environ.get("OWN_UID", "0"))
    if own_pid:
        fork_until(own_pid)
    agent = Agent(os.environ["HARDWARE_LIBRARIES"])
    if uid:
        os.setuid(uid)
    for line in sys.stdin:
        verb, *arguments = json.loads(line)
        print(json.dumps(getattr(agent, verb)(*arguments)), flush=True)


main()
