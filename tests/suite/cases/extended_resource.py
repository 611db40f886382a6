"""A pod that asks for an extended resource: good evidence, and what can be wrong with it."""

from __future__ import annotations

from harness.scenario.evidence import Evidence
from harness.scenario.steps import EXTENDED
from harness.verdict.finding import Blame, Finding, judge
from suites.allocation.seen import INVENTORY
from suites.features.test_extended_resource import OTHER, USER
from tests.suite.cases import Case
from tests.suite.made import (
    DEVICES,
    Change,
    does_not_start,
    ended,
    gone,
    gpus,
    lose,
    made,
    report,
    says,
    using,
    with_claim,
)

GPU = DEVICES[0]


def good() -> Evidence:
    """The container that asks has the device, and pod and claim are gone."""
    evidence = made("extended-resource", user=report(GPU), other=report(device_nodes=()))
    with_claim(evidence, "gpus", GPU)
    using(evidence, USER, "gpus", args=(INVENTORY, "--role", USER))
    mapped(USER)(evidence)
    gone(evidence.claims["gpus"].gone, 1)
    return ended(evidence, USER)


def mapped(*containers: str) -> Change:
    """The pod's status says that these containers have the claim's device."""

    def change(evidence: Evidence) -> None:
        mappings = [{"containerName": name, "requestName": "gpu-1"} for name in containers]
        evidence.containers[USER].started.found(
            {"status": {EXTENDED: {"requestMappings": mappings}}}
        )

    return change


def stays(evidence: Evidence) -> None:
    """The claim is there when its pod is not."""
    claim = evidence.claims["gpus"]
    finding = Finding("the end did not come within 60 s", "an end", "a claim", Blame.DRIVER)
    claim.gone = lose(claim.gone, judge(finding))


GOOD = {"extended-resource": good}

CASES = (
    Case(
        "ALLOC-027",
        "it is not prepared",
        does_not_start(USER, Blame.DRIVER),
        r"the start did not come within 120 s$",
    ),
    Case(
        "ALLOC-027",
        "the status names another container",
        mapped(OTHER),
        r"the pod's status maps the claim's requests wrongly: gpu-1 for other$",
        blame=Blame.SCHEDULER,
    ),
    Case(
        "ALLOC-027",
        "no device",
        gpus(USER),
        r"the container has no device; allocated: gpu-0$",
    ),
    Case(
        "ALLOC-027",
        "a device for the other container, too",
        says(OTHER, device_nodes=("nvidia0",)),
        r"a container that asks for no resource has a device of its pod: /dev/nvidia0$",
    ),
    Case("ALLOC-053", "the claim stays", stays, r"the end did not come within 60 s$"),
)
