"""A pod that has completed: it stays, its devices are free."""

from __future__ import annotations

from harness.checks.check import check
from harness.cluster.inventory import is_allocated
from harness.scenario.evidence import REST, Evidence
from harness.scenario.pod_spec import ContainerSpec, resting
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps
from harness.verdict.finding import Blame, UnsupportedError

SOON = ["--patience", "0.1"]


@scenario()
def completed_pod(steps: Steps) -> None:
    """A pod with a claim completes and stays; another one claims its device."""
    claim = steps.claim(1)
    (user,) = steps.submit_pod("user", [ContainerSpec("user", [REST, *SOON])], claim)
    steps.await_allocation(user)
    steps.hold_off_others()
    steps.tell_allocation(claim)  # now the container starts, and ends
    pod, observer = user.the_pod(), steps.run.observer
    steps.wait(
        "the release of a completed pod's claim",
        lambda: not is_allocated(observer.last(claim.obj).obj),
        steps.run.budgets.start,
        lambda: steps.at(pod),
        Blame.KUBELET,
        pod,
    )
    steps.start_pod("next", [resting("next")], steps.claim(name="next", of=claim.devices))


@check(id="LIFE-003", level=2, source="LIFE-3", scenario=completed_pod)
def test_the_device_of_a_completed_pod_can_be_claimed(evidence: Evidence) -> None:
    """When a pod has completed, its claim MUST be reserved for it no longer, and its device MUST be
    usable by another claim, though pod and claim are still there.
    """
    following = evidence.claim("next")
    following.allocated.get()
    if following.devices != evidence.claim("gpus").devices:
        raise UnsupportedError("a claim cannot ask for one device by its UUID")
    evidence.container("next").started.get()
