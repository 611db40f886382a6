"""PyCUDA, built from its pinned source for the interpreter of the workload's image.

Its own ``setup.py`` is not run: that asks the building machine for compilers, flags and a CUDA
toolkit, and compiles one file after the other. What it would do is short: compile PyCUDA's C++ and
the subset of Boost that it ships (in C++14: newer standards lack ``std::auto_ptr``), and link it
with a ``libcuda``. cuRAND stays off: it would make a library of 133 MB a hard requirement.
"""

from __future__ import annotations

import functools
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from building.architecture import Architecture
from building.artifacts import Artifact, Build, BuildError, wheels
from building.toolchain import CUDA_HEADERS, PINS, ZIG, zig_command, zig_environment
from images.cpython import VERSION, cpython_for, headers
from images.packages import packages_for

_BOOST = Path("bpl-subset/bpl_subset")
_DEFINES = (
    # From aksetup_helper.py and setup.py of the source. Renaming the namespace keeps this Boost
    # apart from any other in the process.
    "BOOST_ALL_NO_LIB=1",
    "BOOST_MULTI_INDEX_DISABLE_SERIALIZATION=1",
    "BOOST_PYTHON_SOURCE=1",
    "BOOST_THREAD_BUILD_DLL=1",
    "BOOST_THREAD_DONT_USE_CHRONO=1",
    "NDEBUG=1",
    "PYGPU_PACKAGE=pycuda",
    "PYGPU_PYCUDA=1",
    "boost=pycudaboost",
)
_DRIVER_SOURCES = (
    "src/cpp/cuda.cpp",
    "src/cpp/bitlog.cpp",
    "src/wrapper/wrap_cudadrv.cpp",
    "src/wrapper/mempool.cpp",
)
_STRUCT_SOURCES = ("src/wrapper/_pvt_struct_v3.cpp",)


def _build(build: Build, architecture: Architecture) -> None:
    source = _source(build)
    (source / _BOOST / "pycudaboost").symlink_to("boost")
    include = build.scratch / "include"
    # All but what differs from build to build.
    shutil.copytree(headers(), include, ignore=shutil.ignore_patterns("pyconfig*.h"))
    (include / "pyconfig.h").write_text(_pyconfig(build.needs[architecture.part("cpython")]))
    boost = [
        str(path.relative_to(source))
        for path in sorted((source / _BOOST / "libs").rglob("*.cpp"))
        if "thread/src" not in str(path) or path.parent.name == "pthread"
        if path.name != "once_atomic.cpp"
    ]
    objects = _compile(build, architecture, source, [*_DRIVER_SOURCES, *boost, *_STRUCT_SOURCES])

    site = build.out
    shutil.copytree(source / "pycuda", site / "pycuda")
    suffix = f".cpython-{VERSION.replace('.', '')}-{architecture.triplet}.so"
    stub = _libcuda_stub(build, architecture)
    structs = [objects[name] for name in _STRUCT_SOURCES]
    driver = [path for name, path in objects.items() if name not in _STRUCT_SOURCES]
    for name, parts in {"_driver": [*driver, stub], "_pvt_struct": structs}.items():
        library = site / "pycuda" / f"{name}{suffix}"
        build.run(
            *zig_command(build, "c++", architecture),
            *("-shared", "-s", "-o", library),
            *parts,
            env=zig_environment(build),
        )
    # What an installer would note: the metadata by which the package is known to be there.
    metadata = (source / "PKG-INFO").read_text()
    version = re.search(r"^Version: (\S+)$", metadata, re.MULTILINE)
    if not version:
        raise BuildError("PyCUDA's PKG-INFO names no version")
    information = site / f"pycuda-{version[1]}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(metadata)


