"""Which devices fit beside which, by the counters on which they draw."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from harness.cluster.inventory import Device
from suites.features.test_partitions import has, trios
from tests.suite.made import DEVICES, NODE


def drawing(name: str, amount: str, counters: str = "board") -> Device:
    """A device that draws an amount of memory on a set of counters."""
    draws = [{"counterSet": counters, "counters": {"memory": {"value": amount}}}]
    return replace(DEVICES[0], name=name, entry={"name": name, "consumesCounters": draws})


def test_two_parts_and_the_whole_are_found() -> None:
    """Of one set of counters; what needs more than there is fits nowhere."""
    memory = {"name": "board", "counters": {"memory": {"value": "8Gi"}}}
    counters = has([{"spec": {"pool": {"name": NODE}, "sharedCounters": [memory]}}])
    assert counters == {(NODE, "board", "memory"): Decimal(8 << 30)}
    whole, half, other = drawing("whole", "8Gi"), drawing("half", "4Gi"), drawing("other", "4Gi")
    assert list(trios([whole, half, other], counters)) == [(half, other, whole)]
    assert not list(trios([whole, half], counters))
    assert not list(trios([half, other, drawing("most", "9Gi")], counters))
    assert not list(trios([whole, half, drawing("elsewhere", "4Gi", "none")], counters))
