"""What is built: a driver root that any program made for the real driver can load."""

from __future__ import annotations

import ctypes
import filecmp
import re
from pathlib import Path

import pytest

from building.artifacts import Build, obtain
from building.progress import Progress
from embedded import hardware
from embedded.hardware import generate
from embedded.hardware.artifact import CUDA_SOURCES, HARDWARE, LIBRARIES, PROGRAMS
from embedded.hardware.products import DRIVER_VERSION
from images import elf

NOT_SUPPORTED = 801


def files(root: Path) -> list[Path]:
    return sorted(path.relative_to(root) for path in root.rglob("*") if not path.is_dir())


def test_layout(driver_root: Path) -> None:
    assert files(driver_root) == sorted(
        [
            *(PROGRAMS / name for name in ("nvidia-cuda-mps-control", "nvidia-smi")),
            *(
                LIBRARIES / f"{name}{suffix}"
                for name in ("libcuda.so", "libnvidia-ml.so")
                for suffix in (".1", f".{DRIVER_VERSION}")
            ),
            LIBRARIES / "libcuda.so",
        ]
    )
    for name in ("libcuda.so", "libnvidia-ml.so"):
        link = driver_root / LIBRARIES / f"{name}.1"
        assert link.readlink() == Path(f"{name}.{DRIVER_VERSION}")
        assert elf.read(link).soname == f"{name}.1"


def test_runs_with_an_old_glibc(driver_root: Path) -> None:
    """No symbol newer than GLIBC_2.28, and no library but glibc's own."""
    for path in files(driver_root):
        if not elf.is_elf(driver_root / path):
            continue
        file = elf.read(driver_root / path)
        wanted = [version for _, version in file.versions if version.startswith("GLIBC_")]
        assert wanted, path
        newest = max(tuple(map(int, version[6:].split("."))) for version in wanted)
        assert newest <= (2, 28), path
        assert set(file.needed) <= {
            "libc.so.6",
            "libdl.so.2",
            "libpthread.so.0",
            "ld-linux-x86-64.so.2",
        }, path


def test_every_symbol_that_pycuda_needs(driver_root: Path) -> None:
    """What PyCUDA 2026.1 built with CUDA 12.9 refers to: without one of them its import fails."""
    cuda = ctypes.CDLL(str(driver_root / LIBRARIES / "libcuda.so.1"))
    names = Path(__file__).with_name("pycuda_symbols.txt").read_text().split()
    assert len(names) == 143
    assert [name for name in names if not hasattr(cuda, name)] == []


def test_what_is_not_simulated_says_so(driver_root: Path) -> None:
    cuda = ctypes.CDLL(str(driver_root / LIBRARIES / "libcuda.so.1"))
    for name in ("cuTexRefCreate", "cuMulticastCreate", "cuGraphCreate"):
        assert getattr(cuda, name)() == NOT_SUPPORTED


def test_a_second_build_is_the_same(driver_root: Path, tmp_path: Path) -> None:
    out, scratch = tmp_path / "elsewhere", tmp_path / "scratch"
    out.mkdir()
    scratch.mkdir()
    needs = obtain(HARDWARE.needs, Progress())
    with (tmp_path / "log").open("w") as log:
        HARDWARE.build(Build(out, scratch, needs, log))
    assert files(out) == files(driver_root)
    for path in files(out):
        assert filecmp.cmp(out / path, driver_root / path, shallow=False), path


# ---------------------------------------------------------------- the sources


def test_calls_between_the_files_of_libcuda_go_one_way() -> None:
    """No file calls a function of one behind it in the list, neither itself nor by a macro."""
    folder = Path(hardware.__file__).parent

    def code(name: str) -> str:
        return re.sub(r"//.*", "", (folder / name).read_text())

    def calls(text: str) -> set[str]:
        return set(re.findall(r"\b(\w+)\(", text))

    macros = {
        name: calls(body)
        for name, body in re.findall(r"#define (\w+)\(.*?\)((?:.*\\\n)*.*)", code("driver.h"))
    }
    function = re.compile(r"^(?!static\b)\w[\w *]*?\b(\w+)\([^;{}]*\)\s*\{", re.MULTILINE)
    place = {
        name: index
        for index, file in enumerate(CUDA_SOURCES)
        for name in function.findall(code(file))
    }
    assert place["cuInit"] == CUDA_SOURCES.index("devices.c")
    assert macros["REQUIRE_CONTEXT"] == {"context_current"}
    upwards = [
        (file, name)
        for index, file in enumerate(CUDA_SOURCES)
        for called in calls(code(file))
        for name in (called, *macros.get(called, ()))
        if place.get(name, -1) > index
    ]
    assert upwards == []


# ---------------------------------------------------------------- generated parts


def test_entry_points_follow_the_typedefs() -> None:
    typedefs = """
    typedef CUresult (CUDAAPI *PFN_cuCtxCreate_v2000)(CUcontext *pctx);
    typedef CUresult (CUDAAPI *PFN_cuCtxCreate_v3020)(CUcontext *pctx);
    typedef CUresult (CUDAAPI *PFN_cuLaunchKernel_v4000)(CUfunction f);
    typedef CUresult (CUDAAPI *PFN_cuLaunchKernel_v7000_ptsz)(CUfunction f);
    """
    symbols = {"cuCtxCreate", "cuCtxCreate_v2", "cuLaunchKernel"}
    assert generate.entry_points(typedefs, symbols) == (
        "ENTRY_POINT(cuCtxCreate, 2000, cuCtxCreate)\n"
        "ENTRY_POINT(cuCtxCreate, 3020, cuCtxCreate_v2)\n"
        "ENTRY_POINT(cuLaunchKernel, 4000, cuLaunchKernel)\n"
    )
    with pytest.raises(ValueError, match="cuCtxCreate: typedefs of CUDA"):
        generate.entry_points(typedefs, symbols - {"cuCtxCreate_v2"})


def test_kernel_names() -> None:
    source = (
        "__device__ u64 pattern(u64 seed);\nKERNEL void fill(u64 *w) {}\nKERNEL void b(int i) {}"
    )
    assert generate.kernel_names(source) == ["fill", "b"]
    with pytest.raises(ValueError, match="defines no"):
        generate.kernel_names("void fill() {}")
