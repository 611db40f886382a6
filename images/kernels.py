"""The workload's kernels as PTX: no GPU, no nvcc, no compiler where the workload is.

``python -m images.kernels`` writes ``workload/kernels.ptx`` from ``kernels.cu``. The file is
committed, so that nothing has to be built to bring the workload to a cluster; a test compares.

PTX for the virtual architecture ``compute_50`` is what every driver from Maxwell on turns into its
GPU's code. A driver refuses text of a newer PTX version than its own (CUDA error 222), and NVRTC
heads what it emits with its own, the newest. So the head is set to an old version, after making
sure that nothing in the text is newer.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from building.artifacts import Artifact, Build, obtain, wheels
from building.progress import Progress
from building.toolchain import PINS

ARCHITECTURE = "compute_50"
PTX_VERSION = "6.0"
"""Of CUDA 9.0. Drivers from 384 on take it; the most that the project allows itself is 8.0."""

SOURCE = Path(__file__).parents[1] / "workload" / "kernels.cu"
PTX = "kernels.ptx"
"""The file's name, in the artifact and in the workload's package."""

# Instructions of PTX ISA 6.0 and before: "PTX ISA Notes" of each instruction's section.
_KNOWN = frozenset({"add", "and", "atom", "bar", "bra", "call", "cvt", "cvta", "exit", "ld", "mad"})
_KNOWN |= {"max", "min", "mov", "mul", "neg", "not", "or", "red", "ret", "selp", "setp", "shf"}
_KNOWN |= {"shl", "shr", "st", "sub", "xor"}


def old_head(ptx: str) -> str:
    """Give PTX text the head of `PTX_VERSION`.

    Raises:
        ValueError: it uses an instruction that is not known to be that old.
    """
    used = {
        found[1]
        for found in re.finditer(r"^\s+(?:@!?%\w+\s+)?([a-z]\w*)[.\w:]*(?=\s|;)", ptx, re.MULTILINE)
    }
    if newer := sorted(used - _KNOWN):
        raise ValueError(
            f"the kernels use {', '.join(newer)}, not known to be in PTX {PTX_VERSION}: look up"
            " since when, and add it to the list or raise the version (8.0 at most)"
        )
    text, heads = re.subn(
        r"^\.version \d+\.\d+$", f".version {PTX_VERSION}", ptx, flags=re.MULTILINE
    )
    if heads != 1:
        raise ValueError(f"expected one .version line in the PTX, found {heads}")
    # Comments name the compiler's build and the machine's paths: nothing for an image.
    return re.sub(r"^//.*\n", "", text, flags=re.MULTILINE).lstrip()


def compile_ptx(libraries: Path, source: str) -> str:
    """Compile CUDA C++ to PTX with NVRTC.

    Args:
        libraries: directory with ``libnvrtc.so.12`` and its ``libnvrtc-builtins.so.*``.
        source: text of the translation unit; it includes nothing.

    Raises:
        ValueError: NVRTC refused it; the message is its log.
    """
    (builtins,) = libraries.glob("libnvrtc-builtins.so.*")
    ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
    nvrtc = ctypes.CDLL(str(libraries / "libnvrtc.so.12"))
    program = ctypes.c_void_p()
    _check(
        nvrtc.nvrtcCreateProgram(
            ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None
        )
    )
    options = (ctypes.c_char_p * 1)(f"--gpu-architecture={ARCHITECTURE}".encode())
    if nvrtc.nvrtcCompileProgram(program, len(options), options):
        raise ValueError(_text(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, program))
    return _text(nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX, program)


def _text(
    size_of: Callable[..., int], content_of: Callable[..., int], program: ctypes.c_void_p
) -> str:
    size = ctypes.c_size_t()
    _check(size_of(program, ctypes.byref(size)))
    content = ctypes.create_string_buffer(size.value)
    _check(content_of(program, content))
    return content.value.decode()


def _check(status: int) -> None:
    if status:
        raise ValueError(f"NVRTC failed with status {status}")


def _build(build: Build) -> None:
    libraries = build.needs["nvrtc"] / "nvidia" / "cuda_nvrtc" / "lib"
    # In a process of its own: a compiler's crash is then a failed build, not a killed run.
    build.run(
        *(sys.executable, "-m", "images.kernels", libraries, SOURCE, build.out / PTX),
        cwd=Path(__file__).parents[1],
    )


NVRTC = wheels("nvrtc", PINS / "nvrtc.txt", minutes=0.3)

KERNELS = Artifact("workload-kernels", (SOURCE, Path(__file__)), _build, needs=(NVRTC,))
"""A directory with `PTX`."""


if __name__ == "__main__":
    if sys.argv[1:]:
        _libraries, _source, _out = map(Path, sys.argv[1:])
        _out.write_text(old_head(compile_ptx(_libraries, _source.read_text())))
    else:
        shutil.copyfile(obtain([KERNELS], Progress())[KERNELS.name] / PTX, SOURCE.with_name(PTX))
