"""Versions of the API group of Dynamic Resource Allocation, and the way from one to another.

The suite speaks `SHAPE` everywhere. Only on the way to the API server and back are objects put
into the version that it serves: v1beta2 differs by its name alone; v1beta1 has no ``exactly``
around what a request asks for, and a ``basic`` around what a slice says of a device
(``k8s.io/api/resource``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from harness.cluster.kinds import Kind, Object

GROUP = "resource.k8s.io"
VERSIONS = ("v1", "v1beta2", "v1beta1")
"""Those that the suite can use, the best first."""
SHAPE = "v1"
"""The version whose shape templates, checks and inventory know."""
FLAT = "v1beta1"
"""The version with flat requests and wrapped devices."""


def best(served: Collection[str]) -> str | None:
    """The best of the served versions; None when the suite can use none of them."""
    for version in VERSIONS:
        if version in served:
            return version
    return None


def served_as(kind: Kind, version: str) -> Kind:
    """Where a kind is found on a server with this version of the group."""
    if not _is_of_group(kind.api_version):
        return kind
    return replace(kind, api_version=f"{GROUP}/{version}")


def to_server(obj: Object, version: str) -> Object:
    """An object of the suite in the version that the server has; the given one stays as it is."""
    return _converted(obj, version, _flat_request, _wrapped_device)


def from_server(obj: Object) -> Object:
    """An object of the server, in whatever version, as the suite knows it."""
    return _converted(obj, SHAPE, _exact_request, _unwrapped_device)


def _is_of_group(api_version: object) -> bool:
    return str(api_version).startswith(f"{GROUP}/")


def _converted(
    obj: Object,
    version: str,
    request: Callable[[Object], Object],
    device: Callable[[Object], Object],
) -> Object:
    """The object in another version; requests and devices change between `SHAPE` and `FLAT`."""
    old = obj.get("apiVersion")
    if not _is_of_group(old) or old == f"{GROUP}/{version}":
        return obj
    converted = {**obj, "apiVersion": f"{GROUP}/{version}"}
    if FLAT not in (version, str(old).removeprefix(f"{GROUP}/")):
        return converted
    paths = {
        "ResourceClaim": (("spec", "devices", "requests"), request),
        "ResourceClaimTemplate": (("spec", "spec", "devices", "requests"), request),
        "ResourceSlice": (("spec", "devices"), device),
    }
    if obj["kind"] not in paths:
        return converted
    path, change = paths[obj["kind"]]
    changed: Object = _with_each(converted, path, change)
    return changed


def _with_each(obj: Any, path: tuple[str, ...], change: Callable[[Object], Object]) -> Any:
    """A copy in which each item of the list at a path, if there is one, is changed."""
    if not path:
        return list(map(change, obj))
    if not isinstance(obj, Mapping) or not obj.get(path[0]):
        return obj
    return {**obj, path[0]: _with_each(obj[path[0]], path[1:], change)}


def _flat_request(request: Object) -> Object:
    exactly = request.get("exactly") or {}
    return {**{key: value for key, value in request.items() if key != "exactly"}, **exactly}


def _exact_request(request: Object) -> Object:
    if request.get("firstAvailable"):
        return request  # alternatives are as flat in every version
    exactly = {key: value for key, value in request.items() if key != "name"}
    return {"name": request["name"], "exactly": exactly}


def _wrapped_device(device: Object) -> Object:
    basic = {key: value for key, value in device.items() if key != "name"}
    return {"name": device["name"], "basic": basic}


def _unwrapped_device(device: Object) -> Object:
    outside = {key: value for key, value in device.items() if key != "basic"}
    return {**outside, **(device.get("basic") or {})}
