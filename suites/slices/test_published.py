"""What the driver publishes, judged by nothing but looking: no object is made for these checks."""

from __future__ import annotations

import re
from collections import defaultdict

from harness.checks.check import check
from harness.cluster.anchor import is_owned_by
from harness.cluster.inventory import Device
from harness.cluster.kinds import name_of, uid_of
from harness.scenario.published import Published, Wrong, node_of
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


@check(id="SLICE-001", level=0, source="SLICE-1, SLICE-6", after=("DISC-004",))
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
    wrong = []
    for item in published.slices:
        if node_of(item) and node_of(item) not in nodes:
            number = counted(len(item["spec"].get("devices") or []), "device")
            head = f"there is no node {node_of(item)}, and its slice publishes {number}"
            wrong.append(Wrong(node_of(item), head, f"{name_of(item)} is of node {node_of(item)}"))
    published.none_of(wrong, "nodeName is the name of a node")


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
    wrong = []
    for (what, value), same in devices.items():
        # A whole and its parts are never given away together: one counter set has not enough.
        drawn = [
            {(gpu.pool, one["counterSet"]) for one in gpu.entry.get("consumesCounters") or ()}
            for gpu in same
        ]
        if len(same) > 1 and not set.intersection(*drawn):
            shown = " and ".join(f"{gpu.name} of {gpu.node}" for gpu in same[:2])
            head = f"{shown} have the same {what}: {short_uuid(value)}"
            which = ", ".join(f"{gpu.pool}/{gpu.name}" for gpu in same)
            wrong.append(Wrong(same[0].node, head, f"{what} {value}: {which}"))
    published.none_of(wrong, "one published device for each GPU")


@check(id="SLICE-018", level=0, source="SLICE-18")
def test_standard_attributes_are_well_formed(published: Published) -> None:
    """Standard attributes of devices (PCI address, PCIe root, NUMA node) MUST have the form that
    all drivers share, or no claim can match devices of two drivers by them.
    """
    found, wrong = False, []
    for entry in published.devices:
        for name in FORMS.keys() & entry.attributes.keys():
            found = True
            pattern, form = FORMS[name]
            given = next(iter(entry.attributes[name].values()), None)
            values = given if isinstance(given, list) else [given]
            bad = [value for value in values if not pattern.fullmatch(str(value))]
            if bad or not values:
                head = f"{name} of {entry.where} is {bad[0] if bad else 'empty'!r}"
                wrong.append(Wrong(entry.node, head, f"{head}; expected is {form}"))
    if not found:
        raise UnsupportedError("the driver publishes no standard attribute")
    published.none_of(wrong, "the form that Kubernetes defined for the attribute")


@check(id="SLICE-022", level=0, source="SLICE-22")
def test_slices_go_with_their_node(published: Published) -> None:
    """A ResourceSlice of one node's devices SHOULD be owned by that Node, so that it goes when the
    node does.
    """
    nodes, of_nodes = published.nodes.get(), [item for item in published.slices if node_of(item)]
    if not of_nodes:
        raise UnsupportedError("no slice of the driver is of one node")
    wrong = []
    for item in of_nodes:
        owners = item["metadata"].get("ownerReferences") or []
        node = nodes.get(node_of(item))
        if node is not None and not is_owned_by(item, node):
            shown = ", ".join(f"{owner['kind']} {owner['name']}" for owner in owners) or "nothing"
            head = f"the slice of {node_of(item)} stays when the node goes: it is owned by {shown}"
            text = f"{name_of(item)}: owners {owners or 'none'}, its node's UID is {uid_of(node)}"
            wrong.append(Wrong(node_of(item), head, text))
    published.none_of(wrong, "an ownerReference to the Node, by its name and UID")
