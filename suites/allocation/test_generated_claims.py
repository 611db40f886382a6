"""Claims that are generated from a template: for pods of controllers, and with long names."""

from __future__ import annotations

from harness.checks.check import check
from harness.scenario.controllers import Controllers
from harness.scenario.evidence import Evidence
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps
from harness.verdict.finding import Blame
from suites.allocation.seen import must_see, named, show, showing

LONGEST = 63
"""Characters of what a pod can call a claim, and of a pod's name where it is its host's, too."""


@scenario(uses=(Steps.generated_claim, Controllers.job))
def job_pods(steps: Steps) -> None:
    """A Job runs two pods one after another, each with a claim generated for it."""
    steps.controllers.job(showing(steps, "worker", ends=True), steps.generated_claim(), 2)


@scenario(devices=2, uses=(Steps.generated_claim, Controllers.deployment))
def deployment_pods(steps: Steps) -> None:
    """A Deployment keeps two pods, each with a claim generated for it."""
    steps.controllers.deployment(showing(steps, "server"), steps.generated_claim(), 2)


def judge(evidence: Evidence, *roles: str) -> None:
    """See that each pod has the device of its own claim."""
    for role in roles:
        container = evidence.container(role)
        container.started.get()
        must_see(evidence, role, container.devices)


@check(id="ALLOC-033", level=2, source="ALLOC-33", scenario=job_pods, after=("ALLOC-007",))
def test_pods_of_a_job_get_a_device_each(evidence: Evidence) -> None:
    """Each pod of a Job whose claim is made from a template MUST have the device of its own
    claim.
    """
    judge(evidence, "job-1", "job-2")


@check(id="ALLOC-037", level=2, source="ALLOC-33", scenario=deployment_pods, after=("ALLOC-007",))
def test_pods_of_a_deployment_get_devices_of_their_own(evidence: Evidence) -> None:
    """Each pod of a Deployment whose claim is made from a template MUST have the device of its own
    claim, and no two the same.
    """
    roles = ("deployment-1", "deployment-2")
    judge(evidence, *roles)
    given = [one for role in roles for one in evidence.container(role).devices]
    devices = [one for one in given if not one.is_shareable]
    if len(set(devices)) != len(devices):
        evidence.fail(
            f"two pods of a Deployment were allocated {named(devices)}",
            expected="a device of its own for each pod",
            observed=" and ".join(device.name for device in devices),
            blame=Blame.SCHEDULER,
        )


@scenario(uses=(Steps.generated_claim,))
def long_names(steps: Steps) -> None:
    """A pod and what it calls its claim have the longest names that there can be."""
    rest = f"-{steps.name}"
    claim = steps.generated_claim("c" * (LONGEST - len(rest)))
    show(steps, "user", claim, name="p" * (LONGEST - len(rest)))


@check(id="ALLOC-035", level=2, source="ALLOC-35", scenario=long_names, after=("ALLOC-007",))
def test_a_pod_with_the_longest_names_runs(evidence: Evidence) -> None:
    """A pod whose name and whose claim's name are as long as may be MUST run with its device."""
    judge(evidence, "user")
