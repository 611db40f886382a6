"""Pods that name the same template of claims."""

from __future__ import annotations

from harness.checks.check import check
from harness.scenario.evidence import Evidence
from harness.scenario.pod_spec import resting
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps
from harness.verdict.finding import Blame

PODS = ("first", "second")


@scenario(devices=2, uses=(Steps.generated_claim,))
def claims_of_a_template(steps: Steps) -> None:
    """Two pods name one template and run at the same time."""
    first = steps.generated_claim("first")
    second = steps.generated_claim("second", like=first)
    for role, claim in zip(PODS, (first, second), strict=True):
        steps.start_pod(role, [resting(role)], claim)


@check(id="SHARE-007", level=2, source="SHARE-7", scenario=claims_of_a_template)
def test_pods_of_a_template_have_a_claim_each(evidence: Evidence) -> None:
    """Pods that name the same ResourceClaimTemplate MUST run with a claim each, of which each is
    allocated a device of its own.
    """
    for role in PODS:
        evidence.container(role).started.get()
    first, second = (evidence.claim(role) for role in PODS)
    uids = [claim.allocated.get()["metadata"]["uid"] for claim in (first, second)]
    if uids[0] == uids[1]:
        evidence.fail(
            f"two pods that name one template both use claim {first.name}",
            expected="a generated claim for each pod",
            observed=", ".join(uids),
            blame=Blame.CLUSTER,
        )
    # A device that claims may share can be the one of both.
    if first.devices == second.devices and not any(one.is_shareable for one in first.devices):
        evidence.fail(
            f"two claims of one template were both allocated {first.devices[0].name}",
            expected="a device for each claim",
            observed=", ".join(device.name for device in (*first.devices, *second.devices)),
            blame=Blame.SCHEDULER,
        )
