"""What is built once and cached: binaries, libraries, images.

An artifact is a directory, immutable once built. Its key is the hash of everything that decides
its content: the declared inputs and the keys of the artifacts it needs. So a changed pin builds
anew, an unchanged one never does, and two runs can share one cache.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from building import bundle
from building.errors import UserError
from building.progress import Progress

_ADVICE = {
    r"network is unreachable|no such host|connection refused|i/o timeout|handshake timeout"
    r"|failed to establish a new connection|name resolution|certificate"
    r"|no matching distribution found": "a package registry is not reached: set HTTPS_PROXY,"
    " GOPROXY, PIP_INDEX_URL or SSL_CERT_FILE as this network asks for",
    r"executable file not found|: not found$": "install it; ./run does so by itself with apt,"
    " unless DRA_NO_APT=1 forbids it",
    r"no space left on device|disk quota exceeded": "make room, or set DRA_CACHE to a folder on"
    " another disk",
}
"""What to do about a failed build, by what its log says (a regular expression, in any case)."""


class BuildError(UserError):
    """A build step failed; the message carries the end of its log."""


@dataclass(frozen=True)
class Build:
    """What a build function works with."""

    out: Path
    """Empty directory to fill; it becomes the artifact."""
    scratch: Path
    """Directory that is removed afterwards."""
    needs: Mapping[str, Path]
    """Directories of the artifacts that this one needs, by name."""
    log: IO[str]

    def run(
        self, *argv: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        """Run a command, its output into the build log.

        Raises:
            BuildError: it could not be started or exited with another status than 0.
        """
        command = [str(word) for word in argv]
        self.log.write("+ " + " ".join(command) + "\n")
        self.log.flush()
        # An interpreter that is an artifact must not write bytecode into itself.
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **(env or {})}
        try:
            subprocess.run(
                command,
                cwd=cwd or self.scratch,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=self.log,
                stderr=subprocess.STDOUT,
                check=True,
            )
        except FileNotFoundError as error:
            raise BuildError(_with_advice(f"{command[0]}: not found")) from error
        except subprocess.CalledProcessError as error:
            lines = Path(self.log.name).read_text(errors="replace").splitlines()
            tail = [line[:300] for line in lines[-15:]]
            raise BuildError(
                _with_advice(
                    f"`{' '.join(command)[:80]} …` ended with {error.returncode}; "
                    f"the end of {self.log.name}:\n  " + "\n  ".join(tail)
                )
            ) from error


@dataclass(frozen=True)
class Artifact:
    """Something to build once."""

    name: str
    inputs: tuple[Path | str, ...]
    """What decides the content: files and folders (by content) and strings."""
    build: Callable[[Build], None]
    needs: tuple[Artifact, ...] = ()
    minutes: float = 0.1
    """How long a cold build takes on 2 cores; for the progress display only."""

    @functools.cached_property
    def key(self) -> str:
        """Hash of all that decides the content; 16 hexadecimal digits."""
        digest = hashlib.sha256(self.name.encode())
        for item in self.inputs:
            if isinstance(item, str):
                digest.update(b"\0" + item.encode())
            else:
                for path in _files(item):
                    digest.update(b"\0" + path.name.encode() + b"\0" + path.read_bytes())
        for needed in self.needs:
            digest.update(needed.key.encode())
        return digest.hexdigest()[:16]

    @property
    def path(self) -> Path:
        """Where it lies once built: in the cache, or in the bundle that carries it."""
        name = f"{self.name}-{self.key}"
        carried = bundle.FOLDER / bundle.ARTIFACTS / name
        return carried if carried.is_dir() else cache() / "artifacts" / name


def _with_advice(text: str) -> str:
    """What a failed build said, and what to do about it where that is known."""
    found = [
        advice
        for words, advice in _ADVICE.items()
        if re.search(words, text, re.IGNORECASE | re.MULTILINE)
    ]
    return "\n".join([text, *found])


def _files(path: Path) -> Iterator[Path]:
    """The file, or all files of the folder in a stable order (bytecode aside)."""
    if path.is_file():
        yield path
    elif path.is_dir():
        for child in sorted(path.rglob("*")):
            if child.is_file() and "__pycache__" not in child.parts:
                yield child
    else:
        raise UserError(f"an input of a build is missing: {path}")


def cache() -> Path:
    """The folder of everything built: ``DRA_CACHE``, else in the user's cache folder."""
    if chosen := os.environ.get("DRA_CACHE"):
        return Path(chosen).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "dra-conformance"


