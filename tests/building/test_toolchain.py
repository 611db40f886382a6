"""The compilers that builds use, and what they look at of their results."""

from __future__ import annotations

import ctypes
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from building import toolchain
from building.artifacts import Artifact, Build
from building.toolchain import CUDA_HEADERS, ZIG, zig_command, zig_environment
from images import elf


def fake_go(folder: Path, version: str) -> Path:
    """A `go` that says its version."""
    go = folder / "go"
    go.write_text(f"#!/bin/sh\necho go version go{version} linux/amd64\n")
    go.chmod(0o755)
    return go


@pytest.mark.parametrize("version", ["1.26.6", "1.26.12", "1.27.0", "1.27", "2.0.1"])
def test_fitting_go_of_the_machine_is_used(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same minor version or a newer one."""
    go = fake_go(tmp_path, version)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert toolchain.go_binary() == go


@pytest.mark.parametrize("version", ["1.26.5", "1.25.9", "1.19", "devel", None])
def test_other_go_is_not_used(
    version: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too old, unknown or missing: the pinned one is taken."""
    if version:
        fake_go(tmp_path, version)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(toolchain, "obtain", lambda *_: {"go": Path("/pinned")})
    assert toolchain.go_binary() == Path("/pinned/bin/go")


def test_a_module_that_asks_for_a_newer_go_gets_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine's, if that will do; else the newer pinned one."""
    go = fake_go(tmp_path, "1.26.8")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(toolchain, "obtain", lambda *_: {"go-1.27": Path("/newer")})
    assert toolchain.go_binary((1, 26, 0)) == go
    assert toolchain.go_binary((1, 27, 0)) == Path("/newer/bin/go")


def test_compiler_keeps_to_the_old_glibc_and_to_our_caches(
    obtained: Callable[[Artifact], Path], tmp_path: Path
) -> None:
    """A library built anywhere asks for no newer symbols; nothing is left at home."""
    home, scratch = tmp_path / "home", tmp_path / "scratch"
    home.mkdir()
    scratch.mkdir()
    # stat and pow have newer versions than 2.28 (2.33, 2.29) where the linker's glibc is newer.
    source = tmp_path / "old.c"
    source.write_text(
        "#include <math.h>\n#include <sys/stat.h>\n"
        'double old(double x) { struct stat s; return pow(x, 2) + stat(".", &s); }\n'
    )
    library = tmp_path / "old.so"
    with (tmp_path / "log").open("w") as log:
        build = Build(tmp_path, scratch, {"zig": obtained(ZIG)}, log)
        build.run(
            *zig_command(build),
            *("-shared", "-g", "-O1", "-o", library, source, "-lm"),
            env={**zig_environment(build), "HOME": str(home)},
        )
    versions = {version for _, version in elf.read(library).versions}
    assert versions
    assert max(tuple(map(int, v.removeprefix("GLIBC_").split("."))) for v in versions) <= (2, 28)
    assert list(home.iterdir()) == []

    stripped = tmp_path / "stripped.so"
    shutil.copy(library, stripped)
    elf.strip(stripped)
    assert stripped.stat().st_size < library.stat().st_size
    assert elf.read(stripped) == elf.read(library)
    old = ctypes.CDLL(str(stripped)).old
    old.argtypes, old.restype = [ctypes.c_double], ctypes.c_double
    assert old(3.0) == 9.0


def test_cuda_headers_are_together(obtained: Callable[[Artifact], Path]) -> None:
    """From three packages, in one folder."""
    include = obtained(CUDA_HEADERS) / "include"
    for name in ("cuda.h", "cudaProfiler.h", "cudaTypedefs.h", "nvml.h"):
        assert (include / name).is_file(), name
    assert "#define CUDA_VERSION 12090" in (include / "cuda.h").read_text()


def test_other_files_are_no_elf(tmp_path: Path) -> None:
    """Scripts, links and directories are told apart; reading one is an error."""
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    (tmp_path / "link").symlink_to("/bin/sh")
    assert not any(map(elf.is_elf, (script, tmp_path, tmp_path / "link")))
    with pytest.raises(ValueError, match="script is not a 64-bit"):
        elf.read(script)
