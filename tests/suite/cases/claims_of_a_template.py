"""Claims of one template: good evidence, and what can be wrong with it."""

from __future__ import annotations

from harness.scenario.evidence import Evidence
from harness.verdict.finding import Blame
from tests.suite.cases import Case
from tests.suite.made import DEVICES, does_not_start, made, report, with_claim

ONE, OTHER = DEVICES[:2]


def _claims_of_a_template() -> Evidence:
    evidence = made("claims-of-a-template", first=report(ONE), second=report(OTHER))
    for name, device in (("first", ONE), ("second", OTHER)):
        claim = with_claim(evidence, name, device).claims[name]
        claim.allocated.get()["metadata"]["uid"] = name
    return evidence


def _the_same_claim(evidence: Evidence) -> None:
    evidence.claims["second"].allocated.get()["metadata"]["uid"] = "first"


def _the_same_device(evidence: Evidence) -> None:
    evidence.claims["second"].by_request = evidence.claims["first"].by_request


GOOD = {"claims-of-a-template": _claims_of_a_template}

CASES = (
    Case(
        "SHARE-007",
        "the second pod does not run",
        does_not_start("second", Blame.DRIVER),
        r"the start did not come within 120 s$",
    ),
    Case(
        "SHARE-007",
        "both pods use one claim",
        _the_same_claim,
        r"two pods that name one template both use claim first$",
        blame=Blame.CLUSTER,
    ),
    Case(
        "SHARE-007",
        "both claims have one device",
        _the_same_device,
        r"two claims of one template were both allocated gpu-0$",
        blame=Blame.SCHEDULER,
    ),
)
