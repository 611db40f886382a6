"""A claim that no container names: good evidence, and what can be wrong with it."""

from __future__ import annotations

from harness.scenario.evidence import Evidence
from harness.verdict.finding import Blame, Finding, judge
from tests.suite.cases import Case
from tests.suite.made import DEVICES, does_not_start, lose, made, report, with_claim

ONE, OTHER = DEVICES[:2]


def _claim_of_no_container() -> Evidence:
    evidence = with_claim(made("claim-of-no-container", user=report(ONE)), "named", ONE)
    return with_claim(evidence, "unnamed", OTHER)


def _not_freed(evidence: Evidence) -> None:
    claim = evidence.claims["unnamed"]
    finding = Finding("the release did not come within 60 s", "a release", "no", Blame.DRIVER)
    claim.released = lose(claim.released, judge(finding))


GOOD = {"claim-of-no-container": _claim_of_no_container}

CASES = (
    Case(
        "NODE-006",
        "the pod does not run",
        does_not_start("user", Blame.DRIVER),
        r"the start did not come within 120 s$",
    ),
    Case(
        "NODE-006",
        "the claim stays allocated",
        _not_freed,
        r"the release did not come within 60 s$",
    ),
)
