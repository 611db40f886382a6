"""An image with Python and PyCUDA and nothing of ours, as an admin may have one."""

from __future__ import annotations

from pathlib import Path

from building.architecture import AMD64
from building.artifacts import Artifact, Build
from images import host, oci
from images.pause import ARCHIVE
from images.workload import SOURCE, base_for, system_root

NAME = "localhost/somebody/python-with-pycuda:1"


def _build(build: Build) -> None:
    system = system_root(build, AMD64)
    trees = {"system": system.path, "base": build.needs["workload-base"]}
    layers = tuple(oci.layer(tree, build.scratch / f"{name}.tar") for name, tree in trees.items())
    env = {"PATH": "/opt/python/bin:/usr/sbin:/usr/bin"}
    image = oci.Image(NAME, layers, AMD64, entrypoint=("python3",), env=env)
    oci.write(build.out / ARCHIVE, [image])


PYTHON_IMAGE = Artifact(
    "test-python-image",
    (Path(__file__), SOURCE.parent / "images", host.glibc_digest()),
    _build,
    needs=(base_for(AMD64),),
)
"""A directory with `ARCHIVE`, in which the image is called `NAME`."""
