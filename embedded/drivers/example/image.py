"""dra-example-driver's program and chart, from its own Go module, and the image that runs it."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from building.artifacts import Artifact, Build
from building.binaries import HERE as BINARIES
from building.toolchain import go_build, go_package
from images import oci
from images.pause import ARCHIVE

VERSIONS = ("0.4.0", "0.3.0")
"""Newest first: what ``--embedded-driver example@`` takes."""

_MODULE = "sigs.k8s.io/dra-example-driver"
_PROGRAM = "dra-example-kubeletplugin"


def program_for(version: str) -> Artifact:
    """A directory with the kubelet plugin's binary and ``chart``."""
    pins = BINARIES / f"example-{version}"
    return Artifact(
        f"example-driver-{version}", (pins,), partial(_build_driver, pins=pins), minutes=0.7
    )


def image_for(version: str) -> Artifact:
    """A directory with `ARCHIVE`: the image of a version of the driver."""
    return Artifact(
        f"example-driver-image-{version}",
        (Path(__file__), Path(oci.__file__)),
        partial(_build_image, version=version),
        needs=(program_for(version),),
    )


def _build_driver(build: Build, pins: Path) -> None:
    go_build(
        build,
        pins,
        *("-ldflags", "-s -w", "-o", build.out / _PROGRAM),
        f"{_MODULE}/cmd/{_PROGRAM}",
    )
    charts = go_package(build, pins, _MODULE) / "deployments" / "helm"
    shutil.copytree(charts / "dra-example-driver", build.out / "chart")
    build.run("chmod", "-R", "u+w", build.out)  # Go's module cache is read-only


def _build_image(build: Build, version: str) -> None:
    """One static program; its devices are made up, so it needs nothing of the machine."""
    root = build.scratch / "root"
    (root / "usr/bin").mkdir(parents=True)
    (root / "etc").mkdir()
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/\n")
    shutil.copy(build.needs[program_for(version).name] / _PROGRAM, root / "usr/bin")
    layer = oci.layer(root, build.scratch / "layer.tar")
    image = oci.Image(
        f"localhost/dra-conformance/dra-example-driver:v{version}",
        (layer,),
        env={"PATH": "/usr/bin"},
        labels={"org.opencontainers.image.title": "dra-example-driver", "version": f"v{version}"},
    )
    oci.write(build.out / ARCHIVE, [image])
