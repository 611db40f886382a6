"""Containers with devices of their own, side by side, for drivers that CUDA does not see."""

from __future__ import annotations

from harness.checks.check import check
from harness.scenario.evidence import Evidence
from harness.scenario.pod_spec import ContainerSpec, resting
from harness.scenario.scenario import CUDA, scenario
from harness.scenario.steps import Steps
from harness.verdict.finding import UnsupportedError, one_line
from suites.shown import of_one_device

ONE, OTHER = "one", "other"


@scenario(devices=2)
def two_claims(steps: Steps) -> None:
    """Two claims of one device each, a pod for each, on one node at once."""
    node = steps.roomiest_node()
    for role in (ONE, OTHER):
        steps.create_pod(role, [resting(role)], steps.claim(1, role), node=node)
    steps.await_start(*steps.evidence.containers.values())
    steps.await_report(*steps.evidence.containers.values())


@scenario(devices=2)
def two_requests(steps: Steps) -> None:
    """One claim of two requests, two containers of a pod with one of them each."""
    claim = steps.claim(2)
    specs = [
        ContainerSpec(role, resting(role).args, requests=[request], waits=False)
        for role, request in zip((ONE, OTHER), claim.requests, strict=True)
    ]
    steps.await_report(*steps.start_pod("pod", specs, claim))


def see_nothing_in_common(evidence: Evidence, who: str) -> None:
    """End a check with a finding where two containers are shown the same device.

    Raises:
        JudgementError: they are, or what shows devices is not known.
    """
    containers = [evidence.container(role) for role in (ONE, OTHER)]
    published = [
        device for one in containers for claim in one.claims for device in claim.node_devices
    ]
    one, other = (of_one_device(evidence.report(role), published) for role in (ONE, OTHER))
    if evidence.visible_by == CUDA:
        raise UnsupportedError(
            "CUDA shows devices of this driver: ISO-004 and SHARE-008 look by it"
        )
    if not one or not other:
        raise UnsupportedError("nothing that is known to show single devices is in the containers")
    if common := sorted(one & other):
        evidence.fail(
            f"{who} both have {one_line(common[0], 45)}",
            expected="each is shown its own device and not the other's",
            observed="\n".join(", ".join(sorted(shown)) for shown in (one, other)),
        )


@check(id="ISO-013", level=2, source="ISO-4, ALLOC-2", scenario=two_claims)
def test_pods_with_claims_of_their_own_have_different_devices(evidence: Evidence) -> None:
    """Two pods with a claim of one device each MUST NOT be shown the same device."""
    see_nothing_in_common(evidence, "two pods with claims of their own")


@check(id="ISO-014", level=2, source="SHARE-8", scenario=two_requests, after=("SHARE-001",))
def test_containers_of_different_requests_have_different_devices(evidence: Evidence) -> None:
    """Two containers that name different requests of a claim MUST NOT be shown the same device."""
    see_nothing_in_common(evidence, "two containers with requests of their own")
