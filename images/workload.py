"""The image of the workload: CPython, numpy, PyCUDA, the program and its kernels, on glibc.

Three layers: glibc and what the NVIDIA container toolkit's hooks work on; the interpreter with its
packages; the program. No shell, no package manager, and no ``LD_LIBRARY_PATH``: ``libcuda.so.1`` is
found only when the ``update-ldcache`` hook of the CDI specification ran. A driver brings the
library under its full version; the name ``libcuda.so.1`` is a link that this hook's ``ldconfig``
makes. So is the cache, which alone leads to directories that this loader does not search by itself
(on Debian all but ``/lib``, ``/usr/lib`` and their ``x86_64-linux-gnu``). So a hook that is missing
or broken is seen.

For another architecture than the building machine's nothing has to run on it: all is unpacked or
cross-compiled, and bytecode is the same for all.
"""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

from building.architecture import AMD64, Architecture
from building.artifacts import Artifact, Build
from images import apt, elf, host, oci
from images.cpython import CPYTHON, SITE_PACKAGES, VERSION, cpython_for
from images.kernels import PTX
from images.packages import packages_for
from images.pause import ARCHIVE
from images.pycuda import pycuda_for

WORKLOAD_IMAGE_NAME = "localhost/dra-conformance/workload:1"
ENTRYPOINT = ("/opt/python/bin/python3", "-m", "workload")
USER = 1000
"""The image's user; no check needs another."""

PYTHON = Path("opt/python")
"""The interpreter's directory, relative to the image's root."""

SOURCE = Path(__file__).parents[1] / "workload"
"""The program."""

_COMPILE_TIME_ONLY = ("numpy/_core/include", "pycuda/cuda", "setuptools")


def _build_base(build: Build, architecture: Architecture) -> None:
    """The interpreter and its packages, with bytecode."""
    python = build.out / PYTHON
    shutil.copytree(build.needs[architecture.part("cpython")], python, symlinks=True)
    site = python / SITE_PACKAGES
    for name in ("workload-packages", "pycuda"):
        shutil.copytree(build.needs[architecture.part(name)], site, dirs_exist_ok=True)
    for name in _COMPILE_TIME_ONLY:
        shutil.rmtree(site / name, ignore_errors=True)
    _write_bytecode(build, build.out, python / "lib" / f"python{VERSION}")


def system_root(build: Build, architecture: Architecture) -> host.Root:
    """What the base and the hooks of CDI specifications need under them, in the build's scratch."""
    source = host.MACHINE if architecture == AMD64 else apt.fetched(build, architecture)
    system = host.Root(build.scratch / "system", source)
    base = build.needs[architecture.part("workload-base")]
    binaries = [path for path in sorted(base.rglob("*")) if elf.is_elf(path)]
    system.glibc()
    # The driver's library is the hooks' to bring; numpy's own stand beside it.
    system.libraries(*binaries, without={"libcuda.so.1", *(path.name for path in binaries)})
    ldconfig = source.ldconfig()
    system.programs([ldconfig])
    if ldconfig.name != "ldconfig":
        (system.path / "usr/sbin/ldconfig").symlink_to(ldconfig.name)
    system.write(
        {
            "etc/passwd": f"root:x:0:0:root:/:/\nworkload:x:{USER}:{USER}:workload:/tmp:/\n",
            "etc/group": f"root:x:0:\nworkload:x:{USER}:\n",
            # What the hook edits. By debian_version it tells which directories this loader
            # searches by itself.
            "etc/ld.so.conf": "include /etc/ld.so.conf.d/*.conf\n",
            "etc/ld.so.conf.d/libc.conf": "# Directories follow by CDI hooks.\n",
            **_debian_version(),
        }
    )
    return system


def _build_image(build: Build, architecture: Architecture) -> None:
    system = system_root(build, architecture)
    base = build.needs[architecture.part("workload-base")]
    program = build.scratch / "program"
    add_program(build, program)
    trees = {"system": system.path, "base": base, "program": program}
    layers = tuple(oci.layer(tree, build.scratch / f"{name}.tar") for name, tree in trees.items())
    image = oci.Image(
        WORKLOAD_IMAGE_NAME,
        layers,
        architecture,
        entrypoint=ENTRYPOINT,
        env={
            "PATH": "/opt/python/bin:/usr/sbin:/usr/bin",
            "HOME": "/tmp",
            # The program is the one of the image, whatever lies in the working directory.
            "PYTHONSAFEPATH": "1",
            "PYTHONUNBUFFERED": "1",
            # The linear algebra library's threads would only take own PIDs and time.
            "OPENBLAS_NUM_THREADS": "1",
        },
        user=f"{USER}:{USER}",
        labels={
            "org.opencontainers.image.title": "DRA conformance workload",
            host.PACKAGES_LABEL: system.packages(),
        },
    )
    oci.write(build.out / ARCHIVE, [image])


def _debian_version() -> dict[str, str]:
    file = Path("/etc/debian_version")
    return {"etc/debian_version": file.read_text()} if file.is_file() else {}


def add_program(build: Build, root: Path) -> None:
    """Put the program with its kernels beside the interpreter in a root."""
    package = root / PYTHON / SITE_PACKAGES / "workload"
    package.mkdir(parents=True)
    for source in (*sorted(SOURCE.glob("*.py")), SOURCE / PTX):
        shutil.copyfile(source, package / source.name)
    _write_bytecode(build, root, package, checked=True)


def _write_bytecode(build: Build, root: Path, folder: Path, *, checked: bool = False) -> None:
    """Compile Python files as they will stand in the image, the same bytes every time.

    The hash seed decides the order of set constants.

    Args:
        build: the running build.
        root: the directory that becomes the image's root.
        folder: what to compile, below the root.
        checked: whether the interpreter compares source and bytecode, for files that a layer on top
            may replace.
    """
    build.run(
        *(build.needs["cpython"] / "bin" / "python3", "-m", "compileall", "-q"),
        *("--invalidation-mode", "checked-hash" if checked else "unchecked-hash"),
        *("-s", root, "-p", "/", folder),
        env={"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"},
    )


@functools.cache
def base_for(architecture: Architecture) -> Artifact:
    """A directory with `PYTHON`: the interpreter and its packages, without the program."""
    own = (cpython_for(architecture), packages_for(architecture), pycuda_for(architecture))
    needs = dict.fromkeys((CPYTHON, *own))  # amd64's own is the one that runs during builds
    return Artifact(
        architecture.part("workload-base"),
        (Path(__file__),),
        functools.partial(_build_base, architecture=architecture),
        needs=tuple(needs),
        minutes=0.3,
    )


@functools.cache
def image_for(architecture: Architecture) -> Artifact:
    """A directory with `ARCHIVE`, in which the image is called `WORKLOAD_IMAGE_NAME`."""
    # First, as it can be missing: better before minutes of other builds.
    system = () if architecture == AMD64 else (apt.glibc_for(architecture),)
    return Artifact(
        architecture.part("workload-image"),
        (SOURCE, Path(__file__).parent, host.glibc_digest()),
        functools.partial(_build_image, architecture=architecture),
        needs=(*system, base_for(architecture), CPYTHON),
    )


WORKLOAD_IMAGE = image_for(AMD64)
"""The embedded cluster's."""
