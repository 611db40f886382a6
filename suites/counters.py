"""Counters on which devices draw: a GPU and its parts cannot all be had together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from harness.cluster.inventory import Device, current, quantity
from harness.cluster.kinds import SLICE, Object
from harness.scenario.steps import Steps

Amounts = dict[tuple[str, str, str], Decimal]
"""By pool, counter set and counter."""


def has(slices: Iterable[Object]) -> Amounts:
    """Read what the counters of each pool have."""
    return {
        (item["spec"]["pool"]["name"], one["name"], name): quantity(counter["value"])
        for item in slices
        for one in item["spec"].get("sharedCounters") or []
        for name, counter in one["counters"].items()
    }


def counters(steps: Steps) -> Amounts:
    """Read what the driver's counters have now."""
    return has(current(steps.run.observer.objects(SLICE), steps.run.subject.driver))


def draws(device: Device) -> Amounts:
    """Read what a device draws on counters."""
    return {
        (device.pool, one["counterSet"], name): quantity(counter["value"])
        for one in device.entry.get("consumesCounters") or []
        for name, counter in one["counters"].items()
    }


def fit(devices: Iterable[Device], counters: Amounts) -> bool:
    """Whether counters have enough for all of some devices at once."""
    needed: Amounts = {}
    for device in devices:
        for key, amount in draws(device).items():
            needed[key] = needed.get(key, Decimal(0)) + amount
    return all(amount <= counters.get(key, 0) for key, amount in needed.items())


def at_once(
    claims: Iterable[Sequence[Device]], most: int, counters: Amounts
) -> list[list[Sequence[Device]]]:
    """Put claims together whose devices can be had at once, each as early as it finds room.

    Args:
        claims: the devices of each.
        most: how many claims go together.
        counters: what they have.
    """
    groups: list[list[Sequence[Device]]] = []
    for claim in claims:
        for group in groups:
            if len(group) < most:
                devices = [one for each in (*group, claim) for one in each]
                if fit(devices, counters):
                    group.append(claim)
                    break
        else:
            groups.append([claim])
    return groups
