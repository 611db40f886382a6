"""The compilers and headers that builds use instead of the machine's own.

All come as pinned and hashed packages, so that a build gives the same bytes on every machine and
its results run with any glibc from 2.28 on, whatever the machine that built them has.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import partial
from pathlib import Path

from building.architecture import AMD64, Architecture
from building.artifacts import Artifact, Build, BuildError, cache, obtain, unpack_wheels
from building.progress import Progress

PINS = Path(__file__).parent / "pins"

OLDEST_GLIBC = "2.28"
"""That of Debian 10 and RHEL 8: nothing that is built refers to a newer symbol."""

GO_VERSION = (1, 26, 6)
"""The oldest Go toolchain that builds the pinned Kubernetes."""


def zig_command(
    build: Build, language: str = "cc", architecture: Architecture = AMD64
) -> list[str]:
    """The compiler as leading words of a command line; the build must need `ZIG`.

    Args:
        build: the build whose ``needs`` has the compiler.
        language: ``cc`` for C, ``c++`` for C++ (its runtime library is linked statically).
        architecture: what to compile for.
    """
    target = f"{architecture.triplet}.{OLDEST_GLIBC}"
    return [str(build.needs["zig"] / "zig"), language, "-target", target]


def zig_environment(build: Build) -> dict[str, str]:
    """Where the compiler keeps its caches: never in the home directory.

    glibc's start files and libc++ are compiled once for all builds (they are keyed by content).
    """
    return {
        "ZIG_GLOBAL_CACHE_DIR": str(cache() / "zig"),
        "ZIG_LOCAL_CACHE_DIR": str(build.scratch / "zig-local"),
    }


def go_binary(oldest: tuple[int, ...] = GO_VERSION) -> Path:
    """A ``go`` that is new enough: the one on PATH, else a pinned one, fetched if need be.

    Args:
        oldest: the version that a module asks for; never older than `GO_VERSION`.

    Raises:
        BuildError: the pinned toolchain could not be fetched.
    """
    installed = shutil.which("go")
    if installed and _go_version(installed) >= max(oldest, GO_VERSION):
        return Path(installed)
    pinned = GO if oldest <= GO_VERSION else GO_1_27
    return obtain([pinned], Progress())[pinned.name] / "bin" / "go"


def go(build: Build, module: Path, *arguments: str | Path, **environment: str) -> None:
    """``go ARGUMENTS`` in the folder of a module, with caches of our own and exactly the pins.

    Args:
        build: the running build.
        module: the folder with ``go.mod`` and ``go.sum``.
        *arguments: what go is to do.
        **environment: variables beside those that every build has.

    Raises:
        BuildError: go could not do it.
    """
    asked = re.search(r"^go ([\d.]+)$", (module / "go.mod").read_text(), re.MULTILINE)
    build.run(
        go_binary(tuple(map(int, asked[1].split("."))) if asked else GO_VERSION),
        *arguments,
        cwd=module,
        env={
            "GOFLAGS": "-mod=readonly",
            "GOTOOLCHAIN": "local",
            "GOCACHE": str(cache() / "go" / "build"),
            "GOMODCACHE": str(cache() / "go" / "modules"),
            "CGO_ENABLED": "0",
            **environment,
        },
    )


def go_build(build: Build, module: Path, *arguments: str | Path, **environment: str) -> None:
    """``go build ARGUMENTS``, as `go` does it, without paths of this machine in the result."""
    go(build, module, "build", "-trimpath", "-buildvcs=false", *arguments, **environment)


def go_package(build: Build, module: Path, name: str) -> Path:
    """The read-only folder of a module that another one requires, fetched if need be.

    Args:
        build: the running build.
        module: the folder with the other's ``go.mod`` and ``go.sum``.
        name: the required module's path, such as ``k8s.io/kubelet``.

    Raises:
        BuildError: it is not required, or could not be fetched.
    """
    required = (module / "go.mod").read_text()
    path = re.escape(name)
    found = re.search(rf"=> {path} (v\S+)", required) or re.search(rf"{path} (v\S+)", required)
    if not found:
        raise BuildError(f"{module / 'go.mod'} does not require {name}")
    go(build, module, "mod", "download", name)
    return cache() / "go" / "modules" / f"{name}@{found[1]}"


def _go_version(binary: str) -> tuple[int, ...]:
    """``(1, 26, 8)`` for ``go version go1.26.8 linux/amd64``; empty when it cannot be told."""
    try:
        # GOTOOLCHAIN: the version of this very binary, not of one that it would fetch.
        answer = subprocess.run(
            ["env", "GOTOOLCHAIN=local", binary, "version"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return ()
    found = re.search(r"\bgo(\d+)\.(\d+)(?:\.(\d+))?\b", answer)
    return tuple(int(part or 0) for part in found.groups()) if found else ()


def _unpack(build: Build, lock: Path, folder: str) -> None:
    """Make a folder of a pinned package the artifact itself."""
    unpacked = build.scratch / "unpacked"
    unpack_wheels(build, lock, unpacked)
    for item in (unpacked / folder).iterdir():
        if not item.name.startswith("__"):  # what makes it a package of Python
            item.rename(build.out / item.name)


def _cuda_headers(build: Build) -> None:
    unpacked = build.scratch / "unpacked"
    unpack_wheels(build, PINS / "cuda-headers.txt", unpacked)
    for folder in sorted(unpacked.glob("nvidia/*/include")):
        shutil.copytree(folder, build.out / "include", dirs_exist_ok=True)


_ZIG, _GO = PINS / "zig.txt", PINS / "go.txt"
ZIG = Artifact("zig", (_ZIG, "2"), partial(_unpack, lock=_ZIG, folder="ziglang"), minutes=0.3)
"""A directory with the ``zig`` binary and its ``lib``."""

GO = Artifact("go", (_GO, "2"), partial(_unpack, lock=_GO, folder="go"), minutes=0.3)
"""A directory with ``bin/go``; wanted only through `go_binary`."""

_GO_1_27 = PINS / "go-1.27.txt"
GO_1_27 = Artifact(
    "go-1.27", (_GO_1_27,), partial(_unpack, lock=_GO_1_27, folder="go"), minutes=0.3
)
"""The same, newer, for modules that ask for it."""

CUDA_HEADERS = Artifact("cuda-headers", (PINS / "cuda-headers.txt", "2"), _cuda_headers)
"""A directory with ``include/``: ``cuda.h``, ``cudaProfiler.h``, ``nvml.h`` and their like."""
