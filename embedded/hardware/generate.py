"""Generates C from NVIDIA's headers: what the libraries export beside what is written by hand.

Every function that ``cuda.h`` and ``nvml.h`` declare must exist in the library, or a program that
was linked against the real one does not even start. What the simulation does not do returns
"not supported", which is a code that both interfaces have for that purpose.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

CUDA_NOT_SUPPORTED = 801
NVML_NOT_SUPPORTED = 3

_VERSIONS = 6
"""No function of ``cuda.h`` has more than four versions; a few more cost nothing."""


def declared(preprocessed: str, returns: str, prefix: str) -> set[str]:
    """The functions declared in preprocessed C.

    Args:
        preprocessed: the output of the preprocessor.
        returns: the functions' return type.
        prefix: what their names begin with.
    """
    return set(re.findall(rf"\b{returns}\s+({prefix}[A-Za-z0-9_]+)\s*\(", preprocessed))


def stubs(names: Iterable[str], code: int) -> str:
    """A definition for each name that takes whatever it is given and returns ``code``."""
    body = f"{{ return {code}; }}"
    return "".join(
        f'__attribute__((visibility("default"))) int {name}(void) {body}\n'
        for name in sorted(names)
    )


def entry_points(typedefs: str, symbols: set[str]) -> str:
    """The table of ``cuGetProcAddress``: each name with the symbols of its versions.

    ``cudaTypedefs.h`` has one typedef for each version of a function, whose suffix is the CUDA
    version that brought it: the n-th stands for the symbol with the n-th suffix (none, ``_v2``, …).

    Args:
        typedefs: the text of ``cudaTypedefs.h``.
        symbols: what the library exports.

    Raises:
        ValueError: a name has another number of typedefs than of symbols.
    """
    versions: dict[str, set[int]] = {}
    for name, version in re.findall(r"\bPFN_(cu\w+?)_v(\d+)\)\s*\(", typedefs):
        versions.setdefault(name, set()).add(int(version))
    lines = []
    for name, since in sorted(versions.items()):
        suffixes = ["", *(f"_v{number}" for number in range(2, _VERSIONS))]
        found = [name + suffix for suffix in suffixes if name + suffix in symbols]
        if len(found) != len(since):
            raise ValueError(f"{name}: typedefs of CUDA {sorted(since)}, but symbols {found}")
        for version, symbol in zip(sorted(since), found, strict=True):
            lines.append(f"ENTRY_POINT({name}, {version}, {symbol})\n")
    return "".join(lines)


def kernel_names(source: str) -> list[str]:
    """The kernels that the workload's source defines, in their order.

    Raises:
        ValueError: it defines none.
    """
    names = re.findall(r"^KERNEL\s+void\s+(\w+)\s*\(", source, re.MULTILINE)
    if not names:
        raise ValueError("the workload's kernel source defines no `KERNEL void name(…)`")
    return names
