"""Several devices for one pod: good evidence, and what can be wrong with it."""

from __future__ import annotations

from typing import Any

from harness.scenario.evidence import Evidence
from harness.verdict.finding import Blame
from suites.allocation.seen import INVENTORY
from tests.suite.cases import Case
from tests.suite.cases.device_files import PATH, file_of
from tests.suite.cases.device_status import of
from tests.suite.made import DEVICES, Change, gpus, made, report, using, with_claim

ONE, TWO, THREE = DEVICES[:3]
SHOWS = (INVENTORY, "--role", "user")


def of_one_claim(name: str, *devices: Any) -> Evidence:
    """A container that has the devices of a claim."""
    seen = report(*devices, metadata={PATH: file_of(*devices)})
    evidence = with_claim(made(name, user=seen), "gpus", *devices)
    evidence.claims["gpus"].history = ({"status": {"devices": [of(one, one) for one in devices]}},)
    evidence.noted["health user"] = [{one.name: "Healthy" for one in devices}]
    return using(evidence, "user", "gpus", args=SHOWS)


def of_two_claims() -> Evidence:
    """A container that has the devices of two claims."""
    evidence = made("two-claims-of-a-pod", user=report(ONE, TWO))
    for name, device in (("one", ONE), ("two", TWO)):
        with_claim(evidence, name, device)
    return using(evidence, "user", "one", "two", args=SHOWS)


def allocated(*devices: Any) -> Change:
    """Other devices were allocated than those that the container has."""
    return lambda evidence: (with_claim(evidence, "gpus", *devices), None)[1]


def by_variables(evidence: Evidence) -> None:
    """The driver's devices are not visible by CUDA, and no variable names one."""
    evidence.containers["user"].args = ("rest",)


GOOD = {
    "two-of-one-request": lambda: of_one_claim("two-of-one-request", ONE, TWO),
    "two-claims-of-a-pod": of_two_claims,
    "all-of-a-node": lambda: of_one_claim("all-of-a-node", *DEVICES),
}

CASES = (
    Case(
        "ALLOC-004",
        "one device for two",
        allocated(ONE),
        r"a request for 2 devices was allocated gpu-0$",
        blame=Blame.SCHEDULER,
    ),
    Case(
        "ALLOC-004",
        "one device in the container",
        gpus("user", TWO),
        r"the container has gpu-1; allocated: gpu-0 and gpu-1$",
    ),
    Case(
        "ALLOC-004",
        "no device in the container",
        gpus("user"),
        r"the container has no device; allocated: gpu-0 and gpu-1$",
    ),
    Case(
        "ALLOC-004",
        "nothing that shows devices",
        by_variables,
        r"unsupported: no variable of the container names a device$",
        blame=None,
    ),
    Case(
        "ALLOC-005",
        "the devices of one claim only",
        gpus("user", ONE),
        r"the container has gpu-0; allocated: gpu-0 and gpu-1$",
    ),
    Case(
        "ALLOC-005",
        "one device too many",
        gpus("user", ONE, TWO, THREE),
        r"the container has gpu-0 and gpu-1 and gpu-2; allocated: gpu-0 and gpu-1$",
    ),
    Case(
        "ALLOC-006",
        "less than all",
        allocated(ONE, TWO),
        r"a request for all devices was allocated 2 of the 4 devices of its node$",
        blame=Blame.SCHEDULER,
    ),
    Case(
        "ALLOC-006",
        "two of four in the container",
        gpus("user", ONE, TWO),
        r"the container has gpu-0 and gpu-1; allocated: 4 devices$",
    ),
)
