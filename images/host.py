"""Takes glibc and programs for an image from the machine that builds it, with all they load.

These are the parts that a distribution maintains best; what was taken, in which version, is noted
in the image's labels. Everything lands at the path that it has there, because a loader searches the
directories that its distribution compiled into it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from building import bundle
from building.architecture import AMD64, Architecture
from building.artifacts import BuildError
from images import elf

PACKAGES_LABEL = "dra-conformance.host-packages"
"""Image label: ``package=version`` of everything taken from the building machine's distribution."""

_GLIBC = ("libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0", "librt.so.1")


@dataclass(frozen=True)
class Source:
    """What glibc and programs are taken from: this machine, unless other roots are given."""

    architecture: Architecture = AMD64
    roots: tuple[Path, ...] = (Path("/"),)
    """File systems that together are one, without symbolic links in their own paths."""

    def library(self, soname: str) -> Path:
        """The library of that name, in the directory where loaders find it.

        Raises:
            BuildError: there is none.
        """
        return self._find(soname, f"lib/{self.architecture.triplet}", "lib64", "lib")

    def program(self, name: str) -> Path:
        """The program of that name.

        Raises:
            BuildError: there is none.
        """
        return self._find(name, "bin", "sbin")

    def ldconfig(self) -> Path:
        """The program that writes the loader's cache; Ubuntu hides it behind a shell script.

        Raises:
            BuildError: there is none.
        """
        try:
            return self.program("ldconfig.real")
        except BuildError:
            return self.program("ldconfig")

    def place(self, file: Path) -> Path:
        """The path of a file of this source, relative to the root of its file system."""
        (root,) = (root for root in self.roots if file.is_relative_to(root))
        return file.relative_to(root)

    def owners(self, files: Sequence[Path]) -> dict[str, str]:
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

    def _find(self, name: str, *directories: str) -> Path:
        # Debian's packages have a path of before or of after /usr was merged.
        searched = [f"{prefix}{directory}" for prefix in ("usr/", "") for directory in directories]
        for directory in searched:
            for root in self.roots:
                if (found := root / directory / name).is_file():
                    return found
        where = ", ".join(root.name or "this machine" for root in self.roots)
        raise BuildError(
            f"no {name} for {self.architecture.name} in {', '.join(searched)} of {where}"
        )


MACHINE = Source()
"""The machine that builds."""


def glibc_digest() -> str:
    """What the machine's glibc is: an image's content depends on it.

    In a tree unpacked from a bundle it is that of the machine which built the bundle's images;
    empty where there is none.
    """
    if carrier := bundle.unpacked():
        return carrier.glibc
    try:
        return hashlib.sha256(MACHINE.library("libc.so.6").read_bytes()).hexdigest()
    except BuildError:
        return ""


class Root:
    """An image's root file system under construction, laid out as merged-/usr distributions do."""

    def __init__(self, path: Path, source: Source = MACHINE) -> None:
        """Lay out the directories.

        Args:
            path: where to; it must not be there yet.
            source: what glibc and programs are taken from.
        """
        self.path = path
        self.source = source
        self._taken: list[Path] = []
        for name in ("bin", "sbin", "lib", "lib64"):
            (path / "usr" / name).mkdir(parents=True)
            (path / name).symlink_to(f"usr/{name}")
        for name in ("etc", "proc", "sys", "dev", "tmp"):
            (path / name).mkdir()
        (path / "tmp").chmod(0o1777)

    def write(self, files: Mapping[str, str]) -> None:
        """Write text files by their path in the image."""
        for name, text in files.items():
            target = self.path / name.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)

    def programs(self, sources: Iterable[Path]) -> None:
        """Take programs of the source, and everything that they load."""
        for source in sources:
            self._take(source)
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
                if "/" in soname or soname in without or soname == self._loader_path.name:
                    continue
                source = self.source.library(soname)
                if self._take(source):
                    waiting.append(source)

    def glibc(self) -> None:
        """Take all of glibc that libraries injected at run time (a driver's) may load."""
        self._loader()
        for soname in _GLIBC:
            self._take(self.source.library(soname))

    def packages(self) -> str:
        """``package=version`` of all that was taken, for `PACKAGES_LABEL`."""
        return ", ".join(
            f"{name}={version}" for name, version in sorted(self.source.owners(self._taken).items())
        )

    @property
    def _loader_path(self) -> Path:
        return Path(self.source.architecture.loader)

    def _loader(self) -> None:
        real = self.source.library(self._loader_path.name).resolve()
        self._take(real)
        target = self.path / "usr" / self._loader_path.relative_to("/")
        if not os.path.lexists(target):  # a link of the image leads nowhere here
            target.symlink_to("/" / self.source.place(real))

    def _take(self, source: Path) -> bool:
        """Copy a file to the path that it has in its file system; False if that is there already.

        The image's own links lead a path of before /usr was merged to where it is now.
        """
        copy = self.path / self.source.place(source)
        if copy.exists():
            return False
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)
        copy.chmod(0o755)
        self._taken.append(source.resolve())
        return True
