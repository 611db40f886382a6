"""The node's GPUs, and how ResourceSlices describe them.

The simulated hardware describes itself in ``/run/simulated-gpus``: a file ``driver`` and a file
``gpuN/info`` for each GPU, lines of ``key=value``. A driver of real GPUs would ask NVML here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Gpu:
    """One GPU of this node."""

    minor: int
    """N of ``/dev/nvidiaN``."""
    uuid: str
    product: str
    pci: str
    """``0000:2a:00.0``"""
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
            },
            "capacity": {"memory": {"value": _quantity(self.memory)}},
        }


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
