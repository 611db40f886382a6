"""A device that is tainted: who gets it, who keeps it, and who has it when the taint is gone."""

from __future__ import annotations

import re

from harness.checks.check import check
from harness.cluster.inventory import Device
from harness.scenario.claim_spec import Request
from harness.scenario.evidence import Claim, Evidence
from harness.scenario.pod_spec import resting
from harness.scenario.refusals import NOT_SCHEDULED
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps
from harness.scenario.taints import KEY, NO_EXECUTE, NO_SCHEDULE, Taints
from harness.verdict.finding import Blame, UnsupportedError, one_line
from suites.features.offers import TAKEN, must_be_on, one_of

GATE = "DRADeviceTaints"
BARRED, TOLERANT = "barred", "tolerant"
EVICTED = "DeletionByDeviceTaintManager"
"""The reason of the condition DisruptionTarget of a pod that a taint ends."""


@scenario(uses=(Taints.add,))
def tainted_device(steps: Steps) -> None:
    """A device that the scenario holds is tainted and given back. A claim without toleration waits
    for it, one with it gets it; a taint that this does not tolerate ends its pod; without taints
    the first one gets the device.
    """
    must_be_on(steps, GATE)
    alone = list[Device]()
    if any(one.is_shareable for one in steps.run.devices()):
        # A taint of a device that claims share ends pods of other scenarios, too.
        alone = [one_of(steps, GATE, "that one claim has alone", lambda one: not one.is_shareable)]
    holder = steps.hold(held := steps.claim(1, "held", of=alone))
    device = held.devices[0]
    this = steps.selectors(device)
    if not this:
        raise UnsupportedError("no attribute tells the claim's device from all others")
    steps.taints.add(device, NO_SCHEDULE)
    steps.give_back(held, holder)

    def claim(name: str, *tolerations: dict[str, str]) -> Claim:
        request = Request("gpu-1", selectors=this, tolerations=tolerations)
        return steps.claim(name=name, requests=[request])

    (barred,) = steps.submit_pod(BARRED, [resting(BARRED)], claim(BARRED), node=device.node)
    steps.refusals.await_word(barred, NOT_SCHEDULED, TAKEN, Blame.SCHEDULER)
    tolerated = {"key": KEY, "operator": "Exists", "effect": NO_SCHEDULE}
    tolerating = claim(TOLERANT, tolerated)
    (tolerant,) = steps.create_pod(TOLERANT, [resting(TOLERANT)], tolerating, node=device.node)
    steps.refusals.look(barred)
    steps.await_start(tolerant)
    steps.hold_off_others()
    steps.taints.add(device, NO_EXECUTE)
    steps.await_gone(tolerant)
    steps.taints.remove_all()
    steps.await_allocation(barred)
    steps.await_start(barred)


@check(id="ALLOC-028", level=3, source="ALLOC-28", scenario=tainted_device, judges_driver=False)
def test_a_claim_that_does_not_tolerate_a_taint_waits(evidence: Evidence) -> None:
    """A claim MUST wait as long as every device that it could get has a taint NoSchedule that it
    does not tolerate.
    """
    barred = evidence.container(BARRED)
    told = barred.told.get()
    got = barred.waits.get() if told else "it runs"
    if got or not re.search(TAKEN, told):
        evidence.fail(
            f"a claim that tolerates no taint does not wait: {got or one_line(told, 50)}",
            expected=f"it waits, and an event says so with the words {TAKEN}",
            observed=got or told,
            blame=Blame.SCHEDULER,
        )


@check(id="ALLOC-045", level=3, source="ALLOC-28", scenario=tainted_device)
def test_a_claim_that_tolerates_a_taint_is_prepared(evidence: Evidence) -> None:
    """A pod whose claim tolerates the taint of its device MUST run with it."""
    tolerant = evidence.container(TOLERANT)
    tolerant.started.get()
    held = evidence.claim("held").devices
    if tolerant.devices != held:
        evidence.fail(
            f"the pod that tolerates the taint of {held[0].name} has another device",
            expected=held[0].name,
            observed=", ".join(device.name for device in tolerant.devices) or "nothing",
            blame=Blame.SCHEDULER,
        )


@check(id="ALLOC-046", level=3, source="ALLOC-28", scenario=tainted_device, after=("ALLOC-045",))
def test_a_taint_ends_the_pod_that_uses_the_device(evidence: Evidence) -> None:
    """A pod MUST be ended when its device gets a taint NoExecute that its claim does not tolerate,
    and the driver MUST let it go.
    """
    end = evidence.container(TOLERANT).gone.get()
    conditions = (end.versions[-1].get("status") or {}).get("conditions") or []
    reasons = {one["type"]: one.get("reason", "") for one in conditions if one["status"] == "True"}
    told = reasons.get("DisruptionTarget", "no such condition")
    if told != EVICTED:
        evidence.fail(
            f"the pod is gone, but not because of the taint: {one_line(told, 50)}",
            expected=f"the condition DisruptionTarget with the reason {EVICTED}",
            observed=told,
            blame=Blame.CLUSTER,
        )


@check(id="ALLOC-047", level=3, source="ALLOC-28", scenario=tainted_device, after=("ALLOC-046",))
def test_a_device_is_there_again_without_its_taint(evidence: Evidence) -> None:
    """When the taints of a device are gone, it MUST be there for a claim that has waited."""
    evidence.container(BARRED).started.get()
