"""Claims with admin access: good evidence, and what can be wrong with it."""

from __future__ import annotations

from harness.cluster.kube import ApiError
from harness.scenario.evidence import Evidence, Observed
from harness.verdict.finding import Blame
from suites.allocation.seen import INVENTORY
from suites.features.test_admin_access import ADMIN, AFTER, DURING, NEXT, UNLABELLED
from tests.suite.cases import Case
from tests.suite.made import (
    DEVICES,
    Change,
    does_not_go,
    does_not_start,
    ended,
    gpus,
    made,
    report,
    using,
    with_claim,
)

GPU, OTHER = DEVICES[:2]
CLAIMS = {ADMIN: ADMIN, DURING: "gpus", NEXT: NEXT, AFTER: NEXT}


def good() -> Evidence:
    """Everyone has the device."""
    evidence = made(
        "admin-access",
        admin=report(GPU),
        during=report(GPU),
        next=report(GPU),
        after=report(GPU),
    )
    for name in dict.fromkeys(CLAIMS.values()):
        with_claim(evidence, name, GPU)
    for role, name in CLAIMS.items():
        using(evidence, role, name, args=(INVENTORY, "--role", role))
    evidence.answers[UNLABELLED] = Observed(UNLABELLED)
    answered(ApiError(422, "admin access to devices requires the label on the namespace"))(evidence)
    return ended(evidence, ADMIN)


def answered(error: ApiError | None) -> Change:
    """The API server answered so to a claim in a namespace without the label."""

    def change(evidence: Evidence) -> None:
        evidence.answers[UNLABELLED].found(error)

    return change


GOOD = {"admin-access": good}

CASES = (
    Case(
        "SEC-006",
        "it is created",
        answered(None),
        r"the API server's answer to admin access without the label: it was created$",
        blame=Blame.CLUSTER,
    ),
    Case(
        "SEC-006",
        "another reason",
        answered(ApiError(403, "no such user")),
        r"the API server's answer to admin access without the label: 403: no such user$",
        blame=Blame.CLUSTER,
    ),
    Case(
        "ALLOC-026",
        "it is not prepared",
        does_not_start(ADMIN, Blame.DRIVER),
        r"the start did not come within 120 s$",
    ),
    Case(
        "ALLOC-026",
        "no device for the admin",
        gpus(ADMIN),
        r"the container has no device; allocated: gpu-0$",
    ),
    Case(
        "ALLOC-050",
        "nobody can join",
        does_not_start(DURING, Blame.DRIVER),
        r"the start did not come within 120 s$",
    ),
    Case(
        "ALLOC-050",
        "another device",
        gpus(DURING, OTHER),
        r"the container has gpu-1; allocated: gpu-0$",
    ),
    Case(
        "ALLOC-051",
        "the device is held",
        does_not_start(NEXT, Blame.DRIVER),
        r"the start did not come within 120 s$",
    ),
    Case(
        "ALLOC-052",
        "nobody can join",
        does_not_start(AFTER, Blame.DRIVER),
        r"the start did not come within 120 s$",
    ),
    Case(
        "ALLOC-052",
        "the admin's pod stays",
        does_not_go(ADMIN, Blame.DRIVER),
        r"the end did not come within 60 s$",
    ),
)
