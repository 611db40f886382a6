"""What the driver publishes, and what of it is free."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from itertools import chain
from operator import attrgetter
from typing import Any

from harness.cluster.kinds import Object
from harness.cluster.profile import Profile
from harness.verdict.finding import counted


@cache
def quantity(text: str) -> Decimal:
    """Answer what a quantity's text amounts to, as ``80Gi``.

    Raises:
        ValueError: it is none.
    """
    # The client takes half a second to load: a plan needs nothing of it.
    from kubernetes.utils.quantity import parse_quantity  # noqa: PLC0415

    return Decimal(parse_quantity(text))


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU as its driver published it."""

    driver: str
    pool: str
    name: str
    node: str
    uuid: str
    product: str
    pci: str = ""
    """``domain:bus:device.function``; empty where it is not published."""
    compute_capability: str = ""
    """``9.0``; empty where it is not published."""
    memory: int | None = None
    """Bytes."""
    version: str = ""
    """Of the GPU's own driver, where the profile knows the attribute."""
    cuda_version: str = ""
    """The newest CUDA that the GPU's own driver supports, where the profile knows the attribute."""
    entry: Object = field(default_factory=dict, compare=False, repr=False)
    """Its entry in the ResourceSlice."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What an allocation calls it."""
        return (self.driver, self.pool, self.name)

    @property
    def is_shareable(self) -> bool:
        """Whether several claims can have it at a time, a share each."""
        return bool(self.entry.get("allowMultipleAllocations"))


def driver_names(slices: Iterable[Object]) -> list[str]:
    """The drivers that publish at least one device."""
    return sorted({str(item["spec"]["driver"]) for item in slices if item["spec"].get("devices")})


@dataclass(frozen=True)
class Pool:
    """A driver's pool as its slices show it."""

    name: str
    generation: int
    """The newest one."""
    slices: tuple[Object, ...]
    """Those of the newest generation."""
    older: tuple[Object, ...]
    """Those of earlier generations that are still there."""

    @property
    def counts(self) -> list[int]:
        """How many slices it has, as they say: one number, or several where they disagree."""
        return sorted({int(item["spec"]["pool"]["resourceSliceCount"]) for item in self.slices})

    @property
    def complete(self) -> bool:
        """Whether the scheduler can allocate from it, and nothing old is left."""
        return len(self.slices) == self.counts[-1] and not self.older

    @property
    def problem(self) -> str:
        """What is wrong with it; empty when nothing is."""
        seen = Counter(d["name"] for item in self.slices for d in item["spec"].get("devices") or [])
        twice = sorted(name for name, times in seen.items() if times > 1)
        if len(self.counts) > 1:
            said = f"{self.counts[0]} and {self.counts[-1]}"
            return f"its slices of generation {self.generation} disagree about their number: {said}"
        if len(self.slices) != self.counts[0]:
            there = f"{len(self.slices)} of {self.counts[0]}"
            return f"{there} slices of generation {self.generation} exist"
        if self.older:
            return f"{len(self.older)} of its slices are older than generation {self.generation}"
        return f"device {twice[0]} is in it twice" if twice else ""

    def __str__(self) -> str:
        old = f", and {len(self.older)} of older generations" if self.older else ""
        return (
            f"pool {self.name} has {len(self.slices)} of {self.counts[-1]} slices of generation"
            f" {self.generation}{old}"
        )


def pools(slices: Iterable[Object], driver: str) -> list[Pool]:
    """The driver's pools by name."""
    by_name: dict[str, list[Object]] = {}
    for item in slices:
        if item["spec"]["driver"] == driver:
            by_name.setdefault(str(item["spec"]["pool"]["name"]), []).append(item)
    found = []
    for name, seen in sorted(by_name.items()):
        newest = max(map(generation_of, seen))
        slices_now: list[Object] = []
        older: list[Object] = []
        for item in seen:
            (slices_now if generation_of(item) == newest else older).append(item)
        found.append(Pool(name, newest, tuple(slices_now), tuple(older)))
    return found


