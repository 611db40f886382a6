"""How the driver can be made to misbehave, to see whether tests notice.

A fault is a function that alters what the driver does at one point. Those in force are named in a
file of the node, with commas between them, which is read whenever a point is reached, so they can
be switched while the driver runs. To add a fault, add a function: its docstring is its sentence.

A benign fault is none: the contract permits what the driver then does, and no check may mind it.
"""

from __future__ import annotations

import ctypes
import enum
import itertools
import json
import math
import os
import re
import select
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from . import DRIVER
from .channels import FOLDER as CHANNELS

if TYPE_CHECKING:
    from .claims import Claim
    from .gpus import Gpu

OWN_FOLDER = Path("/var/lib/kubelet/plugins") / DRIVER
"""The driver's own on a node."""
_STARTED = datetime.now(UTC)
SLOW_SECONDS = 8
"""Of what takes long: a pod on the node, or a kubelet's restart, comes in between."""
FILE = "fault"
"""The file's name in the driver's folder."""
PUBLISHED = f"{FILE}.published"
"""Another file there: which state of `FILE` the slices follow."""

REFUSAL_SECONDS = 130
"""How long something is refused that has to be possible in the end."""

Value = TypeVar("Value")


class Point(enum.Enum):
    """Where a fault can act, and on what."""

    PUBLISH = enum.auto()
    """The entries of the ResourceSlice; None withdraws the slice."""
    POOL = enum.auto()
    """What the ResourceSlice says of its pool, without the generation."""
    OWN = enum.auto()
    """The owners of the ResourceSlice."""
    READY = enum.auto()
    """Whether it is ready to serve, as the kubelet's probe is told."""
    BIND = enum.auto()
    """The binding conditions of a device that are about to be said to be met, and for which
    allocation of a claim."""
    TELL = enum.auto()
    """What is said of GPUs in the status of their claims, by their names; of no GPU: nothing."""
    DESCRIBE = enum.auto()
    """What containers are told of their GPUs in files: attributes, by the GPUs' names; of no GPU:
    no files."""
    RESULTS = enum.auto()
    """What was allocated to a claim about to be prepared, of all drivers."""
    PARAMETERS = enum.auto()
    """The parameters of a claim and its class, for all drivers."""
    REFUSAL = enum.auto()
    """What is said of parameters that are refused."""
    REQUEST = enum.auto()
    """The claims that the kubelet asks to be prepared in one call."""
    PREPARE = enum.auto()
    """The claim about to be prepared; raising refuses it."""
    INJECT = enum.auto()
    """The CDI specification about to be written."""
    ANSWER = enum.auto()
    """The answer to a call that prepares claims."""
    FILES = enum.auto()
    """The CDI files of a claim about to be written: what stands in each, by its name."""
    ERASE = enum.auto()
    """Whether the CDI files of a claim that is unprepared are removed."""
    TIME_SLICE = enum.auto()
    """The time slice that a GPU is about to get; empty leaves it as it is."""
    RESTORE = enum.auto()
    """Whether the specifications of prepared claims are made true again: at the start, and when
    such a claim is prepared once more."""
    REWRITE = enum.auto()
    """Whether the specification of a prepared claim is made true when it is prepared once more."""
    READ = enum.auto()
    """The object of a claim that is to be prepared; raising refuses it."""
    HALFWAY = enum.auto()
    """The mark of a claim that is on record, and of which the specification is to be written; with
    the lock that is held meanwhile."""
    REPLAY = enum.auto()
    """A claim that this instance has prepared and is to prepare once more; raising refuses it."""
    INHERIT = enum.auto()
    """The mark of a claim that an earlier instance has on record, and that is to be prepared."""
    UPGRADE = enum.auto()
    """The claims on record of an older version, read by the one that comes after it."""
    TAKE_OVER = enum.auto()
    """Whether the specifications of claims are made true again that an older version prepared."""
    TAKE_BACK = enum.auto()
    """A claim to unprepare that an earlier instance prepared; raising refuses it."""
    FORGET = enum.auto()
    """Whether the specification of a claim that an earlier instance prepared is removed when the
    claim is unprepared."""
    SET_UP = enum.auto()
    """What prepares a claim, about to be called; raising refuses it."""
    RENEW = enum.auto()
    """Whether a claim that has the name of one before is prepared by itself."""
    REFUSE = enum.auto()
    """Whether a claim is refused of which a device is in use by another."""
    UNPREPARE = enum.auto()
    """The claim about to be unprepared (`claims.Ending`); None leaves it as it is, and raising
    refuses it."""
    KEEP = enum.auto()
    """A claim that is prepared (`claims.Ending`), from time to time; None unprepares it."""
    FREE = enum.auto()
    """Whether a claim that is unprepared gives its devices back at once; else only when its object
    is gone."""
    COUNT = enum.auto()
    """How many devices the metrics tell to be prepared."""
    OUTLIVE = enum.auto()
    """The UID of a claim to unprepare that an earlier kubelet had prepared; raising refuses it."""
    REGISTER = enum.auto()
    """Whether the kubelet, which asks who we are, has us registered already; raising answers
    nothing."""
    REPLACE = enum.auto()
    """Whether the registration socket that a killed instance left is replaced by an own one."""
    ADOPT = enum.auto()
    """Whether the first look at ResourceSlices takes those of an earlier instance as they are."""
    HEALTH = enum.auto()
    """A report of the health of devices, and whether it is the first that the kubelet gets."""
    HEALTH_AGAIN = enum.auto()
    """A report of the health of devices, of an instance that found prepared claims at its start."""
    RETURN = enum.auto()
    """The entries of the ResourceSlice of an instance that found prepared claims at its start; with
    the GPUs that these hold."""
    CREATE = enum.auto()
    """Whether an instance that is not the first on its node publishes a slice where none is."""
    WATCH = enum.auto()
    """Whether slices are looked at again when somebody has changed them."""
    COMPARE = enum.auto()
    """Whether a slice has to say what it should, to be taken for right."""
    REPEAT = enum.auto()
    """Whether a slice that is right is written all the same."""


class FaultError(Exception):
    """What a fault answers instead of doing its duty."""


@dataclass(frozen=True)
class Fault:
    """A way to misbehave."""

    sentence: str
    point: Point
    alter: Callable[[Any, Sequence[Gpu]], Any]
    """Takes what the driver would do and GPUs of the node, all where nothing else is said; returns
    what it does instead."""
    benign: bool
    """Whether the contract permits it."""
    of_channels: bool = False
    """Whether the instance with IMEX channels has it; else that with GPUs."""


FAULTS: dict[str, Fault] = {}
"""By name."""


