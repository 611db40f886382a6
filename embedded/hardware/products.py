"""The GPUs that can be simulated, and the driver that is simulated with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

DRIVER_VERSION = "580.159.04"
"""The driver whose behaviour was measured on hardware."""

CUDA_VERSION = 13000
"""What it supports: 1000 * major + 10 * minor."""

_MIB = 1 << 20


@dataclass(frozen=True)
class Product:
    """What all GPUs of one kind have in common."""

    name: str
    """As NVML and CUDA print it."""
    memory: int
    """Bytes, the same in NVML and CUDA (on hardware CUDA's number is a little smaller)."""
    multiprocessors: int
    compute_capability: str
    pci_device_id: int
    """Device and vendor, as NVML gives them: ``device << 16 | vendor``."""
    pci_subsystem_id: int
    """The same of the board."""
    architecture: str
    """NVML's, in the words of go-nvlib: ``Hopper``."""
    brand: str
    """NVML's, in the words of go-nvlib: ``Nvidia``."""
    link: str
    """What connects the GPUs of a machine: ``nvlink`` or ``pcie``."""
    peer_access: bool
    """Whether the GPUs of one machine can access each other's memory."""
    addressing_mode: str
    """NVML's memory addressing mode: ``HMM``, ``ATS``, ``None``."""
    pci_buses: tuple[int, ...]
    """The PCI buses of the GPUs of one machine; their number is the most that one can have."""


H100 = Product(
    name="NVIDIA H100 80GB HBM3",
    memory=81559 * _MIB,
    multiprocessors=132,
    compute_capability="9.0",
    pci_device_id=0x2330_10DE,
    pci_subsystem_id=0x16C1_10DE,
    architecture="Hopper",
    brand="Nvidia",
    link="nvlink",
    peer_access=True,
    addressing_mode="HMM",
    pci_buses=(0x18, 0x2A, 0x3A, 0x5D, 0x9A, 0xAB, 0xBA, 0xDB),
)

RTX_4090 = Product(
    name="NVIDIA GeForce RTX 4090",
    memory=24564 * _MIB,
    multiprocessors=128,
    compute_capability="8.9",
    pci_device_id=0x2684_10DE,
    pci_subsystem_id=0x167C_10DE,
    architecture="Ada Lovelace",
    brand="GeForce",
    link="pcie",
    peer_access=False,
    addressing_mode="HMM",
    pci_buses=(0x01, 0x25, 0x41, 0x61, 0x81, 0xA1, 0xC1, 0xE1),
)

PRODUCTS: Mapping[str, Product] = MappingProxyType({H100.name: H100, RTX_4090.name: RTX_4090})
"""By name."""
