"""Claims that are of other drivers, too: good evidence, and what can be wrong with it."""

from __future__ import annotations

from harness.scenario.evidence import Evidence
from harness.verdict.finding import Blame
from tests.suite.cases import Case
from tests.suite.cases.counts import of_one_claim
from tests.suite.made import DEVICES, does_not_start, gpus

ONE, TWO = DEVICES[:2]
THEIRS = {"request": "theirs", "driver": "gpu.example.com", "pool": "p", "device": "gpu-1"}


def of_two_drivers() -> Evidence:
    """A claim of a device of the driver, and one of another."""
    evidence = of_one_claim("devices-of-two-drivers", ONE)
    results = evidence.claims["gpus"].allocated.get()["status"]["allocation"]["devices"]["results"]
    results[0]["request"] = "ours"
    results.insert(0, THEIRS)
    return evidence


def without_theirs(evidence: Evidence) -> None:
    """The other driver's device was not allocated."""
    del evidence.claims["gpus"].allocated.get()["status"]["allocation"]["devices"]["results"][0]


GOOD = {
    "devices-of-two-drivers": of_two_drivers,
    "parameters-for-another": lambda: of_one_claim("parameters-for-another", ONE),
}

CASES = (
    Case(
        "ALLOC-018",
        "a device in place of the other driver's",
        gpus("user", ONE, TWO),
        r"the container has gpu-0 and gpu-1; its own in the claim: gpu-0$",
    ),
    Case(
        "ALLOC-018",
        "nothing of another driver",
        without_theirs,
        r"unsupported: the claim was not allocated devices of two drivers$",
        blame=None,
    ),
    Case(
        "NEG-011",
        "refused",
        does_not_start("user", Blame.DRIVER),
        r"the start did not come within 120 s$",
    ),
    Case(
        "NEG-011",
        "without its device",
        gpus("user"),
        r"the container has no device; allocated: gpu-0$",
    ),
)
