"""The real NVIDIA DRA driver, from its own module and chart, unmodified."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from building.artifacts import Artifact
from building.binaries import NVIDIA_DRIVER, NVIDIA_DRIVER_VERSION, Release
from embedded.drivers import chart
from embedded.drivers.driver import Driver, Object
from embedded.drivers.nvidia.image import NVIDIA_DRIVER_IMAGE

NAMESPACE = "dra-driver-nvidia-gpu"

_VALUES = Path(__file__).parent / "values.yaml"
_MANIFESTS = "nvidia-manifests"


class _Nvidia:
    name = "gpu.nvidia.com"
    description = f"NVIDIA DRA driver v{NVIDIA_DRIVER_VERSION}"
    devices = None
    images = (NVIDIA_DRIVER_IMAGE,)

    def manifests(self, kubernetes: Release) -> tuple[Artifact, ...]:
        # The version of the API has to be set: without a server, Helm takes all that its own
        # client library knows for served.
        served = ("--set-string", f"resourceApiVersion={kubernetes.dra_api}")
        return (chart.rendered(_MANIFESTS, NVIDIA_DRIVER, _VALUES, NAMESPACE, kubernetes, *served),)

    def objects(self, built: Mapping[str, Path], kubernetes: Release) -> list[Object]:  # noqa: ARG002
        return chart.objects(built[_MANIFESTS], NAMESPACE)


NVIDIA: Driver = _Nvidia()