def generation_of(item: Object) -> int:
    """The generation of a slice's pool that it belongs to."""
    return int(item["spec"]["pool"]["generation"])


def current(slices: Iterable[Object], driver: str) -> list[Object]:
    """The driver's slices that count: those of each pool's newest generation."""
    return list(chain.from_iterable(map(attrgetter("slices"), pools(slices, driver))))


def devices(slices: Iterable[Object], driver: str, profile: Profile) -> list[Device]:
    """The driver's devices that the profile means, from each pool's newest generation."""
    found = []
    for item in current(slices, driver):
        spec = item["spec"]
        for device in spec.get("devices") or []:
            if attribute(device, driver, profile.select_attribute) != profile.select_value:
                continue
            names = profile.attributes
            known = {what: attribute(device, driver, name) for what, name in names.items()}
            capacities, name = device.get("capacity") or {}, names.get("memory", "")
            memory = (capacities.get(name, capacities.get(f"{driver}/{name}")) or {}).get("value")
            found.append(
                Device(
                    driver,
                    pool=str(spec["pool"]["name"]),
                    name=str(device["name"]),
                    node=str(spec.get("nodeName") or device.get("nodeName") or ""),
                    uuid=known.get("uuid", ""),
                    product=known.get("product", ""),
                    pci=known.get("pci", ""),
                    # Published as a semantic version: 9.0.0.
                    compute_capability=".".join(known.get("compute-capability", "").split(".")[:2]),
                    memory=None if memory is None else int(quantity(memory)),
                    version=known.get("version", ""),
                    cuda_version=known.get("cuda-version", ""),
                    entry=device,
                )
            )
    return sorted(found, key=attrgetter("node", "pool", "name"))


def described(found: Iterable[Device]) -> str:
    """Say in a few words which devices there are, on how many nodes."""
    products: Counter[str] = Counter()
    nodes = set()
    for device in found:
        products[device.product or "unknown product"] += 1
        nodes.add(device.node)
    shown = ", ".join(f"{number} x {product}" for product, number in sorted(products.items()))
    return f"{counted(len(nodes), 'node')} with {shown}"


def partitions(slices: Iterable[Object], driver: str, profile: Profile) -> int:
    """How many parts of GPUs the driver publishes as devices of their own."""
    if not profile.partition_value:
        return 0
    return sum(
        attribute(device, driver, profile.select_attribute) == profile.partition_value
        for item in current(slices, driver)
        for device in item["spec"].get("devices") or []
    )


def qualified(driver: str, name: str) -> str:
    """The full name of an attribute or a capacity; one without a domain is of the driver's own."""
    return name if "/" in name else f"{driver}/{name}"


def attribute(device: Object, driver: str, name: str) -> str:
    """An attribute's value as text; unqualified names belong to the driver's own domain."""
    attributes = device.get("attributes") or {}
    value = attributes.get(name) or attributes.get(f"{driver}/{name}") or {}
    return str(next(iter(value.values()), ""))


def selector(slices: Iterable[Object], device: Device) -> str:
    """Write a CEL expression that selects this device and no other of its driver.

    Returns:
        The expression: of one attribute if one will do, else of several; empty where attributes do
        not tell the device from all others.
    """
    every: dict[tuple[str, str, str], dict[str, str]] = {}
    for item in current(slices, device.driver):
        for one in item["spec"].get("devices") or []:
            values = every[device.driver, str(item["spec"]["pool"]["name"]), str(one["name"])] = {}
            for name, value in (one.get("attributes") or {}).items():
                if literal := _literal(value):
                    values[qualified(device.driver, name)] = literal
    own = every.pop(device.key, {})
    texts = [name for name in own if own[name].startswith('"')]
    uuid = _literal({"string": device.uuid})
    names = sorted(texts, key=lambda name: (own[name] != uuid, name))
    for name in names:
        if all(other.get(name) != own[name] for other in every.values()):
            return _condition(name, own[name])
    # As a GPU and its parts, of which each has what the whole has.
    others, conditions = list(every.values()), []
    for name in [*names, *sorted({name for one in others for name in one} - {*names})]:
        alike = [other for other in others if other.get(name) == own.get(name)]
        if len(alike) < len(others):
            conditions.append(_condition(name, own.get(name)))
        others = alike
    return "" if others else " && ".join(conditions)


