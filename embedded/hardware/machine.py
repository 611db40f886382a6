"""What a simulated machine consists of on disk: its GPUs' description and its device nodes.

The description is a directory that every container of the node sees at ``/run/simulated-gpus``. It
says what GPUs there are and holds their memory; whether a process may use one is decided by its
device node, as on hardware. The reader is ``machine.c``.
"""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from building.errors import UserError
from embedded.hardware.products import CUDA_VERSION, DRIVER_VERSION, PRODUCTS, Product

MAJOR = 195
"""NVIDIA's registered character device major number (Linux, ``devices.txt``)."""

IMEX_CHANNELS = "nvidia-caps-imex-channels"
"""The folder below ``/dev`` of the nodes with which a process may share by fabric handles."""

_CONTROL_MINOR = 255
"""Minor number of ``nvidiactl`` (ibid.)."""

_NAMESPACE = uuid.UUID("5b1f0c0e-7e5b-4d0b-8b0a-51a7ed9f0580")
"""For UUIDs that are the same in every run."""


@dataclass(frozen=True)
class Gpu:
    """One GPU of one machine."""

    product: Product
    minor: int
    """N of ``/dev/nvidiaN``."""
    uuid: str
    """``GPU-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx``"""
    pci: str
    """As in ``/sys`` and in ResourceSlices: ``0000:2a:00.0``. CUDA and NVML print capitals."""
    peer_group: str
    """GPUs of one group can access each other's memory; empty: this one cannot."""


def gpus(node: str, product: str, count: int, first: int = 0) -> tuple[Gpu, ...]:
    """The GPUs of one product in a node.

    Args:
        node: the node's name; with the minor number it decides the UUID.
        product: a name of `PRODUCTS`.
        count: how many, at most as many as the product has PCI buses.
        first: the minor number of the first: how many of other products there are before.
    """
    chosen = PRODUCTS[product]
    return tuple(
        Gpu(
            product=chosen,
            minor=minor,
            uuid=f"GPU-{uuid.uuid5(_NAMESPACE, f'{node}/{minor}')}",
            pci=f"0000:{bus:02x}:00.0",
            peer_group=f"{chosen.link}-0" if chosen.peer_access else "",
        )
        for minor, bus in enumerate(chosen.pci_buses[:count], first)
    )


def install(
    root: Path,
    gpus: Sequence[Gpu],
    *,
    driver_version: str = DRIVER_VERSION,
    cuda_version: int = CUDA_VERSION,
    fault: str = "",
) -> None:
    """Write a machine's description.

    Every user of every container of the node may make allocations and remove those of dead
    processes, hence directories that anybody may write to and that are not sticky.

    Args:
        root: the directory that becomes ``/run/simulated-gpus``; made if it is missing.
        gpus: the machine's GPUs.
        driver_version: what the driver calls itself; the libraries are the same.
        cuda_version: the newest CUDA it supports, 1000 * major + 10 * minor.
        fault: what is wrong with the GPUs: words of docs/simulated-hardware.md, with commas.
    """
    root.mkdir(parents=True, exist_ok=True)
    root.chmod(0o755)
    _write(root / "driver", {"driver_version": driver_version, "cuda_version": cuda_version})
    for gpu, place in zip(gpus, _places(len(gpus)), strict=True):
        directory = root / f"gpu{gpu.minor}"
        directory.mkdir(exist_ok=True)
        directory.chmod(0o777)
        product = gpu.product
        _write(
            directory / "info",
            {
                "name": product.name,
                "uuid": gpu.uuid,
                "pci": gpu.pci,
                "pci_device_id": f"0x{product.pci_device_id:08x}",
                "pci_subsystem_id": f"0x{product.pci_subsystem_id:08x}",
                "minor": gpu.minor,
                "memory": product.memory,
                "sms": product.multiprocessors,
                "compute_capability": product.compute_capability,
                "peer_group": gpu.peer_group,
                "link": product.link,
                "pcie_root": place.pcie_root,
                "numa_node": place.numa_node,
                "architecture": product.architecture,
                "brand": product.brand,
                "addressing_mode": product.addressing_mode,
                "fault": fault,
            },
        )
        lock = directory / "lock"
        lock.touch()
        lock.chmod(0o666)


