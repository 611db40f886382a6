"""What the embedded cluster has to know of a DRA driver to run it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from building.artifacts import Artifact
from building.binaries import Release

Object = dict[str, Any]


class Driver(Protocol):
    """A DRA driver that an embedded cluster can run."""

    @property
    def name(self) -> str:
        """The driver's name in ResourceSlices: ``gpu.nvidia.com``."""

    @property
    def description(self) -> str:
        """Name and version, for people."""

    @property
    def version(self) -> str:
        """As it stands in docs/known-findings.yaml: ``v0.5.0``; empty where nobody releases it."""

    @property
    def devices(self) -> int | None:
        """How many devices it publishes for each node; None: as many as the node has GPUs."""

    @property
    def images(self) -> tuple[Artifact, ...]:
        """Artifacts with an ``image.tar`` that every node imports."""

    @property
    def next_image(self) -> str:
        """The image of its next version, which every node has, too; empty: it is the newest."""

    def manifests(self, kubernetes: Release) -> tuple[Artifact, ...]:
        """What its objects are made from, for this release of Kubernetes."""

    def objects(self, built: Mapping[str, Path], kubernetes: Release) -> list[Object]:
        """All objects that install it, in the order of their creation."""
