"""A container that ends again and again: good evidence, and what can be wrong with it."""

from __future__ import annotations

from harness.scenario.evidence import Evidence
from tests.suite.cases import Case
from tests.suite.made import DEVICES, made, report, restarted, says

ONE, OTHER = DEVICES[:2]


def _crash_loop() -> Evidence:
    evidence = made("crash-loop", crashing=report(ONE), other=report())
    return restarted("crashing", restarted("crashing", evidence))


def _another_in_between(evidence: Evidence) -> None:
    evidence.containers["crashing"].earlier[1].found(report(OTHER))


GOOD = {"crash-loop": _crash_loop}

CASES = (
    Case(
        "LIFE-013",
        "another device at the second start",
        _another_in_between,
        r"at start 2 the init container has /dev/nvidia1 instead of /dev/nvidia0$",
    ),
    Case(
        "LIFE-013",
        "no device at the third start",
        says("crashing", device_nodes=report().device_nodes),
        r"at start 3 the init container has nothing instead of /dev/nvidia0$",
    ),
)
