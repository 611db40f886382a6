"""What the driver publishes, judged by nothing but looking: no object is made for these checks."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from harness.checks.check import check
from harness.cluster.anchor import is_owned_by
from harness.cluster.inventory import Device
from harness.cluster.kinds import name_of, uid_of
from harness.scenario.published import Published, node_of
from harness.verdict.finding import Blame, UnsupportedError, counted, short_uuid

STANDARD = "resource.kubernetes.io"
ADDRESS = r"([0-9a-f]{4}|[1-9a-f][0-9a-f]{4,7})"
"""A PCI domain: four digits, more only where it takes more."""
FORMS = {
    f"{STANDARD}/pciBusID": (
        re.compile(rf"{ADDRESS}:[0-9a-f]{{2}}:[0-9a-f]{{2}}\.[0-7]"),
        "domain:bus:device.function in lower case, such as 0000:3b:00.0",
    ),
    f"{STANDARD}/pcieRoot": (
        re.compile(rf"pci{ADDRESS}:[0-9a-f]{{2}}"),
        "pci, domain and bus in lower case, such as pci0000:3a",
    ),
    f"{STANDARD}/numaNode": (re.compile(r"\d+"), "whole numbers from 0"),
}
"""Attributes that mean the same for every driver, and how a value of theirs looks."""


@check(id="SLICE-001", level=0, source="SLICE-1, SLICE-6")
def test_every_node_of_the_driver_has_published_devices(published: Published) -> None:
    """Of each node on which the driver runs, it MUST publish a ResourceSlice with at least one
    device.
    """
    pods, have = published.driver_pods.get(), published.nodes_with_devices()
    lacking = set() if "" in have else pods.keys() - have  # a slice of no one node is of all
    if not lacking:
        return
    first, others = min(lacking), len(lacking) - 1
    where = f"{first} and {counted(others, 'more node')}" if others else first
    published.fail_of(
        lacking,
        f"the driver runs on {where}, but no device of {'them' if others else 'it'} is published",
        expected=f"a ResourceSlice with devices of each of {', '.join(sorted(pods))}",
        observed="\n".join(
            f"none of {node}, where {published.driver_at(node)}" for node in sorted(lacking)
        ),
        # One that never came up, because its image is missing say, could not publish.
        blame=Blame.DRIVER if published.driver_has_started(first) else Blame.CLUSTER,
    )


@check(id="SLICE-002", level=0, source="SLICE-2")
def test_slices_are_of_nodes_that_exist(published: Published) -> None:
    """A ResourceSlice of one node's devices MUST name a node that exists."""
    nodes = published.nodes.get()
    for item in published.slices:
        if node_of(item) and node_of(item) not in nodes:
            published.fail_of(
                {node_of(item)},
                f"there is no node {node_of(item)}, and its slice publishes"
                f" {counted(len(item['spec'].get('devices') or []), 'device')}",
                expected=f"nodeName is one of {', '.join(sorted(nodes))}",
                observed=f"ResourceSlice {name_of(item)} has nodeName {node_of(item)}",
            )


@check(id="SLICE-009", level=0, source="SLICE-9")
def test_no_gpu_is_published_twice(published: Published) -> None:
    """Two whole GPUs MUST NOT have the same UUID, nor the same PCI address on one node: each would
    be given to somebody.
    """
    devices: dict[tuple[str, str], list[Device]] = defaultdict(list)
    for gpu in published.gpus:
        if gpu.uuid:
            devices["UUID", gpu.uuid].append(gpu)
        if gpu.pci:
            devices[f"PCI address on {gpu.node}", gpu.pci].append(gpu)
    if not devices:
        raise UnsupportedError("the driver's profile does not say what identifies a GPU")
    for (what, value), same in devices.items():
        if len(same) > 1:
            shown = " and ".join(f"{gpu.name} of {gpu.node}" for gpu in same[:2])
            published.fail_of(
                {gpu.node for gpu in same},
                f"{shown} have the same {what}: {short_uuid(value)}",
                expected="one published device for each GPU",
                observed="\n".join(f"{gpu.pool}/{gpu.name}: {what} {value}" for gpu in same),
            )


@check(id="SLICE-018", level=0, source="SLICE-18")
def test_standard_attributes_are_well_formed(published: Published) -> None:
    """Standard attributes of devices (PCI address, PCIe root, NUMA node) MUST have the form that
    all drivers share, or no claim can match devices of two drivers by them.
    """
    found = list(_standard_attributes(published))
    if not found:
        raise UnsupportedError("the driver publishes no standard attribute")
    for node, device, name, values in found:
        pattern, form = FORMS[name]
        wrong = [value for value in values if not pattern.fullmatch(str(value))]
        if wrong or not values:
            published.fail_of(
                {node},
                f"{name} of {device} is {wrong[0] if wrong else 'empty'!r}",
                expected=form,
                observed=f"{name}: {', '.join(map(str, values))}",
            )


def _standard_attributes(published: Published) -> Iterator[tuple[str, str, str, list[Any]]]:
    """Node, device, attribute and values of each that is there."""
    for item in published.slices:
        node = node_of(item)
        for device in item["spec"].get("devices") or []:
            for name in FORMS:
                for value in (device.get("attributes", {}).get(name) or {}).values():
                    values = value if isinstance(value, list) else [value]
                    yield node, f"{device['name']} of {node or name_of(item)}", name, values


@check(id="SLICE-022", level=0, source="SLICE-22")
def test_slices_go_with_their_node(published: Published) -> None:
    """A ResourceSlice of one node's devices SHOULD be owned by that Node, so that it goes when the
    node does.
    """
    nodes, of_nodes = published.nodes.get(), [item for item in published.slices if node_of(item)]
    if not of_nodes:
        raise UnsupportedError("no slice of the driver is of one node")
    for item in of_nodes:
        owners = item["metadata"].get("ownerReferences") or []
        node = nodes.get(node_of(item))
        if node is not None and not is_owned_by(item, node):
            shown = ", ".join(f"{owner['kind']} {owner['name']}" for owner in owners)
            published.fail_of(
                {node_of(item)},
                f"the ResourceSlice of {node_of(item)} stays when the node goes: it is owned by"
                f" {shown or 'nothing'}",
                expected=f"an ownerReference to Node {node_of(item)}, UID {uid_of(node)}",
                observed=f"ResourceSlice {name_of(item)}: {owners or 'no ownerReferences'}",
            )
