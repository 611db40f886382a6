"""Writes a bundle: an archive in parts that are small enough to carry, and what installs it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
import threading
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from embedded import artifacts, bundle, cluster
from embedded.binaries import Release
from embedded.bundle import packages
from embedded.drivers import DRIVERS
from embedded.errors import EmbeddedError
from embedded.images import cpython, host
from embedded.progress import Progress

NAME = "dra-conformance"
INSTALLER = f"{NAME}-install.sh"

_INSTALLER = Path(__file__).with_name("install.sh")
_COMPRESS = ("xz", "--compress", "--threads=0", "--x86", "--lzma2=preset=9e", "--stdout")
"""``--x86``: a filter for machine code, which is nearly all of the archive."""
_READ = 1 << 20


@dataclass(frozen=True)
class Written:
    """What stands in the output folder."""

    parts: tuple[Path, ...]
    checksums: Path
    installer: Path

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(path.stat().st_size for path in (*self.parts, self.checksums, self.installer))


def write(
    output: Path,
    part_size: int,
    drivers: Sequence[str],
    kubernetes: Sequence[Release],
    progress: Progress,
) -> Written:
    """Build everything that clusters with these drivers on these releases need, and bundle it.

    Args:
        output: folder to write to; another bundle's files in it are removed.
        part_size: the most bytes of one part.
        drivers: names of `DRIVERS`; each is usable alone and beside the others.
        kubernetes: releases to embed.
        progress: where to say what is going on.

    Raises:
        EmbeddedError: a part could not be built, or this tree is no git checkout.
    """
    if not shutil.which(_COMPRESS[0]):
        raise EmbeddedError("the program 'xz' is missing: install the package xz-utils")
    sources, version = _sources(), _version()
    chosen = [DRIVERS[name] for name in drivers]
    # By key: several releases have a part of the same name.
    parts = {item.key: item for one in kubernetes for item in cluster.parts(chosen, one)}
    for one in kubernetes:
        artifacts.obtain(cluster.parts(chosen, one), progress)
    carried = artifacts.obtain([packages.PACKAGES], progress)[packages.PACKAGES.name]
    described = bundle.Bundle(
        version=version,
        drivers=tuple(drivers),
        kubernetes=tuple(release.minor for release in kubernetes),
        pythons=bundle.PYTHONS,
        python=cpython.VERSION,
        glibc=host.glibc_digest(),
    )
    output.mkdir(parents=True, exist_ok=True)
    for old in output.glob(f"{NAME}-*"):
        old.unlink()
    name = f"{NAME}-{version}"
    with (
        progress.step("compressing (minutes)"),
        tempfile.TemporaryDirectory(dir=output) as scratch,
    ):
        described.save(Path(scratch))
        with (
            _Parts(output / f"{name}.tar.xz", part_size) as archive,
            tarfile.open(fileobj=archive.stream, mode="w|", format=tarfile.PAX_FORMAT) as tar,
        ):
            tree = _Tree(tar, NAME, _commit_time())
            for source in sources:
                tree.add(bundle.ROOT / source, source)
            folder = bundle.FOLDER.relative_to(bundle.ROOT)
            tree.add(Path(scratch) / bundle.DESCRIPTION, folder / bundle.DESCRIPTION)
            for item in (bundle.LOCK, bundle.WHEELS):
                tree.add(carried / item, folder / item)
            for part in parts.values():
                tree.add(part.path, folder / bundle.ARTIFACTS / part.path.name)
    installer = output / INSTALLER
    installer.write_text(_INSTALLER.read_text().replace("@NAME@", name))
    installer.chmod(0o755)
    checksums = output / f"{name}.sha256"
    files = [*archive.parts, installer]
    checksums.write_text("".join(f"{_digest(path)}  {path.name}\n" for path in files))
    return Written(tuple(archive.parts), checksums, installer)


class _Tree:
    """A tar archive with one folder at its top, the same bytes from the same content."""

    def __init__(self, tar: tarfile.TarFile, top: str, time: int) -> None:
        self._tar = tar
        self._top = top
        self._time = time

    def add(self, source: Path, name: Path) -> None:
        """Add a file or folder by its name below the top."""
        self._tar.add(source, f"{self._top}/{name}", filter=self._plain)

    def _plain(self, entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if "__pycache__" in Path(entry.name).parts:
            return None
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = "root"
        entry.mtime = self._time
        entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
        return entry


class _Parts:
    """Compresses a stream and cuts the result into files ``NAME.part-001``, ``-002`` and so on."""

    def __init__(self, name: Path, size: int) -> None:
        self.parts: list[Path] = []
        self._name = name
        self._size = size

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(_COMPRESS, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin
        self.stream = self._process.stdin
        self._cutter = threading.Thread(target=self._cut)
        self._cutter.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind:
            self._process.kill()
        self.stream.close()
        self._cutter.join()
        if self._process.wait() and not kind:
            raise EmbeddedError(f"`{' '.join(_COMPRESS)}` failed; see above")

    def _cut(self) -> None:
        stream = self._process.stdout
        assert stream
        while data := stream.read(min(_READ, self._size)):
            part = self._name.with_name(f"{self._name.name}.part-{len(self.parts) + 1:03}")
            self.parts.append(part)
            with part.open("wb") as file:
                left = self._size
                while data:
                    file.write(data)
                    left -= len(data)
                    data = stream.read(min(_READ, left)) if left else b""


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sources() -> list[Path]:
    """What git does not ignore, in the state of the working tree: the keys are made from that."""
    listed = _git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = sorted(set(filter(None, listed.split("\0"))))
    return [Path(name) for name in names if os.path.lexists(bundle.ROOT / name)]


def _version() -> str:
    """``0.1.0-gac1906c2``, with ``.changed`` where the working tree is not as committed."""
    project = tomllib.loads((bundle.ROOT / "pyproject.toml").read_text())["project"]
    changed = ".changed" if _git("status", "--porcelain") else ""
    return f"{project['version']}-g{_git('rev-parse', '--short=8', 'HEAD').strip()}{changed}"


def _commit_time() -> int:
    return int(_git("log", "-1", "--format=%ct"))


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(bundle.ROOT), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except FileNotFoundError as error:
        raise EmbeddedError("the program 'git' is missing: install the package git") from error
    except subprocess.CalledProcessError as error:
        raise EmbeddedError(
            f"a bundle is made from a git checkout, and {bundle.ROOT} is none: "
            f"{error.stderr.strip()}"
        ) from error
