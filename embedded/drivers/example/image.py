"""dra-example-driver's program and chart, from its own Go module, and the image that runs it."""

from __future__ import annotations

import shutil
from pathlib import Path

from building.artifacts import Artifact, Build
from building.binaries import HERE as BINARIES
from building.toolchain import go_build, go_package
from images import oci
from images.pause import ARCHIVE

VERSION = "0.3.0"
IMAGE_NAME = f"localhost/dra-conformance/dra-example-driver:v{VERSION}"

_MODULE = "sigs.k8s.io/dra-example-driver"
_PROGRAM = "dra-example-kubeletplugin"
_PINS = BINARIES / "example"


def _build_driver(build: Build) -> None:
    go_build(
        build,
        _PINS,
        *("-ldflags", "-s -w", "-o", build.out / _PROGRAM),
        f"{_MODULE}/cmd/{_PROGRAM}",
    )
    charts = go_package(build, _PINS, _MODULE) / "deployments" / "helm"
    shutil.copytree(charts / "dra-example-driver", build.out / "chart")
    build.run("chmod", "-R", "u+w", build.out)  # Go's module cache is read-only


def _build_image(build: Build) -> None:
    """One static program; its devices are made up, so it needs nothing of the machine."""
    root = build.scratch / "root"
    (root / "usr/bin").mkdir(parents=True)
    (root / "etc").mkdir()
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/\n")
    shutil.copy(build.needs["example-driver"] / _PROGRAM, root / "usr/bin")
    layer = oci.layer(root, build.scratch / "layer.tar")
    image = oci.Image(
        IMAGE_NAME,
        (layer,),
        env={"PATH": "/usr/bin"},
        labels={"org.opencontainers.image.title": "dra-example-driver", "version": f"v{VERSION}"},
    )
    oci.write(build.out / ARCHIVE, [image])


EXAMPLE_DRIVER = Artifact("example-driver", (_PINS, VERSION), _build_driver, minutes=0.7)
"""A directory with the kubelet plugin's binary and ``chart``."""

EXAMPLE_IMAGE = Artifact(
    "example-driver-image",
    (Path(__file__), Path(oci.__file__)),
    _build_image,
    needs=(EXAMPLE_DRIVER,),
)
"""A directory with `ARCHIVE`."""
