"""Claims that share a device: good evidence, and what can be wrong with it."""

from __future__ import annotations

from harness.scenario.evidence import Evidence
from harness.verdict.finding import Blame
from suites.allocation.seen import INVENTORY
from suites.features.test_shares import LATER, ONE, OTHER, REST, amounts
from tests.suite.cases import Case
from tests.suite.made import DEVICES, Change, does_not_start, gpus, made, report, using, with_claim

GPU = DEVICES[3]
MEMORY = {
    "value": "8Gi",
    "requestPolicy": {"default": "8Gi", "validRange": {"min": "1Mi", "step": "1Mi"}},
}


def good() -> Evidence:
    """Two pods with a quarter of a GPU each; another one had to wait for all of it."""
    plan = amounts(MEMORY)
    assert plan is not None
    evidence = made("shares-of-a-device", one=report(GPU), other=report(GPU), later=report(GPU))
    made_of_rest = made("shares-of-a-device", rest=report())
    evidence.containers[REST] = made_of_rest.containers[REST]
    evidence.noted = {"device": GPU, "plans": {"memory": plan}, "scarce": True}
    for number, (name, has) in enumerate({ONE: "2Gi", OTHER: "2Gi", REST: "8Gi"}.items()):
        with_claim(evidence, name, GPU)
        shares(name, shareID=f"share-{number}", consumedCapacity={"memory": has})(evidence)
    for role, name in {ONE: ONE, OTHER: OTHER, LATER: OTHER}.items():
        using(evidence, role, name, args=(INVENTORY, "--role", role))
    evidence.containers[REST].told.found("cannot allocate all claims")
    evidence.containers[REST].waits.found("")
    return evidence


def shares(name: str, **parts: object) -> Change:
    """A claim was allocated a share of which this is said."""

    def change(evidence: Evidence) -> None:
        allocated = evidence.claims[name].allocated.get()
        allocated["status"]["allocation"]["devices"]["results"][0].update(parts)

    return change


def does_not_wait(evidence: Evidence) -> None:
    """The pod for which too little is left runs."""
    evidence.containers[REST].told.found("")


def has_some(evidence: Evidence) -> None:
    """The claim for which too little is left is allocated after all."""
    evidence.containers[REST].waits.found("rest-shares-of-a-device")


GOOD = {"shares-of-a-device": good}

CASES = (
    Case(
        "ALLOC-020",
        "one ID for two shares",
        shares(OTHER, shareID="share-0"),
        r"two shares of gpu-3 are not told apart by an ID$",
        blame=Blame.SCHEDULER,
    ),
    Case(
        "ALLOC-020",
        "a share that was not rounded",
        shares(ONE, consumedCapacity={"memory": "2047Mi"}),
        r"a share has 2146435072 of memory instead of 2147483648$",
        blame=Blame.SCHEDULER,
    ),
    Case(
        "ALLOC-020",
        "a share that says nothing of its size",
        shares(ONE, consumedCapacity={}),
        r"a share has 0 of memory instead of 2147483648$",
        blame=Blame.SCHEDULER,
    ),
    Case(
        "ALLOC-020",
        "the second share is not prepared",
        does_not_start(OTHER, Blame.DRIVER),
        r"the start did not come within 120 s$",
    ),
    Case(
        "ALLOC-021",
        "another GPU as well",
        gpus(OTHER, DEVICES[0], GPU),
        r"the container has gpu-0 and gpu-3; allocated: gpu-3$",
    ),
    Case(
        "ALLOC-040",
        "nobody joins the share that is left",
        does_not_start(LATER, Blame.DRIVER),
        r"the start did not come within 120 s$",
    ),
    Case(
        "ALLOC-040",
        "who joins has nothing",
        gpus(LATER),
        r"the container has no device; allocated: gpu-3$",
    ),
    Case(
        "ALLOC-019",
        "more than there is",
        does_not_wait,
        r"a claim for more than is left of gpu-3 does not wait: it runs$",
        blame=Blame.SCHEDULER,
    ),
    Case(
        "ALLOC-019",
        "more than there is, later",
        has_some,
        r"a claim for more than is left of gpu-3 does not wait: rest-shares-of-a-device$",
        blame=Blame.SCHEDULER,
    ),
    Case(
        "ALLOC-019",
        "what was given back is not prepared again",
        does_not_start(REST, Blame.DRIVER),
        r"the start did not come within 120 s$",
    ),
    Case(
        "ALLOC-019",
        "every share is small",
        lambda evidence: evidence.noted.update(scarce=False),
        r"unsupported: no claim for more than is left of the device is possible$",
        blame=None,
    ),
)
