"""A claim that cannot be prepared, and the end of its pod."""

from __future__ import annotations

from harness.checks.check import check
from harness.cluster.kube import ApiError
from harness.scenario.claim_spec import Parameters
from harness.scenario.evidence import Evidence
from harness.scenario.pod_spec import resting
from harness.scenario.pods import has_started
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps
from harness.verdict.finding import Blame, UnsupportedError

UNKNOWN = Parameters({"apiVersion": "dra-conformance.io/v1", "kind": "UnknownToEveryDriver"})
FAILED = "FailedPrepareDynamicResources"
"""The reason of the kubelet's event."""


@scenario()
def failed_prepare(steps: Steps) -> None:
    """A claim has parameters that its driver cannot know; its pod, which waits, is deleted."""
    try:
        claim = steps.claim(1, parameters=[UNKNOWN])
    except ApiError as error:
        raise UnsupportedError("the driver has parameters checked before a claim exists") from error
    (user,) = steps.submit_pod("user", [resting("user")], claim)
    steps.await_allocation(user)

    def decided() -> bool:
        events = [str(event.get("reason")) for event in steps.run.events_of(user.the_pod())]
        running = has_started(steps.run.observer.last(user.the_pod()).obj)
        return running or FAILED in events

    budget = steps.run.budgets.start
    pod = user.the_pod()
    steps.wait("the failure of a prepare", decided, budget, lambda: steps.at(pod), Blame.KUBELET)
    if has_started(steps.run.observer.last(pod).obj):
        raise UnsupportedError("the driver prepares a claim with parameters that it cannot know")
    steps.delete(user)
    steps.await_gone(user)


@check(id="NEG-012", level=2, source="NEG-12, NODE-18", scenario=failed_prepare)
def test_a_pod_with_a_claim_that_cannot_be_prepared_can_be_deleted(evidence: Evidence) -> None:
    """A pod of which a claim could not be prepared MUST be gone soon after its deletion, and its
    claim MUST be deallocated.
    """
    evidence.container("user").gone.get()
    evidence.claim("gpus").released.get()
