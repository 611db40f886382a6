"""Pods and claims that cannot be: good evidence, and what can be wrong with it."""

from __future__ import annotations

from harness.cluster.kube import ApiError
from harness.scenario.evidence import HOLDER, Container, Evidence, Observed
from harness.verdict.finding import Blame
from suites.refusals.test_waiting import (
    CLASSLESS,
    EXPRESSION,
    FAILING,
    MANY,
    RESOURCE,
    TAKEN,
    UNMATCHED,
    UNTEMPLATED,
)
from tests.suite.cases import Case
from tests.suite.made import Change, does_not_start

NONE_FITS = "0/1 nodes are available: 1 cannot allocate all claims."
TOLD = {
    UNMATCHED: NONE_FITS,
    MANY: NONE_FITS,
    TAKEN: NONE_FITS,
    FAILING: "running PreFilter plugin: CEL runtime error: no such key: nobodyHasIt",
    CLASSLESS: "0/1 nodes are available: request gpu-1: device class c does not exist.",
    UNTEMPLATED: 'resourceclaimtemplates "t" not found',
}
RUN_LATER = (TAKEN, CLASSLESS, UNTEMPLATED)
SAID = {
    EXPRESSION: "spec.selectors[0].cel.expression: Invalid value: compilation failed: ERROR",
    RESOURCE: "spec.containers[0].resources.limits[no name]: a qualified name must consist of",
}


def _waiting() -> Evidence:
    evidence = Evidence("impossible-for-now")
    for role in (HOLDER, *TOLD):
        container = evidence.containers[role] = Container(role)
        if role in TOLD:
            container.told.found(TOLD[role])
        if role in (HOLDER, *RUN_LATER):
            container.started.found({})
        else:
            container.waits.found("")
    for name, words in SAID.items():
        answer: Observed[ApiError | None] = Observed(name)
        answer.found(ApiError(422, words))
        evidence.answers[name] = answer
    evidence.ended.found(True)
    return evidence


GOOD = {"impossible-for-now": _waiting}


def told(role: str, words: str) -> Change:
    """The event says something else, or the pod runs."""
    return lambda evidence: _note(evidence.containers[role].told, words)


def has(role: str, what: str) -> Change:
    """The pod that waited has something at last."""
    return lambda evidence: _note(evidence.containers[role].waits, what)


def _note(piece: Observed[str], text: str) -> None:
    piece.found(text)


def answered(what: str, error: ApiError | None) -> Change:
    """The API server answered something else."""

    def change(evidence: Evidence) -> None:
        evidence.answers[what].found(error)

    return change


def not_tried(role: str) -> Change:
    """The cluster has not what the pod would take."""

    def change(evidence: Evidence) -> None:
        del evidence.containers[role]

    return change


SCHEDULER, CLUSTER = Blame.SCHEDULER, Blame.CLUSTER

CASES = (
    Case(
        *("NEG-001", "it runs", told(UNMATCHED, "")),
        r"a pod whose claim no device satisfies runs$",
        blame=SCHEDULER,
    ),
    Case(
        *("NEG-001", "another reason", told(UNMATCHED, "Insufficient memory.")),
        r"a pod whose claim no device satisfies waits: Insufficient memory.$",
        blame=SCHEDULER,
    ),
    Case(
        *("NEG-001", "an allocation in the end", has(UNMATCHED, "unmatched-claim")),
        r"a pod whose claim no device satisfies waits, but has unmatched-claim now$",
        blame=SCHEDULER,
    ),
    Case(
        *("NEG-002", "it runs", told(MANY, "")),
        r"a pod that claims more devices than there are runs$",
        blame=SCHEDULER,
    ),
    Case(
        *("NEG-002", "a node in the end", has(MANY, "on node-1")),
        r"a pod that claims more devices than there are waits, but has on node-1 now$",
        blame=SCHEDULER,
    ),
    Case(
        *("NEG-002", "more devices than a claim can have", not_tried(MANY)),
        r"unsupported: there are 32 devices or more",
        blame=None,
    ),
    Case(
        *("NEG-003", "the device of another", told(TAKEN, "")),
        r"a pod whose device another one holds runs$",
        blame=SCHEDULER,
    ),
    Case(
        *("NEG-003", "it never runs", does_not_start(TAKEN, SCHEDULER)),
        r"the start did not come within 120 s$",
        blame=SCHEDULER,
    ),
    Case(
        *("NEG-003", "devices that are all alike", not_tried(TAKEN)),
        r"unsupported: no attribute tells the claim's device from all others, or others may share"
        r" it$",
        blame=None,
    ),
    Case(
        *("NEG-004", "no word of the class", told(CLASSLESS, NONE_FITS)),
        r"a pod whose DeviceClass does not exist waits: 0/1 nodes are available",
        blame=SCHEDULER,
    ),
    Case(
        *("NEG-005", "no word of the error", told(FAILING, NONE_FITS)),
        r"a pod with a selector that fails on a device waits: 0/1 nodes are available",
        blame=SCHEDULER,
    ),
    Case(
        *("NEG-005", "an allocation in the end", has(FAILING, "failing-claim")),
        r"a pod with a selector that fails on a device waits, but has failing-claim now$",
        blame=SCHEDULER,
    ),
    Case(
        *("NEG-006", "it is created", answered(EXPRESSION, None)),
        r"the API server's answer to an invalid expression: it was created$",
        blame=CLUSTER,
    ),
    Case(
        *("NEG-006", "another answer", answered(EXPRESSION, ApiError(500, "out of order"))),
        r"the API server's answer to an invalid expression: 500: out of order$",
        blame=CLUSTER,
    ),
    Case(
        *("NEG-007", "another reason", told(UNTEMPLATED, "forbidden")),
        r"a pod whose ResourceClaimTemplate does not exist waits: forbidden$",
        blame=CLUSTER,
    ),
    Case(
        *("NEG-010", "it is created", answered(RESOURCE, None)),
        r"the API server's answer to an invalid resource name: it was created$",
        blame=CLUSTER,
    ),
)
