"""The image of the reference driver: CPython, grpcio, the kubelet's protocols, the driver."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

from building.artifacts import Artifact, Build
from building.binaries import KUBELET_PROTOCOL
from building.toolchain import PINS
from images import elf, host, oci
from images.cpython import CPYTHON, SITE_PACKAGES, VERSION
from images.pause import ARCHIVE

IMAGE_NAME = "localhost/dra-conformance/dra-reference-driver:1"
NEXT_IMAGE_NAME = "localhost/dra-conformance/dra-reference-driver:2"
"""The same, with another form of the record of what is prepared: what an upgrade changes."""

_DRIVER = Path(__file__).with_name("kubelet_plugin")
_PYTHON = Path("opt/python")
_BUILD_TIME_ONLY = ("grpc_tools", "bin")


def _build_packages(build: Build) -> None:
    build.run(
        *(sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-deps"),
        *("--require-hashes", "--only-binary=:all:", "--no-compile", "--progress-bar=off"),
        *("--implementation=cp", f"--python-version={VERSION}", "--ignore-requires-python"),
        *(f"--abi=cp{VERSION.replace('.', '')}", "--abi=abi3", "--abi=none"),
        *("--platform=manylinux_2_17_x86_64", "--platform=manylinux2014_x86_64"),
        *("--platform=any", "-r", PINS / "reference.txt", "--target", build.out),
    )


def _build_protocol(build: Build) -> None:
    """Generate the messages and stubs of every protocol by which the kubelet talks to plugins."""
    protocols = build.needs["kubelet-protocol"]
    build.run(
        *(build.needs["cpython"] / "bin" / "python3", "-m", "grpc_tools.protoc"),
        *("-I", protocols, f"--python_out={build.out}", f"--grpc_python_out={build.out}"),
        *sorted(protocols.glob("*.proto")),
        env={"PYTHONPATH": str(build.needs["reference-packages"])},
    )


def _build_image(build: Build) -> None:
    tree = build.scratch / "tree"
    python = tree / _PYTHON
    shutil.copytree(build.needs["cpython"], python, symlinks=True)
    site = python / SITE_PACKAGES
    for name in ("reference-packages", "reference-protocol"):
        shutil.copytree(build.needs[name], site, dirs_exist_ok=True)
    for name in _BUILD_TIME_ONLY:
        shutil.rmtree(site / name, ignore_errors=True)
    (site / _DRIVER.name).mkdir()
    for source in sorted(_DRIVER.glob("*.py")):
        shutil.copyfile(source, site / _DRIVER.name / source.name)
    for path in sorted(site.rglob("*")):
        if elf.is_elf(path):
            elf.strip(path)
    # Unchecked: the files never change after. The hash seed decides the order of set constants.
    build.run(
        *(build.needs["cpython"] / "bin" / "python3", "-m", "compileall", "-q"),
        *("--invalidation-mode", "unchecked-hash", "-s", tree, "-p", "/", python / "lib"),
        env={"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    system = host.Root(build.scratch / "system")
    binaries = [path for path in sorted(tree.rglob("*")) if elf.is_elf(path)]
    system.libraries(*binaries, without={path.name for path in binaries})
    system.write({"etc/passwd": "root:x:0:0:root:/:/\n", "etc/group": "root:x:0:\n"})
    layers = tuple(
        oci.layer(root, build.scratch / f"{name}.tar")
        for name, root in {"system": system.path, "python": tree}.items()
    )
    environment = {"PATH": "/opt/python/bin", "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}
    image = oci.Image(
        IMAGE_NAME,
        layers,
        entrypoint=("/opt/python/bin/python3", "-m", _DRIVER.name),
        env=environment,
        labels={
            "org.opencontainers.image.title": "DRA reference driver",
            host.PACKAGES_LABEL: system.packages(),
        },
    )
    after = replace(image, name=NEXT_IMAGE_NAME, env={**environment, "DRIVER_VERSION": "2"})
    oci.write(build.out / ARCHIVE, [image, after])


REFERENCE_PACKAGES = Artifact(
    "reference-packages", (PINS / "reference.txt", Path(__file__), VERSION), _build_packages
)
"""A directory to be merged into ``site-packages``, with what generates the protocol's modules."""

REFERENCE_PROTOCOL = Artifact(
    "reference-protocol",
    (Path(__file__),),
    _build_protocol,
    needs=(CPYTHON, REFERENCE_PACKAGES, KUBELET_PROTOCOL),
)
"""A directory with ``dra_v1_pb2.py``, ``dra_v1_pb2_grpc.py`` and so on, for ``sys.path``."""

REFERENCE_IMAGE = Artifact(
    "reference-driver-image",
    (
        _DRIVER,
        Path(__file__),
        Path(elf.__file__),
        Path(host.__file__),
        Path(oci.__file__),
        host.glibc_digest(),
    ),
    _build_image,
    needs=(CPYTHON, REFERENCE_PACKAGES, REFERENCE_PROTOCOL),
    minutes=0.2,
)
"""A directory with `ARCHIVE`."""
