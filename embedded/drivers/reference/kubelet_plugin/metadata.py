"""Tells containers in files what devices they have (KEP-5304).

There is a file for each request of a claim. It lies in the driver's folder, from the claim's
preparation to the opposite, and the claim's CDI specification mounts it into its containers.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import DRIVER
from .cdi import mount, write_atomically

if TYPE_CHECKING:
    from .claims import Claim

IN_CONTAINERS = Path("/var/run/kubernetes.io/dra-device-attributes")
API_VERSION = "metadata.resource.k8s.io/v1beta1"
GENERATED = "resource.kubernetes.io/pod-claim-name"
"""The annotation of a claim that was made from a template: what its pod calls it."""


class Metadata:
    """The files of this driver's claims."""

    def __init__(self, folder: Path, node: str) -> None:
        """Note where they go.

        Args:
            folder: for all of them.
            node: this node's name, which is its pool's.
        """
        self._folder = folder
        self._node = node

    def write(
        self, claim: Mapping[str, Any], prepared: Claim, told: Mapping[str, Any]
    ) -> dict[str, list[dict[str, Any]]]:
        """Write the files of a claim.

        Args:
            claim: its object.
            prepared: what is prepared of it.
            told: attributes of GPUs, by the GPUs' names.

        Returns:
            The mounts of each device or share, by its name.
        """
        metadata = claim["metadata"]
        called = metadata.get("annotations", {}).get(GENERATED)
        below = Path("resourceclaimtemplates", called) if called else None
        below = IN_CONTAINERS / (below or Path("resourceclaims", metadata["name"]))
        mounts: dict[str, list[dict[str, Any]]] = {}
        for request in {device.request for device in prepared.devices}:
            devices = [one for one in prepared.devices if one.request == request]
            file = self._folder / metadata["uid"] / f"{request}.json"
            content = {
                "apiVersion": API_VERSION,
                "kind": "DeviceMetadata",
                "metadata": {
                    **{key: metadata[key] for key in ("name", "namespace", "uid")},
                    "generation": 1,
                },
                **({"podClaimName": called} if called else {}),
                "requests": [{"name": request, "devices": [self._entry(d, told) for d in devices]}],
            }
            write_atomically(file, json.dumps(content, indent=1) + "\n")
            where = str(below / request / f"{DRIVER}-metadata.json")
            for device in devices:
                mounts.setdefault(device.unit, []).append(mount(file, where))
        return mounts

    def _entry(self, device: Any, told: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "driver": DRIVER,
            "pool": self._node,
            "name": device.name,
            "attributes": told.get(device.name, {}),
        }

    def remove(self, uid: str) -> None:
        """Remove the files of a claim, if there are any."""
        shutil.rmtree(self._folder / uid, ignore_errors=True)
