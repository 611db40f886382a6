"""Devices that claims share or that are parts of others: counters, shares, node selectors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from harness.checks.check import check
from harness.cluster.inventory import Device, attribute, quantity
from harness.cluster.kinds import Object, name_of
from harness.scenario.published import Entry, Published, Wrong, node_of
from harness.verdict.finding import UnsupportedError

Counters = Mapping[tuple[str, str], Decimal]
"""Amounts by counter set and counter."""
PCI = "resource.kubernetes.io/pciBusID"


def _sets(published: Published) -> dict[str, dict[str, dict[str, Decimal]]]:
    """The counters of each counter set of each pool."""
    found: dict[str, dict[str, dict[str, Decimal]]] = defaultdict(dict)
    for item in published.slices:
        for one in item["spec"].get("sharedCounters") or []:
            found[item["spec"]["pool"]["name"]][one["name"]] = _amounts(one)
    return found


def _amounts(of: Object) -> dict[str, Decimal]:
    return {name: quantity(counter["value"]) for name, counter in of["counters"].items()}


def _draws(published: Published) -> Iterator[tuple[Entry, str, str, Decimal]]:
    """Device, counter set, counter and amount of each draw on a counter."""
    found = False
    for entry in published.devices:
        for one in entry.device.get("consumesCounters") or []:
            found = True
            for name, amount in _amounts(one).items():
                yield entry, str(one["counterSet"]), name, amount
    if not found:
        raise UnsupportedError("no device of the driver draws on counters")


@check(id="SLICE-031", level=0, source="SLICE-31")
def test_counters_exist(published: Published) -> None:
    """The counter sets and counters that a device draws on MUST be in its pool; if one is not,
    nothing of the pool can be allocated.
    """
    sets, wrong = _sets(published), []
    for entry, set_name, name, _ in _draws(published):
        if name not in sets[entry.pool].get(set_name, ()):
            what = f"counter {name} of {set_name}" if set_name in sets[entry.pool] else set_name
            head = f"{entry.where} draws on {what}, which its pool does not have"
            there = ", ".join(sets[entry.pool]) or "none"
            wrong.append(Wrong(entry.node, head, f"{head}; its counter sets: {there}"))
    published.none_of(wrong, "every counter set that is drawn on, in a slice of the pool")


@check(id="SLICE-032", level=0, source="SLICE-32", after=("SLICE-031",))
def test_no_device_needs_more_than_its_counters_have(published: Published) -> None:
    """A device MUST NOT draw more from a counter than that has: it can never be allocated."""
    sets, wrong = _sets(published), []
    for entry, set_name, name, amount in _draws(published):
        has = sets[entry.pool].get(set_name, {}).get(name)
        if has is not None and amount > has:
            head = f"{entry.where} draws {amount} of {set_name}/{name}, which has {has}"
            wrong.append(Wrong(entry.node, head, head))
    published.none_of(wrong, "at most what the counter has")


@check(id="SLICE-008", level=0, source="SLICE-8", after=("SLICE-031",))
def test_a_gpu_and_its_parts_cannot_both_be_allocated(published: Published) -> None:
    """A whole GPU and a part of it that are both published MUST draw on one counter that has not
    enough for both, or both are given away.
    """
    profile = published.profile
    if not profile.partition_value:
        raise UnsupportedError(f"profile {profile.name} does not say what a part of a GPU is")
    whole = {(gpu.node, gpu.pci): gpu for gpu in published.gpus if gpu.pci}
    parts = []
    for entry in published.devices:
        kind = attribute(entry.device, published.driver, profile.select_attribute)
        address = attribute(entry.device, published.driver, profile.attributes.get("pci", PCI))
        if kind == profile.partition_value and (entry.node, address) in whole:
            parts.append((entry, whole[entry.node, address]))
    if not parts:
        raise UnsupportedError("no GPU is published beside parts of it")
    sets = _sets(published)
    draws: dict[tuple[str, str], dict[tuple[str, str], Decimal]] = defaultdict(dict)
    for entry in published.devices:
        for one in entry.device.get("consumesCounters") or []:
            for name, amount in _amounts(one).items():
                draws[entry.pool, entry.name][one["counterSet"], name] = amount
    published.none_of(
        (
            Wrong(
                part.node,
                f"{part.where} and the whole {gpu.name} can both be allocated",
                f"{part.name} draws {dict(draws[part.pool, part.name]) or 'on no counter'},"
                f" {gpu.name} draws {dict(draws[gpu.pool, gpu.name]) or 'on no counter'}",
            )
            for part, gpu in parts
            if not _exclude(draws[part.pool, part.name], gpu, draws, sets)
        ),
        "one counter that both draw on, and that has less than both draw",
    )


def _exclude(
    part: Counters,
    gpu: Device,
    draws: Mapping[tuple[str, str], Counters],
    sets: Mapping[str, Mapping[str, Mapping[str, Decimal]]],
) -> bool:
    """Whether what is left beside the part is not enough for the whole."""
    of_gpu = draws[gpu.pool, gpu.name]
    return any(
        part[key] + amount > sets[gpu.pool][key[0]][key[1]]
        for key, amount in of_gpu.items()
        if key in part
    )


@check(id="SLICE-033", level=0, source="SLICE-33")
def test_node_selectors_of_devices_have_one_term(published: Published) -> None:
    """The node selector of a single device MUST have exactly one term: Kubernetes 1.38 refuses a
    slice with another, and before, the scheduler cannot merge it with those of other devices.
    """
    found = [
        (entry, terms)
        for entry in published.devices
        if (selector := entry.device.get("nodeSelector"))
        and (terms := selector.get("nodeSelectorTerms") or []) is not None
    ]
    if not found:
        raise UnsupportedError("no device of the driver has a node selector of its own")
    published.none_of(
        (
            Wrong(
                entry.node,
                f"the node selector of {entry.where} has {len(terms)} terms",
                f"{entry.where}: {terms}",
            )
            for entry, terms in found
            if len(terms) != 1
        ),
        "one term",
    )


@check(id="SLICE-019", level=0, source="SLICE-19")
def test_every_share_of_a_device_takes_something(published: Published) -> None:
    """A claim SHOULD NOT get a share of a device that takes nothing of its capacity: any number of
    such shares would be given; and devices of equal capacity SHOULD have equal request policies.
    """
    policies = [
        (entry, name, capacity["value"], capacity["requestPolicy"])
        for entry in published.devices
        if entry.device.get("allowMultipleAllocations")
        for name, capacity in entry.capacity.items()
        if capacity.get("requestPolicy")
    ]
    if not policies:
        raise UnsupportedError("no device of the driver has a policy for shares of it")
    first: dict[tuple[str, str], tuple[Entry, Any]] = {}
    wrong = []
    for entry, name, value, policy in policies:
        other, same = first.setdefault((published.own(name), value), (entry, policy))
        if _takes_nothing(policy):
            head = f"a share of {entry.where} may take nothing of its {name}"
            wrong.append(Wrong(entry.node, head, f"{entry.where}: {name} has policy {policy}"))
        elif policy != same:
            head = f"{name} of {entry.where} has another request policy than of {other.where}"
            wrong.append(Wrong(entry.node, head, f"{policy} and {same}"))
    published.none_of(wrong, "a default, and a least value, above zero")


def _takes_nothing(policy: Object) -> bool:
    given = [policy.get("default"), (policy.get("validRange") or {}).get("min")]
    amounts = [*given, *(policy.get("validValues") or ())]
    return any(quantity(amount) <= 0 for amount in amounts if amount is not None)


@check(id="SLICE-034", level=0, source="SLICE-2")
def test_devices_with_a_node_of_their_own_name_one_that_exists(published: Published) -> None:
    """A device that names its own node MUST name one that exists."""
    nodes = published.nodes.get()
    found = [entry for entry in published.devices if entry.device.get("nodeName")]
    if not found:
        raise UnsupportedError("no device of the driver names its own node")
    published.none_of(
        (
            Wrong(
                "",
                f"{entry.name} is published of {entry.node}, and there is no such node",
                f"{name_of(entry.item)}: {entry.name} has nodeName {entry.node}",
            )
            for entry in found
            if not node_of(entry.item) and entry.node not in nodes
        ),
        "nodeName is the name of a node",
    )
