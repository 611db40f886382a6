"""Claims with admin access: they get a device beside who has it, and leave it to them."""

from __future__ import annotations

import re
from http.client import UNPROCESSABLE_ENTITY

from harness.checks.check import check
from harness.cluster.inventory import Device
from harness.scenario.claim_spec import Request
from harness.scenario.evidence import Evidence
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps
from harness.verdict.finding import Blame, one_line
from suites.allocation.seen import must_see, show
from suites.features.offers import one_of, using

ADMIN, DURING, AFTER, NEXT = "admin", "during", "after", "next"
UNLABELLED = "a claim with admin access in a namespace without the label for it"


def has_one_user(device: Device) -> bool:
    """Whether a device is no share, part or whole of others: such ones the scheduler gives, even
    for admin access, only while something is left of them.
    """
    return not (device.is_shareable or device.entry.get("consumesCounters"))


@scenario()
def admin_access(steps: Steps) -> None:
    """A pod with admin access gets the device of another pod. While it is there, one more pod joins
    the other's claim, and then the device has another owner. It ends, and a pod joins this one.
    """
    device = one_of(steps, "DRAAdminAccess", "that one claim has alone", has_one_user)
    user = using(steps, "user", owned := steps.claim(of=[device]))
    steps.await_start(user)
    request = Request("gpu-1", selectors=steps.selectors(device), admin=True)
    steps.refusals.ask(UNLABELLED, lambda: steps.claim(name="refused", requests=[request]))
    with steps.admin_namespace():
        admin = using(steps, ADMIN, looking := steps.claim(name=ADMIN, requests=[request]))
    steps.await_start(admin)
    steps.await_report(admin)
    during = show(steps, DURING, owned)
    steps.give_back(owned, user, during)
    owner = using(steps, NEXT, owned_next := steps.claim(name=NEXT, of=[device]))
    steps.await_start(owner)
    steps.await_report(owner)
    steps.delete(admin, looking)
    steps.await_gone(admin, looking)
    show(steps, AFTER, owned_next)


@check(id="SEC-006", level=3, source="SEC-6, ALLOC-26", scenario=admin_access, judges_driver=False)
def test_admin_access_is_refused_without_the_label(evidence: Evidence) -> None:
    """A claim with admin access MUST be refused in a namespace without the label for it."""
    answer = evidence.answer(UNLABELLED)
    said = f"{answer.status}: {answer}" if answer is not None else "it was created"
    if answer is None or answer.status != UNPROCESSABLE_ENTITY or not re.search("label", said):
        evidence.fail(
            f"the API server's answer to admin access without the label: {one_line(said, 40)}",
            expected=f"{UNPROCESSABLE_ENTITY}, with the label that is missing",
            observed=said,
            blame=Blame.CLUSTER,
        )


@check(id="ALLOC-026", level=3, source="ALLOC-26", scenario=admin_access, after=("ALLOC-007",))
def test_admin_access_gives_a_device_that_is_in_use(evidence: Evidence) -> None:
    """A claim with admin access MUST be prepared though another claim has its device, and its
    container have that device.
    """
    _see_device(evidence, ADMIN, ADMIN)


@check(
    id="ALLOC-050",
    level=3,
    source="ALLOC-26",
    scenario=admin_access,
    after=("ALLOC-026", "ALLOC-007"),
)
def test_admin_access_leaves_the_device_to_its_owner(evidence: Evidence) -> None:
    """While a claim with admin access has a device, the claim that owns it MUST work as before:
    a pod that joins it has the device.
    """
    _see_device(evidence, DURING, "gpus")


@check(id="ALLOC-051", level=3, source="ALLOC-26", scenario=admin_access, after=("ALLOC-050",))
def test_admin_access_does_not_hold_the_device(evidence: Evidence) -> None:
    """While a claim with admin access has a device that nobody owns any more, another claim MUST
    be able to get it.
    """
    _see_device(evidence, NEXT, NEXT)


@check(id="ALLOC-052", level=3, source="ALLOC-26", scenario=admin_access, after=("ALLOC-051",))
def test_the_end_of_admin_access_takes_nothing_away(evidence: Evidence) -> None:
    """When a claim with admin access has ended, the claim that owns the device MUST work as before:
    a pod that joins it has the device.
    """
    evidence.container(ADMIN).gone.get()
    _see_device(evidence, AFTER, NEXT)


def _see_device(evidence: Evidence, role: str, claim: str) -> None:
    """End a check with a finding where a pod does not run with the devices of its claim."""
    evidence.container(role).started.get()
    must_see(evidence, role, evidence.claim(claim).devices)
