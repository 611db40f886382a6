"""Slices over a restart of the driver: good evidence, and what can be wrong with it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from harness.cluster.kinds import Object
from harness.scenario.evidence import Evidence
from harness.scenario.slice_writes import CHANGED, SliceWrite, SliceWrites
from tests.suite.cases import Case
from tests.suite.made import DEVICES, NODE, Change, made, with_claim


def _slice(name: str, node: str, generation: int = 3) -> Object:
    devices = [{"name": "gpu-0", "attributes": {"uuid": {"string": "GPU-1"}}}, {"name": "gpu-1"}]
    pool = {"name": node, "generation": generation, "resourceSliceCount": 1}
    return {
        "kind": "ResourceSlice",
        "metadata": {"name": name, "resourceVersion": "7"},
        "spec": {"driver": "gpu.nvidia.com", "nodeName": node, "pool": pool, "devices": devices},
    }


def _restart_without_a_change() -> Evidence:
    evidence = with_claim(made("restart-without-a-change"), "gpus", DEVICES[0])
    before = (_slice("one", NODE), _slice("two", "node-2"))
    # What happens to the slices of another node meanwhile is no doing of this driver's pod.
    after = (_slice("one", NODE), _slice("two", "node-2", 4))
    # The NVIDIA driver 0.4.1 does so.
    after[0]["spec"]["devices"].reverse()
    evidence.slices.found(SliceWrites(before, after))
    return evidence


def _after(change: Callable[[Object], Any]) -> Change:
    """The slice of the node is another one after the restart."""

    def spoil(evidence: Evidence) -> None:
        slices = evidence.slices.get()
        item = copy.deepcopy(slices.after[0])
        change(item)
        slices.after = (item, *slices.after[1:])
        slices.writes.append(SliceWrite(CHANGED, item))

    return spoil


def _publishes_for_no_node(evidence: Evidence) -> None:
    for item in evidence.slices.get().before:
        del item["spec"]["nodeName"]


GOOD: Mapping[str, Callable[[], Evidence]] = {"restart-without-a-change": _restart_without_a_change}

CASES = (
    Case(
        "SLICE-012",
        "a new generation",
        _after(lambda item: item["spec"]["pool"].update(generation=4)),
        r"after a restart of the driver its ResourceSlice has generation 4 instead of 3$",
    ),
    Case(
        "SLICE-012",
        "a new slice in place of the old one",
        _after(lambda item: item["metadata"].update(name="new")),
        r"after a restart of the driver ResourceSlice one is gone$",
    ),
    Case(
        "SLICE-012",
        "another attribute",
        _after(lambda item: item["spec"]["devices"][1]["attributes"].clear()),
        r"after a restart of the driver device gpu-0 is published differently$",
    ),
    Case(
        "SLICE-012",
        "another pool",
        _after(lambda item: item["spec"]["pool"].update(resourceSliceCount=2)),
        r"after a restart of the driver ResourceSlice one is not what it was$",
    ),
    Case(
        "SLICE-012",
        "a device less",
        _after(lambda item: item["spec"]["devices"].pop(0)),
        r"after a restart of the driver device gpu-1 is published differently$",
    ),
    Case(
        "SLICE-012",
        "a driver whose slices are of no node",
        _publishes_for_no_node,
        r"unsupported: the driver publishes no ResourceSlice of one node$",
        blame=None,
    ),
)
