"""An image with a shell and a few programs beside it, and neither Python nor anything of ours."""

from __future__ import annotations

from pathlib import Path

from building.architecture import AMD64
from building.artifacts import Artifact, Build
from images import host, oci
from images.pause import ARCHIVE

NAME = "localhost/somebody/shell:1"
SHELL = "dash"
PROGRAMS = (SHELL, "sed", "tr", "readlink", "sha256sum", "sleep")
"""What `workload/shell.sh` says that it takes."""


def _build(build: Build) -> None:
    root = host.Root(build.scratch / "root")
    root.glibc()
    root.programs([host.MACHINE.program(name) for name in PROGRAMS])
    (root.path / "usr/bin/sh").symlink_to(SHELL)
    layer = oci.layer(root.path, build.scratch / "root.tar")
    image = oci.Image(NAME, (layer,), AMD64, entrypoint=("sh",), env={"PATH": "/usr/sbin:/usr/bin"})
    oci.write(build.out / ARCHIVE, [image])


SHELL_IMAGE = Artifact("test-shell-image", (Path(__file__), host.glibc_digest()), _build)
"""A directory with `ARCHIVE`, in which the image is called `NAME`."""