def obtain(wanted: Sequence[Artifact], progress: Progress) -> dict[str, Path]:
    """Build what is not built yet and return the directories of the wanted artifacts by name.

    Raises:
        BuildError: a step failed; nothing half-built is left in the cache. Or there is something to
            build in a tree that was unpacked from a bundle.
    """
    missing = [item for item in _in_order(wanted) if not item.path.is_dir()]
    if missing and (carrier := bundle.unpacked()):
        lacking = [item.name for item in wanted if not item.path.is_dir()]
        raise BuildError(_not_carried(carrier, lacking))
    if missing:
        (cache() / "artifacts").mkdir(parents=True, exist_ok=True)
        left = sum(item.minutes for item in missing)
        progress.say(
            f"building {len(missing)} parts once, about {left:.0f} min: "
            + ", ".join(item.name for item in missing)
        )
    for number, item in enumerate(missing, 1):
        left = sum(other.minutes for other in missing[number - 1 :])
        with progress.step(f"build {number}/{len(missing)}: {item.name} (≈ {left:.0f} min left)"):
            _build(item)
    return {item.name: item.path for item in wanted}


def _not_carried(carrier: bundle.Bundle, lacking: Sequence[str]) -> str:
    drivers, releases = ",".join(carrier.drivers), ",".join(carrier.kubernetes)
    return (
        f"the bundle {carrier.version} does not carry {', '.join(lacking)} as this tree's sources "
        f"describe it, and here nothing is built: it was made with --embedded-driver {drivers} "
        f"--embedded-kubernetes {releases}. Stay with these and with unchanged sources, or make "
        "another bundle"
    )


def _in_order(wanted: Iterable[Artifact]) -> list[Artifact]:
    """The artifacts and all they need, each after what it needs."""
    ordered: dict[str, Artifact] = {}

    def visit(item: Artifact) -> None:
        if item.path.is_dir():
            return  # what it needed was needed to build it only
        for needed in item.needs:
            visit(needed)
        ordered.setdefault(item.name, item)

    for item in wanted:
        visit(item)
    return list(ordered.values())


def _build(item: Artifact) -> None:
    with _locked(item.path.with_name(f"{item.path.name}.lock")):
        if item.path.is_dir():
            return  # built by somebody else while we waited
        work = cache() / "building" / f"{item.name}-{os.getpid()}"
        shutil.rmtree(work, ignore_errors=True)
        (work / "out").mkdir(parents=True)
        (work / "scratch").mkdir()
        logs = cache() / "logs"
        logs.mkdir(exist_ok=True)
        started = time.monotonic()
        try:
            with (logs / f"{item.name}.log").open("w") as log:
                item.build(
                    Build(
                        out=work / "out",
                        scratch=work / "scratch",
                        needs={needed.name: needed.path for needed in item.needs},
                        log=log,
                    )
                )
                log.write(f"built in {time.monotonic() - started:.1f} s\n")
            (work / "out").rename(item.path)
        except BuildError as error:
            raise BuildError(f"building {item.name} failed: {error}") from error
        finally:
            shutil.rmtree(work, ignore_errors=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def wheels(name: str, lock: Path, minutes: float = 0.2) -> Artifact:
    """An artifact of pinned Python packages, as `unpack_wheels` lays them out."""
    return Artifact(
        name, (lock,), lambda build: unpack_wheels(build, lock, build.out), minutes=minutes
    )


def unpack_wheels(build: Build, lock: Path, out: Path) -> None:
    """Fetch pinned Python packages; unpack wheels into a folder, put source archives there.

    Raises:
        BuildError: one could not be fetched, or is not the pinned one.
    """
    build.run(
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes"),
        *("--disable-pip-version-check", "--no-build-isolation", "--progress-bar=off"),
        *("-r", lock, "-d", build.scratch),
    )
    for archive in sorted(build.scratch.iterdir()):
        if archive.suffix == ".whl":
            _unpack(archive, out)
        elif archive.is_file():
            shutil.move(archive, out)


def _unpack(archive: Path, out: Path) -> None:
    """Unpack a wheel, keeping the executable bits that ``zipfile`` drops."""
    with zipfile.ZipFile(archive) as wheel:
        for member in wheel.infolist():
            target = Path(wheel.extract(member, out))
            if (member.external_attr >> 16) & 0o111 and target.is_file():
                target.chmod(0o755)
