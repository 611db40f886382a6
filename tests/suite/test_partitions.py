"""Which devices fit beside which, by the counters on which they draw."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from harness.cluster.inventory import Device
from suites.counters import at_once, has
from suites.features.test_partitions import trios
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


def test_a_gpu_and_its_parts_are_not_claimed_at_once() -> None:
    """The parts are, and what draws on nothing is put wherever there is room."""
    memory = {(NODE, "board", "memory"): Decimal(8 << 30)}
    whole, half, other = drawing("whole", "8Gi"), drawing("half", "4Gi"), drawing("other", "4Gi")
    claims = [(one,) for one in (whole, half, other, *DEVICES[:3])]
    found = at_once(claims, 3, memory)
    names = [[one.name for (one,) in group] for group in found]
    assert names == [["whole", "gpu-0", "gpu-1"], ["half", "other", "gpu-2"]]
    assert at_once([(half, other), (whole,)], 2, memory) == [[(half, other)], [(whole,)]]
