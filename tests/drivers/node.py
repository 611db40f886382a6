"""A node of the reference driver's, without a cluster: folders, simulated GPUs, a client."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc

from embedded.drivers.reference.kubelet_plugin import DRIVER
from embedded.drivers.reference.kubelet_plugin.cdi import Cdi
from embedded.drivers.reference.kubelet_plugin.claims import Claims
from embedded.drivers.reference.kubelet_plugin.faults import FILE, Faults, switch
from embedded.drivers.reference.kubelet_plugin.gpus import Gpu, discover
from embedded.hardware import machine
from embedded.hardware.products import H100
from tests.drivers.api_server import NODE, SECONDS, ApiServer

Claim = tuple[str, str, str]
"""Namespace, name, UID."""


class Node:
    """Where instances of the driver run, one after the other."""

    def __init__(self, root: Path, api: ApiServer, services: ModuleType) -> None:
        self.root = root
        self.api = api
        self.services = services
        self.cdi = root / "cdi"
        self.folder = root / "plugins" / DRIVER
        self.registry = root / "plugins_registry"
        self.boot_id = "first boot"
        for name in ("libcuda.so.1", "libnvidia-ml.so.1"):
            library = self.driver_root / "usr/lib64" / name
            library.parent.mkdir(parents=True, exist_ok=True)
            library.touch()
        (self.driver_root / "usr/bin").mkdir()
        (self.driver_root / "usr/bin/nvidia-smi").touch()
        machine.install(root / "simulated-gpus", machine.gpus(NODE, H100.name, 4))

    @property
    def driver_root(self) -> Path:
        return self.root / "driver"

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        return discover(self.root / "simulated-gpus")

    @contextmanager
    def driver(self, version: int = 1) -> Iterator[Instance]:
        """An instance of a version of the driver for the duration of a ``with`` block."""
        gpus = self.gpus
        claims = Claims(
            node=NODE,
            gpus=gpus,
            read=self.api.client().claim,
            cdi=Cdi(self.cdi, self.driver_root),
            checkpoint=self.folder / "checkpoint.json",
            boot_id=self.boot_id,
            faults=Faults(self.folder / FILE),
            schema=version,
        )
        plugin = self.services.Plugin(
            self.folder, self.registry, claims, [gpu.name for gpu in gpus], lambda *_: None
        )
        plugin.start()
        try:
            with grpc.insecure_channel(f"unix:{plugin.socket}") as channel:
                yield Instance(self, plugin, claims, channel)
        finally:
            plugin.stop()

    def fault(self, name: str | None) -> None:
        """Switch a fault on, or all off."""
        switch(self.folder, name)

    def allocate(self, name: str, *devices: str, **changes: Any) -> Claim:
        """A claim as the scheduler leaves it, every device for a request of its own.

        Args:
            name: of the claim.
            devices: names of devices of this node.
            changes: fields of ``status.allocation.devices`` that differ.
        """
        uid = str(uuid.uuid4())
        results = [
            {"driver": DRIVER, "pool": NODE, "device": device, "request": f"request-{number}"}
            for number, device in enumerate(devices)
        ]
        self.api.claims[f"default/{name}"] = {
            "metadata": {"namespace": "default", "name": name, "uid": uid},
            "status": {"allocation": {"devices": {"results": results, **changes}}},
        }
        return "default", name, uid

    def specifications(self) -> list[dict[str, Any]]:
        """All CDI specifications on the node."""
        if not self.cdi.is_dir():
            return []
        return [json.loads(file.read_text()) for file in sorted(self.cdi.glob("*.json"))]

    def injected(self, ids: list[str]) -> dict[str, list[str]]:
        """What a container with these CDI devices gets, by kind of edit, as a runtime finds it."""
        found: dict[str, list[str]] = {"env": [], "deviceNodes": [], "mounts": []}
        devices = {
            f"{spec['kind']}={device['name']}": (spec, device)
            for spec in self.specifications()
            for device in spec["devices"]
        }
        edits = [devices[name][1]["containerEdits"] for name in ids]
        if ids:
            edits.append(devices[ids[0]][0]["containerEdits"])
        for edit in edits:
            found["env"] += edit.get("env", ())
            found["deviceNodes"] += (node["path"] for node in edit.get("deviceNodes", ()))
            found["mounts"] += (mount["containerPath"] for mount in edit.get("mounts", ()))
        return {kind: sorted(values) for kind, values in found.items()}


class Instance:
    """A running driver as the kubelet sees it."""

    def __init__(self, node: Node, plugin: Any, claims: Claims, channel: grpc.Channel) -> None:
        self.node = node
        self.plugin = plugin
        self.claims = claims
        self.channel = channel

    def prepare(self, *claims: Claim, version: str = "v1") -> Any:
        """NodePrepareResources: the response's entries by claim UID."""
        return self._call("NodePrepareResources", claims, version)

    def unprepare(self, *claims: Claim, version: str = "v1") -> Any:
        """NodeUnprepareResources: likewise."""
        return self._call("NodeUnprepareResources", claims, version)

    def prepared(self, claim: Claim, version: str = "v1") -> dict[str, list[str]]:
        """Prepare a claim, which must succeed, and see what a container gets."""
        answer = self.prepare(claim, version=version)[claim[2]]
        assert not answer.error
        return self.node.injected([one for item in answer.devices for one in item.cdi_device_ids])

    def refusal(self, claim: Claim) -> str:
        """Prepare a claim, which must fail, and see why."""
        answer = self.prepare(claim)[claim[2]]
        assert not answer.devices
        return str(answer.error)

    def _call(self, method: str, claims: tuple[Claim, ...], version: str) -> Any:
        messages = getattr(self.node.services, f"dra_{version}_pb2")
        stub = getattr(self.node.services, f"dra_{version}_pb2_grpc").DRAPluginStub(self.channel)
        request = getattr(messages, f"{method}Request")(
            claims=[
                messages.Claim(namespace=namespace, name=name, uid=uid)
                for namespace, name, uid in claims
            ]
        )
        return getattr(stub, method)(request, timeout=SECONDS).claims
