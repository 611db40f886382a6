"""A claim that is deleted while a pod uses it."""

from __future__ import annotations

from harness.checks.check import check
from harness.scenario.evidence import Evidence
from harness.scenario.pod_spec import resting
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps
from harness.verdict.finding import Blame, UnsupportedError


@scenario()
def claim_deleted_in_use(steps: Steps) -> None:
    """A claim is deleted, its pod's container restarts, the pod ends, and the device is claimed
    again.
    """
    claim = steps.claim(1)
    (user,) = steps.start_pod("user", [resting("user", killed_after=6)], claim, restart="Always")
    steps.delete(claim)
    steps.await_restart(user, anew=True)  # one before the deletion shows nothing
    steps.await_report(user)
    steps.hold_off_others()
    steps.delete(user)
    steps.await_gone(user, claim)
    steps.start_pod("next", [resting("next")], steps.claim(name="next", of=claim.devices))


@check(id="LIFE-007", level=2, source="LIFE-7", scenario=claim_deleted_in_use)
def test_a_claim_that_is_deleted_stays_prepared_for_its_pod(evidence: Evidence) -> None:
    """A claim that is deleted while a pod uses it MUST stay, and stay prepared, until the pod has
    ended: its container can restart.
    """
    user, claim = evidence.container("user"), evidence.claim("gpus")
    user.report.get()
    if claim.gone.get().gone < user.gone.get().asked:
        evidence.fail(
            "a claim that was deleted was gone while a pod used it",
            expected="it goes when the pod has ended",
            observed=f"gone {claim.gone.get().seconds:.1f} s after its deletion",
            blame=Blame.CLUSTER,
        )


@check(id="LIFE-014", level=2, source="LIFE-7", scenario=claim_deleted_in_use, after=("LIFE-007",))
def test_the_device_of_a_deleted_claim_can_be_claimed(evidence: Evidence) -> None:
    """When a claim that was deleted in use is gone, its device MUST be usable by another claim."""
    following = evidence.claim("next")
    following.allocated.get()
    if following.devices != evidence.claim("gpus").devices:
        raise UnsupportedError("a claim cannot ask for one device by its UUID")
    evidence.container("next").started.get()
