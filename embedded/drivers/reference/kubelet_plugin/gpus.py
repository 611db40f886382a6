"""The node's GPUs, and how ResourceSlices describe them.

The simulated hardware describes itself in ``/run/simulated-gpus``: a file ``driver`` and a file
``gpuN/info`` for each GPU, lines of ``key=value``. A driver of real GPUs would ask NVML here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

PARTS = 2
"""How many parts a GPU has where it has some."""


@dataclass(frozen=True)
class Gpu:
    """One GPU of this node."""

    minor: int
    """N of ``/dev/nvidiaN``."""
    uuid: str
    product: str
    pci: str
    """``0000:2a:00.0``"""
    pcie_root: int
    """Number of the bus of the PCIe root that it is at."""
    numa_node: int
    memory: int
    """Bytes."""
    driver_version: str
    """As the vendor writes it: ``580.159.04``."""
    folder: Path
    """Where it describes itself, and where its settings stand."""

    @property
    def name(self) -> str:
        """Its name in the pool: a DNS label, the same after every restart."""
        return f"gpu-{self.minor}"

    @property
    def path(self) -> str:
        """Its device node."""
        return f"/dev/nvidia{self.minor}"

    @property
    def node(self) -> dict[str, Any]:
        """Its device node as CDI has it."""
        return {"path": self.path, "permissions": "rw"}

    @property
    def variable(self) -> str:
        """The environment variable by which containers see that they have it."""
        return f"REFERENCE_GPU_{self.minor}={self.uuid}"

    def labelled(self, label: str) -> str:
        """The environment variable by which containers see its label."""
        return f"REFERENCE_GPU_{self.minor}_LABEL={label}"

    def share(self, uid: str, memory: str) -> str:
        """The environment variable by which containers see a share of it, and that one's memory."""
        return f"REFERENCE_GPU_{self.minor}_SHARE_{uid[:8].upper()}={memory}"

    def set_time_slice(self, number: int) -> None:
        """Set how long a process has the GPU to itself before another one has its turn.

        A driver of real GPUs would run ``nvidia-smi compute-policy --set-timeslice``.
        """
        (self.folder / "timeslice").write_text(f"{number}\n")

    def device(self) -> dict[str, Any]:
        """Its entry in a ResourceSlice (``resource.k8s.io/v1``).

        Names without a domain are in the driver's own; every attribute has the same type on all
        devices.
        """
        # A version is semver 2.0.0, which knows no leading zeros: 580.159.4.
        version = ".".join(str(int(part)) for part in self.driver_version.split("."))
        return {
            "name": self.name,
            "attributes": {
                "type": {"string": "gpu"},
                "uuid": {"string": self.uuid},
                "minor": {"int": self.minor},
                "simulated": {"bool": True},
                "productName": {"string": self.product},
                "driverVersion": {"version": version},
                "resource.kubernetes.io/pciBusID": {"string": self.pci},
                "resource.kubernetes.io/pcieRoot": {"string": f"pci0000:{self.pcie_root:02x}"},
                "resource.kubernetes.io/numaNode": {"int": self.numa_node},
            },
            "capacity": {"memory": {"value": _quantity(self.memory)}},
        }

    def parts(self) -> tuple[Part, ...]:
        """Its halves, which are devices of their own when the driver publishes them.

        A driver of real GPUs would make MIG devices of them.
        """
        return tuple(
            Part(
                minor=self.minor,
                uuid=f"MIG-{uuid5(NAMESPACE_OID, f'{self.uuid}/{number}')}",
                product=self.product,
                pci=self.pci,
                pcie_root=self.pcie_root,
                numa_node=self.numa_node,
                memory=self.memory // PARTS,
                driver_version=self.driver_version,
                folder=self.folder,
                number=number,
            )
            for number in range(PARTS)
        )

    @property
    def counters(self) -> dict[str, Any]:
        """The set of counters on which it and its parts draw, so that nothing is given twice."""
        return {"name": self.name, "counters": {"memory": {"value": _quantity(self.memory)}}}

    def drawing(self, whole: Gpu) -> dict[str, Any]:
        """Its entry in a ResourceSlice, as one that draws on a GPU's counters: its own, or that of
        which it is a part."""
        amount = {"memory": {"value": _quantity(self.memory)}}
        draws = [{"counterSet": whole.name, "counters": amount}]
        return {**self.device(), "consumesCounters": draws}


@dataclass(frozen=True)
class Part(Gpu):
    """A part of a GPU that is a device of its own."""

    number: int = 0

    @property
    def name(self) -> str:
        """That of its GPU, and its number."""
        return f"{super().name}-part-{self.number}"

    @property
    def variable(self) -> str:
        """The environment variable by which containers see that they have it."""
        return f"REFERENCE_GPU_{self.minor}_PART_{self.number}={self.uuid}"

    def device(self) -> dict[str, Any]:
        """Its entry in a ResourceSlice: as its GPU's, but for its type."""
        entry = super().device()
        return {**entry, "attributes": {**entry["attributes"], "type": {"string": "mig"}}}


def discover(description: Path) -> tuple[Gpu, ...]:
    """The GPUs in the order of their minor numbers, so that slices never change without reason.

    Args:
        description: ``/run/simulated-gpus``

    Raises:
        OSError: there is no such description.
    """
    version = _settings(description / "driver")["driver_version"]
    found = [(file.parent, _settings(file)) for file in description.glob("gpu*/info")]
    return tuple(
        Gpu(
            minor=int(info["minor"]),
            uuid=info["uuid"],
            product=info["name"],
            pci=info["pci"],
            pcie_root=int(info["pcie_root"]),
            numa_node=int(info["numa_node"]),
            memory=int(info["memory"]),
            driver_version=version,
            folder=folder,
        )
        for folder, info in sorted(found, key=lambda one: int(one[1]["minor"]))
    )


def _settings(file: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in file.read_text().splitlines())


def _quantity(number: int) -> str:
    """Bytes as the API server writes them: in the largest unit that leaves no fraction."""
    for unit in ("", "Ki", "Mi", "Gi"):
        if number % 1024:
            return f"{number}{unit}"
        number //= 1024
    return f"{number}Ti"
