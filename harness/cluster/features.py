"""Which feature gates of the API server are on, found by asking it, never by its version.

An API server drops a field whose gate is off before it validates and stores an object. So each
probe is an object with one such field, sent as a dry run: the field comes back, or it is gone, or
nothing is left to be valid without it. This tells of the API server only: scheduler and kubelet
have gates of their own, and only what they do tells of those.
(``pkg/registry/resource/*/strategy.go`` of kubernetes: ``dropDisabled…Fields``.)
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.cluster.kinds import Object
from harness.cluster.kube import ApiError, Kube

PROBE = "dra-conformance-probe"
DOMAIN = "probe.dra-conformance.io"


class State(enum.StrEnum):
    """What is known of a feature gate."""

    ON = "on"
    OFF = "off"
    ABSENT = "absent"
    """The API does not know the field."""
    UNKNOWN = "unknown"
    """The run may not ask, or the answer says nothing."""


@dataclass(frozen=True)
class Probe:
    """An object with a field that only survives when the gate is on."""

    obj: Object
    """In the shape of v1."""
    path: tuple[str | int, ...]
    """Where the field is."""
    refused: State = State.UNKNOWN
    """What it says when the object is refused as invalid."""


def _claim(request: Object) -> Object:
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {"name": PROBE},
        "spec": {"devices": {"requests": [{"name": "probe", **request}]}},
    }


def _exactly(**fields: Any) -> Object:
    return _claim({"exactly": {"deviceClassName": DOMAIN, **fields}})


def _slice(device: Object | None = None, **fields: Any) -> Object:
    spec = {
        "driver": DOMAIN,
        "nodeName": PROBE,
        "pool": {"name": PROBE, "generation": 1, "resourceSliceCount": 1},
        "devices": [{"name": "probe", **(device or {})}],
        **fields,
    }
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceSlice",
        "metadata": {"name": PROBE},
        "spec": spec,
    }


_REQUEST = ("spec", "devices", "requests", 0)
_DEVICE = ("spec", "devices", 0)
_COUNTERS = [{"counterSet": "probe", "counters": {"probe": {"value": "1"}}}]

GATES: Mapping[str, Probe] = {
    # Without its only alternative a request asks for nothing.
    "DRAPrioritizedList": Probe(
        _claim({"firstAvailable": [{"name": "probe", "deviceClassName": DOMAIN}]}),
        (*_REQUEST, "firstAvailable"),
        refused=State.OFF,
    ),
    # It is refused where the namespace is not labelled for it, but only if it was seen.
    "DRAAdminAccess": Probe(
        _exactly(adminAccess=True), (*_REQUEST, "exactly", "adminAccess"), refused=State.ON
    ),
    "DRAConsumableCapacity": Probe(
        _exactly(capacity={"requests": {f"{DOMAIN}/probe": "1"}}),
        (*_REQUEST, "exactly", "capacity"),
    ),
    "DRAExtendedResource": Probe(
        {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "DeviceClass",
            "metadata": {"name": PROBE},
            "spec": {"extendedResourceName": f"{DOMAIN}/probe"},
        },
        ("spec", "extendedResourceName"),
    ),
    "DRADeviceTaints": Probe(
        _slice({"taints": [{"key": f"{DOMAIN}/probe", "effect": "NoSchedule"}]}),
        (*_DEVICE, "taints"),
    ),
    # Before 1.35 the counters have to be in the same slice: it is refused, but only if it was seen.
    "DRAPartitionableDevices": Probe(
        _slice({"consumesCounters": _COUNTERS}), (*_DEVICE, "consumesCounters"), refused=State.ON
    ),
    "DRADeviceBindingConditions": Probe(
        _slice(
            {
                "bindingConditions": [f"{DOMAIN}/probe"],
                "bindingFailureConditions": [f"{DOMAIN}/probe-failed"],
            }
        ),
        (*_DEVICE, "bindingConditions"),
    ),
    # Without its list an attribute has no value.
    "DRAListTypeAttributes": Probe(
        _slice({"attributes": {"probe": {"strings": ["a"]}}}),
        (*_DEVICE, "attributes", "probe", "strings"),
        refused=State.OFF,
    ),
    "DRAOptionalNodeOperations": Probe(
        _slice(skipNodeOperations=["*"]), ("spec", "skipNodeOperations")
    ),
}
"""The gates that can be asked for, by the name that ``--feature-gates`` has for them."""


def find(kube: Kube, namespace: str) -> dict[str, State]:
    """The state of each gate; claims are asked for in a namespace, nothing is stored.

    Asking takes the right to create what is asked with. Where the run has none, which for slices
    and classes is usual, the state is unknown.
    """
    return {gate: _state(kube, probe, namespace) for gate, probe in GATES.items()}


def _state(kube: Kube, probe: Probe, namespace: str) -> State:
    obj = probe.obj
    if obj["kind"] == "ResourceClaim":
        obj = {**obj, "metadata": {**obj["metadata"], "namespace": namespace}}
    try:
        answer: Any = kube.create(obj, dry_run=True)
    except ApiError as error:
        if error.status == 400 and "unknown field" in str(error):
            return State.ABSENT
        return probe.refused if error.status == 422 else State.UNKNOWN
    for step in probe.path:
        try:
            answer = answer[step]
        except (KeyError, IndexError):
            return State.OFF
    return State.ON
