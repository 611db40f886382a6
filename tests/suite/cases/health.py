"""What drivers tell of the health of devices: what can be wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.scenario.evidence import Evidence
from tests.suite.cases import Case
from tests.suite.made import Change, both, left_out

GOOD: Mapping[str, Callable[[], Evidence]] = {}
"""Of scenarios that judge more than health."""


def told(name: str, *states: Mapping[str, str]) -> Change:
    """The pod's status told this, one after another."""

    def change(evidence: Evidence) -> None:
        evidence.noted[f"health {name}"] = list(states)

    return change


KNOWN, UNKNOWN = {"gpu-0": "Healthy"}, {"gpu-0": "Unknown"}

CASES = (
    Case(
        *("HLTH-001", "of one device only", told("user", KNOWN | {"gpu-1": "Unknown"})),
        r"of 2 devices of a pod, the health of 1 is unknown$",
    ),
    Case(
        *("HLTH-001", "of no device", told("user", UNKNOWN)),
        r"unsupported: the driver reports no health of its devices$",
        blame=None,
    ),
    Case(
        *("HLTH-001", "no word of health", told("user")),
        r"unsupported: pods say nothing of health: feature gate ResourceHealthStatus is off$",
        blame=None,
    ),
    Case(
        *("HLTH-002", "unknown since the restart", told("after", UNKNOWN)),
        r"the health of a pod's device is unknown after the driver's restart; before, it was",
    ),
    Case(
        *("HLTH-002", "too few devices", left_out(2, "runs", "late")),
        r"unsupported: needs 2 free devices on one node; the most that one has is 1$",
        blame=None,
    ),
    Case(
        *("HLTH-003", "known at the start only", told("before", UNKNOWN)),
        r"the health of devices is known only when the driver has just started$",
    ),
    Case(
        "HLTH-003",
        "never known",
        both(told("before", UNKNOWN), told("after", UNKNOWN)),
        r"unsupported: the driver reports no health of its devices$",
        blame=None,
    ),
)