def fault(
    name: str, point: Point, *, benign: bool = False, of_channels: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a fault of a function."""

    def register(alter: Callable[..., Any]) -> Callable[..., Any]:
        sentence = " ".join((alter.__doc__ or "").split())
        FAULTS[name] = Fault(sentence, point, alter, benign, of_channels)
        return alter

    return register


@fault("no-slices", Point.PUBLISH)
def _no_slices(_devices: list[Any], _gpus: Sequence[Gpu]) -> None:
    """Registers with the kubelet, but publishes no ResourceSlice."""


@fault("leaves-out-a-gpu", Point.PUBLISH)
def _leaves_out_a_gpu(devices: list[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Does not publish the first GPU, without a word."""
    return devices[1:]


@fault("published-twice", Point.PUBLISH)
def _published_twice(devices: list[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Publishes the first GPU a second time, under another name."""
    again = [{**one, "name": f"{one['name']}-again"} for one in devices[:1]]
    return [*devices[:1], *again, *devices[1:]]


@fault("one-gpu-as-two", Point.PUBLISH)
def _one_gpu_as_two(devices: list[Any], gpus: Sequence[Gpu]) -> list[Any]:
    """Publishes nothing but the first GPU, under two names."""
    return list(_published_twice(devices[:1], gpus))


@fault("pci-of-nvml", Point.PUBLISH)
def _pci_of_nvml(devices: list[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Publishes PCI addresses as NVML spells them: a domain of eight digits, in upper case."""
    name = "resource.kubernetes.io/pciBusID"
    spelled = []
    for device in devices:
        address = f"0000{device['attributes'][name]['string']}".upper()
        attributes = {**device["attributes"], name: {"string": address}}
        spelled.append({**device, "attributes": attributes})
    return spelled


def _with(devices: list[Any], part: str, name: str, values: Sequence[Any]) -> list[Any]:
    """The devices, each with another value of an attribute or capacity."""
    return [
        {**device, part: {**device[part], name: value}}
        for device, value in zip(devices, values, strict=True)
    ]


@fault("uuid-of-the-next-gpu", Point.PUBLISH)
def _uuid_of_the_next_gpu(devices: list[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Publishes each GPU with the UUID of the next one."""
    uuids = [one["attributes"]["uuid"] for one in (*devices[1:], *devices[:1])]
    return _with(devices, "attributes", "uuid", uuids)


@fault("last-product-misspelt", Point.PUBLISH)
def _last_product_misspelt(devices: list[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Publishes the last GPU under a name that is not quite its product's."""
    name = devices[-1]["attributes"]["productName"]["string"]
    return _last(devices, attributes={"productName": {"string": f"{name} (Reference)"}})


@fault("another-product-name", Point.PUBLISH)
def _another_product_name(devices: list[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Publishes GPUs under a name of its own instead of their product's."""
    names = [{"string": "Reference GPU"}] * len(devices)
    return _with(devices, "attributes", "productName", names)


@fault("later-version", Point.PUBLISH)
def _later_version(devices: list[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Publishes a later version of the GPU driver than the node has."""
    versions = [{"version": "999.0.0"}] * len(devices)
    return _with(devices, "attributes", "driverVersion", versions)


@fault("earlier-version", Point.PUBLISH)
def _earlier_version(devices: list[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Publishes GPUs with the version of a GPU driver that was replaced meanwhile."""
    versions = [{"version": "570.0.0"}] * len(devices)
    return _with(devices, "attributes", "driverVersion", versions)


@fault("twice-the-memory", Point.PUBLISH)
def _twice_the_memory(devices: list[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Publishes GPUs with twice the memory that they have."""
    has = [re.fullmatch(r"(\d+)(\D*)", one["capacity"]["memory"]["value"]) for one in devices]
    doubled = [{"value": f"{2 * int(one[1])}{one[2]}"} for one in has if one]
    return _with(devices, "capacity", "memory", doubled)


@fault("crossed-pcie-roots", Point.PUBLISH)
def _crossed_pcie_roots(devices: list[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Publishes the second GPU at the PCIe root of the last one, and that one at its root."""
    name = "resource.kubernetes.io/pcieRoot"
    roots = [one["attributes"][name] for one in devices]
    if len(roots) > 2:
        roots[1], roots[-1] = roots[-1], roots[1]
    return _with(devices, "attributes", name, roots)


def _last(devices: list[Any], **fields: Any) -> list[Any]:
    """The devices, the last one with other fields; of attributes and capacity, these beside the
    others, or without those that are None."""
    last = devices[-1]
    for name, new in fields.items():
        merged = {**last.get(name, {}), **new} if isinstance(new, dict) else new
        if isinstance(new, dict):
            merged = {key: one for key, one in merged.items() if one is not None}
        last = {**last, name: merged}
    return [*devices[:-1], last]


@fault("pci-of-the-first-gpu", Point.PUBLISH)
def _pci_of_the_first_gpu(devices: list[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Publishes the last GPU with the PCI address of the first one."""
    name = "resource.kubernetes.io/pciBusID"
    return _last(devices, attributes={name: devices[0]["attributes"][name]})


@fault("no-product-name", Point.PUBLISH)
def _no_product_name(devices: list[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Publishes the last GPU without the name of its product."""
    return _last(devices, attributes={"productName": None})


@fault("version-as-text", Point.PUBLISH)
def _version_as_text(devices: list[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Publishes the driver's version of the last GPU as text, as if it could not be converted."""
    return _last(devices, attributes={"driverVersion": {"string": "580.159.04"}})


@fault("stale-version", Point.PUBLISH)
def _stale_version(devices: list[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Publishes the last GPU with the version of a GPU driver that was replaced meanwhile."""
    return _last(devices, attributes={"driverVersion": {"version": "570.0.0"}})


@fault("empty-attribute", Point.PUBLISH)
def _empty_attribute(devices: list[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Publishes an attribute of the last GPU as an empty text, as its hardware did not tell."""
    return _last(devices, attributes={"serial": {"string": ""}})


@fault("attribute-of-two-types", Point.PUBLISH)
def _attribute_of_two_types(devices: list[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Publishes an attribute that is a number, but text for the last GPU."""
    numbered = [
        {**one, "attributes": {**one["attributes"], "index": {"int": number}}}
        for number, one in enumerate(devices)
    ]
    return _last(numbered, attributes={"index": {"string": "last"}})


@fault("no-memory", Point.PUBLISH)
def _no_memory(devices: list[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Publishes the last GPU with a memory of 0, as its hardware did not tell."""
    return _last(devices, capacity={"memory": {"value": "0"}})


@fault("milli-memory", Point.PUBLISH)
def _milli_memory(devices: list[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Publishes the last GPU with a tenth of a byte of memory, by a wrong suffix."""
    return _last(devices, capacity={"memory": {"value": "100m"}})


@fault("version-too-large", Point.PUBLISH)
def _version_too_large(devices: list[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Publishes a version of the last GPU with a number of more than 63 bits."""
    return _last(devices, attributes={"firmware": {"version": f"{2**63}.0.0"}})


@fault("own-prefix", Point.PUBLISH)
def _own_prefix(devices: list[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Publishes an attribute of the last GPU with the driver's own name before it."""
    return _last(devices, attributes={f"{DRIVER}/serial": {"string": "1"}})


@fault("two-slashes", Point.PUBLISH)
def _two_slashes(devices: list[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Publishes an attribute of the last GPU whose name has two slashes."""
    return _last(devices, attributes={"gpu.example/board/serial": {"string": "1"}})


@fault("taint-without-domain", Point.PUBLISH)
def _taint_without_domain(devices: list[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Taints the last GPU with a key that has no domain."""
    return _last(devices, taints=[{"key": "unhealthy", "effect": "NoSchedule"}])


@fault("unknown-counter-set", Point.PUBLISH)
def _unknown_counter_set(devices: list[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Publishes the last GPU as drawing on a set of counters that no slice has."""
    draws = [{"counterSet": "board", "counters": {"memory": {"value": "1Gi"}}}]
    return _last(devices, consumesCounters=draws)


@fault("needs-more-than-there-is", Point.PUBLISH)
def _needs_more_than_there_is(devices: list[Any], gpus: Sequence[Gpu]) -> list[Any]:
    """Publishes the last GPU as drawing more memory from its counters than they have."""
    needs = {"memory": {"value": str(2 * gpus[-1].memory)}}
    draws = [{"counterSet": gpus[-1].name, "counters": needs}]
    return _last(devices, consumesCounters=draws)


@fault("gpu-beside-its-parts", Point.PUBLISH)
def _gpu_beside_its_parts(devices: list[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Publishes a part of the last GPU beside the whole, and nothing that keeps both from being
    allocated."""
    last = devices[-1]
    kind = {"type": {"string": "mig"}, "uuid": {"string": "MIG-1"}}
    part = {**last, "name": f"{last['name']}-part", "attributes": {**last["attributes"], **kind}}
    return [*devices, part]


@fault("share-of-nothing", Point.PUBLISH)
def _share_of_nothing(devices: list[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Lets claims share the last GPU, each with no memory at all unless it asks for some."""
    memory = {**devices[-1]["capacity"]["memory"], "requestPolicy": {"default": "0"}}
    return _last(devices, allowMultipleAllocations=True, capacity={"memory": memory})


@fault("shares-a-gpu", Point.PUBLISH, benign=True)
def _shares_a_gpu(devices: list[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Lets claims share the last GPU, by memory; a claim that does not say how much gets it all."""
    whole = devices[-1]["capacity"]["memory"]["value"]
    policy = {"default": whole, "validRange": {"min": "1Mi", "step": "1Mi"}}
    memory = {"value": whole, "requestPolicy": policy}
    return _last(devices, allowMultipleAllocations=True, capacity={"memory": memory})


@fault("whole-gpu-for-a-share", Point.RESULTS)
def _whole_gpu_for_a_share(results: Sequence[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Answers a share of a GPU with the whole one, which no second claim can have then."""
    return [{key: one[key] for key in one if key != "shareID"} for one in results]


@fault("another-gpu-for-a-share", Point.INJECT)
def _another_gpu_for_a_share(spec: dict[str, Any], gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Gives containers with a share of a GPU the first GPU of the node."""
    if not any(
        "_SHARE_" in name for one in spec["devices"] for name in one["containerEdits"]["env"]
    ):
        return spec
    text = json.dumps(spec)
    for gpu in gpus:
        text = text.replace(f'"{gpu.path}"', f'"{gpus[0].path}"')
        text = text.replace(f'"{gpu.variable}"', f'"{gpus[0].variable}"')
    return dict(json.loads(text))


@fault("ends-all-shares", Point.UNPREPARE)
def _ends_all_shares(ending: Any, _gpus: Sequence[Gpu]) -> Any:
    """Takes all shares of a GPU back when one of them is unprepared."""
    shares = [one for one in (ending.claim.devices if ending.claim else ()) if one.share]
    for file in Path("/var/run/cdi").glob("*.json") if shares else ():
        if any(f"-{one.name}-" in file.read_text() for one in shares):
            file.unlink()
    return ending


@fault("counts-shares-up-only", Point.PREPARE)
def _counts_shares_up_only(claim: Any, gpus: Sequence[Gpu]) -> Any:
    """Never gives the memory of a share back: prepares shares of a GPU until they had all of it."""
    for device in claim.devices:
        if device.share:
            known = _shares.setdefault(device.name, {})
            known[device.share] = _bytes(device.memory)
            has = next(gpu.memory for gpu in gpus if gpu.name == device.name)
            if sum(known.values()) > has:
                raise FaultError(f"{device.name} has no memory left for another share")
    return claim


_shares: dict[str, dict[str, int]] = {}
"""Bytes of every share that was prepared, by the GPU's name and the share's UID."""


def _bytes(quantity: str) -> int:
    """What a quantity with a binary suffix is."""
    number, unit = quantity.rstrip("KMGTi"), quantity.lstrip("0123456789")
    return int(number) << 10 * ("", "Ki", "Mi", "Gi", "Ti").index(unit)


@fault("parts-of-a-gpu", Point.PUBLISH, benign=True)
def _parts_of_a_gpu(devices: list[Any], gpus: Sequence[Gpu]) -> list[Any]:
    """Publishes the last GPU but one in two halves, too, which draw on counters as the whole
    does."""
    gpu = gpus[-2:][0]
    drawing = [one.drawing(gpu) for one in (gpu, *gpu.parts())]
    return [new for one in devices for new in (drawing if one["name"] == gpu.name else [one])]


@fault("whole-gpu-for-a-part", Point.INJECT)
def _whole_gpu_for_a_part(spec: dict[str, Any], gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Sets up containers with a part of a GPU as if they had the whole one."""
    text = json.dumps(spec)
    for gpu in gpus:
        for part in gpu.parts():
            text = text.replace(part.variable, gpu.variable)
    return dict(json.loads(text))


@fault("in-parts-for-ever", Point.PREPARE)
def _in_parts_for_ever(claim: Any, gpus: Sequence[Gpu]) -> Any:
    """Refuses to prepare a GPU of which a part was prepared once."""
    names = {device.name for device in claim.devices}
    for gpu in gpus:
        if names.intersection(part.name for part in gpu.parts()):
            _in_parts.add(gpu.name)
    for name in names & _in_parts:
        raise FaultError(f"{name} is in parts")
    return claim


_in_parts: set[str] = set()
"""Names of GPUs of which a part was prepared."""


@fault("attaches-a-gpu", Point.PUBLISH, benign=True)
def _attaches_a_gpu(devices: list[Any], gpus: Sequence[Gpu]) -> list[Any]:
    """Attaches the last GPU but two to its node only when it is allocated; no pod is bound
    before."""
    conditions = {
        "bindsToNode": True,
        "bindingConditions": [f"{DRIVER}/attached"],
        "bindingFailureConditions": [f"{DRIVER}/attaching-failed"],
    }
    name = gpus[-3:][0].name
    return [{**one, **conditions} if one["name"] == name else one for one in devices]


Binding = tuple[list[str], str]
"""The value at `Point.BIND`."""


@fault("attaching-fails-once", Point.BIND)
def _attaching_fails_once(binding: Binding, _gpus: Sequence[Gpu]) -> Binding:
    """Fails to attach a GPU the first time, and says so, so that its pod is tried again."""
    conditions, allocation = binding
    if not conditions or _first_attached.setdefault("allocation", allocation) != allocation:
        return binding
    return [f"{DRIVER}/attaching-failed"], allocation


_first_attached: dict[str, str] = {}
"""The allocation for which a GPU was to be attached first."""


@fault("never-attached", Point.BIND)
def _never_attached(binding: Binding, _gpus: Sequence[Gpu]) -> Binding:
    """Never says that a GPU is attached for which a pod waits."""
    return [one for one in binding[0] if one != f"{DRIVER}/attached"], binding[1]


@fault("tells-of-devices", Point.TELL, benign=True)
def _tells_of_devices(told: dict[str, Any], gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Says in the status of claims which GPUs they have: their UUIDs."""
    return {**told, **{gpu.name: {"uuid": gpu.uuid} for gpu in gpus}}


@fault("tells-of-another-gpu", Point.TELL)
def _tells_of_another_gpu(told: dict[str, Any], _gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Says of each GPU in the status of its claim what the next one is."""
    said = list(told.values())
    return dict(zip(told, [*said[1:], *said[:1]], strict=True))


@fault("describes-devices", Point.DESCRIBE, benign=True)
def _describes_devices(told: dict[str, Any], gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Tells containers in files what their GPUs are (KEP-5304): the attributes that it
    publishes."""
    return {**told, **{gpu.name: gpu.device()["attributes"] for gpu in gpus}}


@fault("describes-another-gpu", Point.DESCRIBE)
def _describes_another_gpu(told: dict[str, Any], _gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Tells containers in files of each of their GPUs what the next one is (after
    `describes-devices`)."""
    said = list(told.values())
    return dict(zip(told, [*said[1:], *said[:1]], strict=True))


@fault("half-a-pool", Point.POOL)
def _half_a_pool(pool: dict[str, Any], _gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Says that its pool has two slices, and publishes one."""
    return {**pool, "resourceSliceCount": 2}


@fault("tells-the-time", Point.PUBLISH)
def _tells_the_time(devices: list[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Publishes the time as an attribute of the last GPU, so that it writes its ResourceSlice over
    and over again."""
    *others, last = devices
    told = {"time": {"int": time.time_ns()}}
    return [*others, {**last, "attributes": {**last["attributes"], **told}}]


@fault("owned-by-nobody", Point.OWN)
def _owned_by_nobody(_owners: list[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Publishes its ResourceSlice without an owner, so that it stays when the node goes."""
    return []


@fault("never-ready", Point.READY)
def _never_ready(_ready: bool, _gpus: Sequence[Gpu]) -> bool:
    """Tells the kubelet's probe that it is not ready, and serves all the same."""
    return False


@fault("ignores-unknown-fields", Point.PARAMETERS)
def _ignores_unknown_fields(configs: Sequence[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Takes parameters with fields that it does not know as if they were not there
    (kubernetes-sigs/dra-driver-nvidia-gpu#584)."""
    known = ("apiVersion", "kind", "label", "timeSlice")
    return [
        {
            **one,
            "opaque": {
                **one["opaque"],
                "parameters": {
                    key: value for key, value in one["opaque"]["parameters"].items() if key in known
                },
            },
        }
        for one in configs
    ]


@fault("ignores-class-parameters", Point.PARAMETERS)
def _ignores_class_parameters(configs: Sequence[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Heeds the parameters of claims, and not those of their class."""
    return [one for one in configs if one["source"] != "FromClass"]


@fault("last-parameters-overwrite", Point.PARAMETERS)
def _last_parameters_overwrite(configs: Sequence[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Sets up all devices of a claim by the parameters of the last one."""
    return [{**one, "opaque": configs[-1]["opaque"]} for one in configs]


@fault("heeds-parameters-for-others", Point.PARAMETERS)
def _heeds_parameters_for_others(configs: Sequence[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Takes parameters for other drivers as if they were its own."""
    return [{**one, "opaque": {**one["opaque"], "driver": DRIVER}} for one in configs]


@fault("ignores-parameters-for-all-alternatives", Point.PARAMETERS)
def _ignores_parameters_for_all_alternatives(
    configurations: Sequence[Any], _gpus: Sequence[Gpu]
) -> list[Any]:
    """Looks for parameters of a request that has alternatives by the name of the one that was
    chosen only, and not by the request's."""
    named = [one.get("requests") or [] for one in configurations]
    if not any("/" in name for names in named for name in names):
        return list(configurations)
    whole = [[name for name in names if "/" in name] for names in named]
    return [
        {**one, "requests": names}
        for one, names in zip(configurations, whole, strict=True)
        if names or not one.get("requests")
    ]


@fault("refuses-without-a-reason", Point.REFUSAL)
def _refuses_without_a_reason(_said: str, _gpus: Sequence[Gpu]) -> str:
    """Refuses parameters that it does not understand without saying what is wrong."""
    return "invalid parameters"


@fault("dies-of-parameters", Point.REFUSAL)
def _dies_of_parameters(_said: str, _gpus: Sequence[Gpu]) -> str:
    """Ends with an error when it gets parameters that it does not understand."""
    os._exit(1)


@fault("never-prepares", Point.PREPARE)
def _never_prepares(_claim: object, _gpus: Sequence[Gpu]) -> None:
    """Answers every preparation of a claim with an error."""
    raise FaultError("this driver never prepares a claim (fault never-prepares)")


@fault("hangs-at-prepare", Point.REQUEST)
def _hangs_at_prepare(claims: list[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Does not answer a request to prepare claims, for 130 s; the kubelet gives up after 45 s."""
    if claims:  # a probe asks for none
        time.sleep(REFUSAL_SECONDS)
    return claims


@fault("ends-at-prepare", Point.PREPARE)
def _ends_at_prepare(_claim: Any, _gpus: Sequence[Gpu]) -> None:
    """Ends with an error whenever it is to prepare a claim, so that the kubelet soon waits minutes
    before it starts it again."""
    os._exit(1)


@fault("refuses-long-names", Point.PREPARE)
def _refuses_long_names(claim: Any, _gpus: Sequence[Gpu]) -> Any:
    """Prepares no claim with a name of more than 55 characters, as generated ones can have: it
    makes a label of it, with something at the end, and that may have 63."""
    if len(claim.name) > 55:
        raise FaultError(f"{claim.name} is too long for a label: {len(claim.name)} characters")
    return claim


@fault("prepares-too-late", Point.SET_UP)
def _prepares_too_late(set_up: Callable[[], None], _gpus: Sequence[Gpu]) -> None:
    """Answers with an error while it prepares a claim, for 6 s, and brings that to its end even if
    the claim was unprepared meanwhile (kubernetes-sigs/dra-driver-nvidia-gpu#1162)."""
    threading.Timer(6, set_up).start()
    raise FaultError("this claim is still being prepared")


def _constrained(claim: dict[str, Any], kind: str) -> bool:
    """Whether devices of a claim have to match in an attribute, or to differ in one."""
    constraints = claim["spec"]["devices"].get("constraints", ())
    return any(kind in one for one in constraints)


@fault("refuses-devices-that-match", Point.READ)
def _refuses_devices_that_match(claim: dict[str, Any], _gpus: Sequence[Gpu]) -> None:
    """Takes it for its own duty to see that devices match in an attribute, as a claim wants, and
    refuses such claims, as it cannot."""
    if _constrained(claim, "matchAttribute"):
        raise FaultError("constraints are not supported")


@fault("refuses-devices-that-differ", Point.READ)
def _refuses_devices_that_differ(claim: dict[str, Any], _gpus: Sequence[Gpu]) -> None:
    """Knows constraints as they were before devices could have to differ in an attribute, and
    refuses claims with others."""
    if _constrained(claim, "distinctAttribute"):
        raise FaultError("unknown constraint")


@fault("takes-claims-by-name", Point.RENEW)
def _takes_claims_by_name(_renews: bool, _gpus: Sequence[Gpu]) -> bool:
    """Knows claims by namespace and name: one with the name of another before it is taken for
    prepared."""
    return False


@fault("device-in-two-claims", Point.REFUSE)
def _device_in_two_claims(_refuses: bool, _gpus: Sequence[Gpu]) -> bool:
    """Prepares a device for a claim though it is still prepared for another
    (kubernetes-sigs/dra-example-driver#263)."""
    return False


@fault("never-unprepares", Point.UNPREPARE)
def _never_unprepares(_ending: Any, _gpus: Sequence[Gpu]) -> None:
    """Answers every unpreparation of a claim with an error."""
    raise FaultError("this driver never unprepares a claim (fault never-unprepares)")


@fault("slow-unprepare", Point.UNPREPARE)
def _slow_unprepare(ending: Any, _gpus: Sequence[Gpu]) -> Any:
    """Takes 35 s to unprepare the claims of a pod."""
    if time.monotonic() > _unprepared.get("slowly", -math.inf) + 1:
        time.sleep(35)
    _unprepared["slowly"] = time.monotonic()
    return ending


@fault("unprepares-what-is-allocated", Point.UNPREPARE)
def _unprepares_what_is_allocated(ending: Any, _gpus: Sequence[Gpu]) -> Any:
    """Looks up in the API what to unprepare: of a claim that is no longer allocated, as after a
    forced deletion of its pod, it takes nothing back, and says that all is done."""
    claim = ending.read()
    return ending if claim is None or claim.get("status", {}).get("allocation") else None


@fault("unprepare-needs-the-claim", Point.UNPREPARE)
def _unprepare_needs_the_claim(ending: Any, _gpus: Sequence[Gpu]) -> Any:
    """Cannot unprepare a claim whose object is gone."""
    if ending.claim is not None and ending.read() is None:
        raise FaultError(f"ResourceClaim {ending.claim.namespace}/{ending.claim.name} not found")
    return ending


@fault("unprepare-needs-a-prepare", Point.UNPREPARE)
def _unprepare_needs_a_prepare(ending: Any, _gpus: Sequence[Gpu]) -> Any:
    """Answers the unpreparation of a claim that is not prepared with an error, for 130 s."""
    if ending.claim is None:
        _refuse_for_a_while(ending.uid, "this claim is not prepared")
    return ending


@fault("keeps-devices-of-deleted-claims", Point.UNPREPARE)
def _keeps_devices_of_deleted_claims(ending: Any, _gpus: Sequence[Gpu]) -> Any:
    """Takes a claim that is being deleted for gone: it takes nothing back, and says that all is
    done."""
    claim = ending.read()
    return None if claim and claim["metadata"].get("deletionTimestamp") else ending


@fault("names-the-alternative", Point.RESULTS)
def _names_the_alternative(results: Sequence[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Answers with the alternative of a request that was chosen, and not with the request, which is
    what containers name: they get nothing."""
    return [{**one, "request": one["request"].rpartition("/")[2]} for one in results]


@fault("owns-by-admin-access", Point.RESULTS)
def _owns_by_admin_access(results: Sequence[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Takes claims with admin access for those that own their devices: it does not prepare them
    while somebody else does."""
    return [{key: one[key] for key in one if key != "adminAccess"} for one in results]


@fault("nothing-by-admin-access", Point.RESULTS)
def _nothing_by_admin_access(results: Sequence[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Prepares claims with admin access without their devices: a container that has one gets
    none."""
    return [one for one in results if not one.get("adminAccess")]


def _take_from_owners(claim: Claim | None, uid: str = "") -> None:
    """Remove the CDI files of all claims but one that have a device of a claim's admin access."""
    names = [device.name for device in (claim.devices if claim else ()) if device.admin]
    for file in Path("/var/run/cdi").glob("*.json") if names else ():
        has_one = any(f'-{name}"' in file.read_text() for name in names)
        if has_one and not (uid and uid in file.name):
            file.unlink()


@fault("takes-over-by-admin-access", Point.PREPARE)
def _takes_over_by_admin_access(claim: Claim, _gpus: Sequence[Gpu]) -> None:
    """Gives a device to a claim with admin access by taking it from the claim that owns it."""
    _take_from_owners(claim)


@fault("holds-by-admin-access", Point.READ)
def _holds_by_admin_access(claim: dict[str, Any], _gpus: Sequence[Gpu]) -> None:
    """Prepares a device for no claim that it has prepared for one with admin access."""
    prepared = " ".join(file.name for file in Path("/var/run/cdi").glob("*.json"))
    for one in claim.get("status", {}).get("allocation", {}).get("devices", {}).get("results", ()):
        if one.get("adminAccess"):
            _looked_at[one["device"]] = claim["metadata"]["uid"]
        elif _looked_at.get(one["device"], "nobody") in prepared:
            raise FaultError(f"{one['device']} is in use, by a claim with admin access")


@fault("ends-by-admin-access", Point.UNPREPARE)
def _ends_by_admin_access(ending: Any, _gpus: Sequence[Gpu]) -> Any:
    """Takes a device from the claim that owns it when one with admin access is unprepared."""
    _take_from_owners(ending.claim, ending.uid)
    return ending


def _of_extended_resource(claim: Mapping[str, Any] | None) -> bool:
    """Whether a claim was made for a pod that asks for an extended resource."""
    metadata = (claim or {}).get("metadata", {})
    marks: Mapping[str, str] = metadata.get("annotations", {})
    return marks.get("resource.kubernetes.io/extended-resource-claim") == "true"


@fault("refuses-extended-resources", Point.READ)
def _refuses_extended_resources(claim: dict[str, Any], _gpus: Sequence[Gpu]) -> None:
    """Looks up in the pod by which name it calls its claim, and prepares none that was made for an
    extended resource: no pod names that."""
    if _of_extended_resource(claim):
        raise FaultError("no pod names this claim")


@fault("keeps-extended-resources", Point.UNPREPARE)
def _keeps_extended_resources(ending: Any, _gpus: Sequence[Gpu]) -> Any:
    """Answers the unpreparation of a claim that was made for an extended resource with an error,
    for 130 s."""
    if ending.uid in _refused or _of_extended_resource(ending.read()):
        _refuse_for_a_while(ending.uid, "no pod names this claim")
    return ending


@fault("refuses-tolerated-devices", Point.RESULTS)
def _refuses_tolerated_devices(results: Sequence[Any], _gpus: Sequence[Gpu]) -> Sequence[Any]:
    """Takes a device for unusable that was allocated with a toleration, and does not prepare it."""
    if any(one.get("tolerations") for one in results if one["driver"] == DRIVER):
        raise FaultError("a tainted device is not prepared")
    return results


def _tolerates(ending: Any) -> bool:
    """Whether a claim that is unprepared has a device for which it tolerates a taint."""
    claim = ending.read() or {}
    results = claim.get("status", {}).get("allocation", {}).get("devices", {}).get("results", ())
    return any(one.get("tolerations") for one in results)


@fault("keeps-tolerated-devices", Point.UNPREPARE)
def _keeps_tolerated_devices(ending: Any, _gpus: Sequence[Gpu]) -> Any:
    """Answers the unpreparation of a device that was allocated with a toleration with an error, for
    130 s."""
    if ending.uid in _refused or _tolerates(ending):
        _refuse_for_a_while(ending.uid, "the device does not answer")
    return ending


@fault("forgets-tolerated-devices", Point.UNPREPARE)
def _forgets_tolerated_devices(ending: Any, _gpus: Sequence[Gpu]) -> Any:
    """Takes a device for lost that was allocated with a toleration: it takes nothing back, and says
    that all is done."""
    return None if _tolerates(ending) else ending


@fault("drops-deleted-claims", Point.KEEP)
def _drops_deleted_claims(ending: Any, _gpus: Sequence[Gpu]) -> Any:
    """Unprepares by itself, within seconds, every claim that is being deleted, though a pod still
    uses it."""
    claim = ending.read()
    return None if claim and claim["metadata"].get("deletionTimestamp") else ending


@fault("cannot-unprepare-deleted-claims", Point.UNPREPARE)
def _cannot_unprepare_deleted_claims(ending: Any, _gpus: Sequence[Gpu]) -> Any:
    """Answers the unpreparation of a claim that is being deleted with an error, for 130 s."""
    claim = ending.read()
    if claim and claim["metadata"].get("deletionTimestamp"):
        _refuse_for_a_while(ending.uid, "this claim is being deleted")
    return ending


@fault("refuses-two-at-once", Point.UNPREPARE)
def _refuses_two_at_once(ending: Any, _gpus: Sequence[Gpu]) -> Any:
    """Unprepares one claim at a time: another one within 10 s is refused, for 130 s."""
    last = _unprepared.get("last", -math.inf)
    if ending.uid in _refused or time.monotonic() < last + 10:
        _refuse_for_a_while(ending.uid, "another claim is being unprepared")
    _unprepared["last"] = time.monotonic()
    return ending


@fault("frees-devices-with-the-claim", Point.FREE)
def _frees_devices_with_the_claim(_frees: bool, _gpus: Sequence[Gpu]) -> bool:
    """Gives the devices of a claim back only when its object is gone, not when it is unprepared."""
    return False


@fault("first-claim-only", Point.REQUEST)
def _first_claim_only(claims: list[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Prepares the first claim of a request only, and says nothing of the others."""
    return claims[:1]


@fault("one-never-prepares", Point.PREPARE)
def _one_never_prepares(claim: Any, gpus: Sequence[Gpu]) -> None:
    """Publishes the node's last GPU, but answers every preparation of a claim that has it with an
    error."""
    if gpus[-1].name in {device.name for device in claim.devices}:
        raise FaultError(f"{gpus[-1].name} does not answer (fault one-never-prepares)")


_given: dict[str, tuple[str, str]] = {}
"""For `gives-a-device-once`: which claim had a device first."""


@fault("gives-a-device-once", Point.PREPARE)
def _gives_a_device_once(claim: Any, _gpus: Sequence[Gpu]) -> None:
    """Prepares a device for the first claim only: for all others it is still in use, as if the
    first had never been unprepared."""
    name = (claim.namespace, claim.name)
    for device in claim.devices:
        first = _given.setdefault(device.name, name)
        if first != name:
            raise FaultError(f"{device.name} is in use by ResourceClaim {'/'.join(first)}")


_claims: set[str] = set()
"""For `full-after-fifty-claims`: those that were prepared."""


@fault("full-after-fifty-claims", Point.PREPARE)
def _full_after_fifty_claims(claim: Any, _gpus: Sequence[Gpu]) -> Any:
    """Has room for fifty claims in what it keeps of them, forgets none, and refuses all others."""
    name = f"{claim.namespace}/{claim.name}"
    if name not in _claims and len(_claims) == 50:
        raise FaultError("no room for another claim (fault full-after-fifty-claims)")
    _claims.add(name)
    return claim


@fault("refuses-generated-claims", Point.PREPARE)
def _refuses_generated_claims(claim: Claim, _gpus: Sequence[Gpu]) -> None:
    """Does not find claims that were made from a template, whose names end with five random
    characters."""
    if re.search(r"-[b-df-hj-np-tv-xz2-9]{5}$", claim.name) and len(claim.name) < 60:
        raise FaultError(f"there is no claim {claim.name} (fault refuses-generated-claims)")


_prepares = itertools.count(1)
"""For `ends-now-and-then`: how often a claim was to be prepared."""


@fault("ends-now-and-then", Point.PREPARE)
def _ends_now_and_then(_claim: Claim, _gpus: Sequence[Gpu]) -> None:
    """Ends without a word when it is to prepare its twelfth claim; the kubelet starts it again."""
    if next(_prepares) == 12:
        os._exit(1)


_asked = itertools.count(1)
"""For `fails-now-and-then`: how often a claim was to be prepared."""


@fault("fails-now-and-then", Point.PREPARE)
def _fails_now_and_then(claim: Any, _gpus: Sequence[Gpu]) -> Any:
    """Answers every seventh preparation with an error, and succeeds when it is asked again."""
    if next(_asked) % 7 == 0:
        raise FaultError(f"{claim.name}: try again (fault fails-now-and-then)")
    return claim


@fault("env-only", Point.INJECT)
def _env_only(spec: dict[str, Any], _gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Gives containers the environment variables of their GPUs, but no device node or library."""
    devices = [
        {**device, "containerEdits": {"env": device["containerEdits"]["env"]}}
        for device in spec["devices"]
    ]
    return {**spec, "devices": devices, "containerEdits": {}}


@fault("one-variable", Point.INJECT)
def _one_variable(spec: dict[str, Any], _gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Shows each GPU by nothing but the same variable, so that of two GPUs a container sees one."""
    devices = [
        {**device, "containerEdits": {"env": [f"REFERENCE_GPU={_uuid(device)}"]}}
        for device in spec["devices"]
    ]
    return {**spec, "devices": devices, "containerEdits": {}}


def _uuid(device: dict[str, Any]) -> str:
    return str(device["containerEdits"]["env"][0].partition("=")[2])


@fault("one-too-many", Point.INJECT)
def _one_too_many(spec: dict[str, Any], gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Gives containers one GPU more than was allocated, if the node has one."""
    nodes = [node for device in spec["devices"] for node in device["containerEdits"]["deviceNodes"]]
    given = {node["path"] for node in nodes}
    more = [{"path": gpu.path, "permissions": "rw"} for gpu in gpus if gpu.path not in given][:1]
    common = spec["containerEdits"]
    return {**spec, "containerEdits": {**common, "deviceNodes": common["deviceNodes"] + more}}


@fault("keeps-time-slices", Point.TIME_SLICE)
def _keeps_time_slices(value: str, _gpus: Sequence[Gpu]) -> str:
    """Leaves a GPU its time slice when the claim that asked for it is unprepared."""
    return "" if value == "Default" else value


@fault("label-in-capitals", Point.INJECT)
def _label_in_capitals(spec: dict[str, Any], _gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Gives containers another label than the claim's parameters have."""
    text = json.dumps(spec)
    return dict(json.loads(re.sub(r"(_LABEL=)([^\"]*)", lambda m: m[1] + m[2].upper(), text)))


@fault("last-device-overwrites", Point.INJECT)
def _last_device_overwrites(spec: dict[str, Any], _gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Sets up all devices of a claim as the last one, whose settings overwrite the others'."""
    edits = spec["devices"][-1]["containerEdits"]
    return {**spec, "devices": [{**one, "containerEdits": edits} for one in spec["devices"]]}


@fault("shows-the-first-gpu", Point.INJECT)
def _shows_the_first_gpu(spec: dict[str, Any], gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Shows containers the first GPU of the node, whatever their claims have."""
    edits = {
        "env": [gpus[0].variable],
        "deviceNodes": [{"path": gpus[0].path, "permissions": "rw"}],
    }
    return {**spec, "devices": [{**one, "containerEdits": edits} for one in spec["devices"]]}


@fault("last-gpu-for-its-neighbour", Point.INJECT)
def _last_gpu_for_its_neighbour(spec: dict[str, Any], gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Gives containers whose claim has the last GPU of a node and no other the one before it."""
    last = gpus[-1]
    edits = spec["devices"][-1]["containerEdits"]
    if len(gpus) < 2 or len(spec["devices"]) > 1 or edits["deviceNodes"][0]["path"] != last.path:
        return spec
    text = json.dumps(spec["devices"]).replace(last.path, gpus[-2].path)
    return {**spec, "devices": json.loads(text.replace(last.variable, gpus[-2].variable))}


@fault("two-devices-at-most", Point.INJECT)
def _two_devices_at_most(spec: dict[str, Any], _gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Gives containers the device nodes of two GPUs at most."""
    rest = [
        {**one, "containerEdits": {**one["containerEdits"], "deviceNodes": []}}
        for one in spec["devices"][2:]
    ]
    return {**spec, "devices": [*spec["devices"][:2], *rest]}


@fault("first-claim-for-all", Point.ANSWER)
def _first_claim_for_all(response: Any, _gpus: Sequence[Gpu]) -> Any:
    """Answers for all claims of a pod with the CDI devices of the first one."""
    answers = [response.claims[uid] for uid in sorted(response.claims)]
    for device in (device for answer in answers[1:] for device in answer.devices):
        device.cdi_device_ids[:] = [id_ for one in answers[0].devices for id_ in one.cdi_device_ids]
    return response


@fault("devices-of-others", Point.RESULTS)
def _devices_of_others(results: Sequence[Any], gpus: Sequence[Gpu]) -> list[Any]:
    """Takes another driver's device in a claim for one of its own: the last GPU of the node."""
    own: Any = next((one for one in results if one["driver"] == DRIVER), {})
    return [
        one
        if one["driver"] == DRIVER
        else {**one, "driver": DRIVER, "pool": own.get("pool"), "device": gpus[-1].name}
        for one in results
    ]


@fault("names-another-gpu", Point.INJECT)
def _names_another_gpu(spec: dict[str, Any], gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Gives containers the right GPUs with variables that name others, if the node has more."""
    given = {variable for one in spec["devices"] for variable in one["containerEdits"]["env"]}
    others = [gpu.variable for gpu in gpus if gpu.variable not in given]
    devices = [
        {**device, "containerEdits": {**device["containerEdits"], "env": [other]}}
        for device, other in zip(spec["devices"], others, strict=False)
    ]
    return {**spec, "devices": [*devices, *spec["devices"][len(devices) :]]}


@fault("read-only-uvm", Point.INJECT)
def _read_only_uvm(spec: dict[str, Any], _gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Gives containers /dev/nvidia-uvm to read only, with which CUDA does not start on real
    GPUs."""
    common = spec["containerEdits"]
    nodes = [
        {**node, "permissions": "r"} if node["path"] == "/dev/nvidia-uvm" else node
        for node in common["deviceNodes"]
    ]
    return {**spec, "containerEdits": {**common, "deviceNodes": nodes}}


@fault("hides-other-gpus-from-cuda", Point.INJECT)
def _hides_other_gpus_from_cuda(spec: dict[str, Any], gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Sets CUDA_VISIBLE_DEVICES to the claim's GPUs, so that CUDA in a privileged container shows
    none of the others."""
    given = {
        node["path"] for one in spec["devices"] for node in one["containerEdits"]["deviceNodes"]
    }
    uuids = ",".join(gpu.uuid for gpu in gpus if gpu.path in given)
    common = spec["containerEdits"]
    env = [*common.get("env", ()), f"CUDA_VISIBLE_DEVICES={uuids}"]
    return {**spec, "containerEdits": {**common, "env": env}}


@fault("hook-in-a-closed-folder", Point.INJECT)
def _hook_in_a_closed_folder(spec: dict[str, Any], _gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Has a hook in its folder, which root alone may enter: containers with a user namespace of
    their own do not start."""
    program = OWN_FOLDER / "hook"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    hook = {"hookName": "createContainer", "path": str(program), "args": [program.name]}
    common = spec["containerEdits"]
    return {**spec, "containerEdits": {**common, "hooks": [*common.get("hooks", ()), hook]}}


@fault("no-channel-node", Point.INJECT, of_channels=True)
def _no_channel_node(spec: dict[str, Any], _gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Prepares IMEX channels, and gives containers no device node of them."""
    for device in spec["devices"]:
        nodes = device["containerEdits"]["deviceNodes"]
        nodes[:] = [one for one in nodes if CHANNELS not in one["path"]]
    return spec


@fault("a-channel-too-many", Point.INJECT, of_channels=True)
def _a_channel_too_many(spec: dict[str, Any], gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Gives a container with an IMEX channel another one, too."""
    nodes = [node for one in spec["devices"] for node in one["containerEdits"]["deviceNodes"]]
    if any(CHANNELS in one["path"] for one in nodes):
        other = next(gpu.node for gpu in gpus if gpu.node not in nodes)
        spec["devices"][0]["containerEdits"]["deviceNodes"].append(other)
    return spec


@fault("another-gpu-at-restart", Point.INJECT)
def _another_gpu_at_restart(spec: dict[str, Any], gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Gives a container that is started again, or after another one with the same claim, another
    GPU: the first start changes the claim's CDI specification."""
    device = spec["devices"][0]
    edits = device["containerEdits"]
    given = {
        node["path"] for one in spec["devices"] for node in one["containerEdits"]["deviceNodes"]
    }
    others = [gpu for gpu in gpus if gpu.path not in given]
    if not others:
        return spec
    changes = {edits["deviceNodes"][0]["path"]: others[0].path}
    changes |= dict.fromkeys(edits.get("env", ())[:1], others[0].variable)
    script = "; ".join(f's|"{was}"|"{now}"|' for was, now in changes.items())
    command = f"sed -i '{script}' /var/run/cdi/*{device['name'][:36]}*"
    hook = {"hookName": "createRuntime", "path": "/bin/sh", "args": ["sh", "-c", command]}
    common = spec["containerEdits"]
    return {**spec, "containerEdits": {**common, "hooks": [*common.get("hooks", ()), hook]}}


_HOOK = """\
state=$(cat)
of() { echo "$state" | sed -n "s/.*\\"io.kubernetes.cri.$1\\": *\\"\\([^\\"]*\\)\\".*/\\1/p"; }
pod=$(of sandbox-id) name=$(of container-name)
mkdir -p "/run/reference-faults/$0/running" "/run/reference-faults/$0/started"
cd "/run/reference-faults/$0"
exec 9> lock && flock 9
beside() { ls running | grep "^$pod" | grep -v "^$pod.$name$"; }
new() { ! ls started | grep -q "^$pod"; }
pods() { ls started | cut -d. -f1 | sort -u | wc -l; }
"""
"""A shell's view of the container that it is a hook of, and of others with the same claim."""
_ENDED = 'rm -f "running/$pod.$name"'


def _watched(spec: dict[str, Any], start: str, end: str = _ENDED) -> dict[str, Any]:
    """Run a script at the start of each container with the claim, and another at its end.

    Args:
        spec: the claim's CDI specification.
        start: the first script; what it prints to stderr is told where it fails.
        end: the other one.
    """
    uid = spec["devices"][0]["name"][:36]
    noted = 'echo >> "started/$pod.$name"; touch "running/$pod.$name"'
    common = spec["containerEdits"]
    hooks = [
        {"hookName": when, "path": "/bin/sh", "args": ["sh", "-c", _HOOK + what, uid]}
        for when, what in (("createRuntime", f"{start}\n{noted}"), ("poststop", end))
    ]
    return {**spec, "containerEdits": {**common, "hooks": [*common.get("hooks", ()), *hooks]}}


@fault("one-container-of-a-pod", Point.INJECT)
def _one_container_of_a_pod(spec: dict[str, Any], _gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Does not let a container start while another one of its pod runs with the same claim."""
    return _watched(spec, "if beside >&2; then echo runs with this claim >&2; exit 1; fi")


@fault("no-restart-beside-another", Point.INJECT)
def _no_restart_beside_another(spec: dict[str, Any], _gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Does not let a container start again while another one of its pod runs with the same
    claim."""
    again = '[ -e "started/$pod.$name" ]'
    return _watched(spec, f"if {again} && beside >&2; then echo runs already >&2; exit 1; fi")


@fault("two-starts-a-container", Point.INJECT)
def _two_starts_a_container(spec: dict[str, Any], _gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Lets a container start twice, and never again."""
    starts = 'cat "started/$pod.$name" 2>/dev/null | wc -l'
    return _watched(spec, f"if [ $({starts}) -ge 2 ]; then echo started twice >&2; exit 1; fi")


@fault("four-pods-a-claim", Point.INJECT)
def _four_pods_a_claim(spec: dict[str, Any], _gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Lets containers of four pods use a claim, and of no fifth."""
    return _watched(spec, "if new && [ $(pods) -ge 4 ]; then echo too many pods >&2; exit 1; fi")


@fault("ends-with-its-first-pod", Point.INJECT)
def _ends_with_its_first_pod(spec: dict[str, Any], _gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Takes a claim back from all of its pods when a container of one of them ends: its CDI file is
    removed (kubernetes/kubernetes#140212 does it in the kubelet)."""
    return _watched(spec, "", f"{_ENDED}; [ $(pods) -lt 2 ] || rm -f /var/run/cdi/*$0*")


@fault("nobody-joins-later", Point.INJECT)
def _nobody_joins_later(spec: dict[str, Any], _gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Lets no further pod use a claim when a container of one of several has ended."""
    start = "if new && [ -e closed ]; then echo too late >&2; exit 1; fi"
    return _watched(spec, start, f"{_ENDED}; [ $(pods) -lt 2 ] || touch closed")


@fault("one-life-a-claim", Point.INJECT)
def _one_life_a_claim(spec: dict[str, Any], _gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Lets no pod use a claim whose pods had all ended before, as one does that remembers UIDs to
    refuse what comes late."""
    start = "if new && [ -e over ]; then echo used before >&2; exit 1; fi"
    return _watched(spec, start, f'{_ENDED}; [ -n "$(ls running)" ] || touch over')


@fault("half-a-cdi-file", Point.FILES)
def _half_a_cdi_file(files: dict[str, str], _gpus: Sequence[Gpu]) -> dict[str, str]:
    """Leaves half of a CDI file beside the whole one, as after a crash while it was written."""
    halves = {f"half-{name}": text[: len(text) // 2] for name, text in files.items()}
    return {**files, **halves}


@fault("devices-of-one-name", Point.FILES)
def _devices_of_one_name(files: dict[str, str], _gpus: Sequence[Gpu]) -> dict[str, str]:
    """Defines a CDI device that is called ``all`` in a file of every claim: what it means is open
    as soon as there are two of them."""
    made = {}
    for name, text in files.items():
        spec = json.loads(text)
        made[f"all-{name}"] = json.dumps(
            {**spec, "devices": [{**spec["devices"][0], "name": "all"}]}
        )
    return {**files, **made}


@fault("keeps-cdi-files", Point.ERASE)
def _keeps_cdi_files(_erases: bool, _gpus: Sequence[Gpu]) -> bool:
    """Unpreparing a claim succeeds and frees its devices, but leaves its CDI file."""
    return False


@fault("keeps-records", Point.FILES)
def _keeps_records(files: dict[str, str], _gpus: Sequence[Gpu]) -> dict[str, str]:
    """Writes what it prepared into a file of its folder for each claim, and never removes it."""
    for name, text in files.items():
        (OWN_FOLDER / f"prepared-{name}").write_text(text)
    return files


@fault("leaves-a-file-each-time", Point.FILES)
def _leaves_a_file_each_time(files: dict[str, str], _gpus: Sequence[Gpu]) -> dict[str, str]:
    """Leaves a file that nobody needs in its folder with every claim that it prepares."""
    OWN_FOLDER.joinpath(f"attempt-{time.time_ns()}").touch()
    return files


_counted = 0
"""For `counts-up-only`: the most devices that were prepared at a time."""


@fault("counts-up-only", Point.COUNT)
def _counts_up_only(devices: int, _gpus: Sequence[Gpu]) -> int:
    """Counts a device as prepared for ever when it was so once."""
    global _counted  # noqa: PLW0603 - what it is wrong about
    _counted = max(_counted, devices)
    return _counted


@fault("forgets-after-restart", Point.RESTORE)
def _forgets_after_restart(_restores: bool, _gpus: Sequence[Gpu]) -> bool:
    """After a restart the CDI specifications of prepared claims are gone, as after a reboot, and
    preparing such a claim again succeeds without writing them (kubernetes/kubernetes#141966)."""
    return False


@fault("keeps-cdi-files-after-restart", Point.FORGET)
def _keeps_cdi_files_after_restart(_forgets: bool, _gpus: Sequence[Gpu]) -> bool:
    """Unpreparing a claim that was prepared before a restart succeeds, but leaves its CDI file."""
    return False


@fault("forgets-at-upgrade", Point.UPGRADE)
def _forgets_at_upgrade(_claims: Mapping[str, Claim], _gpus: Sequence[Gpu]) -> dict[str, Claim]:
    """Does not find the claims that an older version has on record, as it looks for them in another
    form: unpreparing them succeeds, and leaves their CDI files
    (kubernetes-sigs/dra-driver-nvidia-gpu#1326)."""
    return {}


@fault("removes-cdi-files-at-upgrade", Point.TAKE_OVER)
def _removes_cdi_files_at_upgrade(_restores: bool, _gpus: Sequence[Gpu]) -> bool:
    """Removes, at its first start, the CDI files of claims that an older version has prepared
    (intel/intel-resource-drivers-for-kubernetes#45)."""
    return False


@fault("cannot-unprepare-after-restart", Point.TAKE_BACK)
def _cannot_unprepare_after_restart(ending: Any, _gpus: Sequence[Gpu]) -> None:
    """Answers with an error, for 130 s, when a claim is unprepared that was prepared before a
    restart."""
    _refuse_for_a_while(ending.uid, "this driver has not prepared that claim")


@fault("unprepare-after-restart-needs-the-claim", Point.TAKE_BACK)
def _unprepare_after_restart_needs_the_claim(ending: Any, gpus: Sequence[Gpu]) -> None:
    """Cannot unprepare a claim that was prepared before a restart if its object is gone."""
    _unprepare_needs_the_claim(ending, gpus)


@fault("refuses-claims-of-before", Point.INHERIT)
def _refuses_claims_of_before(_mark: Path, _gpus: Sequence[Gpu]) -> Path:
    """Refuses to prepare a claim once more that was prepared before a restart."""
    raise FaultError("that claim was prepared by somebody else")


@fault("refuses-older-claims", Point.READ)
def _refuses_older_claims(claim: dict[str, Any], _gpus: Sequence[Gpu]) -> None:
    """Takes a claim that is older than itself for stale and refuses to prepare it, so that pods do
    not start which came while it was away."""
    made = datetime.fromisoformat(claim["metadata"]["creationTimestamp"])
    if made < _STARTED:
        raise FaultError("that claim is stale")


@fault("prepares-once", Point.REPLAY)
def _prepares_once(_claim: object, _gpus: Sequence[Gpu]) -> object:
    """Refuses to prepare a claim once more that it has prepared itself."""
    raise FaultError("that claim is prepared already")


@fault("trusts-its-record", Point.REWRITE)
def _trusts_its_record(_rewrites: bool, _gpus: Sequence[Gpu]) -> bool:
    """Preparing a prepared claim once more succeeds without a look at its CDI specification, which
    may be gone (kubernetes-sigs/dra-example-driver#259)."""
    return False


@fault("prepares-slowly", Point.HALFWAY)
def _prepares_slowly(claim: tuple[Path, Any], _gpus: Sequence[Gpu]) -> None:
    """Takes seconds to prepare a claim, with a note of it on the disk until that is done, and
    prepares others meanwhile."""
    mark, lock = claim
    mark.touch()
    lock.release()
    try:
        time.sleep(SLOW_SECONDS)
    finally:
        lock.acquire()
        mark.unlink(missing_ok=True)


@fault("refuses-what-was-cut-off", Point.INHERIT)
def _refuses_what_was_cut_off(mark: Path, _gpus: Sequence[Gpu]) -> Path:
    """Refuses to prepare a claim that it was preparing when it was killed: it takes it for a claim
    that is being prepared."""
    if mark.exists():
        raise FaultError("that claim is being prepared already")
    return mark


@fault("serves-one-kubelet", Point.OUTLIVE)
def _serves_one_kubelet(_uid: str, _gpus: Sequence[Gpu]) -> str:
    """Answers with an error when a kubelet that has restarted unprepares what was prepared for the
    one before."""
    raise FaultError("that claim is of another kubelet")


@fault("registers-once", Point.REGISTER)
def _registers_once(registered: bool, _gpus: Sequence[Gpu]) -> bool:
    """Answers the kubelet's question who it is only until it is registered: a kubelet that has
    restarted does not find it."""
    if registered:
        raise FaultError("the kubelet knows me")
    return registered


@fault("stumbles-over-sockets", Point.REPLACE)
def _stumbles_over_sockets(_replaces: bool, _gpus: Sequence[Gpu]) -> bool:
    """Removes the registration socket that a killed instance left, and has none itself then."""
    return False


@fault("publishes-anew-after-restart", Point.ADOPT)
def _publishes_anew_after_restart(_adopts: bool, _gpus: Sequence[Gpu]) -> bool:
    """At every start it writes its ResourceSlice anew, with a new generation, though nothing has
    changed."""
    return False


@fault("exchanges-names-after-restart", Point.RETURN)
def _exchanges_names_after_restart(devices: list[Any], used: Sequence[Gpu]) -> list[Any]:
    """Numbers its GPUs anew when it restarts, those in use last: their names change."""
    names = [device["name"] for device in devices]
    busy = {gpu.name for gpu in used}
    order = sorted(devices, key=lambda device: device["name"] in busy)
    if order == devices:
        order = [*devices[1:], *devices[:1]]
    return [{**device, "name": name} for device, name in zip(order, names, strict=True)]


@fault("hides-what-is-used-after-restart", Point.RETURN)
def _hides_what_is_used_after_restart(devices: list[Any], used: Sequence[Gpu]) -> list[Any]:
    """When it restarts it takes GPUs that are in use for broken, and does not publish them."""
    busy = {gpu.name for gpu in used}
    return [device for device in devices if device["name"] not in busy]


@fault("health-of-one-device", Point.HEALTH)
def _health_of_one_device(report: tuple[Any, bool], _gpus: Sequence[Gpu]) -> tuple[Any, bool]:
    """Reports the health of its first GPU, and that of all others as unknown."""
    for device in report[0].devices[1:]:
        device.health = 0
    return report


@fault("health-at-the-start-only", Point.HEALTH)
def _health_at_the_start_only(report: tuple[Any, bool], _gpus: Sequence[Gpu]) -> tuple[Any, bool]:
    """Knows the health of its GPUs when the kubelet connects; soon after it reports it as
    unknown."""
    response, first = report
    for device in response.devices if not first else ():
        device.health = 0
    return report


@fault("no-health-after-restart", Point.HEALTH_AGAIN)
def _no_health_after_restart(response: Any, _gpus: Sequence[Gpu]) -> Any:
    """After a restart it reports the health of no device."""
    del response.devices[:]
    return response


@fault("publishes-once", Point.CREATE)
def _publishes_once(_creates: bool, _gpus: Sequence[Gpu]) -> bool:
    """After a restart it does not publish what the kubelet has withdrawn meanwhile."""
    return False


@fault("ignores-its-slices", Point.WATCH)
def _ignores_its_slices(_watches: bool, _gpus: Sequence[Gpu]) -> bool:
    """Publishes at its start only: what others do to its ResourceSlice stays."""
    return False


@fault("overlooks-edits", Point.COMPARE)
def _overlooks_edits(_compares: bool, _gpus: Sequence[Gpu]) -> bool:
    """Publishes its ResourceSlice again where it is missing, but does not look what it says."""
    return False


@fault("writes-all-the-time", Point.REPEAT)
def _writes_all_the_time(_repeats: bool, _gpus: Sequence[Gpu]) -> bool:
    """Writes its ResourceSlice again and again, though nothing has changed."""
    return True


# What the contract permits


@fault("gpus-in-another-order", Point.PUBLISH, benign=True)
def _gpus_in_another_order(devices: list[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Publishes its GPUs from the last to the first."""
    return devices[::-1]


@fault("more-attributes", Point.PUBLISH, benign=True)
def _more_attributes(devices: list[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Publishes attributes and a capacity of its own of each GPU, of every type."""
    more = {
        "slot": {"int": 3},
        "licensed": {"bool": True},
        "firmware": {"version": "1.2.3-rc.1"},
        "gpu.example/board": {"string": "A"},
    }
    return [
        {
            **device,
            "attributes": {**device["attributes"], **more},
            "capacity": {**device["capacity"], "engines": {"value": "7"}},
        }
        for device in devices
    ]


@fault("takes-its-time", Point.REQUEST, benign=True)
def _takes_its_time(claims: list[Any], _gpus: Sequence[Gpu]) -> list[Any]:
    """Takes a second to prepare a claim, whatever comes meanwhile."""
    if claims:  # the probe asks for none
        time.sleep(1)
    return claims


@fault("ends-in-its-own-time", Point.UNPREPARE, benign=True)
def _ends_in_its_own_time(ending: Any, _gpus: Sequence[Gpu]) -> Any:
    """Takes half a second to unprepare a claim."""
    time.sleep(0.5)
    return ending


@fault("cdi-files-in-yaml", Point.FILES, benign=True)
def _cdi_files_in_yaml(files: dict[str, str], _gpus: Sequence[Gpu]) -> dict[str, str]:
    """Calls its CDI files YAML, which JSON is, too."""
    return {f"{name.removesuffix('.json')}.yaml": text for name, text in files.items()}


@fault("other-files-beside", Point.FILES, benign=True)
def _other_files_beside(files: dict[str, str], _gpus: Sequence[Gpu]) -> dict[str, str]:
    """Has a lock and half a draft beside the CDI file of each claim, which no runtime reads."""
    drafts = {f"{name}.draft": text[: len(text) // 2] for name, text in files.items()}
    return {**files, **drafts, **{f".{name}.lock": "" for name in files}}


@fault("newer-cdi-version", Point.INJECT, benign=True)
def _newer_cdi_version(spec: dict[str, Any], _gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Writes CDI files of a newer version, with annotations."""
    notes = {"gpu.example/written-by": "the reference driver"}
    return {**spec, "cdiVersion": "0.6.0", "annotations": notes}


@fault("more-in-containers", Point.INJECT, benign=True)
def _more_in_containers(spec: dict[str, Any], _gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Gives every container a variable and a hook that have nothing to do with a GPU."""
    common = spec["containerEdits"]
    hook = {"hookName": "createRuntime", "path": "/bin/true", "args": ["true"]}
    more = {
        "env": [*common.get("env", ()), "REFERENCE_DRIVER_MODE=plain"],
        "hooks": [*common.get("hooks", ()), hook],
    }
    return {**spec, "containerEdits": {**common, **more}}


@fault("claim-in-a-variable", Point.INJECT, benign=True)
def _claim_in_a_variable(spec: dict[str, Any], _gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Tells containers by variables which claim they have: its UID, and the last one's."""
    uid = spec["devices"][0]["name"][:36]
    variables = [f"REFERENCE_CLAIM={uid}", f"REFERENCE_CLAIM_{uid.replace('-', '_')}=1"]
    common = spec["containerEdits"]
    return {**spec, "containerEdits": {**common, "env": [*common.get("env", ()), *variables]}}


@fault("starts-are-watched", Point.INJECT, benign=True)
def _starts_are_watched(spec: dict[str, Any], _gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Runs hooks at the start and the end of each container, which take half a second."""
    return _watched(spec, "sleep 0.5", f"sleep 0.5; {_ENDED}")


@fault("keeps-a-log", Point.PREPARE, benign=True)
def _keeps_a_log(claim: Any, _gpus: Sequence[Gpu]) -> Any:
    """Keeps a log in its folder, of every claim that it prepared."""
    with (OWN_FOLDER / "plugin.log").open("a") as log:
        log.write(f"prepared {claim.namespace}/{claim.name}\n")
    return claim


@fault("keeps-a-file-of-each-gpu", Point.FILES, benign=True)
def _keeps_a_file_of_each_gpu(files: dict[str, str], gpus: Sequence[Gpu]) -> dict[str, str]:
    """Keeps a file of each GPU in its folder, made when a claim is first prepared."""
    for gpu in gpus:
        (OWN_FOLDER / f"{gpu.name}.state").write_text('{"mode": "plain"}')
    return files


_unprepared: dict[str, float] = {}
"""When a claim was unprepared last, by the fault."""
_looked_at: dict[str, str] = {}
"""For `holds-by-admin-access`: the last claim with admin access of each device."""
_refused: dict[str, float] = {}
"""When each claim was refused first, by its UID."""


def _refuse_for_a_while(uid: str, why: str) -> None:
    """Refuse something about a claim until checks have seen it: then a run can be cleaned up."""
    first = _refused.setdefault(uid, time.monotonic())
    if time.monotonic() < first + REFUSAL_SECONDS:
        raise FaultError(why)


class Faults:
    """The faults in force on this node."""

    def __init__(self, file: Path) -> None:
        """Take the faults' names from a file; no file, or an empty one, is no fault."""
        self._file = file

    def active(self) -> str:
        """Their names; empty when the driver is to behave."""
        try:
            return self._file.read_text().strip()
        except FileNotFoundError:
            return ""

    def alter(self, point: Point, value: Value, gpus: Sequence[Gpu] = ()) -> Value:
        """What the driver does at this point: ``value``, unless a fault in force acts here.

        Raises:
            FaultError: that is what a fault does, or no fault has that name.
        """
        for name in _names(self.active()):
            if name not in FAULTS:
                raise FaultError(f"{self._file}: no fault is called {name!r}; {_known()}")
            if FAULTS[name].point is point:
                value = FAULTS[name].alter(value, gpus)
        return value

    def state(self) -> str:
        """Which switch the names are of: the same faults, put in force again, have another."""
        return _state(self._file.parent)

    def tell_published(self, state: str) -> None:
        """Say that the slices are as the faults of a state want them, to who waits for it."""
        if _published(self._file.parent) != state:
            _write(self._file.parent / PUBLISHED, state)

    def changes(self) -> Iterator[str]:
        """What is in force, each time that it is switched."""
        last = self.state()
        for _ in _writes(self._file.parent):
            if (now := self.state()) != last:
                last = now
                yield self.active()


def switch(folder: Path, name: str | None) -> None:
    """Put a fault in force, several with commas between them, or none.

    Args:
        folder: the driver's own.
        name: of the fault.

    Raises:
        ValueError: there is no such fault.
    """
    for one in _names(name or ""):
        if one not in FAULTS:
            raise ValueError(f"no fault is called {one!r}; {_known()}")
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / FILE, name or "")


def await_published(folder: Path, seconds: float) -> bool:
    """Wait until the slices follow what was switched last; answer whether they do.

    Args:
        folder: the driver's own. One that never ran there is not waited for.
        seconds: how long at most.
    """
    if not _published(folder):
        return True
    # Watched first, then looked at: what comes in between is not missed.
    return any(_published(folder) == _state(folder) for _ in _writes(folder, seconds))


def _state(folder: Path) -> str:
    try:
        with (folder / FILE).open() as file:
            return f"{os.fstat(file.fileno()).st_mtime_ns} {file.read()}"
    except FileNotFoundError:
        return "never switched"


def _published(folder: Path) -> str:
    try:
        return (folder / PUBLISHED).read_text()
    except FileNotFoundError:
        return ""


def _write(file: Path, text: str) -> None:
    new = file.with_name(f".{file.name}.new")
    new.write_text(text)
    new.rename(file)


def _writes(folder: Path, seconds: float | None = None) -> Iterator[None]:
    """Answer now, and whenever a file of a folder was written or deleted, for so long at most.

    By inotify(7): nothing has to poll.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_CLOEXEC)
    close_write, moved_to, delete = 0x008, 0x080, 0x200  # <sys/inotify.h>
    events = close_write | moved_to | delete
    if watch < 0 or libc.inotify_add_watch(watch, os.fsencode(folder), events) < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"inotify: {os.strerror(error)}", str(folder))
    end = None if seconds is None else time.monotonic() + seconds
    try:
        yield
        while select.select([watch], (), (), end and max(0, end - time.monotonic()))[0]:
            os.read(watch, 1 << 16)
            yield
    finally:
        os.close(watch)


def _names(in_force: str) -> list[str]:
    return in_force.split(",") if in_force else []


def _known() -> str:
    return f"there are: {', '.join(FAULTS)}"
