"""DRA drivers that their own Helm charts install."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from building.artifacts import Artifact, Build
from building.binaries import HELM, Release
from embedded.drivers.driver import Driver, Object

_FIRST = ("Namespace", "CustomResourceDefinition", "ServiceAccount")
"""Kinds that others need when they are created."""


@dataclass(frozen=True)
class ChartDriver:
    """A `Driver` as its chart has it."""

    name: str
    description: str
    version: str
    namespace: str
    """Where it is installed; the Helm release is called the same."""
    module: Artifact
    """A directory with the ``chart``."""
    values: Path
    """The file with the chart's values."""
    images: tuple[Artifact, ...]
    devices: int | None = None
    next_image: str = ""
    variant: str = ""
    """How it is installed otherwise than by default, in a word; empty: it is not."""
    settings: tuple[str, ...] = ()
    """Of the chart, for that: ``featureGates.MPSSupport=true``."""

    def installed(self, variant: str, devices: int | None = None, *settings: str) -> Driver:
        """Answer the driver as it is installed otherwise.

        Args:
            variant: a word for it.
            devices: how many it then publishes for each node; None: as many as by default.
            settings: of its chart, beside its values.
        """
        description = f"{self.description}, installed for {variant}"
        return replace(
            self,
            description=description,
            devices=devices or self.devices,
            variant=variant,
            settings=settings,
        )

    def manifests(self, kubernetes: Release) -> tuple[Artifact, ...]:
        """Render the chart with all that Helm would ask a server for."""

        def render(build: Build) -> None:
            chart = build.needs[self.module.name] / "chart"
            build.run(
                *(build.needs[HELM.name] / "helm", "template", self.namespace, chart),
                *("--namespace", self.namespace, "--include-crds", "--values", self.values),
                *("--kube-version", f"v{kubernetes.version}", "--output-dir", build.out),
                # NVIDIA's chart asks which versions of the API are served: without a server, Helm
                # says all that its own client library knows.
                *("--set-string", f"resourceApiVersion={kubernetes.dra_api}"),
                *(word for setting in self.settings for word in ("--set", setting)),
                env={"HOME": str(build.scratch)},
            )

        inputs: tuple[Path | str, ...] = (self.values, kubernetes.version, kubernetes.dra_api)
        inputs = (*inputs, *self.settings)
        return (Artifact(self._artifact, inputs, render, (HELM, self.module)),)

    def objects(self, built: Mapping[str, Path], kubernetes: Release) -> list[Object]:
        """All objects of the rendered chart and their namespace, in the order of creation."""
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        found: list[Object] = [namespace]
        for file in sorted(built[self._artifact].rglob("*.yaml")):
            found += filter(None, yaml.safe_load_all(file.read_text()))
        for item in found:
            if item["kind"] == "DeviceClass":  # the example driver's chart asks Helm, too
                item["apiVersion"] = kubernetes.dra_api
        return sorted(
            found,
            key=lambda one: _FIRST.index(one["kind"]) if one["kind"] in _FIRST else len(_FIRST),
        )

    @property
    def _artifact(self) -> str:
        return "-".join(filter(None, (self.module.name, self.variant, "manifests")))
