"""A change of the driver to another version: good evidence, and what can be wrong with it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from harness.cluster.kinds import Object
from harness.scenario.evidence import Evidence
from harness.scenario.node_files import File
from harness.scenario.slice_writes import SliceWrites
from harness.verdict.finding import Blame
from tests.suite.cases import Case
from tests.suite.made import (
    DEVICES,
    NODE,
    does_not_start,
    ended,
    made,
    report,
    says,
    slice_of,
    with_claim,
)

UID = "3b0b4f3c-6a4e-4c58-9c39-9d1b2f1f3f0e"
FOLDER = File("/run/cdi", "folder", 60)
SPEC = File(f"/run/cdi/vendor-claim_{UID}.json", "file", 2, "01", "{}")
ONE, OTHER = DEVICES[:2]


def _pod(**state: Any) -> Object:
    """A pod of which the container ``runs`` is in a state."""
    return {
        "spec": {"containers": [{"name": "runs"}]},
        "status": {"containerStatuses": [{"name": "runs", "state": state}]},
    }


def _driver_upgrade() -> Evidence:
    reports = {
        role: report(ONE, environment={"GPU": ONE.uuid, "HOSTNAME": f"{role}-pod"})
        for role in ("ends", "runs", "late", "again")
    }
    other = report(environment={"HOSTNAME": "ends-pod"})
    evidence = ended(made("driver-upgrade", other=other, **reports), "ends")
    with_claim(evidence, "ends", ONE).claims["ends"].obj["metadata"]["uid"] = UID
    with_claim(evidence, "runs", ONE)
    evidence.looks = {"prepared": (FOLDER, SPEC), "unprepared": (FOLDER,)}
    evidence.noted["running"] = _pod(running={})
    # A new version may publish otherwise.
    evidence.slices.found(SliceWrites((slice_of(NODE),), (slice_of(NODE, 4),)))
    return evidence


def _left(evidence: Evidence) -> None:
    evidence.looks["unprepared"] = evidence.looks["prepared"]


def _never_named(evidence: Evidence) -> None:
    evidence.looks["prepared"] = (FOLDER,)


def _was_killed(evidence: Evidence) -> None:
    evidence.noted["running"] = _pod(terminated={"exitCode": 137})


def _hidden(evidence: Evidence) -> None:
    slices = evidence.slices.get()
    item = copy.deepcopy(slices.after[0])
    item["spec"]["devices"].clear()
    slices.after = (item,)


GOOD: Mapping[str, Callable[[], Evidence]] = {"driver-upgrade": _driver_upgrade}

CASES = (
    Case(
        "UPG-001",
        "the file is left",
        _left,
        r"after an upgrade the driver keeps the CDI file of a claim of the version before$",
    ),
    Case(
        "UPG-001",
        "its device cannot be prepared again",
        does_not_start("again", Blame.DRIVER),
        r"the start did not come within 120 s$",
    ),
    Case(
        "UPG-001",
        "a driver that calls its files otherwise",
        _never_named,
        r"unsupported: no CDI file of the node names the claim by its UID$",
        blame=None,
    ),
    Case(
        "UPG-005",
        "the pod was killed",
        _was_killed,
        r"an upgrade of the driver ended a pod that was running with a claim$",
    ),
    Case(
        "UPG-005",
        "its claim has another device",
        says("late", environment={"GPU": OTHER.uuid}, device_nodes=report(OTHER).device_nodes),
        r"after an upgrade a pod has /dev/nvidia1 instead of /dev/nv",
    ),
    Case(
        "UPG-005",
        "a device in use is not published",
        _hidden,
        r"after an upgrade the driver does not publish gpu-0, which is in use$",
    ),
)
