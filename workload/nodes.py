"""What this container was given of devices: nodes below ``/dev``, and files that tell of them."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable
from pathlib import Path

_OF_EVERY_CONTAINER = re.compile(
    r"(null|zero|full|u?random|tty|ptmx|console|termination-log)|(pts|shm|mqueue)/.*"
)
"""What runtime and kubelet put there, and the folders that are mounted."""
_HARMLESS = re.compile(r"nvidia(\d+|ctl|-uvm)")
"""Nodes that can be opened without any effect; a watchdog's, for one, cannot."""


def names(folder: Path = Path("/dev")) -> tuple[str, ...]:
    """Name what is below ``/dev``, sorted: ``nvidia0``, ``dri/renderD128``."""
    paths = (Path(parent, name) for parent, _, files in os.walk(folder) for name in files)
    found = (str(path.relative_to(folder)) for path in paths if not path.is_symlink())
    return tuple(sorted(name for name in found if not _OF_EVERY_CONTAINER.fullmatch(name)))


def metadata(
    folder: Path = Path("/var/run/kubernetes.io/dra-device-attributes"),
) -> dict[str, str]:
    """Read what drivers tell of devices in files, by their paths; "" of what may not be read."""
    found = {}
    for parent, _, files in os.walk(folder):
        for path in (Path(parent, name) for name in files):
            try:
                text = path.read_text(errors="replace")
            except OSError:
                text = ""
            found[str(path.relative_to(folder))] = text
    return found


def forbidden(given: Iterable[str], folder: Path = Path("/dev")) -> tuple[str, ...]:
    """Name NVIDIA's device nodes that may not be opened to read and write.

    The device cgroup forbids it (EPERM), or the node's mode does (EACCES). Any other error means
    that it was allowed: no kernel driver is behind a simulated node.
    """
    return tuple(name for name in given if _HARMLESS.fullmatch(name) and not _opens(folder / name))


def _opens(node: Path) -> bool:
    try:
        os.close(os.open(node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        return error.errno not in (errno.EPERM, errno.EACCES)
    return True
