"""A device that is chosen by what its slice says: good evidence, and what can be wrong with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.scenario.evidence import Evidence
from harness.verdict.finding import Blame
from tests.suite.cases import Case
from tests.suite.cases.counts import of_one_claim
from tests.suite.made import (
    DEVICES,
    MEMORY,
    PRODUCT,
    Change,
    alter,
    gpus,
    nvml_gpu,
    says,
)

ONE, TWO = DEVICES[:2]
CHOSEN = {
    "text": ("uuid", ONE.uuid, "uuid"),
    "number": ("minor", "0", ""),
    "flag": ("simulated", "True", ""),
    "pattern": ("productName", r"\s+".join(PRODUCT.split()), "product"),
    "version": ("driverVersion", "580.159.4", "version"),
    "quantity": ("memory", str(MEMORY), "memory"),
}
"""By kind: attribute, value, and what the driver's profile calls it."""


def chosen(kind: str) -> Evidence:
    """A container that has a device that was chosen in the way of a kind."""
    evidence = of_one_claim(f"chosen-by-{kind}", ONE)
    name, value, what = CHOSEN[kind]
    evidence.noted = {"attribute": f"{ONE.driver}/{name}", "value": value, "what": what}
    return evidence


def wanted(value: str) -> Change:
    """Another value was asked for than the device has."""
    return lambda evidence: evidence.noted.update(value=value)


def in_the_container(**parts: Any) -> Change:
    """NVML tells something else of the GPU than its slice."""
    return lambda evidence: alter(evidence, "user", nvml=(replace(nvml_gpu(ONE), **parts),))


GOOD = {f"chosen-by-{kind}": lambda kind=kind: chosen(kind) for kind in CHOSEN}

CASES = (
    Case(
        "ALLOC-007",
        "another value",
        wanted(TWO.uuid),
        r"gpu-0 was allocated, whose gpu.nvidia.com/uuid is GPU-1\S+$",
        blame=Blame.SCHEDULER,
    ),
    *(
        Case(
            "ALLOC-007",
            "another device in the container",
            gpus("user", TWO),
            r"the container has gpu-1; allocated: gpu-0$",
            form=form,
        )
        for form in ("text", "number", "flag")
    ),
    Case(
        "ALLOC-008",
        "another value",
        wanted("Tesla.*"),
        r"gpu-0 was allocated, whose gpu.nvidia.com/productName is NVIDIA H100 80GB HBM3$",
        blame=Blame.SCHEDULER,
    ),
    Case(
        "ALLOC-008",
        "another product in the container",
        in_the_container(name="Tesla T4"),
        r"gpu-0 has another product than it was chosen by: Tesla T4$",
    ),
    Case(
        "ALLOC-009",
        "a lower version",
        wanted("580.160.0"),
        r"gpu-0 was allocated, whose gpu.nvidia.com/driverVersion is 580.159.4$",
        blame=Blame.SCHEDULER,
    ),
    Case(
        "ALLOC-009",
        "a lower version in the container",
        says("user", driver_version="570.1.02"),
        r"gpu-0 has another version than it was chosen by: 570.1.02$",
    ),
    Case(
        "ALLOC-010",
        "less memory",
        wanted("1Ti"),
        r"gpu-0 was allocated, whose gpu.nvidia.com/memory is 81559Mi$",
        blame=Blame.SCHEDULER,
    ),
    Case(
        "ALLOC-010",
        "less memory in the container",
        in_the_container(memory=1 << 30),
        r"gpu-0 has another memory than it was chosen by: 1024Mi$",
    ),
)
