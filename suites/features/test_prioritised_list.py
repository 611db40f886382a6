"""Requests with alternatives, of which the first that can be had is allocated."""

from __future__ import annotations

from harness.checks.check import check
from harness.cluster.inventory import results
from harness.scenario.claim_spec import Parameters, Request
from harness.scenario.evidence import Evidence
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps
from harness.verdict.finding import Blame, UnsupportedError, one_line
from suites.allocation.seen import must_see, showing
from suites.allocation.test_parameters import effects, must_show, understood
from suites.features.offers import must_be_on

CHOSEN = {"first": "a", "second": "b"}
"""Of each request, the alternative that has to be chosen: a and b can be had of the first one, of
the second one only b."""
NOBODYS = ['device.driver == "nobody.example.com"']
"""What no device satisfies."""


@scenario(devices=2)
def alternatives(steps: Steps) -> None:
    """Two containers, each with a request of a claim that has two alternatives. There are
    parameters for all of the first request, and for each alternative of the second one.
    """
    must_be_on(steps, "DRAPrioritizedList")
    requests = [
        Request("first", alternatives=[Request("a"), Request("b")]),
        Request("second", alternatives=[Request("a", selectors=NOBODYS), Request("b")]),
    ]
    known, given = understood(steps, shown=True)[:2], []
    if len(known) == len(requests):
        steps.evidence.noted = dict(zip(CHOSEN, known, strict=True))
        one, other = (configuration.parameters for configuration in known)
        given = [
            Parameters(one, requests=["first", "second/a"]),
            Parameters(other, requests=["second/b"]),
        ]
    claim = steps.claim(requests=requests, parameters=given)
    specs = [showing(steps, request, requests=[request]) for request in CHOSEN]
    steps.await_report(*steps.start_pod("pod", specs, claim))


@check(
    id="ALLOC-013",
    level=3,
    source="ALLOC-13",
    scenario=alternatives,
    after=("ALLOC-007", "ALLOC-004", "SHARE-001"),
)
def test_the_first_alternative_that_can_be_had_is_given(evidence: Evidence) -> None:
    """Of the alternatives of a request, the first that can be had MUST be allocated, and a
    container that names the request have its device and no other.
    """
    claim = evidence.claim("gpus")
    found = [str(one["request"]) for one in results(claim.allocated.get())]
    wanted = [f"{request}/{alternative}" for request, alternative in CHOSEN.items()]
    if sorted(found) != wanted:
        evidence.fail(
            f"of requests with alternatives, {one_line(' and '.join(found), 50)} were allocated",
            expected=" and ".join(wanted),
            observed=" and ".join(found) or "nothing",
            blame=Blame.SCHEDULER,
        )
    for request in CHOSEN:
        must_see(evidence, request, claim.by_request.get(request, ()), f"of request {request}")


@check(
    id="ALLOC-014",
    level=3,
    source="ALLOC-14",
    scenario=alternatives,
    after=("ALLOC-013", "ALLOC-031", "ALLOC-016"),
)
def test_parameters_of_the_chosen_alternative_take_effect(evidence: Evidence) -> None:
    """Parameters of a request with alternatives and of the alternative that was chosen MUST take
    effect, and those of another alternative MUST NOT.
    """
    evidence.ended.get()
    if not evidence.noted:
        raise UnsupportedError("the driver's profile names no two parameters that containers show")
    for request, configuration in evidence.noted.items():
        must_show(evidence, request, configuration)
    surplus = effects(evidence, "second", evidence.noted["first"])
    if surplus:
        evidence.fail(
            f"the parameters of an alternative that was not chosen take effect:"
            f" {one_line(surplus[0], 40)}",
            expected=" or ".join(evidence.noted["second"].shows),
            observed=", ".join(surplus),
        )
