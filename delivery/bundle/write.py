"""Writes a bundle: an archive in parts that are small enough to carry, and what installs it."""

from __future__ import annotations

import functools
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from building import artifacts, bundle
from building.binaries import PUSH, Release
from building.errors import UserError
from building.progress import Progress
from building.tree import ROOT
from delivery.bundle import packages
from embedded import cluster
from embedded.drivers import DRIVERS
from images import cpython, host

NAME = "dra-conformance"
INSTALLER = f"{NAME}-install.sh"

_INSTALLER = Path(__file__).with_name("install.sh")
_COMPRESS = ("xz", "--compress", "--threads=0", "--x86", "--lzma2=preset=9e", "--stdout")
"""``--x86``: a filter for machine code, which is nearly all of the archive."""


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
    """Build and bundle what clusters with these drivers on these releases need, and `./run push`.

    Args:
        output: folder to write to; another bundle's files in it are removed.
        part_size: the most bytes of one part.
        drivers: names of `DRIVERS`; each is usable alone, and beside other drivers.
        kubernetes: releases to embed.
        progress: where to say what is going on.

    Raises:
        UserError: a part could not be built, or this tree is no git checkout, or it changed
            while parts were built.
    """
    if not shutil.which(_COMPRESS[0]):
        raise UserError("the program 'xz' is missing: install the package xz-utils")
    sources, version = _sources(), _version()
    chosen = [DRIVERS[name] for name in drivers]
    # By release: several have a part of the same name.
    wanted = [[*cluster.parts(chosen, one), PUSH] for one in kubernetes]
    for those in wanted:
        artifacts.obtain(those, progress)
    parts = {item.key: item for those in wanted for item in those}
    carried = artifacts.obtain([packages.PACKAGES], progress)[packages.PACKAGES.name]
    if _sources() != sources:
        raise UserError("sources changed while parts were built from them: start again")
    described = bundle.Bundle(
        version=version,
        drivers=tuple(drivers),
        kubernetes=tuple(release.minor for release in kubernetes),
        pythons=bundle.PYTHONS,
        python=cpython.VERSION,
        glibc=host.glibc_digest(),
    )
    with tempfile.TemporaryDirectory() as scratch, progress.step("compressing (minutes)"):
        described.save(Path(scratch))
        carries = [
            Path(scratch) / bundle.DESCRIPTION,
            *(carried / item for item in (bundle.LOCK, bundle.WHEELS)),
        ]
        folder = bundle.FOLDER.relative_to(ROOT)
        files = {source: ROOT / source for source in sources}
        files |= {folder / path.name: path for path in carries}
        files |= {folder / bundle.ARTIFACTS / part.path.name: part.path for part in parts.values()}
        return pack(output, version, files, part_size, _commit_time())


def pack(
    output: Path, version: str, files: Mapping[Path, Path], part_size: int, time: int
) -> Written:
    """Write files as an archive in parts, their checksums and the installer.

    Args:
        output: folder to write to; another bundle's files in it are removed.
        version: goes into the names of the files.
        files: files and folders, by their path in the installed tree.
        part_size: the most bytes of one part.
        time: of all entries of the archive, in seconds since 1970.
    """
    output.mkdir(parents=True, exist_ok=True)
    for old in output.glob(f"{NAME}-*"):
        old.unlink()
    name = f"{NAME}-{version}"
    archive = output / f"{name}.tar.xz"
    try:
        _compress(archive, files, time)
        parts = _cut(archive, part_size)
    finally:
        archive.unlink(missing_ok=True)
    installer = output / INSTALLER
    installer.write_text(_INSTALLER.read_text().replace("@NAME@", name))
    installer.chmod(0o755)
    checksums = output / f"{name}.sha256"
    checksums.write_text("".join(f"{_digest(path)}  {path.name}\n" for path in (*parts, installer)))
    return Written(tuple(parts), checksums, installer)


def _compress(archive: Path, files: Mapping[Path, Path], time: int) -> None:
    with archive.open("wb") as stream:
        process = subprocess.Popen(_COMPRESS, stdin=subprocess.PIPE, stdout=stream)
        try:
            with tarfile.open(fileobj=process.stdin, mode="w|", format=tarfile.PAX_FORMAT) as tar:
                for target, source in files.items():
                    tar.add(source, f"{NAME}/{target}", filter=functools.partial(_plain, time=time))
        except BrokenPipeError:
            pass  # it has ended, and said why
        except BaseException:
            process.kill()
            raise
        finally:
            process.communicate()
    if process.returncode:
        raise UserError(f"`{' '.join(_COMPRESS)}` ended with {process.returncode}; see above")


def _cut(archive: Path, size: int) -> list[Path]:
    """Copy a file into parts named ``FILE.part-001``, ``-002`` and so on."""
    parts: list[Path] = []
    with archive.open("rb") as whole:
        while data := whole.read(size):
            parts.append(archive.with_name(f"{archive.name}.part-{len(parts) + 1:03}"))
            parts[-1].write_bytes(data)
    return parts


def _plain(entry: tarfile.TarInfo, time: int) -> tarfile.TarInfo | None:
    """Keep of an entry's metadata what its content is about; leave bytecode out."""
    if "__pycache__" in Path(entry.name).parts:
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mtime = time
    entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    return entry


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sources() -> dict[Path, str]:
    """What git does not ignore, in the state of the working tree (keys are made from that).

    Returns:
        Digests of the content, by path.
    """
    listed = _git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = sorted(set(filter(None, listed.split("\0"))))
    return {Path(name): _digest(path) for name in names if (path := ROOT / name).is_file()}


def _version() -> str:
    """``0.1.0-gac1906c2``, with ``.changed`` where the working tree is not as committed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    changed = ".changed" if _git("status", "--porcelain") else ""
    return f"{project['version']}-g{_git('rev-parse', '--short=8', 'HEAD').strip()}{changed}"


def _commit_time() -> int:
    return int(_git("log", "-1", "--format=%ct"))


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except FileNotFoundError as error:
        raise UserError("the program 'git' is missing: install the package git") from error
    except subprocess.CalledProcessError as error:
        raise UserError(
            f"a bundle is made from a git checkout, and {ROOT} is none: {error.stderr.strip()}"
        ) from error
