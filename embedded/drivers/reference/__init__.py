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
from embedded.drivers.reference.image import NEXT_IMAGE_NAME, REFERENCE_IMAGE
from embedded.drivers.reference.kubelet_plugin import DRIVER, faults

FAULTS: Mapping[str, str] = MappingProxyType(
    {name: fault.sentence for name, fault in faults.FAULTS.items()}
)
"""What `set_fault` takes, each with a sentence that says what the driver then does."""

NAMESPACE = "dra-reference-driver"
"""Where ``manifests.yaml`` puts it."""
_MANIFESTS = Path(__file__).parent / "manifests.yaml"
_FOLDER = Path("var/lib/kubelet/plugins") / DRIVER


class _Reference:
    name = DRIVER
    description = "reference DRA driver"
    version = ""
    devices = None
    next_image = NEXT_IMAGE_NAME
    images = (REFERENCE_IMAGE,)

    def manifests(self, kubernetes: Release) -> tuple[Artifact, ...]:  # noqa: ARG002
        """None: the manifests are written by hand."""
        return ()

    def objects(self, built: Mapping[str, Path], kubernetes: Release) -> list[Object]:  # noqa: ARG002
        """All objects of ``manifests.yaml``, which are in their order."""
        objects: list[Object] = list(yaml.safe_load_all(_MANIFESTS.read_text()))
        for item in objects:
            if item["kind"] == "DeviceClass":
                item["apiVersion"] = kubernetes.dra_api
        return objects


REFERENCE: Driver = _Reference()


def set_fault(node_root: Path, fault: str | None) -> None:
    """Make the driver of one node misbehave from now on, or (None) behave again.

    The driver need not be restarted; one that starts later finds the fault in force. What it did
    before stays: a container that runs keeps its devices.

    Args:
        node_root: the node's root directory as seen from here (``embedded.cluster.node_root``).
        fault: a name of `FAULTS`, or several with commas between them.

    Raises:
        UserError: there is no such fault.
    """
    try:
        faults.switch(node_root / _FOLDER, fault)
    except ValueError as error:
        raise UserError(f"--embedded-fault {fault!r}: {error}") from error
