"""A restart of the kubelet: good evidence, and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.scenario.evidence import Evidence
from harness.scenario.node_files import File
from harness.scenario.slice_writes import ADDED, DELETED, SliceWrite, SliceWrites
from harness.verdict.finding import Blame
from tests.suite.cases import Case
from tests.suite.made import (
    DEVICES,
    NODE,
    both,
    does_not_go,
    does_not_start,
    ended,
    left_out,
    made,
    report,
    says,
    slice_of,
    with_claim,
)

ONE, OTHER = DEVICES[:2]


def _kubelet_restart() -> Evidence:
    pods = ("repeated", "repeats", "ends", "kept", "inherits", "wiped", "restored")
    reports = {
        role: report(ONE, environment={"GPU": ONE.uuid, "HOSTNAME": f"{role}-pod"}) for role in pods
    }
    other = report(environment={"HOSTNAME": "repeated-pod"})
    evidence = ended(made("kubelet-restart", other=other, **reports), "ends")
    with_claim(evidence, "ends", ONE)
    before, after = slice_of(NODE), slice_of(NODE, 1, "new")
    there = slice_of("node-2")
    writes = [SliceWrite(DELETED, before), SliceWrite(ADDED, after)]
    evidence.slices.found(SliceWrites((before, there), (after, there), writes))
    evidence.nodes["restarted"] = NODE
    evidence.looks["wiped"] = (File("/run/cdi/claim.json", "file", 0),)
    return evidence


def _withdrawn_elsewhere(evidence: Evidence) -> None:
    evidence.slices.get().writes.append(SliceWrite(DELETED, slice_of("node-2")))


def _a_device_less(evidence: Evidence) -> None:
    evidence.slices.get().after[0]["spec"]["devices"].pop()


def _no_device(role: str) -> Callable[[Evidence], None]:
    return says(role, environment={}, device_nodes=report().device_nodes)


def _shows_nothing(evidence: Evidence) -> None:
    for role in ("repeated", "repeats"):
        _no_device(role)(evidence)


def _not_by_its_name(evidence: Evidence) -> None:
    evidence.looks["wiped"] = ()


GOOD: Mapping[str, Callable[[], Evidence]] = {"kubelet-restart": _kubelet_restart}

CASES = (
    Case(
        "DISC-006",
        "nothing starts or ends",
        both(does_not_start("repeats", Blame.DRIVER), does_not_go("ends", Blame.KUBELET)),
        r"the start did not come within 120 s$",
    ),
    Case(
        "NODE-003",
        "a prepare that is refused",
        does_not_start("repeats", Blame.DRIVER),
        r"the start did not come within 120 s$",
    ),
    Case(
        "NODE-003",
        "another device",
        says("repeats", environment={"GPU": OTHER.uuid}),
        r"after the kubelet's restart a pod has GPU=GPU-2\S*… instead of GPU=",
    ),
    Case(
        "NODE-003",
        "a driver that shows nothing",
        _shows_nothing,
        r"unsupported: the driver shows devices by no variable and no device node$",
        blame=None,
    ),
    Case(
        "NODE-005",
        "no device",
        _no_device("restored"),
        r"after the loss of its CDI file a pod has nothing instead of /dev/nv",
    ),
    Case(
        "NODE-005",
        "a driver that calls its files otherwise",
        _not_by_its_name,
        r"unsupported: no CDI file of the node is called after the claim's UID$",
        blame=None,
    ),
    Case(
        "NODE-005",
        "a small node",
        left_out(4, "wiped", "restored"),
        r"unsupported: needs 4 free devices on one node; the most that one has is 1$",
        blame=None,
    ),
    Case(
        "NODE-004",
        "another device",
        says("inherits", environment={"GPU": OTHER.uuid}, device_nodes=report(OTHER).device_nodes),
        r"after the driver's restart a pod has /dev/nvidia1 instead of /dev/nv",
    ),
    Case(
        "NODE-004",
        "a small node",
        left_out(3, "kept", "inherits"),
        r"unsupported: needs 3 free devices on one node; the most that one has is 1$",
        blame=None,
    ),
    Case(
        "NODE-012",
        "the pod stays",
        does_not_go("ends", Blame.DRIVER),
        r"the end did not come within 60 s$",
    ),
    Case(
        "SLICE-014",
        "a device less",
        _a_device_less,
        r"after the kubelet's restart 1 devices are published instead of 2$",
    ),
    Case(
        "SLICE-014",
        "withdrawn on another node, too",
        _withdrawn_elsewhere,
        r"the kubelet of node-1 has withdrawn a ResourceSlice of another node$",
        blame=Blame.KUBELET,
    ),
)
