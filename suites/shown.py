"""What shows devices in a container, for drivers of which nothing else is known."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection

from harness.cluster.inventory import Device
from harness.scenario.report import Report
from harness.verdict.finding import short_uuid

ASKING = {
    "NVIDIA_VISIBLE_DEVICES": "all",
    "NVIDIA_DRIVER_CAPABILITIES": "all",
    "AMD_VISIBLE_DEVICES": "all",
    "HABANA_VISIBLE_DEVICES": "all",
}
"""Variables by which container runtimes of vendors are asked for devices."""
NODE = re.compile(r"nvidia\d+|dxg|kfd|dri/(card|renderD)\d+|accel/?(accel)?\d+|davinci\d+|vfio/\d+")
"""A device node below ``/dev`` that is of an accelerator, whoever makes it."""
OF_ALL_DEVICES = ("/dev/kfd", "/dev/dxg")
WORD = re.compile(r"[\w.:-]+")
TELLING = re.compile(r"(?=.*\d)[\w.:-]{4,}")
"""A name or value that nobody uses by chance."""


def shown(report: Report, published: Collection[Device]) -> set[str]:
    """Name what shows devices of the node in a container.

    Device nodes of accelerators do, variables that name a device, and what CUDA finds.

    Args:
        report: of the container.
        published: the devices of its node.
    """
    names = {text for device in published for text in names_of(device, published)}
    variables = (f"{name}={text}" for name, text in variables_of(report) if names & words(text))
    nodes = (f"/dev/{name}" for name in report.device_nodes if NODE.fullmatch(name))
    return {*variables, *nodes, *(f"{short_uuid(gpu.uuid)} by CUDA" for gpu in report.gpus)}


def of_one_device(report: Report, published: Collection[Device]) -> set[str]:
    """Name what shows single devices in a container, without what is for all of a vendor's."""
    return {one for one in shown(report, published) if one not in OF_ALL_DEVICES}


def in_variables(report: Report, published: Collection[Device]) -> set[Device]:
    """Find the devices that a container's variables name."""
    found = {word for _, text in variables_of(report) for word in words(text)}
    return {device for device in published if names_of(device, published) & found}


def variables_of(report: Report) -> Collection[tuple[str, str]]:
    """List the variables of a container but for those of its pod's specification."""
    return [(name, text) for name, text in report.environment.items() if name not in ASKING]


def names_of(device: Device, published: Collection[Device]) -> set[str]:
    """Collect what names a device: its name, UUID, and attributes that no other has."""
    every = Counter(value for one in published for value in _values(one))
    own = {value for value in _values(device) if every[value] == 1}
    return {text for text in {device.name, device.uuid, *own} if TELLING.fullmatch(text)}


def _values(device: Device) -> set[str]:
    attributes = (device.entry.get("attributes") or {}).values()
    return {str(value["string"]) for value in attributes if "string" in value}


def words(text: str) -> set[str]:
    """Split a variable's value."""
    return set(WORD.findall(text))
