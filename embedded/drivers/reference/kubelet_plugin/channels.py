"""IMEX channels: with one, processes share GPU memory by fabric handles.

A channel is a device node below `FOLDER`, and no GPU. So they are published by an instance of this
driver that has another name and nothing else to publish (``--channels``): it is needed beside
drivers of GPUs that bring none. Who has a channel can open what others of the same channel share,
if the GPU is theirs, too; so no two claims get the same one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .gpus import Gpu

FOLDER = "nvidia-caps-imex-channels"
"""Below ``/dev``; what the kernel calls these devices, too."""


@dataclass(frozen=True)
class Channel(Gpu):
    """A channel, which is prepared as a GPU is and shares nothing else with one."""

    major: int = 0
    """Of its device node; 0: no kernel driver has such nodes, so channels are simulated, and any
    node that opens is one."""

    @property
    def name(self) -> str:
        """Its name in the pool."""
        return f"channel-{self.minor}"

    @property
    def path(self) -> str:
        """Its device node in a container; a node of the cluster need not have it."""
        return f"/dev/{FOLDER}/channel{self.minor}"

    @property
    def variable(self) -> str:
        """The environment variable by which containers see that they have it."""
        return f"REFERENCE_CHANNEL_{self.minor}={self.path}"

    @property
    def node(self) -> dict[str, Any]:
        """Its device node as CDI has it: made by the runtime, from its number."""
        if not self.major:
            return {**super().node, "hostPath": "/dev/nvidiactl"}
        number = {"type": "c", "major": self.major, "minor": self.minor}
        return {**super().node, **number, "fileMode": 0o666}

    def device(self) -> dict[str, Any]:
        """Its entry in a ResourceSlice."""
        attributes = {"type": {"string": "channel"}, "id": {"int": self.minor}}
        return {"name": self.name, "attributes": attributes}

    def parts(self) -> tuple[()]:
        """It has none."""
        return ()


def channels(count: int, kernel: Path = Path("/proc/devices")) -> tuple[Channel, ...]:
    """The first channels of this node.

    Args:
        count: how many.
        kernel: where the kernel tells its devices' major numbers.
    """
    words = [line.split() for line in kernel.read_text().partition("Block")[0].splitlines()]
    major = next((int(word[0]) for word in words if word[1:] == [FOLDER]), 0)
    nothing: dict[str, Any] = {"uuid": "", "product": "", "pci": "", "driver_version": ""}
    nothing |= {"pcie_root": 0, "numa_node": 0, "memory": 0, "folder": Path()}
    return tuple(Channel(minor=number, major=major, **nothing) for number in range(count))
