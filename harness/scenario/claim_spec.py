"""Claims as data: the values of ``fixtures/manifests/claim.yaml.j2``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

ALL = 0
"""For `Request.count`: every device of one node that matches."""


@dataclass(frozen=True)
class Request:
    """One request of a claim."""

    name: str
    count: int = 1
    """How many devices, or `ALL`."""
    _: KW_ONLY
    selectors: Sequence[str] = ()
    """CEL expressions, all of which each device has to satisfy."""
    device_class: str = ""
    """Empty: the class of the driver under test."""
    admin: bool = False
    """Whether it gets devices whoever has them, and leaves them to these (admin access)."""
    alternatives: Sequence[Request] = ()
    """Of which it is the first that can be had; of itself it then says nothing else."""
    capacity: Mapping[str, str] = field(default_factory=dict)
    """How much of a device that several claims can have, by the name of the capacity; of what is
    not named, the device's own policy says how much."""
    tolerations: Sequence[Mapping[str, str]] = ()
    """Taints that its devices may have, as the API has them."""

    def values(self, device_class: str) -> dict[str, Any]:
        """Make the request as the API has it.

        Args:
            device_class: the class of the driver under test.
        """
        if self.alternatives:
            every = [one.values(device_class) for one in self.alternatives]
            flat = [{"name": one["name"], **one["exactly"]} for one in every]
            return {"name": self.name, "firstAvailable": flat}
        exactly: dict[str, Any] = {"deviceClassName": self.device_class or device_class}
        if self.selectors:
            exactly["selectors"] = [{"cel": {"expression": text}} for text in self.selectors]
        if self.tolerations:
            exactly["tolerations"] = list(map(dict, self.tolerations))
        if self.count == ALL:
            exactly["allocationMode"] = "All"
        elif self.count != 1:
            exactly["count"] = self.count
        if self.admin:
            exactly["adminAccess"] = True
        if self.capacity:
            exactly["capacity"] = {"requests": dict(self.capacity)}
        return {"name": self.name, "exactly": exactly}


@dataclass(frozen=True)
class Constraint:
    """What all devices of a claim have in common, or what tells each from the others.

    Attributes are named as in the API: with their domain.
    """

    matches: str = ""
    """The attribute of which all have the same value."""
    differs: str = ""
    """The attribute of which no two have the same value."""

    def values(self) -> dict[str, Any]:
        """Make the constraint as the API has it."""
        names = {"matchAttribute": self.matches, "distinctAttribute": self.differs}
        return {key: name for key, name in names.items() if name}


@dataclass(frozen=True)
class Parameters:
    """What a claim tells a driver of how to set up its devices."""

    content: Mapping[str, Any]
    """As the driver defines it; ``apiVersion`` and ``kind`` are usual."""
    _: KW_ONLY
    requests: Sequence[str] = ()
    """For devices of these requests; of all where none is named."""
    driver: str = ""
    """For whom; empty: the driver under test."""

    def values(self, driver: str) -> dict[str, Any]:
        """Make the entry of the claim's ``config``.

        Args:
            driver: the driver under test.
        """
        opaque = {"driver": self.driver or driver, "parameters": dict(self.content)}
        return {"requests": list(self.requests), "opaque": opaque}


@dataclass(frozen=True)
class ClaimSpec:
    """One claim."""

    name: str
    requests: Sequence[Request]
    constraints: Sequence[Constraint] = ()
    parameters: Sequence[Parameters] = ()

    def values(self, driver: str, device_class: str) -> dict[str, Any]:
        """Make the values of the template.

        Args:
            driver: the driver under test.
            device_class: its class.
        """
        return {
            "name": self.name,
            "requests": [one.values(device_class) for one in self.requests],
            "constraints": [one.values() for one in self.constraints],
            "config": [one.values(driver) for one in self.parameters],
        }
