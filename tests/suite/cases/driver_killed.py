"""A driver that was killed: good evidence, and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.scenario.evidence import Evidence
from harness.verdict.finding import Blame
from tests.suite.cases import Case
from tests.suite.made import both, does_not_go, does_not_start, ended, left_out, made, report

ROLES = ("ends", "cut", "dropped", "again", "next")


def _driver_killed() -> Evidence:
    reports = {role: report() for role in ROLES}
    return ended(made("driver-killed", **reports), "ends", "dropped")


GOOD: Mapping[str, Callable[[], Evidence]] = {"driver-killed": _driver_killed}

CASES = (
    Case(
        "DISC-007",
        "nothing starts or ends",
        both(
            does_not_go("ends", Blame.DRIVER),
            does_not_start("cut", Blame.DRIVER),
            does_not_start("again", Blame.DRIVER),
        ),
        r"the end did not come within 60 s$",
    ),
    Case(
        "NODE-001",
        "it is not prepared again",
        does_not_start("cut", Blame.DRIVER),
        r"the start did not come within 120 s$",
    ),
    Case(
        "NODE-015",
        "its device is taken",
        does_not_start("next", Blame.DRIVER),
        r"the start did not come within 120 s$",
    ),
    Case(
        "NODE-015",
        "the kubelet has not asked the driver again",
        does_not_start("next", Blame.KUBELET),
        r"the start did not come within 120 s$",
        blame=Blame.KUBELET,
    ),
    Case(
        "NODE-015",
        "a small node",
        left_out(3, "dropped", "next"),
        r"unsupported: needs 3 free devices on one node; the most that one has is 1$",
        blame=None,
    ),
    Case(
        "NODE-011",
        "the pod stays",
        does_not_go("ends", Blame.DRIVER),
        r"the end did not come within 60 s$",
    ),
)
