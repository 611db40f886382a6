"""Claims that are generated from a template: good evidence, and what can be wrong with it."""

from __future__ import annotations

from harness.cluster.inventory import Device
from harness.scenario.evidence import Evidence
from harness.verdict.finding import Blame
from suites.allocation.seen import INVENTORY
from tests.suite.cases import Case
from tests.suite.cases.counts import of_one_claim
from tests.suite.made import DEVICES, does_not_start, gpus, made, report, using, with_claim

ONE, TWO = DEVICES[:2]


def pods(name: str, controller: str, *devices: Device) -> Evidence:
    """A pod for each device, with a claim of its own."""
    roles = [f"{controller}_{number}" for number in range(1, len(devices) + 1)]
    reports = {role: report(device) for role, device in zip(roles, devices, strict=True)}
    evidence = made(name, **reports)
    for role, device in zip(evidence.containers, devices, strict=True):
        using(with_claim(evidence, role, device), role, role, args=(INVENTORY,))
    return evidence


def one_device_for_both(evidence: Evidence) -> None:
    """The second pod was allocated the device of the first, and has it."""
    gpus("deployment-2", ONE)(evidence)
    using(with_claim(evidence, "deployment-2", ONE), "deployment-2", "deployment-2")
    evidence.containers["deployment-2"].args = (INVENTORY,)


GOOD = {
    "job-pods": lambda: pods("job-pods", "job", ONE, ONE),
    "deployment-pods": lambda: pods("deployment-pods", "deployment", ONE, TWO),
    "long-names": lambda: of_one_claim("long-names", ONE),
}

CASES = (
    Case(
        "ALLOC-033",
        "the second pod is not prepared",
        does_not_start("job-2", Blame.DRIVER),
        r"the start did not come within 120 s$",
    ),
    Case(
        "ALLOC-033",
        "another device",
        gpus("job-2", TWO),
        r"the container has gpu-1; allocated: gpu-0$",
    ),
    Case(
        "ALLOC-037",
        "another device",
        gpus("deployment-1", TWO),
        r"the container has gpu-1; allocated: gpu-0$",
    ),
    Case(
        "ALLOC-037",
        "one device for both",
        one_device_for_both,
        r"two pods of a Deployment were allocated gpu-0 and gpu-0$",
        blame=Blame.SCHEDULER,
    ),
    Case(
        "ALLOC-035",
        "refused",
        does_not_start("user", Blame.DRIVER),
        r"the start did not come within 120 s$",
    ),
)
