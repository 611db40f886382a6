"""Where everything of an embedded cluster is: its plan, folders and addresses.

All addresses live in network namespaces of the cluster's own, so they shadow nothing on the host.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SERVICE_NETWORK = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
"""Address of the ``kubernetes`` Service: the control plane carries it on its loopback device."""
CONTROL_PLANE = "10.10.0.1"
NODE_PREFIX_LENGTH = 24

DRIVER_ROOT = "/run/nvidia/driver"
"""Where NVIDIA's driver containers put a driver, and where the simulated one lies on a node."""
VOLUMES = "local"
"""The StorageClass of the nodes' volumes."""
VOLUME = "/var/lib/volume"
"""Where a node has the one that it has."""
SIMULATED_GPUS = "/run/simulated-gpus"


@dataclass(frozen=True)
class Gpus:
    """GPUs of one product in one node."""

    count: int
    product: str

    def __str__(self) -> str:
        return f"{self.count} x {self.product}"


@dataclass(frozen=True)
class NodePlan:
    """One node: a kubelet, a container runtime and GPUs."""

    number: int
    """From 1; decides addresses."""
    gpus: tuple[Gpus, ...]
    """By product; a node of several is a mixed one."""

    @property
    def gpu_count(self) -> int:
        """How many GPUs the node has, of all products."""
        return sum(group.count for group in self.gpus)

    @property
    def hardware(self) -> str:
        """What the node has, for people: ``4 x NVIDIA H100 80GB HBM3``."""
        return " and ".join(str(group) for group in self.gpus if group.count) or "no GPU"

    @property
    def name(self) -> str:
        return f"node-{self.number}"

    @property
    def address(self) -> str:
        return f"10.10.0.{10 + self.number}"

    @property
    def pod_network(self) -> str:
        return f"10.20.{self.number}.0/24"


@dataclass(frozen=True)
class Plan:
    """What a cluster is made of; saved as ``cluster.json`` in its state folder."""

    name: str
    state: Path
    nodes: tuple[NodePlan, ...]
    artifacts: dict[str, Path]
    """Directories of the built parts, by name."""
    hardware: str
    """``simulated`` or ``real``."""
    images: tuple[Path, ...]
    """OCI archives that every node imports."""
    feature_gates: dict[str, bool] = field(default_factory=dict)
    """For every component of Kubernetes."""
    runtime_config: dict[str, bool] = field(default_factory=dict)
    """For the API server: ``GROUP/VERSION`` and whether it is served."""

    @property
    def gate_flags(self) -> list[str]:
        """The feature gates as a flag, if there are any."""
        return _switches("--feature-gates", self.feature_gates)

    @property
    def runtime_config_flags(self) -> list[str]:
        """The API server's runtime configuration as a flag, if there is any."""
        return _switches("--runtime-config", self.runtime_config)

    @property
    def cgroup(self) -> str:
        return f"dra-conformance/{self.name}"

    @property
    def kubeconfig(self) -> Path:
        """An administrator's, for the host."""
        return self.state / "kubeconfig"

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def deaths(self) -> Path:
        """One file for each component that ended by itself, with the end of its log."""
        return self.state / "deaths"

    def node_state(self, node: NodePlan) -> Path:
        return self.state / "nodes" / node.name

    def save(self) -> Path:
        """Write the plan into the state folder and return the file."""
        path = self.state / "cluster.json"
        path.write_text(json.dumps(dataclasses.asdict(self), default=str, indent=1))
        return path

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Read a saved plan."""
        raw = json.loads(path.read_text())
        return cls(
            **{
                **raw,
                "state": Path(raw["state"]),
                "nodes": tuple(
                    NodePlan(node["number"], tuple(Gpus(**group) for group in node["gpus"]))
                    for node in raw["nodes"]
                ),
                "artifacts": {name: Path(at) for name, at in raw["artifacts"].items()},
                "images": tuple(Path(image) for image in raw["images"]),
            }
        )


def _switches(flag: str, switches: Mapping[str, bool]) -> list[str]:
    """A flag of Kubernetes that switches things on and off, if there are any."""
    values = ",".join(f"{name}={str(on).lower()}" for name, on in switches.items())
    return [f"{flag}={values}"] if values else []


def states() -> Path:
    """The folder that holds the state of this machine's embedded clusters (``DRA_STATE``)."""
    return Path(os.environ.get("DRA_STATE", "/var/lib/dra-conformance")).absolute()
