"""A driver that was away: good evidence, and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.scenario.evidence import Evidence
from harness.scenario.slice_writes import CHANGED, DELETED, SliceWrite, SliceWrites
from harness.verdict.finding import Blame
from tests.suite.cases import Case
from tests.suite.made import NODE, does_not_go, does_not_start, ended, made, report, slice_of


def _driver_away() -> Evidence:
    reports = {role: report() for role in ("ends", "lost", "starts", "waits", "next")}
    evidence = ended(made("driver-away", **reports), "ends")
    before = (slice_of(NODE), slice_of("node-2"))
    evidence.slices.found(SliceWrites(before, before[1:], [SliceWrite(DELETED, before[0])]))
    evidence.nodes["stopped"] = NODE
    return evidence


def _not_withdrawn(evidence: Evidence) -> None:
    slices = evidence.slices.get()
    slices.after = slices.before


def _written_again_and_again(evidence: Evidence) -> None:
    again = [SliceWrite(CHANGED, slice_of("node-2", number)) for number in range(5, 8)]
    evidence.slices.get().writes.extend(again)


def _one_node(evidence: Evidence) -> None:
    slices = evidence.slices.get()
    slices.before = slices.before[:1]


GOOD: Mapping[str, Callable[[], Evidence]] = {"driver-away": _driver_away}

CASES = (
    Case(
        "SLICE-013",
        "they are not withdrawn",
        _not_withdrawn,
        r"a minute after the driver left the node its ResourceSlices are still there$",
        blame=Blame.KUBELET,
    ),
    Case(
        "SLICE-023",
        "written again and again",
        _written_again_and_again,
        r"ResourceSlice node-2 was written 3 times though nothing had changed$",
    ),
    Case(
        "SLICE-023",
        "a driver on one node",
        _one_node,
        r"unsupported: the driver publishes on no other node$",
        blame=None,
    ),
    Case(
        "NODE-022",
        "the pod stays",
        does_not_go("ends", Blame.DRIVER),
        r"the end did not come within 60 s$",
    ),
    *(
        Case(check, "it does not start", does_not_start(role, Blame.DRIVER), r"the start did not ")
        for check, role in (("NODE-032", "starts"), ("NODE-033", "next"), ("DISC-008", "waits"))
    ),
)