def _literal(value: Mapping[str, Any]) -> str:
    """Write the value of an attribute in CEL; empty for a version, which is compared otherwise."""
    kind, found = next(iter(value.items()), ("", None))
    return json.dumps(found, ensure_ascii=False) if kind in ("string", "int", "bool") else ""


def _condition(name: str, value: str | None) -> str:
    """Write in CEL that a device has an attribute with a value; None: that it has it not."""
    domain, _, attribute = name.rpartition("/")
    where = f"device.attributes[{json.dumps(domain)}].{attribute}"
    return f"!has({where})" if value is None else f"has({where}) && {where} == {value}"


def results(claim: Object) -> list[Object]:
    """What was allocated to a claim; nothing while it is not."""
    allocation = (claim.get("status") or {}).get("allocation") or {}
    return list((allocation.get("devices") or {}).get("results") or [])


def is_allocated(claim: Object) -> bool:
    """Whether a claim has an allocation."""
    return bool((claim.get("status") or {}).get("allocation"))


def key_of(result: Object) -> tuple[str, str, str]:
    """Tell the device of an allocation's result, or of a claim's status, as `Device.key` does."""
    return result["driver"], result["pool"], result["device"]


def holders(claims: Iterable[Object]) -> dict[tuple[str, str, str], str]:
    """Allocated devices, each with the claim (``namespace/name``) that has it to itself."""
    held: dict[tuple[str, str, str], str] = {}
    for claim in claims:
        owner = f"{claim['metadata'].get('namespace')}/{claim['metadata']['name']}"
        for result in results(claim):
            if not result.get("adminAccess"):
                held[key_of(result)] = owner
    return held


def has_room(device: Device, claims: Iterable[Object]) -> bool:
    """Whether a device that claims share can be given to one more, which does not say how much.

    Such a claim gets the capacity that is the device's default, or else all.
    """
    if not device.is_shareable:
        return False
    taken = [
        result.get("consumedCapacity") or {}
        for claim in claims
        for result in results(claim)
        if key_of(result) == device.key
    ]
    for name, one in (device.entry.get("capacity") or {}).items():
        needs = (one.get("requestPolicy") or {}).get("default", one["value"])
        used = sum(quantity(str(each.get(name, "0"))) for each in taken)
        if used + quantity(str(needs)) > quantity(str(one["value"])):
            return False
    return True


KEEP_AWAY = ("NoSchedule", "NoExecute")
"""The effects of taints of devices with which no claim gets them that does not tolerate it."""


def kept_away(found: Iterable[Device], rules: Iterable[Object]) -> dict[tuple[str, str, str], str]:
    """Find the DeviceTaintRule that keeps claims away from a device, by what allocations call it.

    Args:
        found: the devices.
        rules: all DeviceTaintRules. One with an empty selector is about all devices of all drivers;
            one without a selector is about none.
    """
    kept: dict[tuple[str, str, str], str] = {}
    for rule in rules:
        selector, effect = rule["spec"].get("deviceSelector"), rule["spec"]["taint"]["effect"]
        if selector is None or effect not in KEEP_AWAY:
            continue
        for device in found:
            own = {"driver": device.driver, "pool": device.pool, "device": device.name}
            if all(selector.get(what) in (None, name) for what, name in own.items()):
                kept.setdefault(device.key, str(rule["metadata"]["name"]))
    return kept


def free_by_node(found: Iterable[Device], claims: Iterable[Object]) -> dict[str, list[Device]]:
    """The free devices of each node that has any devices."""
    held = holders(claims)
    nodes: dict[str, list[Device]] = {}
    for device in found:
        free = nodes.setdefault(device.node, [])
        if device.key not in held:
            free.append(device)
    return nodes
