"""The interpreter of the workload's image: CPython, taken from a pinned Go module.

The module (``building/binaries/python-MINOR``) embeds builds of the python-build-standalone
project. They run from any directory and with any glibc from 2.17 on; every extension module of the
standard library is linked into ``libpython``.
"""

from __future__ import annotations

import functools
import gzip
import json
import shutil
import sys
import sysconfig
from pathlib import Path

from building import bundle
from building.architecture import AMD64, Architecture
from building.artifacts import Artifact, Build, BuildError
from building.binaries import HERE as BINARIES
from building.toolchain import go_package
from images import elf

_carrier = bundle.unpacked()
VERSION = _carrier.python if _carrier else f"{sys.version_info.major}.{sys.version_info.minor}"
"""Minor version: that of the Python which builds (or has built the bundle's images), because
extensions are compiled with its C headers. The interpreter itself is the pinned one."""
SITE_PACKAGES = Path("lib") / f"python{VERSION}" / "site-packages"
"""Where packages go, relative to the interpreter's directory."""

_MODULE = "github.com/kluctl/go-embed-python"
_PIN = BINARIES / f"python-{VERSION}"
_DIRECTORY_BIT = 1 << 31
"""Go's ``fs.ModeDir``, as the module's list of files has it."""

_UNUSED = (
    f"lib/python{VERSION}/config-{VERSION}-*",  # for linking programs with the interpreter
    f"lib/python{VERSION}/tkinter",
    f"lib/python{VERSION}/turtle.py",
    f"lib/python{VERSION}/venv",
    "bin/*config",
    "bin/idle*",
    "bin/pip*",
    "bin/pydoc*",
    "lib/libpython3.so",
)
"""Parts that a program without screen and without package manager cannot use."""


def headers() -> Path:
    """The C headers of the Python that builds.

    Raises:
        BuildError: it has none, or no interpreter of its minor version is pinned.
    """
    if not _PIN.is_dir():
        pinned = ", ".join(
            sorted(path.name.partition("-")[2] for path in BINARIES.glob("python-*"))
        )
        raise BuildError(f"this runs on Python {VERSION}; the images can be built with {pinned}")
    folder = Path(sysconfig.get_path("include"))
    if not (folder / "Python.h").is_file():
        raise BuildError(f"{folder}/Python.h is missing: install the package python3-dev")
    return folder


def _build(build: Build, architecture: Architecture) -> None:
    headers()  # better now than after minutes of other builds
    data = go_package(build, _PIN, _MODULE) / "python" / "internal" / "data"
    _unpack(data / f"linux-{architecture.name}", build.out)
    for pattern in _UNUSED:
        for path in build.out.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    for path in sorted(build.out.rglob("*")):
        if elf.is_elf(path):
            elf.strip(path)


def _unpack(data: Path, out: Path) -> None:
    """Lay out the module's data: plain or gzipped files, links and modes as its list says."""
    for item in json.loads((data / "files.json").read_text())["files"]:
        target = out / item["name"]
        if item["perm"] & _DIRECTORY_BIT:
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if link := item.get("symlink"):
            target.symlink_to(link)
            continue
        if item.get("compressed"):
            target.write_bytes(gzip.decompress((data / f"{item['name']}.gz").read_bytes()))
        else:
            shutil.copyfile(data / item["name"], target)
        target.chmod(0o755 if item["perm"] & 0o100 else 0o644)


@functools.cache
def cpython_for(architecture: Architecture) -> Artifact:
    """A directory with ``bin/python3`` and its ``lib``; packages go into `SITE_PACKAGES`."""
    return Artifact(
        architecture.part("cpython"),
        (
            _PIN / "go.mod",
            _PIN / "go.sum",
            Path(__file__),
            Path(elf.__file__),
            str(architecture),
        ),
        functools.partial(_build, architecture=architecture),
        minutes=0.3,
    )


CPYTHON = cpython_for(AMD64)
"""The one that also runs during builds."""
