"""One claim over time: five pods at once, one that ends, one that comes late, and one after all."""

from __future__ import annotations

from harness.checks.check import check
from harness.scenario.evidence import Evidence
from harness.scenario.pod_spec import resting
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps
from harness.verdict.finding import UnsupportedError
from suites.given import WITHOUT, given, see_same

FIVE = ("first", "second", "third", "fourth", "fifth")
STAYS, GOES, LATE, AGAIN = "first", "second", "sixth", "next"
KILLED_AFTER = 12
"""Seconds: long enough for one of the others to end before, on a node that is not slow."""


@scenario()
def users_of_a_claim(steps: Steps) -> None:
    """Five pods use a claim. One ends; a container of another starts again; one more joins. When
    all are gone, the claim is used once more.
    """
    claim = steps.claim(1)
    specs = [resting(STAYS, killed_after=KILLED_AFTER), resting(WITHOUT, uses_claims=False)]
    stays, other = steps.create_pod(STAYS, specs, claim, restart="Always")
    later = [steps.create_pod(role, [resting(role)], claim)[0] for role in FIVE[1:]]
    steps.await_start(stays, other, *later)
    steps.await_use(claim, stays, *later)
    steps.await_report(stays, other, *later)
    goes, *others = later
    steps.delete(goes)
    steps.await_gone(goes)
    steps.await_restart(stays, anew=True)
    steps.await_report(stays)
    (late,) = steps.start_pod(LATE, [resting(LATE)], claim)
    steps.await_report(late)
    node = claim.devices[0].node
    steps.give_back(claim, stays, *others, late)
    # On the same node: what its driver remembers of the claim must not matter.
    steps.await_report(*steps.start_pod(AGAIN, [resting(AGAIN)], claim, node=node))


@check(
    id="SHARE-012",
    level=2,
    source="SHARE-4, STRESS-1",
    scenario=users_of_a_claim,
    after=("LIFE-002",),
)
def test_five_pods_use_a_claim_at_once(evidence: Evidence) -> None:
    """Five pods that use one claim at the same time MUST all run, be in its reservedFor, and have
    the same devices.
    """
    first, *others = (given(evidence, role, 0) for role in FIVE)
    for role, found in zip(FIVE[1:], others, strict=True):
        see_same(evidence, f"beside four others the pod {role}", first, found)
    evidence.claim("gpus").in_use.get()


@check(
    id="SHARE-009",
    level=2,
    source="SHARE-9, LIFE-2",
    scenario=users_of_a_claim,
    after=("SHARE-012", "LIFE-002"),
)
def test_the_end_of_a_pod_leaves_its_claim_to_the_others(evidence: Evidence) -> None:
    """When one of the pods that use a claim has ended, a container of another MUST still be able to
    start again, with the same devices.
    """
    before, after = (given(evidence, STAYS, start) for start in (0, 1))
    see_same(evidence, "started again when another pod had ended, it", before, after)


@check(
    id="SHARE-013",
    level=2,
    source="SHARE-4",
    scenario=users_of_a_claim,
    after=("SHARE-009",),
)
def test_a_pod_can_join_later(evidence: Evidence) -> None:
    """A pod that begins to use a claim long after others MUST run and have the same devices."""
    see_same(evidence, "a pod that comes late", given(evidence, STAYS), given(evidence, LATE))


@check(
    id="SHARE-014",
    level=2,
    source="LIFE-5, SHARE-9",
    scenario=users_of_a_claim,
    after=("SHARE-013",),
)
def test_a_claim_can_be_used_again_when_all_its_pods_were_gone(evidence: Evidence) -> None:
    """A claim that was deallocated after its last pod MUST be prepared anew for the next one, with
    the devices that it is allocated then.
    """
    stays, again = (evidence.container(role) for role in (STAYS, AGAIN))
    before, now = given(evidence, STAYS), given(evidence, AGAIN)
    if now and any(one.is_shareable for one in again.devices):
        raise UnsupportedError("it may have another share of its device, and containers be told")
    if not now or again.devices == stays.devices:
        see_same(evidence, "a pod with the claim that was given back", before, now)
