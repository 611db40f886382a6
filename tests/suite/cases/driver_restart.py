"""A restart of the driver: good evidence, and what can be wrong with it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from harness.cluster.kinds import Object
from harness.scenario.evidence import Evidence
from harness.scenario.node_files import File
from harness.scenario.slice_writes import CHANGED, SliceWrite, SliceWrites
from harness.verdict.finding import Blame
from tests.suite.cases import Case
from tests.suite.made import (
    DEVICES,
    NODE,
    Change,
    does_not_start,
    ended,
    made,
    report,
    says,
    slice_of,
    with_claim,
)

UID = "cc587667-b5ed-4310-bf1c-91317e891b7a"
FOLDER = File("/run/cdi", "folder", 60)
BASE = File("/run/cdi/base.yaml", "file", 3, "00", "all")
BY_NAME = File(f"/run/cdi/vendor-claim_{UID}.json", "file", 2, "01", "{}")
BY_CONTENT = File("/run/cdi/vendor.json", "file", 60, "02", f'{{"name": "{UID}-gpu-0"}}')
ONE, OTHER = DEVICES[:2]


def _state(**state: Any) -> Object:
    """A pod of which the container ``runs`` is in a state."""
    return {
        "spec": {"containers": [{"name": "runs"}]},
        "status": {"containerStatuses": [{"name": "runs", **state}]},
    }


def _driver_restart() -> Evidence:
    reports = {
        role: report(ONE, environment={"GPU": ONE.uuid, "HOSTNAME": f"{role}-pod"})
        for role in ("ends", "runs", "late", "starts", "again")
    }
    other = report(environment={"HOSTNAME": "ends-pod"})
    evidence = ended(made("driver-restart", other=other, **reports), "ends")
    with_claim(evidence, "ends", ONE).claims["ends"].obj["metadata"]["uid"] = UID
    evidence.looks = {"prepared": (FOLDER, BASE, BY_NAME), "unprepared": (FOLDER, BASE)}
    for when in ("before", "after"):
        evidence.noted[f"health {when}"] = [{"gpu-0": "Unknown"}, {"gpu-0": "Healthy"}]
    evidence.containers["runs"].pod = _state(state={"running": {}})
    before = (slice_of(NODE), slice_of("node-2"))
    # What happens to the slices of another node meanwhile is no doing of this driver's pod.
    after = (slice_of(NODE), slice_of("node-2", 4))
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


def _exchange_names(item: Object) -> None:
    one, two = item["spec"]["devices"]
    one["name"], two["name"] = two["name"], one["name"]


def _in_one_file_with_others(evidence: Evidence) -> None:
    evidence.looks = {"prepared": (FOLDER, BY_CONTENT), "unprepared": (FOLDER, BY_CONTENT)}


def _left(evidence: Evidence) -> None:
    evidence.looks["unprepared"] = evidence.looks["prepared"]


def _never_named(evidence: Evidence) -> None:
    evidence.looks["prepared"] = (FOLDER, BASE)


def _was_killed(evidence: Evidence) -> None:
    evidence.containers["runs"].pod = _state(state={"terminated": {"exitCode": 137}})


GOOD: Mapping[str, Callable[[], Evidence]] = {"driver-restart": _driver_restart}

CASES = (
    Case(
        "SLICE-036",
        "a device in use is missing",
        _after(lambda item: item["spec"]["devices"].pop()),
        r"after its restart the driver does not publish gpu-0, which is in use$",
    ),
    Case(
        "SLICE-036",
        "a driver whose slices are of no node",
        _publishes_for_no_node,
        r"unsupported: the driver publishes no ResourceSlice of one node$",
        blame=None,
    ),
    Case(
        "SLICE-017",
        "two devices have exchanged their names",
        _after(_exchange_names),
        r"a restart of the driver gives devices other names: gpu-0 is now gpu-1$",
    ),
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
        r"after a restart of the driver ResourceSlice node-1 is gone$",
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
        r"after a restart of the driver ResourceSlice node-1 is not what it was$",
    ),
    Case(
        "SLICE-012",
        "a device less",
        _after(lambda item: item["spec"]["devices"].pop(0)),
        r"after a restart of the driver device gpu-1 is published differently$",
    ),
    Case(
        "NODE-021",
        "the file is left",
        _left,
        r"after its restart the driver keeps the CDI file of a claim that it prepared before$",
    ),
    Case(
        "NODE-021",
        "a file of all claims still names it",
        _in_one_file_with_others,
        r"after its restart the driver keeps the CDI file of a claim that it prepared before$",
    ),
    Case(
        "NODE-021",
        "its device cannot be prepared again",
        does_not_start("again", Blame.DRIVER),
        r"the start did not come within 120 s$",
    ),
    Case(
        "NODE-021",
        "a driver that calls its files otherwise",
        _never_named,
        r"unsupported: no CDI file of the node names the claim by its UID$",
        blame=None,
    ),
    Case(
        "NODE-030",
        "the pod was killed",
        _was_killed,
        r"a restart of the driver ended a pod that was running with a claim$",
    ),
    Case(
        "NODE-030",
        "its claim has another device",
        says("late", environment={"GPU": OTHER.uuid}, device_nodes=report(OTHER).device_nodes),
        r"after the driver's restart a pod has /dev/nvidia1 instead of /dev/nv",
    ),
    Case(
        "NODE-031",
        "it does not start",
        does_not_start("starts", Blame.DRIVER),
        r"the start did not come within 120 s$",
    ),
)