def _source(build: Build) -> Path:
    """Fetch and unpack the source; pip needs setuptools to look at its metadata."""
    build.run(
        *(sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps"),
        *("--require-hashes", "--no-build-isolation", "--no-binary=:all:", "--progress-bar=off"),
        *("-r", PINS / "pycuda.txt", "-d", build.scratch),
        env={"PYTHONPATH": str(build.needs["setuptools"]), "HOME": str(build.scratch)},
    )
    (archive,) = build.scratch.glob("pycuda-*.tar.gz")
    build.run("tar", "xf", archive)
    return build.scratch / archive.name.removesuffix(".tar.gz")


def _compile(
    build: Build, architecture: Architecture, source: Path, files: Sequence[str]
) -> dict[str, Path]:
    """Compile on all cores; returns the object of each file.

    Paths are relative to the source, so that the place of the build is not in the result.
    """
    packages = build.needs[architecture.part("workload-packages")]
    command = [
        *zig_command(build, "c++", architecture),
        *("-std=c++14", "-O1", "-g0", "-w", "-fPIC", "-fvisibility=hidden"),
        *("-fno-sanitize=all", f"-ffile-prefix-map={build.scratch}=."),
        *(f"-D{define}" for define in _DEFINES),
        *("-Isrc/cpp", f"-I{_BOOST}", f"-I{build.scratch / 'include'}"),
        f"-I{build.needs['cuda-headers'] / 'include'}",
        f"-I{packages / 'numpy' / '_core' / 'include'}",
    ]
    objects = {
        name: build.scratch / f"{number:02}-{Path(name).stem}.o"
        for number, name in enumerate(files)
    }

    def one(name: str) -> None:
        build.run(*command, "-c", name, "-o", objects[name], cwd=source, env=zig_environment(build))

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for _ in pool.map(one, files):
            pass
    return objects


def _pyconfig(python: Path) -> str:
    """``pyconfig.h`` from the interpreter's record of its configuration.

    The record has the header's values beside the Makefile's; a value of 0 stands for a macro that
    is not defined.
    """
    (record,) = (python / "lib" / f"python{VERSION}").glob("_sysconfigdata_*linux*.py")
    values = runpy.run_path(str(record))["build_time_vars"]
    return "".join(
        f"#define {name} {value}\n"
        for name, value in sorted(values.items())
        if re.match(r"(ALIGNOF|HAVE|SIZEOF|WITH)_|_?[A-Z]+_SOURCE$", name)
        if isinstance(value, int) and value
    )


def _libcuda_stub(build: Build, architecture: Architecture) -> Path:
    """A ``libcuda`` to link with: every function of the headers, none with a body.

    It must define the symbols: linkers drop a library that gives them nothing.
    """
    include = build.needs["cuda-headers"] / "include"
    declared = subprocess.run(
        [
            *zig_command(build, architecture=architecture),
            "-E",
            "-include",
            "cudaProfiler.h",
            f"-I{include}",
            include / "cuda.h",
        ],
        env={**os.environ, **zig_environment(build)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    code = build.scratch / "libcuda.c"
    code.write_text(
        "".join(f"void {name}(void) {{}}\n" for name in sorted(set(_functions(declared))))
    )
    stub = build.scratch / "libcuda.so"
    build.run(
        *zig_command(build, architecture=architecture),
        *("-shared", "-nostdlib", "-w", "-Wl,-soname,libcuda.so.1", "-o", stub, code),
        env=zig_environment(build),
    )
    return stub


def _functions(declarations: str) -> Iterator[str]:
    for found in re.finditer(r"\bCUresult\s+(cu[A-Z]\w*)\s*\(", declarations):
        yield found[1]


_SETUPTOOLS = wheels("setuptools", PINS / "pycuda-build.txt")


@functools.cache
def pycuda_for(architecture: Architecture) -> Artifact:
    """A directory to be merged into ``site-packages``."""
    return Artifact(
        architecture.part("pycuda"),
        (PINS / "pycuda.txt", Path(__file__), str(architecture)),
        functools.partial(_build, architecture=architecture),
        needs=(
            ZIG,
            CUDA_HEADERS,
            cpython_for(architecture),
            packages_for(architecture),
            _SETUPTOOLS,
        ),
        minutes=1.2,
    )
