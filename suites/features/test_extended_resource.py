"""A pod that asks for an extended resource of a DeviceClass, and writes no claim."""

from __future__ import annotations

from dataclasses import replace

from harness.checks.check import check
from harness.scenario.evidence import Evidence
from harness.scenario.pod_spec import resting
from harness.scenario.scenario import scenario
from harness.scenario.steps import EXTENDED, Steps
from harness.verdict.finding import Blame, one_line
from suites.allocation.seen import must_see, showing
from suites.features.offers import must_be_on
from suites.shown import shown

USER, OTHER = "user", "other"


@scenario(uses=(Steps.device_class,))
def extended_resource(steps: Steps) -> None:
    """A pod has a container that asks for a resource of the run's own DeviceClass, and one that
    does not; the pod is deleted.
    """
    must_be_on(steps, "DRAExtendedResource")
    resource = f"dra-conformance.io/{steps.class_name('gpu')}"
    steps.device_class("extended", extended_resource=resource)
    specs = [replace(showing(steps, USER), limits={resource: "1"}), resting(OTHER)]
    pod = steps.submit_pod("pod", specs)
    claim = steps.extended_claim(*pod)
    steps.await_start(*pod)
    steps.await_report(*pod)
    steps.delete(pod[0])
    steps.await_gone(pod[0], claim)


@check(id="ALLOC-027", level=3, source="ALLOC-27", scenario=extended_resource, after=("ALLOC-007",))
def test_an_extended_resource_of_a_class_is_a_device(evidence: Evidence) -> None:
    """A pod that asks for an extended resource of a DeviceClass MUST get a claim, and the container
    that asks for it, which the pod's status names, have its device; another container MUST NOT.
    """
    claim, user = evidence.claim("gpus"), evidence.container(USER)
    claim.allocated.get()
    status = (user.started.get().get("status") or {}).get(EXTENDED) or {}
    found = [(one["containerName"], one["requestName"]) for one in status["requestMappings"]]
    if found != [(USER, request) for request in claim.requests]:
        told = ", ".join(f"{request} for {container}" for container, request in found)
        evidence.fail(
            f"the pod's status maps the claim's requests wrongly: {one_line(told, 50)}",
            expected=f"{', '.join(claim.requests)} for {USER}",
            observed=told or "nothing",
            blame=Blame.SCHEDULER,
        )
    must_see(evidence, USER, claim.devices)
    if surplus := shown(evidence.report(OTHER), claim.node_devices):
        evidence.fail(
            "a container that asks for no resource has a device of its pod:"
            f" {one_line(min(surplus), 30)}",
            expected="nothing that shows a device",
            observed=", ".join(sorted(surplus)),
        )


@check(
    id="ALLOC-053",
    level=3,
    source="ALLOC-27",
    scenario=extended_resource,
    after=("ALLOC-027",),
)
def test_the_claim_of_an_extended_resource_goes_with_its_pod(evidence: Evidence) -> None:
    """The claim that was made for a pod's extended resource MUST be gone when the pod is, and so
    its device be free.
    """
    evidence.container(USER).gone.get()
    evidence.claim("gpus").gone.get()
