"""Parameters for the driver: good evidence, and what can be wrong with it."""

from __future__ import annotations

from harness.cluster.profile import PREPARED, REFUSED, Configuration
from harness.scenario.evidence import Evidence, Observed
from harness.verdict.finding import Blame, UnsupportedError
from suites.allocation.seen import INVENTORY
from suites.allocation.test_parameters import FOREIGN, Answer
from tests.suite.cases import Case
from tests.suite.made import (
    DEVICES,
    Change,
    does_not_start,
    gpus,
    made,
    report,
    says,
    using,
    with_claim,
)

ONE, TWO = DEVICES[:2]
RED, BLUE = (
    Configuration(color, {"kind": "K"}, PREPARED, shows=(f"GPU_*_LABEL={color}",))
    for color in ("red", "blue")
)
PLAIN = Configuration("plain", {"kind": "K"}, PREPARED)
NOPE = Configuration("unknown-field", {"kind": "K", "nope": 1}, REFUSED, names="nope")
IS_RED, IS_BLUE = ({"GPU_0_LABEL": color} for color in ("red", "blue"))


def understood() -> Evidence:
    """A pod for each of two parameters, of which one has an effect that can be seen."""
    evidence = made("understood-parameters", red=report(ONE, environment=IS_RED), plain=report(TWO))
    evidence.noted = {"red": RED, "plain": PLAIN}
    return evidence


def of_two_requests() -> Evidence:
    """A container for each request, with its label."""
    one, two = report(ONE, environment=IS_RED), report(TWO, environment=IS_BLUE)
    evidence = with_claim(made("parameters-of-two-requests", one=one, two=two), "gpus", ONE, TWO)
    evidence.claims["gpus"].by_request = {"one": (ONE,), "two": (TWO,)}
    for role in ("one", "two"):
        using(evidence, role, "gpus", args=(INVENTORY,))
    evidence.noted = {"one": RED, "two": BLUE}
    return evidence


def of_class_and_claim() -> Evidence:
    """A container for each request, one with the label of the class, one with the claim's."""
    of_class, of_claim = (report(ONE, environment=label) for label in (IS_RED, IS_BLUE))
    evidence = made("parameters-of-class-and-claim", of_class=of_class, of_claim=of_claim)
    evidence.noted = {"of-class": RED, "of-claim": BLUE}
    return evidence


def refused() -> Evidence:
    """Every claim was refused, and the device can be used."""
    evidence = made("refused-parameters", after=report(ONE))
    evidence.noted = {
        FOREIGN.name: Answer(FOREIGN, "no parameters Foreign of other.example/v1"),
        NOPE.name: Answer(NOPE, "K has no field nope"),
    }
    return evidence


def said(text: str) -> Change:
    """Another answer to an unknown field."""
    return lambda evidence: evidence.noted.update({NOPE.name: Answer(NOPE, text)})


def unanswered(evidence: Evidence) -> None:
    """The scenario ended before it had the second answer."""
    evidence.noted[NOPE.name] = NOPE
    evidence.ended = Observed("the end")
    evidence.ended.missing(UnsupportedError("no answer came"))


GOOD = {
    "understood-parameters": understood,
    "parameters-of-two-requests": of_two_requests,
    "parameters-of-class-and-claim": of_class_and_claim,
    "refused-parameters": refused,
}

CASES = (
    Case(
        "ALLOC-031",
        "another effect",
        says("red", environment=IS_BLUE),
        r"parameters red have no effect: there is no variable GPU_\*_LABEL=red$",
    ),
    Case(
        "ALLOC-016",
        "no effect",
        says("one", environment={}),
        r"parameters red have no effect: there is no variable GPU_\*_LABEL=red$",
    ),
    Case(
        "ALLOC-016",
        "the effect of the other request",
        says("two", environment={"GPU_0_LABEL": "red", "GPU_1_LABEL": "blue"}),
        r"a container of request two has the parameters of request one: GPU_0_LABEL=red$",
    ),
    Case(
        "ALLOC-016",
        "the device of the other request",
        gpus("two", ONE),
        r"the container has gpu-0; of request two: gpu-1$",
    ),
    Case(
        "ALLOC-015",
        "those of the class are ignored",
        says("of-class", environment={}),
        r"parameters red have no effect: there is no variable GPU_\*_LABEL=red$",
    ),
    Case(
        "NEG-008",
        "prepared",
        said(""),
        r"a claim with parameters unknown-field was prepared$",
    ),
    Case(
        "NEG-008",
        "an answer that did not come",
        unanswered,
        r"unsupported: no answer came$",
        blame=None,
    ),
    Case(
        "NEG-014",
        "the driver ends",
        said("rpc error: code = Unavailable desc = error reading from server: EOF"),
        r"the driver was gone when it was given parameters unknown-field$",
    ),
    Case(
        "NEG-014",
        "the device is not free",
        does_not_start("after", Blame.DRIVER),
        r"the start did not come within 120 s$",
    ),
    Case(
        "NEG-015",
        "no reason",
        said("invalid parameters"),
        r"the refusal of parameters unknown-field does not name nope$",
    ),
)
