"""What a container gets, in the words of the Container Device Interface (CDI).

The kubelet hands the container runtime nothing but CDI device IDs; the runtime looks them up in
the files of ``/var/run/cdi``. There is one file a claim, from its preparation to the opposite. The
names in it carry the claim's UID, because runtimes cache and an ID must never mean two things.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import DRIVER
from .gpus import Gpu

KIND = f"k8s.{DRIVER}/claim"
VERSION = "0.5.0"
"""The oldest that allows device names to start with a digit, as UIDs do."""

_COMMON_NODES = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")
_SONAMES = ("libcuda.so.1", "libnvidia-ml.so.1")
_LIBRARY_FOLDERS = ("usr/lib/x86_64-linux-gnu", "usr/lib64")
"""What loaders search by themselves: Debian's and its descendants', and everybody else's.

Libraries are looked for in these folders of the driver root, and shown in these folders of the
container under the name that programs ask for: no hook has to refresh the loader's cache."""


class Cdi:
    """The specifications of this driver's claims."""

    def __init__(self, folder: Path, driver_root: Path | None) -> None:
        """Find what is common to all containers.

        Args:
            folder: where the runtime looks for specifications, ``/var/run/cdi``.
            driver_root: where the vendor's driver lies, at the same path as on the node; None:
                containers get nothing but device nodes.

        Raises:
            FileNotFoundError: the driver lacks a part.
        """
        self._folder = folder
        self._common: dict[str, Any] = {}
        if driver_root is None:
            return
        self._common = {
            "deviceNodes": [{"path": path, "permissions": "rw"} for path in _COMMON_NODES],
            "mounts": [
                *(
                    mount(_library(driver_root, name), f"/{target}/{name}")
                    for name in _SONAMES
                    for target in _LIBRARY_FOLDERS
                ),
                mount(driver_root / "usr/bin/nvidia-smi", "/usr/bin/nvidia-smi"),
            ],
        }

    def spec(
        self,
        uid: str,
        given: Mapping[str, tuple[Gpu, list[str]]],
        mounts: Mapping[str, list[dict[str, Any]]] | None = None,
    ) -> dict[str, Any]:
        """The specification of a claim: one CDI device a GPU, or a share of one; the rest comes
        with any of them.

        Args:
            uid: the claim's.
            given: its GPUs with their environment variables, by the name of the device or share.
            mounts: files that tell of them, by the same names.
        """
        return {
            "cdiVersion": VERSION,
            "kind": KIND,
            "devices": [
                {
                    "name": _name(uid, unit),
                    "containerEdits": {
                        "env": variables,
                        "deviceNodes": [gpu.node],
                        **({"mounts": mounts[unit]} if mounts and unit in mounts else {}),
                    },
                }
                for unit, (gpu, variables) in given.items()
            ],
            "containerEdits": self._common,
        }

    def files(self, uid: str, spec: dict[str, Any]) -> dict[str, str]:
        """The files that say this of a claim, by their names, which all have its UID in them."""
        return {f"{KIND.replace('/', '-')}_{uid}.json": json.dumps(spec, indent=1)}

    def write(self, files: Mapping[str, str]) -> None:
        """Make a claim's files say this; those that do so already are left alone."""
        for name, text in files.items():
            file = self._folder / name
            if not file.exists() or file.read_text() != text:
                write_atomically(file, text)

    def remove(self, uid: str) -> None:
        """Remove the claim's files, if there are any."""
        for file in self._folder.glob(f"*{uid}*"):
            file.unlink(missing_ok=True)


def device_id(uid: str, unit: str) -> str:
    """The fully qualified CDI name of one device of a claim, or of a share of one."""
    return f"{KIND}={_name(uid, unit)}"


def write_atomically(file: Path, text: str) -> None:
    """Write a file so that nobody, not even after a power failure, sees a part of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    # A runtime reads *.json and *.yaml only: this name is none of them.
    new = file.with_name(f".{file.name}.new")
    try:
        with new.open("w") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        new.rename(file)
    except OSError:
        new.unlink(missing_ok=True)  # a full disk
        raise
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _name(uid: str, unit: str) -> str:
    return f"{uid}-{unit}"


def _library(driver_root: Path, name: str) -> Path:
    for folder in _LIBRARY_FOLDERS:
        if (found := driver_root / folder / name).exists():
            return found.resolve()
    raise FileNotFoundError(f"no {name} in {' or '.join(_LIBRARY_FOLDERS)} of {driver_root}")


def mount(source: Path, target: str) -> dict[str, Any]:
    """What mounts a file of the node into containers, to be read only."""
    return {
        "hostPath": str(source),
        "containerPath": target,
        "options": ["bind", "ro", "nosuid", "nodev"],
    }
