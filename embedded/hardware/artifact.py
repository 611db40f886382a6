"""The build of the simulated driver: a driver root as NVIDIA's installer leaves one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from building.artifacts import Artifact, Build
from building.toolchain import CUDA_HEADERS, ZIG, zig_command, zig_environment
from embedded.hardware import generate
from embedded.hardware.products import DRIVER_VERSION

_HERE = Path(__file__).parent
_KERNELS = _HERE.parents[1] / "workload" / "kernels.cu"

LIBRARIES = Path("usr/lib64")
"""Where the libraries lie below the driver root: as on RHEL, in a directory that the loader of a
Debian-like container searches only after the driver's ``update-ldcache`` hook told it to, so that a
hook that is missing or broken is seen."""
PROGRAMS = Path("usr/bin")
"""Where ``nvidia-smi`` and ``nvidia-cuda-mps-control`` lie below the driver root."""

CUDA_SOURCES = (
    "machine.c",
    "devices.c",
    "memory.c",
    "contexts.c",
    "allocate.c",
    "objects.c",
    "streams.c",
    "copies.c",
    "shareable.c",
    "ipc.c",
    "virtual.c",
    "pools.c",
    "modules.c",
    "launch.c",
    "errors.c",
    "entry_points.c",
)
"""The C files of ``libcuda`` in the order of their calls: each calls only those before it."""
_NVML_SOURCES = ("machine.c", "nvml.c")
_FLAGS = (
    *("-O2", "-g0", "-fPIC", "-fvisibility=hidden", "-fno-sanitize=all"),
    *("-Wall", "-Wextra", "-Werror"),
)


def _build(build: Build) -> None:
    includes = (f"-I{build.needs['cuda-headers'] / 'include'}", f"-I{build.scratch}", f"-I{_HERE}")
    libraries, programs = build.out / LIBRARIES, build.out / PROGRAMS
    libraries.mkdir(parents=True)
    programs.mkdir(parents=True)

    def cc(*arguments: str | Path, language: str = "cc") -> None:
        build.run(
            *zig_command(build, language),
            *_FLAGS,
            *includes,
            *arguments,
            env=zig_environment(build),
        )

    def declared(header: str, returns: str, prefix: str, older: str) -> set[str]:
        """Find the functions of a header, and those that it declares with a macro only."""
        source, preprocessed = build.scratch / "headers.c", build.scratch / "headers.i"
        source.write_text(header)
        found = set[str]()
        for macros in ((), (f"-D{older}",)):
            cc("-E", "-P", *macros, source, "-o", preprocessed)
            found |= generate.declared(preprocessed.read_text(), returns, prefix)
        return found

    def library(name: str, sources: Sequence[str], stubs: str, *objects: Path) -> None:
        rest = build.scratch / "stubs.c"
        rest.write_text(stubs)
        real = libraries / f"{name}.{DRIVER_VERSION}"
        files = [*(_HERE / source for source in sources), rest, *objects]
        cc("-shared", f"-Wl,-soname,{name}.1", "-s", *files, "-lpthread", "-o", real)
        (libraries / f"{name}.1").symlink_to(real.name)

    header = "#include <cuda.h>\n#include <cudaProfiler.h>\n"
    cuda = declared(header, "CUresult", "cu", "__CUDA_API_VERSION_INTERNAL")
    typedefs = build.needs["cuda-headers"] / "include/cudaTypedefs.h"
    names = generate.kernel_names(_KERNELS.read_text())
    (build.scratch / "entry_points.inc").write_text(
        generate.entry_points(typedefs.read_text(), cuda)
    )
    (build.scratch / "kernel_names.inc").write_text("".join(f"ENTRY({name})\n" for name in names))
    kernels = build.scratch / "kernels.o"
    cc(
        *("-std=c++17", "-nostdinc++", "-fno-exceptions", "-fno-rtti", f"-I{_KERNELS.parent}"),
        *("-c", _HERE / "kernels.cpp", "-o", kernels),
        language="c++",
    )
    stubs = generate.stubs(cuda - _defined(CUDA_SOURCES, "cu"), generate.CUDA_NOT_SUPPORTED)
    library("libcuda.so", CUDA_SOURCES, stubs, kernels)
    (libraries / "libcuda.so").symlink_to("libcuda.so.1")

    header = "#include <nvml.h>\n"
    nvml = declared(header, "nvmlReturn_t", "nvml", "NVML_NO_UNVERSIONED_FUNC_DEFS")
    stubs = generate.stubs(nvml - _defined(_NVML_SOURCES, "nvml"), generate.NVML_NOT_SUPPORTED)
    library("libnvidia-ml.so", _NVML_SOURCES, stubs)
    cc("-s", _HERE / "nvidia-smi.c", "-ldl", "-o", programs / "nvidia-smi")
    control = "nvidia-cuda-mps-control"
    cc("-s", _HERE / f"{control}.c", "-o", programs / control)


def _defined(sources: Sequence[str], prefix: str) -> set[str]:
    """Find the API functions that the sources define."""
    pattern = re.compile(
        rf"(?:\b(?:CUDAAPI|DECLDIR) |^(?:SAME|QUERY)\()({prefix}\w+)", re.MULTILINE
    )
    return {name for file in sources for name in pattern.findall((_HERE / file).read_text())}


HARDWARE = Artifact(
    "hardware",
    (
        *sorted(_HERE.glob("*.[chi]*")),
        _HERE / "generate.py",
        Path(__file__),
        _KERNELS,
        DRIVER_VERSION,
    ),
    _build,
    (ZIG, CUDA_HEADERS),
    minutes=0.2,
)
"""A directory with `LIBRARIES` and ``usr/bin``."""
