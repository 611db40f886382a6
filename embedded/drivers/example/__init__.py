"""dra-example-driver, unmodified: made-up GPUs that a container sees as environment variables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from building.artifacts import Artifact, Build
from building.binaries import HELM, Release
from embedded.drivers.driver import Driver, Object
from embedded.drivers.example.image import EXAMPLE_DRIVER, EXAMPLE_IMAGE, VERSION

NAMESPACE = "dra-example-driver"

_VALUES = Path(__file__).parent / "values.yaml"
_ARTIFACT = "example-manifests"


class _Example:
    name = "gpu.example.com"
    description = f"dra-example-driver v{VERSION}"
    devices = 4  # values.yaml
    images = (EXAMPLE_IMAGE,)

    def manifests(self, kubernetes: Release) -> tuple[Artifact, ...]:
        def render(build: Build) -> None:
            build.run(
                *(build.needs["helm"] / "helm", "template", "dra-example-driver"),
                *(build.needs["example-driver"] / "chart", "--namespace", NAMESPACE),
                *("--values", _VALUES, "--output-dir", build.out),
                *("--kube-version", f"v{kubernetes.version}"),
                env={"HOME": str(build.scratch)},
            )

        inputs = (_VALUES, kubernetes.version)
        return (Artifact(_ARTIFACT, inputs, render, (HELM, EXAMPLE_DRIVER)),)

    def objects(self, built: Mapping[str, Path], kubernetes: Release) -> list[Object]:
        """All objects of the rendered chart, its namespace and account first."""
        found: list[Object] = [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            *(
                document
                for file in sorted(built[_ARTIFACT].rglob("*.yaml"))
                for document in yaml.safe_load_all(file.read_text())
                if document
            ),
        ]
        for item in found:
            if item["kind"] == "DeviceClass":
                # The chart asks which versions are served; without a server, Helm says all.
                item["apiVersion"] = kubernetes.dra_api
        order = ("Namespace", "ServiceAccount")
        return sorted(
            found,
            key=lambda one: order.index(one["kind"]) if one["kind"] in order else len(order),
        )


EXAMPLE: Driver = _Example()
