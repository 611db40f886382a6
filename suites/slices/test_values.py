"""What slices say of devices: attributes and capacities that users can select by."""

from __future__ import annotations

from collections import defaultdict

from harness.checks.check import check
from harness.cluster.inventory import quantity
from harness.scenario.published import Entry, Published, Wrong
from harness.verdict.finding import UnsupportedError

CAPACITY = "capacity"
"""The type of a capacity, as a profile spells it."""


def _types(entry: Entry, published: Published) -> dict[str, str]:
    """The type of each attribute and capacity of a device, by its name without the own domain."""
    attributes = {published.own(name): next(iter(v), "") for name, v in entry.attributes.items()}
    return {**{published.own(name): CAPACITY for name in entry.capacity}, **attributes}


@check(id="SLICE-004", level=0, source="SLICE-4")
def test_gpus_have_the_attributes_that_the_driver_promises(published: Published) -> None:
    """Each whole GPU MUST have the attributes and capacities that the driver promises to its users,
    each of the promised type.
    """
    promised = published.profile.promises
    if not promised:
        raise UnsupportedError(f"profile {published.profile.name} names no promised attributes")
    whole = {gpu.key[1:] for gpu in published.gpus}
    wrong = []
    for entry in published.devices:
        if (entry.pool, entry.name) not in whole:
            continue
        have = _types(entry, published)
        if lacking := {name: type_ for name, type_ in promised.items() if have.get(name) != type_}:
            name, type_ = next(iter(lacking.items()))
            is_of = f"of type {have[name]}, not {type_}" if name in have else "missing"
            shown = ", ".join(f"{name} ({have.get(name, 'missing')})" for name in lacking)
            wrong.append(
                Wrong(entry.node, f"{name} of {entry.where} is {is_of}", f"{entry.where}: {shown}")
            )
    published.none_of(wrong, ", ".join(f"{name} ({type_})" for name, type_ in promised.items()))


@check(id="SLICE-005", level=0, source="SLICE-5")
def test_no_attribute_is_empty(published: Published) -> None:
    """An attribute of a device MUST NOT be an empty text: nobody can select by it."""
    published.none_of(
        (
            Wrong(
                entry.node,
                f"{name} of {entry.where} is an empty text",
                f"{entry.where}: {name} is {value}",
            )
            for entry in published.devices
            for name, value in entry.attributes.items()
            if value.get("string") == "" or "" in (value.get("strings") or ())
        ),
        "a text, or no attribute where the driver knows none",
    )


@check(id="SLICE-026", level=0, source="SLICE-5")
def test_capacities_are_above_zero(published: Published) -> None:
    """A capacity of a device MUST be a quantity above zero, and memory whole bytes, or claims that
    ask for some wait for ever.
    """
    memory = published.own(published.profile.attributes.get("memory", ""))
    wrong = []
    for entry in published.devices:
        for name, capacity in entry.capacity.items():
            value = quantity(capacity["value"])
            if value <= 0 or (value % 1 and published.own(name) == memory):
                text = f"{name} of {entry.where} is {capacity['value']}"
                wrong.append(Wrong(entry.node, text, text))
    published.none_of(wrong, "a quantity above zero; no capacity where the driver knows none")


@check(id="SLICE-016", level=0, source="SLICE-16", after=("SLICE-004",))
def test_gpus_of_a_node_have_one_driver_version(published: Published) -> None:
    """All GPUs of a node MUST be published with the same version of the GPU driver: a node has only
    one, so another was published before it changed.
    """
    versions: dict[str, dict[str, str]] = defaultdict(dict)
    for gpu in published.gpus:
        if gpu.version:
            versions[gpu.node].setdefault(gpu.version, gpu.name)
    if not versions:
        raise UnsupportedError("the profile does not say how the GPU driver's version is published")
    wrong = []
    for node, found in versions.items():
        if len(found) > 1:
            shown = " and ".join(f"{version} ({name})" for version, name in list(found.items())[:2])
            wrong.append(Wrong(node, f"GPUs of {node} have driver {shown}", f"{node}: {found}"))
    published.none_of(wrong, "one version of the GPU driver on each node")


@check(id="SLICE-025", level=0, source="SLICE-25", after=("SLICE-004",))
def test_an_attribute_is_of_one_type(published: Published) -> None:
    """An attribute MUST be of one type on all devices of the driver: by CEL and by matchAttribute,
    values of two types are never equal.
    """
    first: dict[str, tuple[str, Entry]] = {}
    wrong = []
    for entry in published.devices:
        for name, value in entry.attributes.items():
            type_ = next(iter(value), "")
            was, other = first.setdefault(published.own(name), (type_, entry))
            if type_ != was:
                head = f"{name} is {was} on {other.where} and {type_} on {entry.where}"
                wrong.append(Wrong(entry.node, head, head))
    published.none_of(wrong, "one type of each attribute")
