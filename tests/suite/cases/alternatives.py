"""Requests with alternatives: good evidence, and what can be wrong with it."""

from __future__ import annotations

from harness.cluster.profile import PREPARED, Configuration
from harness.scenario.evidence import Evidence
from harness.verdict.finding import Blame
from suites.allocation.seen import INVENTORY
from suites.features.test_prioritised_list import CHOSEN
from tests.suite.cases import Case
from tests.suite.made import DEVICES, Change, gpus, made, report, says, using, with_claim

ONE, TWO = DEVICES[:2]
RED, BLUE = (
    Configuration(color, {"kind": "K"}, PREPARED, shows=(f"LABEL={color}",))
    for color in ("red", "blue")
)


def good() -> Evidence:
    """A container for each request, with the device and the label of the alternative chosen."""
    evidence = made(
        "alternatives",
        first=report(ONE, environment={"LABEL": "red"}),
        second=report(TWO, environment={"LABEL": "blue"}),
    )
    with_claim(evidence, "gpus", ONE, TWO).claims["gpus"].by_request = {
        "first": (ONE,),
        "second": (TWO,),
    }
    chosen("first/a", "second/b")(evidence)
    for role in CHOSEN:
        using(evidence, role, "gpus", args=(INVENTORY, "--role", role))
    evidence.noted = {"first": RED, "second": BLUE}
    return evidence


def chosen(*names: str) -> Change:
    """These alternatives were allocated."""

    def change(evidence: Evidence) -> None:
        allocation = evidence.claims["gpus"].allocated.get()["status"]["allocation"]
        for result, name in zip(allocation["devices"]["results"], names, strict=True):
            result["request"] = name

    return change


def no_parameters(evidence: Evidence) -> None:
    """The driver's profile knows none."""
    evidence.noted = {}


GOOD = {"alternatives": good}

CASES = (
    Case(
        "ALLOC-013",
        "the second alternative of the first request",
        chosen("first/b", "second/b"),
        r"of requests with alternatives, first/b and second/b were allocated$",
        blame=Blame.SCHEDULER,
    ),
    Case(
        "ALLOC-013",
        "results that name no alternative",
        chosen("first", "second"),
        r"of requests with alternatives, first and second were allocated$",
        blame=Blame.SCHEDULER,
    ),
    Case(
        "ALLOC-013",
        "no device for the request's name",
        gpus("second"),
        r"the container has no device; of request second: gpu-1$",
    ),
    Case(
        "ALLOC-014",
        "none of the whole request",
        says("first", environment={}),
        r"parameters red have no effect: there is no variable LABEL=red$",
    ),
    Case(
        "ALLOC-014",
        "none of the chosen alternative",
        says("second", environment={}),
        r"parameters blue have no effect: there is no variable LABEL=blue$",
    ),
    Case(
        "ALLOC-014",
        "those of another alternative",
        lambda evidence: evidence.noted.update(
            first=Configuration("red", {"kind": "K"}, PREPARED, shows=("LABEL=*",))
        ),
        r"the parameters of an alternative that was not chosen take effect: LABEL=blue$",
    ),
    Case(
        "ALLOC-014",
        "no parameters to try",
        no_parameters,
        r"unsupported: the driver's profile names no two parameters that containers show$",
        blame=None,
    ),
)
