"""The reference driver: small, correct by the node contract, and broken on demand.

``kubelet_plugin`` is the driver itself; it runs in a container and stands alone. Here is what the
embedded cluster needs to run it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import yaml

from building.artifacts import Artifact
from building.binaries import Release
from building.errors import UserError
from embedded.drivers.driver import Driver, Object
from embedded.drivers.reference.image import IMAGE_NAME, NEXT_IMAGE_NAME, REFERENCE_IMAGE
from embedded.drivers.reference.kubelet_plugin import DRIVER

_MANIFESTS = Path(__file__).parent / "manifests.yaml"
_FOLDER = Path("var/lib/kubelet/plugins")
_SECONDS = 60
"""For a driver to publish what a fault makes of its devices."""


class _Reference:
    name = DRIVER
    namespace = "dra-reference-driver"
    description = "reference DRA driver"
    version = ""
    devices: int | None = None
    next_image = NEXT_IMAGE_NAME
    images = (REFERENCE_IMAGE,)

    def manifests(self, kubernetes: Release) -> tuple[Artifact, ...]:  # noqa: ARG002
        """None: the manifests are written by hand."""
        return ()

    def objects(self, built: Mapping[str, Path], kubernetes: Release) -> list[Object]:  # noqa: ARG002
        """All objects of ``manifests.yaml``, which are in their order."""
        objects: list[Object] = list(yaml.safe_load_all(self._text()))
        for item in objects:
            if item["kind"] == "DeviceClass":
                item["apiVersion"] = kubernetes.dra_api
        return objects

    def _text(self) -> str:
        return _MANIFESTS.read_text()


class _Channels(_Reference):
    """An instance of it under another name, which publishes IMEX channels and no GPU."""

    name = "channel.reference.dra-conformance.example"
    namespace = "dra-reference-channels"
    description = "IMEX channels of the reference DRA driver"
    devices = 8
    next_image = ""

    def objects(self, built: Mapping[str, Path], kubernetes: Release) -> list[Object]:
        """Those of ``manifests.yaml`` without what only GPUs need."""
        objects = super().objects(built, kubernetes)
        pod = objects[-1]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        container["image"] = IMAGE_NAME
        container["args"] = [f"--channels={self.devices}"]
        container["env"].append({"name": "DRIVER_NAME", "value": self.name})
        for volumes in (pod["volumes"], container["volumeMounts"]):
            volumes[:] = [one for one in volumes if one["name"] not in ("driver-root", "gpus")]
        return objects

    def _text(self) -> str:
        text = super()._text().replace(DRIVER, self.name).replace('"gpu"', '"channel"')
        return text.replace(_Reference.namespace, self.namespace)


REFERENCE: Driver = _Reference()
CHANNELS: Driver = _Channels()

NAMESPACES: Mapping[str, str] = MappingProxyType(
    {driver.name: driver.namespace for driver in (_Reference, _Channels)}
)
"""Where ``manifests.yaml`` puts each of them."""
NAMESPACE = NAMESPACES[DRIVER]


def set_fault(node_root: Path, fault: str | None) -> None:
    """Make the driver of one node misbehave from now on, or (None) behave again.

    The driver need not be restarted; one that starts later finds the fault in force. What it did
    before stays: a container that runs keeps its devices.

    Args:
        node_root: the node's root directory as seen from here (``embedded.cluster.node_root``).
        fault: a name of `kubelet_plugin.faults.FAULTS`, or several with commas between them.

    Raises:
        UserError: there is no such fault.
    """
    from embedded.drivers.reference.kubelet_plugin import faults  # noqa: PLC0415 - few ask for one

    names = (fault or "").split(",")
    of_channels = {name for name, one in faults.FAULTS.items() if one.of_channels}
    try:
        for driver in NAMESPACES:
            of_it = [one for one in names if (one in of_channels) == (driver == CHANNELS.name)]
            faults.switch(node_root / _FOLDER / driver, ",".join(of_it) or None)
    except ValueError as error:
        raise UserError(f"--embedded-fault {fault!r}: {error}") from error


def await_fault(node_root: Path) -> None:
    """Wait until the slices of one node are as the faults want them that were switched last.

    A driver that has not run on the node yet is not waited for.

    Raises:
        UserError: the driver has not published them within a minute.
    """
    from embedded.drivers.reference.kubelet_plugin import faults  # noqa: PLC0415 - few ask for one

    for driver in NAMESPACES:
        if not faults.await_published(node_root / _FOLDER / driver, _SECONDS):
            raise UserError(
                f"--embedded-fault: {driver} has not taken notice of it within {_SECONDS} s;"
                f" does its pod run, and does the API server answer? ({node_root})"
            )
