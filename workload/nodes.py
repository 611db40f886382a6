"""The device nodes of NVIDIA's driver that this container has."""

from __future__ import annotations

from pathlib import Path

_FOLDER = "nvidia-caps"
"""The only folder of the driver's whose content is shown: MIG and IMEX capabilities."""


def names(folder: Path = Path("/dev")) -> tuple[str, ...]:
    """Names in ``/dev`` that begin with ``nvidia``, sorted; what is in `_FOLDER` by its path."""
    found = [path.name for path in folder.glob("nvidia*")]
    found += [f"{_FOLDER}/{path.name}" for path in (folder / _FOLDER).glob("*")]
    return tuple(sorted(found))
