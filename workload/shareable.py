"""Every way to share GPU memory between processes: how it is exported, and how it is opened.

PyCUDA has legacy IPC only, so the other calls go through `workload.library`: cuda-bindings has them
all, but would bring a second binding of CUDA, of 30 MB, into the image for some twenty calls.
Source of the calls: the CUDA Driver API reference, "Virtual Memory Management" and "Stream Ordered
Memory Allocator".
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from workload.cuda import Context
from workload.result import HANDLE_BYTES, Mechanism

_DESCRIPTOR, _FABRIC = 1, 8
"""Of ``CUmemAllocationHandleType``."""
_PINNED, _ON_DEVICE, _READ_WRITE = 1, 1, 3
"""Of ``CUmemAllocationType``, ``CUmemLocationType`` and ``CUmemAccess_flags``."""
_NONE = ctypes.c_uint64(0)


class _Properties(ctypes.Structure):
    """What ``CUmemAllocationProp`` and ``CUmemPoolProps`` begin with."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = (
        ("type", ctypes.c_int),
        ("handle_types", ctypes.c_int),
        ("location_type", ctypes.c_int),
        ("location", ctypes.c_int),
        ("of_windows", ctypes.c_void_p),
    )


class _AllocationProperties(_Properties):
    """``CUmemAllocationProp``."""

    _fields_ = (("flags", ctypes.c_ubyte * 8),)


class _PoolProperties(_Properties):
    """``CUmemPoolProps``."""

    _fields_ = (("largest", ctypes.c_size_t), ("reserved", ctypes.c_ubyte * 56))


class _Access(ctypes.Structure):
    """``CUmemAccessDesc``."""

    _fields_ = (
        ("location_type", ctypes.c_int),
        ("location", ctypes.c_int),
        ("flags", ctypes.c_int),
    )


@dataclass(frozen=True)
class Exported:
    """Memory of this process, and what another one needs to open it."""

    address: int
    handle: bytes = b""
    """What is handed over as bytes: a handle, or two of a pool and its memory."""
    descriptor: int | None = None
    """What is handed over as an open file."""


def _type(mechanism: Mechanism) -> int:
    fabric = mechanism in (Mechanism.FABRIC, Mechanism.POOL_FABRIC)
    return _FABRIC if fabric else _DESCRIPTOR


def is_pool(mechanism: Mechanism) -> bool:
    return mechanism in (Mechanism.POOL_DESCRIPTOR, Mechanism.POOL_FABRIC)


# Exporting


@contextmanager
def exported(context: Context, mechanism: Mechanism, size: int) -> Iterator[Exported]:
    """Memory that is shared by a mechanism; gone when the body ends.

    Args:
        context: on the exporting GPU.
        mechanism: how it is to be shared.
        size: bytes, a multiple of 2 MiB.

    Raises:
        WorkloadError: CUDA did not make or export it (cuda-error).
    """
    with ExitStack() as stack:
        if mechanism is Mechanism.IPC:
            address = stack.enter_context(context.allocated(size))
            yield Exported(address, context.export(address))
        elif is_pool(mechanism):
            yield _export_pool(context, _type(mechanism), size, stack)
        else:
            yield _export_allocation(context, _type(mechanism), size, stack)


def _export_allocation(context: Context, kind: int, size: int, stack: ExitStack) -> Exported:
    handle = ctypes.c_uint64()
    wanted = _AllocationProperties(_PINNED, kind, _ON_DEVICE, context.gpu.ordinal)
    given = (ctypes.byref(handle), ctypes.c_size_t(size), ctypes.byref(wanted), _NONE)
    context.call("allocate physical memory", "cuMemCreate", *given)
    stack.callback(context.undo, "cuMemRelease", handle)
    address = _map(context, handle, size, stack)
    _allow(context, "cuMemSetAccess", ctypes.c_uint64(address), ctypes.c_size_t(size))
    bytes_, descriptor = _handle_of(context, "cuMemExportToShareableHandle", handle, kind, stack)
    return Exported(address, bytes_, descriptor)


def _export_pool(context: Context, kind: int, size: int, stack: ExitStack) -> Exported:
    pool, address = ctypes.c_uint64(), ctypes.c_uint64()
    wanted = _PoolProperties(_PINNED, kind, _ON_DEVICE, context.gpu.ordinal)
    context.call("make a pool", "cuMemPoolCreate", ctypes.byref(pool), ctypes.byref(wanted))
    stack.callback(context.undo, "cuMemPoolDestroy", pool)
    given = (ctypes.byref(address), ctypes.c_size_t(size), pool, _NONE)
    context.call("allocate memory of a pool", "cuMemAllocFromPoolAsync", *given)
    stack.callback(context.undo, "cuMemFree_v2", address)
    context.synchronize()
    bytes_, descriptor = _handle_of(context, "cuMemPoolExportToShareableHandle", pool, kind, stack)
    pointer = (ctypes.c_ubyte * HANDLE_BYTES)()
    context.call("export memory of a pool", "cuMemPoolExportPointer", pointer, address)
    return Exported(address.value, bytes_ + bytes(pointer), descriptor)


