"""What the driver says of devices in the status of their claim."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.checks.check import check
from harness.cluster.inventory import Device, key_of
from harness.cluster.kinds import Object
from harness.scenario.evidence import Evidence
from harness.verdict.finding import Blame, UnsupportedError, one_line
from suites.allocation.test_counts import two_of_one_request


def texts(value: Any) -> Iterator[str]:
    """Find every text in what a driver says of a device."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from texts(part)


def told(claim: Object, driver: str) -> list[Object]:
    """Find what a claim's status has of a driver's devices."""
    said = (claim.get("status") or {}).get("devices") or []
    return [one for one in said if one["driver"] == driver]


def identities(device: Device) -> set[str]:
    """The texts that are of this device and of no other."""
    return {device.uuid, device.pci} - {""}


@check(id="LIFE-008", level=3, source="LIFE-8", scenario=two_of_one_request)
def test_a_claims_status_tells_the_truth_of_its_devices(evidence: Evidence) -> None:
    """What a driver says of a device in a claim's status MUST be of this device, and MUST go when
    the device is given back.
    """
    claim = evidence.claim("gpus")
    claim.allocated.get()
    released = claim.released.get()
    every = {device.key: device for device in claim.node_devices}
    states = [one for seen in claim.history for one in told(seen, claim.devices[0].driver)]
    if not states:
        raise UnsupportedError("the driver says nothing of its devices in the status of claims")
    for entry in states:
        own = every[key_of(entry)]
        said = set(texts(entry.get("data")))
        for other in every.values():
            if wrong := sorted(said & identities(other) - identities(own)):
                evidence.fail(
                    f"a claim's status says of {own.name} what {other.name} is:"
                    f" {one_line(wrong[0], 44)}",
                    expected=f"what it says is of {own.name}",
                    observed=", ".join(sorted(said)),
                )
    if left := told(released, claim.devices[0].driver):
        evidence.fail(
            f"a claim that has no device any more says in its status how {left[0]['device']} is",
            expected="nothing of devices that were given back",
            observed=", ".join(str(one["device"]) for one in left),
            blame=Blame.CLUSTER,
        )
