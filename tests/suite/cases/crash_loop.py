"""A container that ends again and again: good evidence, and what can be wrong with it."""

from __future__ import annotations

from harness.cluster.kinds import Object
from harness.scenario.evidence import Evidence
from harness.verdict.finding import Blame
from tests.suite.cases import Case
from tests.suite.made import DEVICES, made, report, restarted, says, with_claim

ONE, OTHER = DEVICES[:2]
POD = "pod"
CHANGED = r"a claim was changed while a container of its pod started again and again$"


def _crash_loop() -> Evidence:
    evidence = made("crash-loop", crashing=report(ONE), other=report())
    evidence.containers["crashing"].pod = {"metadata": {"uid": POD}}
    claim = with_claim(evidence, "gpus", ONE).claims["gpus"]
    claim.history = (claim.obj, _reserved(claim.allocated.get(), POD))
    return restarted("crashing", restarted("crashing", evidence))


def _reserved(claim: Object, pod: str) -> Object:
    return {**claim, "status": {**claim["status"], "reservedFor": [{"uid": pod}]}}


def _no_longer_reserved(evidence: Evidence) -> None:
    claim = evidence.claims["gpus"]
    claim.history += (_reserved(claim.allocated.get(), "another"),)


def _reallocated(evidence: Evidence) -> None:
    other = with_claim(made("other"), "gpus", OTHER).claims["gpus"].allocated.get()
    evidence.claims["gpus"].history += (_reserved(other, POD),)


def _never_reserved(evidence: Evidence) -> None:
    evidence.claims["gpus"].history = ()


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
    Case("LIFE-015", "another pod's", _no_longer_reserved, CHANGED, blame=Blame.CLUSTER),
    Case("LIFE-015", "another device", _reallocated, CHANGED, blame=Blame.CLUSTER),
    Case("LIFE-015", "never reserved", _never_reserved, CHANGED, blame=Blame.CLUSTER),
)
