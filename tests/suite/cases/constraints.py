"""Devices that have to be alike, or to differ: good evidence, and what can be wrong with it."""

from __future__ import annotations

from harness.scenario.evidence import Evidence
from harness.verdict.finding import Blame
from tests.suite.cases import Case
from tests.suite.cases.counts import of_one_claim
from tests.suite.made import DEVICES, Change, gpus

ONE, TWO = DEVICES[:2]


def constrained(name: str, attribute: str) -> Evidence:
    """A container that has two devices of a claim with a constraint."""
    evidence = of_one_claim(name, ONE, TWO)
    evidence.noted = {"attribute": f"{ONE.driver}/{attribute}"}
    return evidence


def constraint(attribute: str) -> Change:
    """The constraint is of another attribute."""
    return lambda evidence: evidence.noted.update(attribute=f"{ONE.driver}/{attribute}")


GOOD = {
    "alike-in-an-attribute": lambda: constrained("alike-in-an-attribute", "productName"),
    "different-in-an-attribute": lambda: constrained("different-in-an-attribute", "uuid"),
}

CASES = (
    Case(
        "ALLOC-011",
        "two values",
        constraint("uuid"),
        r"gpu-0 and gpu-1 are to be alike in gpu.nvidia.com/uuid$",
        blame=Blame.SCHEDULER,
    ),
    Case(
        "ALLOC-011",
        "one device in the container",
        gpus("user", TWO),
        r"the container has gpu-1; allocated: gpu-0 and gpu-1$",
    ),
    Case(
        "ALLOC-012",
        "one value",
        constraint("productName"),
        r"gpu-0 and gpu-1 have to differ in gpu.nvidia.com/productName$",
        blame=Blame.SCHEDULER,
    ),
    Case(
        "ALLOC-012",
        "one device in the container",
        gpus("user", TWO),
        r"the container has gpu-1; allocated: gpu-0 and gpu-1$",
    ),
)
