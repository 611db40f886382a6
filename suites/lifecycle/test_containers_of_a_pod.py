"""Several containers of one pod, among them a sidecar that is started again."""

from __future__ import annotations

from harness.checks.check import check
from harness.scenario.evidence import Evidence
from harness.scenario.pod_spec import SIDECAR, resting
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps
from suites.given import WITHOUT, given, see_same


@scenario(admin=True)
def containers_of_a_pod(steps: Steps) -> None:
    """A sidecar and two containers use a claim, one does not; then the sidecar is killed."""
    specs = [
        resting("sidecar", kind=SIDECAR, killed_after=3),
        *(resting("first"), resting("second"), resting(WITHOUT, uses_claims=False)),
    ]
    sidecar, *others = steps.start_pod("pod", specs, steps.claim(1), restart="Always")
    steps.await_report(*others)
    steps.await_restart(sidecar)
    steps.await_report(sidecar)


@check(id="SHARE-001", level=2, source="SHARE-1", scenario=containers_of_a_pod)
def test_containers_of_a_pod_have_the_same_devices(evidence: Evidence) -> None:
    """Containers of one pod that name the same claim MUST have the same devices."""
    wanted = given(evidence, "first")
    see_same(evidence, "the second container of the pod", wanted, given(evidence, "second"))


@check(
    id="SHARE-003",
    level=2,
    source="SHARE-3, LIFE-2",
    scenario=containers_of_a_pod,
    after=("SHARE-001", "LIFE-002"),
)
def test_a_sidecar_keeps_its_devices(evidence: Evidence) -> None:
    """A sidecar that names a claim MUST have the devices of the containers beside it, also when it
    was started again.
    """
    wanted = given(evidence, "first")
    see_same(evidence, "the sidecar", wanted, given(evidence, "sidecar", 0))
    see_same(evidence, "after its restart the sidecar", wanted, given(evidence, "sidecar", 1))
