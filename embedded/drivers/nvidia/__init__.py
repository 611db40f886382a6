"""The real NVIDIA DRA driver, from its own module and chart, unmodified."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from building.artifacts import Artifact, Build
from building.binaries import HELM, NVIDIA_DRIVER, NVIDIA_DRIVER_VERSION, Release
from embedded.drivers.driver import Driver, Object
from embedded.drivers.nvidia.image import NVIDIA_DRIVER_IMAGE

NAMESPACE = "dra-driver-nvidia-gpu"

_VALUES = Path(__file__).parent / "values.yaml"
_ARTIFACT = "nvidia-manifests"


class _Nvidia:
    name = "gpu.nvidia.com"
    description = f"NVIDIA DRA driver v{NVIDIA_DRIVER_VERSION}"
    devices = None
    images = (NVIDIA_DRIVER_IMAGE,)

    def manifests(self, kubernetes: Release) -> tuple[Artifact, ...]:
        def render(build: Build) -> None:
            helm = build.needs["helm"] / "helm"
            chart = build.needs["nvidia-driver"] / "chart"
            build.run(
                *(helm, "template", "dra-driver-nvidia-gpu", chart, "--namespace", NAMESPACE),
                *("--include-crds", "--values", _VALUES, "--output-dir", build.out),
                # What Helm would ask the server for. The version of the API has to be set: without
                # a server, Helm takes all that its own client library knows for served.
                *("--kube-version", f"v{kubernetes.version}"),
                *("--set-string", f"resourceApiVersion={kubernetes.dra_api}"),
                env={"HOME": str(build.scratch)},
            )

        inputs = (_VALUES, kubernetes.version, kubernetes.dra_api)
        return (Artifact(_ARTIFACT, inputs, render, (HELM, NVIDIA_DRIVER)),)

    def objects(self, built: Mapping[str, Path], kubernetes: Release) -> list[Object]:  # noqa: ARG002
        """All objects of the rendered chart, its definitions and namespace first."""
        found: list[Object] = [
            document
            for file in sorted(built[_ARTIFACT].rglob("*.yaml"))
            for document in yaml.safe_load_all(file.read_text())
            if document
        ]
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        order = ("Namespace", "CustomResourceDefinition", "ServiceAccount")
        return sorted(
            [namespace, *found],
            key=lambda one: order.index(one["kind"]) if one["kind"] in order else len(order),
        )


NVIDIA: Driver = _Nvidia()
