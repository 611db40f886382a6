"""Fixtures: images built again, and their content."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from building.artifacts import Artifact, Build
from images.pause import ARCHIVE


@pytest.fixture
def built_again(obtained: Callable[[Artifact], Path], tmp_path: Path) -> Callable[[Artifact], Path]:
    """Build an artifact anew, elsewhere, from what it needs; its directory."""

    def build(artifact: Artifact) -> Path:
        out, scratch = tmp_path / "again", tmp_path / "scratch"
        out.mkdir()
        scratch.mkdir()
        needs = {needed.name: obtained(needed) for needed in artifact.needs}
        with (tmp_path / "log").open("w") as log:
            artifact.build(Build(out, scratch, needs, log))
        return out

    return build


@pytest.fixture(scope="session")
def unpacked(
    obtained: Callable[[Artifact], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Artifact], Path]:
    """An image's root file system: its layers laid over each other."""
    done: dict[str, Path] = {}

    def unpack(artifact: Artifact) -> Path:
        if artifact.name not in done:
            root = tmp_path_factory.mktemp(artifact.name)
            root.chmod(0o755)
            with tarfile.open(obtained(artifact) / ARCHIVE) as archive:
                for digest in _layers(archive):
                    with tarfile.open(fileobj=archive.extractfile(_path(digest))) as layer:
                        # Our own archive: the filters would drop the sticky bit of /tmp. (Not as
                        # an argument, which Python 3.11 takes from 3.11.4 on.)
                        layer.extraction_filter = lambda member, _: member
                        layer.extractall(root)
            done[artifact.name] = root
        return done[artifact.name]

    return unpack


def _layers(archive: tarfile.TarFile) -> list[str]:
    (described,) = json.load(archive.extractfile("index.json"))["manifests"]  # type: ignore[arg-type]
    manifest = json.load(archive.extractfile(_path(described["digest"])))  # type: ignore[arg-type]
    return [layer["digest"] for layer in manifest["layers"]]


def _path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")
