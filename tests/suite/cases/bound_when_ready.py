"""A device with binding conditions: good evidence, and what can be wrong with it."""

from __future__ import annotations

from harness.scenario.evidence import Evidence
from harness.verdict.finding import Blame
from tests.suite.cases import Case
from tests.suite.cases.counts import of_one_claim
from tests.suite.made import DEVICES, does_not_start, gpus


def good() -> Evidence:
    """A pod that was bound when its GPU was ready."""
    evidence = of_one_claim("bound-when-ready", DEVICES[1])
    evidence.noted = {"ready": 41, "bound": 42, "failed": True, "given back": True}
    return evidence


GOOD = {"bound-when-ready": good}

CASES = (
    Case(
        "ALLOC-032",
        "a pod that was bound too early",
        lambda evidence: evidence.noted.update(bound=40),
        r"the pod was bound before gpu-1 was ready for it$",
        blame=Blame.SCHEDULER,
    ),
    Case(
        "ALLOC-032",
        "conditions that nobody meets",
        does_not_start("user", Blame.DRIVER),
        r"the start did not come within 120 s$",
    ),
    Case(
        "ALLOC-032",
        "a GPU that failed and stays allocated",
        lambda evidence: evidence.noted.update({"given back": False}),
        r"gpu-1 could not be made ready and was not given back$",
        blame=Blame.SCHEDULER,
    ),
    Case(
        "ALLOC-032",
        "another GPU",
        gpus("user", DEVICES[2]),
        r"the container has gpu-2; allocated: gpu-1$",
    ),
)
