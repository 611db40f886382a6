"""Slices that somebody changes: good evidence, and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.scenario.evidence import Evidence
from harness.scenario.slice_writes import ADDED, CHANGED, DELETED, SliceWrite, SliceWrites
from tests.suite.cases import Case
from tests.suite.made import NODE, made, slice_of

TWO = "node-2"


def _mended_slices() -> Evidence:
    evidence = made("mended-slices")
    before = (slice_of(NODE), slice_of(TWO))
    after = (slice_of(NODE, 4, "new"), slice_of(TWO, 4))
    edited = slice_of(TWO)
    edited["spec"]["devices"].pop()
    writes = [
        SliceWrite(DELETED, before[0]),
        SliceWrite(CHANGED, edited),
        SliceWrite(CHANGED, after[1]),
        SliceWrite(ADDED, after[0]),
    ]
    evidence.slices.found(SliceWrites(before, after, writes))
    evidence.nodes |= {"deleted": NODE, "edited": TWO}
    return evidence


def _stays_away(evidence: Evidence) -> None:
    slices = evidence.slices.get()
    slices.after = slices.after[1:]


def _stays_edited(evidence: Evidence) -> None:
    evidence.slices.get().after[1]["spec"]["devices"].pop()


GOOD: Mapping[str, Callable[[], Evidence]] = {"mended-slices": _mended_slices}

CASES = (
    Case(
        "SLICE-015",
        "it stays away",
        _stays_away,
        r"the driver does not publish again what a ResourceSlice of node-1 said that was deleted$",
    ),
    Case(
        "SLICE-037",
        "it stays edited",
        _stays_edited,
        r"the driver does not publish again what a ResourceSlice of node-2 said that lost ",
    ),
)
