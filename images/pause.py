"""The image of a pod's sandbox."""

from __future__ import annotations

from pathlib import Path

from building.artifacts import Artifact, Build
from building.toolchain import ZIG, zig_command, zig_environment
from images import oci

NAME = "localhost/dra-conformance/pause:1"
ARCHIVE = "image.tar"
"""The OCI archive's name inside the directory of each image artifact."""

_SOURCE = Path(__file__).with_name("pause.c")


def _build(build: Build) -> None:
    root = build.scratch / "root"
    root.mkdir()
    build.run(
        *zig_command(build),
        *("-O2", "-s", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector"),
        *("-Wall", "-Wextra", "-Werror", "-o", root / "pause", _SOURCE),
        env=zig_environment(build),
    )
    layer = oci.layer(root, build.scratch / "layer.tar")
    oci.write(
        build.out / ARCHIVE, [oci.Image(NAME, (layer,), entrypoint=("/pause",), user="65535:65535")]
    )


PAUSE_IMAGE = Artifact(
    "pause-image", (_SOURCE, Path(__file__), Path(oci.__file__)), _build, needs=(ZIG,)
)
"""A directory with `ARCHIVE`."""