def _write(path: Path, settings: dict[str, str | int]) -> None:
    path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    path.chmod(0o644)


def make_device_nodes(dev: Path, count: int, major: int = MAJOR, channels: int = 0) -> None:
    """Make ``nvidia0`` …, ``nvidiactl``, ``nvidia-uvm`` and ``nvidia-uvm-tools`` with mode 0666.

    IMEX channels are ``nvidia-caps-imex-channels/channel0`` ….

    No kernel driver is behind them. Where the wanted major number has one (a machine with real
    GPUs), another is taken, so that no simulated node ever leads to real hardware.

    Args:
        dev: where to make them; made if it is missing.
        count: how many GPUs.
        major: the major number wanted for the GPUs and ``nvidiactl``.
        channels: how many IMEX channels.

    Raises:
        UserError: no major number is free.
        PermissionError: this process may not make device nodes.
    """
    dev.mkdir(parents=True, exist_ok=True)
    used = _used_majors()
    major = _unused(major, used)
    uvm_major = _unused(major + 1, used)
    nodes = {f"nvidia{minor}": (major, minor) for minor in range(count)}
    nodes |= {"nvidiactl": (major, _CONTROL_MINOR)}
    nodes |= {"nvidia-uvm": (uvm_major, 0), "nvidia-uvm-tools": (uvm_major, 1)}
    if channels:
        (dev / IMEX_CHANNELS).mkdir(exist_ok=True)
        channel_major = _unused(uvm_major + 1, used)
        nodes |= {f"{IMEX_CHANNELS}/channel{n}": (channel_major, n) for n in range(channels)}
    for name, (node_major, node_minor) in nodes.items():
        path = dev / name
        path.unlink(missing_ok=True)
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(node_major, node_minor))
        path.chmod(0o666)  # whatever the umask


@dataclass(frozen=True)
class _Place:
    """Where a GPU is."""

    pcie_root: int
    """The root's bus."""
    numa_node: int


def _places(count: int) -> list[_Place]:
    """Say where the GPUs of a machine are: two at a PCIe root, half of the roots at each CPU."""
    roots = -(-count // 2)
    return [_Place(0x10 + number // 2, 2 * (number // 2) // roots) for number in range(count)]


def make_sys(sys: Path, gpus: Sequence[Gpu]) -> None:
    """Make what ``/sys`` says of where the GPUs are.

    Args:
        sys: where to make it; made if it is missing.
        gpus: the machine's GPUs.
    """
    addresses = sys / "bus/pci/devices"
    addresses.mkdir(parents=True, exist_ok=True)
    for gpu, place in zip(gpus, _places(len(gpus)), strict=True):
        device = sys / f"devices/pci0000:{place.pcie_root:02x}" / gpu.pci
        device.mkdir(parents=True)
        (device / "numa_node").write_text(f"{place.numa_node}\n")
        (addresses / gpu.pci).symlink_to(Path("../../..") / device.relative_to(sys))


def _used_majors(devices: Path = Path("/proc/devices")) -> set[int]:
    """The major numbers of the kernel's character device drivers."""
    section = devices.read_text().partition("Block devices:")[0]
    words = (line.split() for line in section.splitlines())
    return {int(word[0]) for word in words if len(word) == 2 and word[0].isdigit()}


def _unused(wanted: int, used: set[int]) -> int:
    """The wanted major number, else one of the range that Linux keeps for local use, and beyond."""
    candidates: tuple[int, ...] = (wanted, *range(240, 255), *range(384, 512))
    for major in candidates:
        if major not in used:
            return major
    raise UserError("no character device major number is free for simulated GPUs")
