"""The kernels' PTX."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from building.artifacts import Artifact
from images.kernels import KERNELS, NVRTC, PTX, SOURCE, compile_ptx, old_head


def test_ptx_is_for_old_drivers(obtained: Callable[[Artifact], Path]) -> None:
    """Every driver from CUDA 12.0 on takes version 8.0, and every GPU from Maxwell on sm_50."""
    text = (obtained(KERNELS) / PTX).read_text()
    (version,) = re.findall(r"^\.version (\d+)\.(\d+)$", text, re.MULTILINE)
    assert tuple(map(int, version)) <= (8, 0)
    assert re.findall(r"^\.target (\S+)$", text, re.MULTILINE) == ["sm_50"]
    assert re.findall(r"\.visible \.entry (\w+)\(", text) == ["fill", "verify"]


def test_what_is_committed_is_what_the_source_gives(obtained: Callable[[Artifact], Path]) -> None:
    """``python -m images.kernels`` writes it."""
    assert SOURCE.with_name(PTX).read_text() == (obtained(KERNELS) / PTX).read_text()


def test_newer_instructions_are_refused() -> None:
    """The head is a promise that the text must keep."""
    text = ".version 8.8\n.target sm_50\n{\n\tmov.u32 \t%r1, 1;\n\t@%p1 brx.idx \t%r1, ts;\n}\n"
    with pytest.raises(ValueError, match="brx"):
        old_head(text)
    assert old_head(text.replace("brx.idx", "bra")).startswith(".version 6.0\n.target sm_50\n")


def test_two_heads_are_refused() -> None:
    """Then it is not what NVRTC emits."""
    with pytest.raises(ValueError, match=r"one \.version line in the PTX, found 2"):
        old_head(".version 8.8\n.version 8.8\n")


def test_compile_errors_are_shown(obtained: Callable[[Artifact], Path]) -> None:
    """With the compiler's own words."""
    libraries = obtained(NVRTC) / "nvidia" / "cuda_nvrtc" / "lib"
    with pytest.raises(ValueError, match="undefined"):
        compile_ptx(libraries, 'extern "C" __global__ void k() { nothing(); }')
