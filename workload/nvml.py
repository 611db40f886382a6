"""What the management library shows: ``libnvidia-ml.so.1``, by ctypes.

Source of the calls: ``nvml.h`` and the NVML API reference. What a driver or a device does not tell
stays None; nothing here ends the process.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

from workload.result import NvmlGpu

T = TypeVar("T")

_TEXT = 96
"""``NVML_DEVICE_UUID_V2_BUFFER_SIZE``, the longest text asked for."""
_CAPS_NVLINK = 2
"""``NVML_P2P_CAPS_INDEX_NVLINK``."""
_P2P_OK = 0
"""``NVML_P2P_STATUS_OK``."""
_NVLINKS = 36
"""``NVML_NVLINK_MAX_LINKS``."""
_TO_SWITCH = 2
"""``NVML_NVLINK_DEVICE_TYPE_SWITCH``."""
_LEVELS = {10: "PIX", 20: "PXB", 30: "PHB", 40: "NODE", 50: "SYS"}
"""``nvmlGpuTopologyLevel_t``, in the words of ``nvidia-smi topo -m``."""


class _PciInfo(ctypes.Structure):
    """``nvmlPciInfo_t``."""

    _fields_ = (
        ("bus_id_legacy", ctypes.c_char * 16),
        ("domain", ctypes.c_uint),
        ("bus", ctypes.c_uint),
        ("device", ctypes.c_uint),
        ("pci_device_id", ctypes.c_uint),
        ("pci_subsystem_id", ctypes.c_uint),
        ("bus_id", ctypes.c_char * 32),
    )


class _Memory(ctypes.Structure):
    """``nvmlMemory_t``."""

    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


class NvmlError(Exception):
    """NVML refused; ``str()`` says what, why, and with which code."""


@dataclass(frozen=True)
class Link:
    """What connects two GPUs, as far as NVML tells."""

    kind: str = "unknown"
    """``NVLink``, ``PCIe`` or ``unknown``."""
    nvlinks: int | None = None
    """How many NVLinks, over switches or directly."""
    meet: str | None = None
    """Where their PCIe paths meet: see `_LEVELS`."""


Links = Mapping[tuple[str, str], Link]
"""By two GPUs' UUIDs."""


@dataclass(frozen=True)
class Shown:
    """What NVML showed."""

    driver_version: str | None
    gpus: tuple[NvmlGpu, ...]
    links: Links = field(default_factory=lambda: MappingProxyType({}))


def look() -> Shown:
    """Ask for all GPUs of this container.

    Raises:
        NvmlError: there is no library, it does not start, or it does not name a GPU.
    """
    try:
        nvml = _Nvml(ctypes.CDLL("libnvidia-ml.so.1"))
    except OSError as error:
        raise NvmlError(str(error)) from error
    nvml.need("nvmlInit_v2")
    try:
        return nvml.shown()
    finally:
        nvml.call("nvmlShutdown")


_SWITCH = "switch"


def _address(pci: _PciInfo) -> str:
    return f"{pci.domain:04X}:{pci.bus:02X}:{pci.device:02X}.0"


def _between(one: Counter[str], other: Counter[str], address: str | None) -> int:
    """Count the NVLinks from one GPU to another: direct ones, and as many as both have to switches.

    Args:
        one: the ends of the one's links.
        other: those of the other.
        address: the other's PCI address.
    """
    return one[address or ""] + min(one[_SWITCH], other[_SWITCH])


