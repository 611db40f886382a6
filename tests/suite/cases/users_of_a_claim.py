"""The users of one claim over time: good evidence, and what can be wrong with it."""

from __future__ import annotations

from harness.scenario.evidence import Evidence
from harness.scenario.report import Report
from harness.verdict.finding import Blame
from suites.sharing.test_users_of_a_claim import AGAIN, FIVE, LATE, STAYS
from tests.suite.cases import Case
from tests.suite.made import (
    DEVICES,
    does_not_start,
    made,
    report,
    restarted,
    says,
    with_claim,
)

ONE, OTHER = DEVICES[:2]


def _of_pod(name: str, *devices: int) -> Report:
    return report(*(DEVICES[number] for number in devices), environment={"HOSTNAME": name})


def _users_of_a_claim() -> Evidence:
    pods = {role: _of_pod(role, 0) for role in (*FIVE, LATE, AGAIN)}
    evidence = made("users-of-a-claim", other=_of_pod(STAYS), **pods)
    return restarted(STAYS, with_claim(evidence, "gpus", ONE))


def _another_before(evidence: Evidence) -> None:
    evidence.containers[STAYS].earlier[0].found(_of_pod(STAYS, 1))


GOOD = {"users-of-a-claim": _users_of_a_claim}

CASES = (
    Case(
        "SHARE-012",
        "the fifth has another device",
        says("fifth", device_nodes=report(OTHER).device_nodes),
        r"beside four others the pod fifth has /dev/nvidia1 instead of /dev/nvidia0$",
    ),
    Case(
        "SHARE-012",
        "the fifth does not start",
        does_not_start("fifth", Blame.DRIVER),
        r"the start did not come within 120 s$",
    ),
    Case(
        "SHARE-009",
        "another device after another pod's end",
        _another_before,
        r"started again when another pod had ended, it has /dev/nvidia0 instead of /dev/nvidia1$",
    ),
    Case(
        "SHARE-013",
        "no device for one that comes late",
        says(LATE, device_nodes=report().device_nodes),
        r"a pod that comes late has nothing instead of /dev/nvidia0$",
    ),
    Case(
        "SHARE-014",
        "another device than is allocated",
        says(AGAIN, device_nodes=report(OTHER).device_nodes),
        r"a pod with the claim that was given back has /dev/nvidia1 instead of /dev/nvidia0$",
    ),
    Case(
        "SHARE-014",
        "no device",
        says(AGAIN, device_nodes=report().device_nodes),
        r"a pod with the claim that was given back has nothing instead of /dev/nvidia0$",
    ),
)
