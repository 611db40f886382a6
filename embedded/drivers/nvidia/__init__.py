"""The real NVIDIA DRA driver, from its own module and chart, unmodified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from embedded.artifacts import Artifact, Build
from embedded.binaries import HELM, KUBERNETES_VERSION, NVIDIA_DRIVER, NVIDIA_DRIVER_VERSION
from embedded.images.nvidia_driver import NVIDIA_DRIVER_IMAGE

NAME = "gpu.nvidia.com"
"""The driver's name in ResourceSlices."""
NAMESPACE = "dra-driver-nvidia-gpu"
DESCRIPTION = f"NVIDIA DRA driver v{NVIDIA_DRIVER_VERSION}"

_VALUES = Path(__file__).parent / "values.yaml"


def _render(build: Build) -> None:
    helm = build.needs["helm"] / "helm"
    chart = build.needs["nvidia-driver"] / "chart"
    build.run(
        *(helm, "template", "dra-driver-nvidia-gpu", chart, "--namespace", NAMESPACE),
        *("--include-crds", "--values", _VALUES, "--output-dir", build.out),
        # What Helm would ask the server for.
        *("--kube-version", f"v{KUBERNETES_VERSION}", "--api-versions", "resource.k8s.io/v1"),
        env={"HOME": str(build.scratch)},
    )


MANIFESTS = Artifact(
    "nvidia-manifests", (_VALUES, KUBERNETES_VERSION), _render, (HELM, NVIDIA_DRIVER)
)
ARTIFACTS = (MANIFESTS,)
IMAGES = (NVIDIA_DRIVER_IMAGE,)


def objects(manifests: Path) -> list[dict[str, Any]]:
    """All objects of the rendered chart, definitions and namespace first."""
    found = [
        document
        for file in sorted(manifests.rglob("*.yaml"))
        for document in yaml.safe_load_all(file.read_text())
        if document
    ]
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    order = ("Namespace", "CustomResourceDefinition", "ServiceAccount")
    return sorted(
        [namespace, *found],
        key=lambda one: order.index(one["kind"]) if one["kind"] in order else len(order),
    )
