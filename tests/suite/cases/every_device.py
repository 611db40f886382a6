"""Every device is claimed, and claims come and go: good evidence, and what can be wrong with it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from harness.cluster.inventory import Device
from harness.cluster.kinds import Object
from harness.scenario.evidence import Evidence
from harness.scenario.scenario import CUDA
from harness.scenario.slice_writes import CHANGED, SliceWrite, SliceWrites
from harness.verdict.finding import Blame, Finding, judge
from suites.allocation.seen import INVENTORY
from suites.residue.turns import END, FIRST, GROUP, SHOWN, START, TWO, timed
from tests.suite.cases import Case
from tests.suite.made import DEVICES, NODE, Change, gpus, lose, made, report, using, with_claim

NOT_PREPARED = "the start did not come within 120 s: prepare failed"


def _turn(name: str, *devices: Device) -> Evidence:
    turn = with_claim(made(name, user=report(), shown=report(*devices)), "gpus", *devices)
    turn = using(turn, SHOWN, "gpus", args=[INVENTORY])
    turn.visible_by = CUDA
    turn.devices = dict.fromkeys(devices, "")
    turn.times = {START: [1.0], END: [2.0]}
    return turn


def _every_device() -> Evidence:
    evidence = made("every-device")
    evidence.devices = {**dict.fromkeys(DEVICES[:3], ""), DEVICES[3]: "others/claim"}
    evidence.parts = {
        f"{FIRST}-{number}": _turn(f"{FIRST}-{number}", device)
        for number, device in enumerate(DEVICES[:3], 1)
    }
    evidence.parts[f"{TWO}-4"] = _turn(f"{TWO}-4", *DEVICES[:2])
    for number, claims in ((8, 6), (1, 3)):
        evidence.times[timed(START, number)] = [1.0] * claims
        evidence.times[timed(END, number)] = [2.0] * claims
        evidence.times[timed(GROUP, number)] = [3.0]
    devices: list[Object] = [{"name": device.name} for device in DEVICES]
    pool = {"name": NODE, "generation": 1, "resourceSliceCount": 1}
    before: Object = {
        "kind": "ResourceSlice",
        "metadata": {"name": "one", "resourceVersion": "7"},
        "spec": {"driver": "gpu.nvidia.com", "nodeName": NODE, "pool": pool, "devices": devices},
    }
    # Written anew meanwhile, as any driver may: the devices are those of before.
    after = copy.deepcopy(before)
    after["metadata"]["name"], after["spec"]["pool"]["generation"] = "two", 2
    evidence.slices.found(SliceWrites((before,), (after,), [SliceWrite(CHANGED, after)]))
    return evidence


def _fails(turn: Evidence, blame: Blame) -> Evidence:
    reason = judge(Finding(NOT_PREPARED, "a start", "nothing", blame))
    turn.ended = lose(turn.ended, reason)
    turn.times = {}
    return turn


def _first_fail(blame: Blame, *names: str) -> Change:
    def spoil(evidence: Evidence) -> None:
        for name in names:
            _fails(evidence.parts[name], blame)

    return spoil


def _again_fails(blame: Blame) -> Change:
    def spoil(evidence: Evidence) -> None:
        evidence.parts["again-9"] = _fails(_turn("again-9", DEVICES[1]), blame)

    return spoil


def _after(change: Callable[[list[Any]], Any]) -> Change:
    return lambda evidence: change(evidence.slices.get().after[0]["spec"]["devices"])


def _nothing_allocated(evidence: Evidence) -> None:
    evidence.parts.clear()


def _sees(name: str, *shown: Device) -> Change:
    return lambda evidence: gpus(SHOWN, *shown)(evidence.parts[name])


lost = _again_fails(Blame.DRIVER)
"""A device cannot be claimed again."""

GOOD: Mapping[str, Callable[[], Evidence]] = {"every-device": _every_device}

CASES = (
    Case(
        "ALLOC-017",
        "one cannot be prepared",
        _first_fail(Blame.DRIVER, "first-2"),
        r"1 of 3 devices cannot be prepared: gpu-1 of node-1$",
    ),
    Case(
        "ALLOC-017",
        "several cannot be prepared",
        _first_fail(Blame.DRIVER, "first-2", "first-3"),
        r"2 of 3 devices cannot be prepared: gpu-1 of node-1 and others$",
    ),
    Case(
        "ALLOC-017",
        "the kubelet is silent",
        _first_fail(Blame.KUBELET, "first-1"),
        NOT_PREPARED,
        blame=Blame.KUBELET,
    ),
    Case(
        "ALLOC-017",
        "others took all devices",
        _nothing_allocated,
        r"no device was allocated: others were faster$",
        blame=None,
    ),
    Case(
        "ISO-015",
        "another claim's device",
        _sees("first-2", DEVICES[2]),
        r"the container has gpu-2; allocated: gpu-1$",
    ),
    Case(
        "ISO-015",
        "one device of two",
        _sees("two-4", DEVICES[1]),
        r"the container has gpu-1; allocated: gpu-0 and gpu-1$",
    ),
    Case(
        "ISO-015",
        "others took all devices",
        _nothing_allocated,
        r"no device was allocated: others were faster$",
        blame=None,
    ),
    Case(
        "STRESS-002",
        "one is still taken",
        lost,
        r"gpu-1 of node-1 cannot be claimed again after 10 claims came and went$",
    ),
    Case(
        "STRESS-002",
        "two are not to be had at once",
        _first_fail(Blame.DRIVER, "two-4"),
        r"gpu-0 of node-1 cannot be claimed again after 10 claims came and went$",
    ),
    Case(
        "STRESS-002",
        "the scheduler does not allocate it",
        _again_fails(Blame.SCHEDULER),
        NOT_PREPARED,
        blame=Blame.SCHEDULER,
    ),
    Case(
        "STRESS-010",
        "a device is gone",
        _after(lambda devices: devices.pop(1)),
        r"after 9 claims came and went gpu-1 of pool node-1 is gone$",
    ),
    Case(
        "STRESS-010",
        "a device has a taint",
        _after(lambda devices: devices[0].update(taints=[{"key": "k", "effect": "NoExecute"}])),
        r"after 9 claims came and went gpu-0 of pool node-1 is published differently$",
    ),
    Case(
        "STRESS-010",
        "a device that was not there",
        _after(lambda devices: devices.append({"name": "gpu-9"})),
        r"after 9 claims came and went gpu-9 of pool node-1 is published anew$",
    ),
)
