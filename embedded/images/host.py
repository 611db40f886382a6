"""Takes glibc and programs for an image from the machine that builds it, with all they load.

These are the parts that a distribution maintains best; what was taken, in which version, is noted
in the image's labels. Everything lands at the path that it has here, because a loader searches the
directories that its distribution compiled into it.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path

from embedded import bundle
from embedded.artifacts import BuildError
from embedded.images import elf

LOADER = Path("/lib64/ld-linux-x86-64.so.2")
"""Where programs name it: part of the x86-64 ABI."""

PACKAGES_LABEL = "dra-conformance.host-packages"
"""Image label: ``package=version`` of everything taken from the building machine."""

_DIRECTORIES = ("usr/lib/x86_64-linux-gnu", "usr/lib64", "usr/lib")
_PROGRAMS = ("usr/bin", "usr/sbin")
_GLIBC = ("libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0", "librt.so.1")


def library(soname: str) -> Path:
    """The machine's library of that name, in the directory where loaders find it.

    Raises:
        BuildError: there is none.
    """
    for directory in _DIRECTORIES:
        if (found := Path("/", directory, soname)).is_file():
            return found
    raise BuildError(f"this machine has no {soname} in {', '.join('/' + d for d in _DIRECTORIES)}")


def glibc_digest() -> str:
    """What the machine's glibc is: an image's content depends on it.

    In a tree unpacked from a bundle it is that of the machine which built the bundle's images;
    empty where there is none.
    """
    if carrier := bundle.unpacked():
        return carrier.glibc
    for directory in _DIRECTORIES:
        if (found := Path("/", directory, "libc.so.6")).is_file():
            return hashlib.sha256(found.read_bytes()).hexdigest()
    return ""


def program(name: str) -> Path:
    """The machine's program of that name.

    Raises:
        BuildError: there is none.
    """
    for directory in _PROGRAMS:
        if (found := Path("/", directory, name)).is_file():
            return found
    raise BuildError(f"this machine has no program {name}")


def ldconfig() -> Path:
    """The program that writes the loader's cache; Ubuntu hides it behind a shell script."""
    real = Path("/usr/sbin/ldconfig.real")
    return real if real.is_file() else program("ldconfig")


class Root:
    """An image's root file system under construction, laid out as merged-/usr distributions do."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._taken: list[Path] = []
        for directory in (
            "usr/bin",
            "usr/sbin",
            "usr/lib",
            "usr/lib64",
            "etc",
            "proc",
            "sys",
            "dev",
        ):
            (path / directory).mkdir(parents=True)
        for name in ("bin", "sbin", "lib", "lib64"):
            (path / name).symlink_to(f"usr/{name}")
        (path / "tmp").mkdir()
        (path / "tmp").chmod(0o1777)

    def write(self, files: Mapping[str, str]) -> None:
        """Write text files by their path in the image."""
        for name, text in files.items():
            target = self.path / name.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)

    def programs(self, sources: Iterable[Path]) -> None:
        """Take programs of the machine, and everything that they load."""
        for source in sources:
            self._take(source, source)
            self.libraries(source)

    def libraries(self, *files: Path, without: Container[str] = ()) -> None:
        """Take the libraries that ELF files of the image load, and those that they load in turn.

        Args:
            files: programs and libraries; they may stand in another layer's tree.
            without: sonames that come from elsewhere, as libraries named by path do anyway.
        """
        waiting = list(files)
        while waiting:
            file = waiting.pop()
            found = elf.read(file)
            if found.interpreter:
                self._loader()
            for soname in found.needed:
                if "/" in soname or soname in without or soname == LOADER.name:
                    continue
                source = library(soname)
                if self._take(source.resolve(), source):
                    waiting.append(source)

    def glibc(self) -> None:
        """Take all of glibc that libraries injected at run time (a driver's) may load."""
        self._loader()
        for soname in _GLIBC:
            self._take(library(soname).resolve(), library(soname))

    def packages(self) -> str:
        """``package=version`` of all that was taken, for `PACKAGES_LABEL`."""
        return ", ".join(
            f"{name}={version}" for name, version in sorted(_owners(self._taken).items())
        )

    def _loader(self) -> None:
        target = self.path / "usr" / str(LOADER).lstrip("/")
        if not target.exists():
            real = library(LOADER.name) if not LOADER.exists() else LOADER.resolve()
            self._take(real, real)
            if not target.exists():
                target.symlink_to(real)

    def _take(self, source: Path, target: Path) -> bool:
        """Copy a file of the machine to a path of the image; False if that is there already."""
        copy = self.path / str(target).lstrip("/")
        if copy.exists():
            return False
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)
        copy.chmod(0o755)
        self._taken.append(source.resolve())
        return True


def _owners(files: Sequence[Path]) -> dict[str, str]:
    """The Debian packages that own files, with their versions; empty elsewhere."""
    if not files or not shutil.which("dpkg-query"):
        return {}
    # dpkg knows a file by the path of before /usr was merged, or by that of after.
    names = [name for file in files for name in (str(file), str(file).removeprefix("/usr"))]
    found = subprocess.run(
        ["dpkg-query", "--search", *names], capture_output=True, text=True, check=False
    ).stdout
    packages = {
        line.partition(": ")[0].split(",")[0] for line in found.splitlines() if ": /" in line
    }
    packages = {package for package in packages if not package.startswith("diversion ")}
    if not packages:
        return {}
    shown = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Package} ${Version}\n", *sorted(packages)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return dict(line.split(" ", 1) for line in shown.splitlines())
