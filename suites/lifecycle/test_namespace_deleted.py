"""A namespace that is deleted with everything in use."""

from __future__ import annotations

from harness.checks.check import check
from harness.scenario.evidence import Evidence
from harness.scenario.pod_spec import resting
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps


@scenario(devices=2, uses=(Steps.generated_claim,))
def namespace_deleted(steps: Steps) -> None:
    """A namespace goes with pods that share a claim, one of which has a generated one, too."""
    steps.own_namespace()
    shared, own = steps.claim(1), steps.generated_claim("own")
    users = [
        *steps.submit_pod("one", [resting("one")], shared),
        *steps.submit_pod("two", [resting("two")], shared),
        *steps.submit_pod("three", [resting("three")], shared, own),
    ]
    for user in users:
        steps.await_allocation(user)
    steps.await_start(*users)
    steps.delete_namespace()


@check(
    id="LIFE-011",
    level=2,
    source="LIFE-11",
    scenario=namespace_deleted,
    after=("SHARE-007",),
)
def test_a_namespace_with_everything_in_use_can_be_deleted(evidence: Evidence) -> None:
    """A namespace that is deleted while its pods use claims MUST be gone soon, with all that was
    in it.
    """
    evidence.namespace.get()
