"""What a Helm chart installs, rendered without a cluster."""

from __future__ import annotations

from pathlib import Path

import yaml

from building.artifacts import Artifact, Build
from building.binaries import HELM, Release
from embedded.drivers.driver import Object

_FIRST = ("Namespace", "CustomResourceDefinition", "ServiceAccount")
"""Kinds that others need when they are created."""


def rendered(
    name: str, driver: Artifact, values: Path, namespace: str, kubernetes: Release, *more: str
) -> Artifact:
    """The manifests of a driver's ``chart``, for a release of Kubernetes.

    Args:
        name: of the artifact.
        driver: the artifact that has the chart.
        values: the file with the chart's values.
        namespace: where it is installed; the Helm release is called the same.
        kubernetes: the release, which Helm would ask a server for.
        more: further arguments of ``helm template``.
    """

    def render(build: Build) -> None:
        build.run(
            *(build.needs[HELM.name] / "helm", "template", namespace),
            *(build.needs[driver.name] / "chart", "--namespace", namespace, "--include-crds"),
            *("--values", values, "--output-dir", build.out),
            *("--kube-version", f"v{kubernetes.version}", *more),
            env={"HOME": str(build.scratch)},
        )

    return Artifact(name, (values, kubernetes.version, *more), render, (HELM, driver))


def objects(manifests: Path, namespace: str) -> list[Object]:
    """All objects of rendered manifests and their namespace, in the order of their creation."""
    found: list[Object] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        *(
            document
            for file in sorted(manifests.rglob("*.yaml"))
            for document in yaml.safe_load_all(file.read_text())
            if document
        ),
    ]
    return sorted(
        found,
        key=lambda one: _FIRST.index(one["kind"]) if one["kind"] in _FIRST else len(_FIRST),
    )
