"""The device nodes that this container has beyond those of every container."""

from __future__ import annotations

import os
import re
from pathlib import Path

_OF_EVERY_CONTAINER = re.compile(
    r"(null|zero|full|u?random|tty|ptmx|console|termination-log)|(pts|shm|mqueue)/.*"
)
"""What runtime and kubelet put there, and the folders that are mounted."""


def names(folder: Path = Path("/dev")) -> tuple[str, ...]:
    """Name what is below ``/dev``, sorted: ``nvidia0``, ``dri/renderD128``."""
    paths = (Path(parent, name) for parent, _, files in os.walk(folder) for name in files)
    found = (str(path.relative_to(folder)) for path in paths if not path.is_symlink())
    return tuple(sorted(name for name in found if not _OF_EVERY_CONTAINER.fullmatch(name)))
