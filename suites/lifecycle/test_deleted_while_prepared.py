"""A pod that is deleted in the midst of the preparation of its claim."""

from __future__ import annotations

from harness.checks.check import check
from harness.scenario.evidence import Evidence
from harness.scenario.pod_spec import resting
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps
from harness.verdict.finding import UnsupportedError


@scenario()
def deleted_while_prepared(steps: Steps) -> None:
    """A pod is deleted as soon as its kubelet knows it; another one claims the device."""
    claim = steps.claim(1)
    (user,) = steps.submit_pod("user", [resting("user")], claim)
    steps.await_allocation(user)
    steps.await_taken(user)
    steps.hold_off_others()
    steps.delete(user)
    steps.await_gone(user)
    steps.delete(claim)
    steps.await_gone(claim)
    steps.start_pod("next", [resting("next")], steps.claim(name="next", of=claim.devices))


@check(id="NODE-020", level=2, source="NODE-20", scenario=deleted_while_prepared)
def test_a_pod_that_is_deleted_while_prepared_leaves_its_device_free(evidence: Evidence) -> None:
    """A pod that is deleted while its claim is being prepared MUST be gone soon, and MUST leave
    nothing prepared: another claim can use the device.
    """
    evidence.container("user").gone.get()
    following = evidence.claim("next")
    following.allocated.get()
    if following.devices != evidence.claim("gpus").devices:
        raise UnsupportedError("a claim cannot ask for one device by its UUID")
    evidence.container("next").started.get()
