"""The runner's image: CPython, the wheel of this checkout and what it depends on.

It needs neither root nor a root file system that can be written, and has no shell. Two layers stay
the same from one commit to the next, so what is built once is those; the wheel's is made each time.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

from building.architecture import AMD64, Architecture
from building.artifacts import Artifact, Build, obtain
from building.progress import Progress
from building.tree import ROOT
from delivery import wheel
from delivery.bundle.packages import runtime_lock
from images import apt, elf, host, oci
from images.cpython import CPYTHON, SITE_PACKAGES, VERSION, cpython_for
from images.pause import ARCHIVE

IMAGE_NAME = "localhost/dra-conformance/runner:1"
USER = 1000
_PROJECT, _LOCK = ROOT / "pyproject.toml", ROOT / "requirements.lock"
_PYTHON = Path("opt/python")
_SITE = _PYTHON / SITE_PACKAGES
_GLIBCS = (28, 27, 24, 17, 12, 5)
"""Minor versions of glibc 2 in the tags of wheels, up to the oldest that the image is meant for."""


def _compile(python: Path, root: Path, folder: Path) -> None:
    """Write bytecode as it will stand in the image, the same bytes every time."""
    subprocess.run(
        [
            *(python / "bin" / "python3", "-m", "compileall", "-q"),
            *("--invalidation-mode", "unchecked-hash", "-s", root, "-p", "/", folder),
        ],
        env={"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"},
        check=True,
    )


def _build_base(build: Build, architecture: Architecture) -> None:
    """The interpreter and what the wheel depends on, and the libraries that these load."""
    base = build.out / "base"
    shutil.copytree(build.needs[architecture.part("cpython")], base / _PYTHON, symlinks=True)
    lock = build.scratch / "requirements.lock"
    dependencies = tomllib.loads(_PROJECT.read_text())["project"]["dependencies"]
    lock.write_text(runtime_lock(_LOCK.read_text(), dependencies))
    build.run(
        *(sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-deps"),
        *("--require-hashes", "--only-binary=:all:", "--no-compile", "--progress-bar=off"),
        *("--implementation=cp", f"--python-version={VERSION}", "--ignore-requires-python"),
        *(f"--abi={abi}" for abi in (f"cp{VERSION.replace('.', '')}", "abi3", "none")),
        *(f"--platform=manylinux_2_{minor}_{architecture.machine}" for minor in _GLIBCS),
        *("--platform=any", "-r", lock, "--target", base / _SITE),
    )
    shutil.rmtree(base / _SITE / "bin")
    _compile(build.needs["cpython"], base, base / _PYTHON / "lib")
    source = host.MACHINE if architecture == AMD64 else apt.fetched(build, architecture)
    system = host.Root(build.out / "system", source)
    binaries = [path for path in sorted(base.rglob("*")) if elf.is_elf(path)]
    system.libraries(*binaries, without={path.name for path in binaries})
    system.write(
        {
            "etc/passwd": f"root:x:0:0:root:/:/\nrunner:x:{USER}:{USER}:runner:/tmp:/\n",
            "etc/group": f"root:x:0:\nrunner:x:{USER}:\n",
        }
    )
    terminal = Path("lib/terminfo/d/dumb")  # else the interpreter's readline complains
    if (Path("/") / terminal).is_file():
        (system.path / terminal).parent.mkdir(parents=True)
        shutil.copyfile(Path("/") / terminal, system.path / terminal)
    (build.out / "packages").write_text(system.packages())


@functools.cache
def base_for(architecture: Architecture) -> Artifact:
    """A directory with the trees ``system`` and ``base``, and a file that says what was taken."""
    glibc = () if architecture == AMD64 else (apt.glibc_for(architecture),)
    needs = dict.fromkeys((*glibc, CPYTHON, cpython_for(architecture)))
    return Artifact(
        architecture.part("runner-base"),
        (_PROJECT, _LOCK, Path(__file__), host.glibc_digest(), str(architecture)),
        functools.partial(_build_base, architecture=architecture),
        needs=tuple(needs),
        minutes=1,
    )


def assemble(folder: Path, architecture: Architecture, progress: Progress) -> Path:
    """Make the image of this checkout, called `IMAGE_NAME`, in a folder; answer the OCI archive.

    Raises:
        UserError: something could not be fetched or built.
    """
    base_artifact = base_for(architecture)
    built = obtain([base_artifact, CPYTHON], progress)
    base = built[base_artifact.name]
    program = folder / "program"
    with zipfile.ZipFile(wheel.build(folder, progress)) as packed:
        packed.extractall(program / _SITE)
    _compile(built[CPYTHON.name], program, program / _SITE)
    trees = {"system": base / "system", "base": base / "base", "program": program}
    image = oci.Image(
        IMAGE_NAME,
        tuple(oci.layer(tree, folder / f"{name}.tar") for name, tree in trees.items()),
        architecture,
        entrypoint=("/opt/python/bin/python3", "-m", "dra_conformance"),
        env={
            "PATH": "/opt/python/bin",
            "HOME": "/tmp",
            "PYTHONSAFEPATH": "1",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            # For a Pushgateway; API servers come with an authority of their own.
            "SSL_CERT_FILE": f"/{_SITE}/certifi/cacert.pem",
        },
        user=f"{USER}:{USER}",
        labels={
            "org.opencontainers.image.title": "DRA conformance runner",
            host.PACKAGES_LABEL: (base / "packages").read_text(),
        },
    )
    archive = folder / ARCHIVE
    oci.write(archive, [image])
    return archive
