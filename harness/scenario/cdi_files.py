"""CDI files, by the words of their specification, as far as every version of it has them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any

import yaml

from harness.scenario.node_files import File

_READ = (".json", ".yaml")
"""The endings of the files that a runtime reads."""
_VENDOR = r"[A-Za-z][A-Za-z0-9_.-]*[A-Za-z0-9]"
_KIND = re.compile(rf"{_VENDOR}/[A-Za-z]([A-Za-z0-9_-]*[A-Za-z0-9])?")
_DEVICE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.:-]*[A-Za-z0-9])?")
_EDITS = {
    "env": str,
    "deviceNodes": dict,
    "mounts": dict,
    "hooks": dict,
    "netDevices": dict,
    "additionalGids": int,
}
"""What a container gets, each a list of these; one more is an object: intelRdt."""
_NEEDED = {
    "deviceNodes": ("path",),
    "mounts": ("hostPath", "containerPath"),
    "hooks": ("hookName", "path"),
    "netDevices": ("hostInterfaceName", "name"),
}


def read(files: Iterable[File]) -> list[File]:
    """Leave out what no runtime reads: folders, and files with other endings."""
    return [one for one in files if one.kind == "file" and PurePosixPath(one.path).suffix in _READ]


def problem(file: File) -> str:
    """Say what is wrong with a file; nothing when all is well, or it is too large to be read."""
    if file.text is None:
        return ""
    try:
        spec = yaml.safe_load(file.text)
    except yaml.YAMLError:
        return "it is neither JSON nor YAML"
    if not isinstance(spec, dict):
        return "it is no object"
    if not re.fullmatch(r"v?\d+\.\d+\.\d+", str(spec.get("cdiVersion"))):
        return "it has no cdiVersion"
    if not _KIND.fullmatch(str(spec.get("kind"))):
        return "its kind is not VENDOR/CLASS"
    devices = spec.get("devices")
    if not isinstance(devices, list) or not all(isinstance(one, dict) for one in devices):
        return "it has no list of devices"
    names = [str(one.get("name")) for one in devices]
    if wrong := next((name for name in names if not _DEVICE.fullmatch(name)), None):
        return f"{wrong} is no name of a device"
    if twice := next((name for name in names if names.count(name) > 1), None):
        return f"device {twice} is in it twice"
    edits = [spec.get("containerEdits"), *(one.get("containerEdits") for one in devices)]
    return next((found for one in edits if one is not None and (found := _wrong_edits(one))), "")


def _wrong_edits(edits: Any) -> str:
    if not isinstance(edits, dict):
        return "containerEdits is no object"
    for name, kind in _EDITS.items():
        entries = edits.get(name) or []
        if not isinstance(entries, list) or not all(isinstance(one, kind) for one in entries):
            return f"{name} is no list of what it has to be"
        for field in _NEEDED.get(name, ()):
            if not all(entry.get(field) for entry in entries):
                return f"an entry of {name} has no {field}"
    if any("=" not in variable for variable in edits.get("env") or []):
        return "an entry of env has no ="
    return ""


def devices(file: File) -> Iterator[str]:
    """Name the devices that a file without a problem defines, as a runtime is asked for them."""
    if file.text is not None and not problem(file):
        spec = yaml.safe_load(file.text)
        yield from (f"{spec['kind']}={device['name']}" for device in spec["devices"])


def gives(file: File, names: Collection[str]) -> Iterator[str]:
    """Tell what containers with some devices of a file have by it: variables and device nodes.

    Args:
        file: without a problem; another one gives nothing.
        names: of devices, as a runtime is asked for them.
    """
    if file.text is None or problem(file):
        return
    spec = yaml.safe_load(file.text)
    of_names = [one for one in spec["devices"] if f"{spec['kind']}={one['name']}" in names]
    for edits in (one.get("containerEdits") or {} for one in (of_names and [spec, *of_names])):
        yield from edits.get("env") or ()
        yield from (node["path"] for node in edits.get("deviceNodes") or ())