def _handle_of(
    context: Context, function: str, what: ctypes.c_uint64, kind: int, stack: ExitStack
) -> tuple[bytes, int | None]:
    """The bytes of a fabric handle, or none and a descriptor."""
    if kind == _FABRIC:
        fabric = (ctypes.c_ubyte * HANDLE_BYTES)()
        context.call("export a fabric handle", function, fabric, what, kind, _NONE)
        return bytes(fabric), None
    descriptor = ctypes.c_int()
    context.call("export a descriptor", function, ctypes.byref(descriptor), what, kind, _NONE)
    stack.callback(os.close, descriptor.value)
    return b"", descriptor.value


# Opening


class Opened:
    """Another process's memory; what is opened for it is closed by the stack."""

    def __init__(
        self,
        mechanism: Mechanism,
        handle: bytes,
        descriptor: int | None,
        size: int,
        stack: ExitStack,
    ) -> None:
        """Open nothing yet.

        Args:
            mechanism: how it is shared.
            handle: what was handed over as bytes.
            descriptor: what was handed over as an open file.
            size: of the memory, in bytes.
            stack: where to note what is to be closed.
        """
        self._mechanism = mechanism
        self._handle = handle
        self._descriptor = descriptor
        self._size = size
        self._stack = stack
        self._address: int | None = None
        self._pool = ctypes.c_uint64()

    def address(self, context: Context, exporter: str) -> int:
        """Let a GPU reach the memory; return its address.

        Args:
            context: on the importing GPU.
            exporter: the exporting GPU's UUID.

        Raises:
            WorkloadError: CUDA refused; the step says what (cuda-error, not-opened).
        """
        if self._mechanism is Mechanism.IPC:
            return self._stack.enter_context(context.imported(self._handle))
        if is_pool(self._mechanism):
            return self._of_pool(context, exporter)
        if self._address is None:
            allocation = self._import(context, "cuMemImportFromShareableHandle")
            self._stack.callback(context.undo, "cuMemRelease", allocation)
            self._address = _map(context, allocation, self._size, self._stack)
        where = (ctypes.c_uint64(self._address), ctypes.c_size_t(self._size))
        _allow(context, "cuMemSetAccess", *where)
        return self._address

    def _of_pool(self, context: Context, exporter: str) -> int:
        if not self._pool.value:
            self._pool = self._import(context, "cuMemPoolImportFromShareableHandle", _NONE)
            self._stack.callback(context.undo, "cuMemPoolDestroy", self._pool)
        if context.gpu.uuid != exporter:  # the GPU that has the memory has access already
            _allow(context, "cuMemPoolSetAccess", self._pool)
        if self._address is None:
            address = ctypes.c_uint64()
            pointer = (ctypes.c_ubyte * HANDLE_BYTES)(*self._handle[-HANDLE_BYTES:])
            given = (ctypes.byref(address), self._pool, pointer)
            context.call("open memory of the pool", "cuMemPoolImportPointer", *given)
            self._stack.callback(context.undo, "cuMemFree_v2", address)
            self._address = address.value
        return self._address

    def _import(self, context: Context, function: str, *flags: object) -> ctypes.c_uint64:
        imported = ctypes.c_uint64()
        kind = _type(self._mechanism)
        shared: object = ctypes.c_void_p(self._descriptor)
        if kind == _FABRIC:
            shared = (ctypes.c_ubyte * HANDLE_BYTES)(*self._handle[:HANDLE_BYTES])
        context.call("import the handle", function, ctypes.byref(imported), shared, kind, *flags)
        return imported


def _map(context: Context, handle: ctypes.c_uint64, size: int, stack: ExitStack) -> int:
    """Map physical memory to fresh addresses; no GPU has access yet."""
    address, length = ctypes.c_uint64(), ctypes.c_size_t(size)
    given = (ctypes.byref(address), length, _NONE, _NONE, _NONE)
    context.call("reserve addresses", "cuMemAddressReserve", *given)
    stack.callback(context.undo, "cuMemAddressFree", address, length)
    context.call("map the memory", "cuMemMap", address, length, _NONE, handle, _NONE)
    stack.callback(context.undo, "cuMemUnmap", address, length)
    return address.value


def _allow(context: Context, function: str, *what: object) -> None:
    """Give the context's GPU access to mapped memory or to a pool."""
    wanted = _Access(_ON_DEVICE, context.gpu.ordinal, _READ_WRITE)
    given = (*what, ctypes.byref(wanted), ctypes.c_size_t(1))
    context.call("get access to the memory", function, *given)
