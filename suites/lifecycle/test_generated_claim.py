"""A claim that is generated for a pod, and how both end."""

from __future__ import annotations

from harness.checks.check import check
from harness.cluster.kinds import uid_of
from harness.scenario.evidence import Evidence
from harness.scenario.pod_spec import resting
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps
from harness.verdict.finding import Blame

LONG = "pod-with-as-long-a-name-as-of-controllers"
"""Its claim's name has as many characters as one that is generated can have: 63."""
PATIENCE = 25
"""Seconds: twice as long as a kubelet waits before it tries again what went wrong once.
What asks for speed names no number, and a kubelet waits 45 s for an answer: slower is no breach."""


@scenario(uses=(Steps.generated_claim,))
def generated_claim(steps: Steps) -> None:
    """A pod with a claim of a template, and one without, are deleted at the same time.

    Both are on one node: another may be slower.
    """
    claim = steps.generated_claim()
    (user,) = steps.submit_pod(LONG, [resting("user")], claim)
    steps.await_allocation(user)
    node = next((device.node for device in claim.devices), "")
    (other,) = steps.submit_pod("other", [resting("other", uses_claims=False)], node=node)
    steps.await_start(user, other)
    steps.delete(user, other)
    steps.await_gone(user, other)
    steps.await_gone(claim)


@check(id="LIFE-001", level=2, source="LIFE-1", scenario=generated_claim)
def test_a_generated_claim_lives_as_long_as_its_pod(evidence: Evidence) -> None:
    """A pod that names a ResourceClaimTemplate MUST run with a claim of its own, which goes when
    the pod does.
    """
    user, claim = evidence.container("user"), evidence.claim("gpus")
    user.started.get()
    owners = claim.obj["metadata"].get("ownerReferences") or []
    if uid_of(user.the_pod()) not in [owner["uid"] for owner in owners]:
        evidence.fail(
            "the claim that was generated for a pod is not owned by it",
            expected="the pod among the claim's owners",
            observed=", ".join(str(owner["name"]) for owner in owners) or "no owner",
            blame=Blame.CLUSTER,
        )
    user.gone.get()
    claim.gone.get()


@check(id="LIFE-012", level=2, source="LIFE-12", scenario=generated_claim, after=("LIFE-001",))
def test_a_pod_with_a_claim_is_deleted_as_fast_as_one_without(evidence: Evidence) -> None:
    """The deletion of a pod with a claim SHOULD NOT take more than 25 s longer than that of a pod
    without one.
    """
    took, without = (evidence.container(role).gone.get().seconds for role in ("user", "other"))
    if took > without + PATIENCE:
        evidence.fail(
            f"a pod with a claim is gone {took:.0f} s after its deletion, one without after"
            f" {without:.0f} s",
            expected=f"not more than {PATIENCE} s longer",
            observed=f"{took - without:.1f} s longer",
        )
