"""dra-example-driver, unmodified: made-up GPUs that a container sees as environment variables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from building.artifacts import Artifact
from building.binaries import Release
from embedded.drivers import chart
from embedded.drivers.driver import Driver, Object
from embedded.drivers.example.image import EXAMPLE_DRIVER, EXAMPLE_IMAGE, VERSION

NAMESPACE = "dra-example-driver"

_VALUES = Path(__file__).parent / "values.yaml"
_MANIFESTS = "example-manifests"


class _Example:
    name = "gpu.example.com"
    description = f"dra-example-driver v{VERSION}"
    devices = 4  # values.yaml
    images = (EXAMPLE_IMAGE,)

    def manifests(self, kubernetes: Release) -> tuple[Artifact, ...]:
        return (chart.rendered(_MANIFESTS, EXAMPLE_DRIVER, _VALUES, NAMESPACE, kubernetes),)

    def objects(self, built: Mapping[str, Path], kubernetes: Release) -> list[Object]:
        found = chart.objects(built[_MANIFESTS], NAMESPACE)
        for item in found:
            if item["kind"] == "DeviceClass":
                # The chart asks which versions are served; without a server, Helm says all.
                item["apiVersion"] = kubernetes.dra_api
        return found


EXAMPLE: Driver = _Example()
