"""The wheels that the workload's image carries, whatever Python fetches them."""

from __future__ import annotations

import functools
import shutil
import sys
from pathlib import Path

from building.architecture import Architecture
from building.artifacts import Artifact, Build
from building.toolchain import PINS
from images.cpython import VERSION

_UNUSED = (
    "numpy/**/tests",
    "numpy/f2py",
    "numpy/typing",
    "numpy/_core/lib",
    "numpy/random/_examples",
    "numpy/random/lib",
    "**/*.pyi",
    "**/*.pxd",
    "bin",
    "mako/ext",
    "mako/testing",
)
"""Tests, type stubs and what compiles Fortran or C against numpy.

``numpy/_core/include`` is dropped later: PyCUDA is compiled with it."""


def _build(build: Build, architecture: Architecture) -> None:
    build.run(
        *(sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-deps"),
        *("--require-hashes", "--only-binary=:all:", "--no-compile", "--progress-bar=off"),
        *(
            "--implementation=cp",
            f"--python-version={VERSION}",
            f"--abi=cp{VERSION.replace('.', '')}",
        ),
        # The tags of glibc up to 2.28, the oldest that the image is meant for.
        *(f"--platform=manylinux_2_{minor}_{architecture.machine}" for minor in (28, 27, 17)),
        # Else pip compares what the packages ask for with the Python that it runs in.
        *("--abi=none", "--platform=any", "--ignore-requires-python"),
        *("-r", PINS / "workload.txt", "--target", build.out),
    )
    for pattern in _UNUSED:
        for path in sorted(build.out.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            elif path.exists():
                path.unlink()
    # The programs of ``bin`` named the Python that installed them; so do their hashes here.
    for record in sorted(build.out.glob("*.dist-info/RECORD")):
        lines = record.read_text().splitlines(keepends=True)
        record.write_text("".join(line for line in lines if not line.startswith("../../bin/")))


@functools.cache
def packages_for(architecture: Architecture) -> Artifact:
    """A directory to be merged into ``site-packages``."""
    return Artifact(
        architecture.part("workload-packages"),
        (PINS / "workload.txt", Path(__file__), VERSION, str(architecture)),
        functools.partial(_build, architecture=architecture),
    )