class _Nvml:
    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        library.nvmlErrorString.restype = ctypes.c_char_p

    def call(self, function: str, *arguments: object) -> int | None:
        """The call's code; None where this version of the library has no such function."""
        found = getattr(self._library, function, None)
        return found(*arguments) if found else None

    def need(self, function: str, *arguments: object) -> None:
        """Call what must succeed.

        Raises:
            NvmlError: it did not.
        """
        code = self.call(function, *arguments)
        if code:
            text = self._library.nvmlErrorString(code).decode()
            raise NvmlError(f"{function} failed: {text} ({code})")
        if code is None:
            raise NvmlError(f"libnvidia-ml.so.1 has no {function}")

    def shown(self) -> Shown:
        count = ctypes.c_uint()
        self.need("nvmlDeviceGetCount_v2", ctypes.byref(count))
        devices = [self._device(index) for index in range(count.value)]
        gpus = tuple(self._gpu(index, device) for index, device in enumerate(devices))
        ends = [self._nvlinks(device) for device in devices]
        links = {
            (one.uuid, other.uuid): self._link(
                *(devices[one.index], devices[other.index]),
                _between(ends[one.index], ends[other.index], other.pci),
            )
            for one in gpus
            for other in gpus
            if one is not other
        }
        return Shown(self._text("nvmlSystemGetDriverVersion"), gpus, links)

    def _device(self, index: int) -> ctypes.c_void_p:
        device = ctypes.c_void_p()
        self.need("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(device))
        return device

    def _gpu(self, index: int, device: ctypes.c_void_p) -> NvmlGpu:
        uuid = ctypes.create_string_buffer(_TEXT)
        self.need("nvmlDeviceGetUUID", device, uuid, ctypes.c_uint(_TEXT))
        minor, pci, memory = ctypes.c_uint(), _PciInfo(), _Memory()
        major_capability, minor_capability = ctypes.c_int(), ctypes.c_int()
        return NvmlGpu(
            index=index,
            uuid=uuid.value.decode(),
            name=self._text("nvmlDeviceGetName", device),
            minor=self._told(
                lambda: minor.value, "nvmlDeviceGetMinorNumber", device, ctypes.byref(minor)
            ),
            pci=self._told(
                lambda: _address(pci), "nvmlDeviceGetPciInfo_v3", device, ctypes.byref(pci)
            ),
            memory=self._told(
                lambda: memory.total, "nvmlDeviceGetMemoryInfo", device, ctypes.byref(memory)
            ),
            compute_capability=self._told(
                lambda: f"{major_capability.value}.{minor_capability.value}",
                *("nvmlDeviceGetCudaComputeCapability", device),
                *(ctypes.byref(major_capability), ctypes.byref(minor_capability)),
            ),
        )

    def _link(self, one: ctypes.c_void_p, other: ctypes.c_void_p, nvlinks: int) -> Link:
        """NVLink where memory is reached over it; else PCIe where NVML knows how they meet."""
        status, level = ctypes.c_int(-1), ctypes.c_int(-1)
        code = self.call(
            "nvmlDeviceGetP2PStatus", one, other, ctypes.c_int(_CAPS_NVLINK), ctypes.byref(status)
        )
        topology = "nvmlDeviceGetTopologyCommonAncestor"
        met = self.call(topology, one, other, ctypes.byref(level)) == 0
        kind = "unknown"
        if code == 0 and status.value == _P2P_OK:
            kind = "NVLink"
        elif code == 0 and met:
            kind = "PCIe"
        return Link(kind, nvlinks, _LEVELS.get(level.value))

    def _nvlinks(self, device: ctypes.c_void_p) -> Counter[str]:
        """Count a GPU's active NVLinks by what is at the other end: `_SWITCH`, or a PCI address."""
        ends: Counter[str] = Counter()
        for number in map(ctypes.c_uint, range(_NVLINKS)):
            active, kind, pci = ctypes.c_int(), ctypes.c_int(-1), _PciInfo()
            state = self.call("nvmlDeviceGetNvLinkState", device, number, ctypes.byref(active))
            if state != 0 or not active.value:
                continue
            remote = "nvmlDeviceGetNvLinkRemoteDeviceType"
            self.call(remote, device, number, ctypes.byref(kind))
            if kind.value == _TO_SWITCH:
                ends[_SWITCH] += 1
                continue
            remote = "nvmlDeviceGetNvLinkRemotePciInfo_v2"
            if self.call(remote, device, number, ctypes.byref(pci)) == 0:
                ends[_address(pci)] += 1
        return ends

    def _text(self, function: str, *arguments: object) -> str | None:
        text = ctypes.create_string_buffer(_TEXT)
        return self._told(
            lambda: str(text.value, "utf-8"), function, *arguments, text, ctypes.c_uint(_TEXT)
        )

    def _told(self, value: Callable[[], T], function: str, *arguments: object) -> T | None:
        """What a call wrote, if it succeeded."""
        return value() if self.call(function, *arguments) == 0 else None
