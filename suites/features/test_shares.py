"""Claims that share a device, each with a part of its capacity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from harness.checks.check import check
from harness.cluster.inventory import Device, quantity, results
from harness.cluster.kinds import Object
from harness.scenario.claim_spec import Request
from harness.scenario.evidence import Claim, Container, Evidence
from harness.scenario.pod_spec import resting
from harness.scenario.refusals import NOT_SCHEDULED
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps
from harness.verdict.finding import Blame, UnsupportedError
from suites.allocation.seen import must_see, showing
from suites.features.offers import TAKEN, one_of, see_waiting, using

ONE, OTHER, LATER, REST = "one", "other", "later", "rest"
"""Two pods with a share each, one that joins the other's claim, and one for which none is left."""


@dataclass(frozen=True)
class Amounts:
    """How much of one capacity of a device claims ask for, and what they have to get."""

    has: int
    """The device's."""
    asked: int
    """By each of two claims."""
    given: int
    """To each of them, as the device's policy rounds."""
    rest: int | None
    """What a third claim asks for; None: nothing, so that it gets ``most``."""
    most: int
    """What the third one has to get."""


def amounts(capacity: Object) -> Amounts | None:
    """Share a capacity so that two claims fit; None where its policy does not let them.

    Each gets about a quarter; they ask for a little less where the policy rounds. The third one
    gets what a claim gets that does not ask, if that is too much beside them; else as much as it
    can.
    """
    has = _whole(capacity["value"])
    policy: Object = capacity.get("requestPolicy") or {}
    valid, span = policy.get("validValues") or [], policy.get("validRange") or {}
    quarter = max(has // 4, 1)
    if valid:
        sizes = sorted(size for size in map(_whole, valid) if size <= has)
        given = next((size for size in sizes if size >= quarter), 0)
        asked, most = given - (given - 1 not in (0, *sizes)), sizes[-1] if sizes else 0
    elif span:
        least, step = _whole(span["min"]), _whole(span.get("step") or "0") or 1
        top = min(_whole(span.get("max") or capacity["value"]), has)
        most = least + (top - least) // step * step
        steps = max(min(quarter, top) - least, 0) // step
        given = least + steps * step
        asked = given - 1 if steps and step > 1 else given
    else:
        asked, given, most = quarter, quarter, has
    if not 0 < given <= has // 2 or most < given:
        return None
    default = _whole(policy.get("default") or capacity["value"])
    if has - 2 * given < default <= has:
        return Amounts(has, asked, given, None, default)
    return Amounts(has, asked, given, most, most)


def _whole(text: str) -> int:
    return int(quantity(text))


@scenario()
def shares_of_a_device(steps: Steps) -> None:
    """Two pods share a device and end one after the other; for a third, too little is left."""
    device = one_of(
        *(steps, "DRAConsumableCapacity", "that claims can share"),
        lambda one: one.is_shareable,
    )
    shared = {name: amounts(one) for name, one in (device.entry.get("capacity") or {}).items()}
    plans = {name: plan for name, plan in shared.items() if plan is not None}
    if not plans or len(plans) < len(shared):
        raise UnsupportedError(f"the policy of {device.name} has no shares that two claims can get")
    scarce = any(2 * plan.given + plan.most > plan.has for plan in plans.values())
    steps.evidence.noted = {"device": device, "plans": plans, "scarce": scarce}
    part = {name: str(plan.asked) for name, plan in plans.items()}
    rest = {name: str(plan.rest) for name, plan in plans.items() if plan.rest is not None}
    one, other, third = (
        _claim(steps, role, device, much)
        for role, much in ((ONE, part), (OTHER, part), (REST, rest))
    )
    users = [using(steps, role, claim) for role, claim in ((ONE, one), (OTHER, other))]
    steps.await_start(*users)
    steps.await_report(*users)
    waiting: list[Container] = []
    if scarce:
        waiting = steps.submit_pod(REST, [resting(REST)], third, node=device.node)
        steps.refusals.await_word(waiting[0], NOT_SCHEDULED, TAKEN, Blame.SCHEDULER)
        steps.refusals.look(*waiting)
    steps.hold_off_others()
    steps.delete(users[0])
    steps.await_gone(users[0])
    (later,) = steps.submit_pod(LATER, [showing(steps, LATER)], other)
    steps.attempt(partial(steps.await_start, later), later.started.missing)
    steps.attempt(partial(steps.await_report, later), later.report.missing)
    steps.delete(users[1], later)
    steps.await_gone(users[1], later)
    for pod in waiting:
        steps.await_allocation(pod)
        steps.await_start(pod)


def _claim(steps: Steps, name: str, device: Device, much: Mapping[str, str]) -> Claim:
    """Claim a share of a device."""
    request = Request("share", selectors=steps.selectors(device), capacity=much)
    return steps.claim(name=name, requests=[request])


def _share(evidence: Evidence, name: str) -> Object:
    """What a claim was allocated."""
    (found,) = results(evidence.claim(name).allocated.get())
    return found


def _see_given(evidence: Evidence, name: str, wanted: Mapping[str, int]) -> None:
    """End a check with a finding where a share is not as large as it has to be."""
    consumed: Mapping[str, str] = _share(evidence, name).get("consumedCapacity") or {}
    found = {capacity: _whole(consumed.get(capacity, "0")) for capacity in wanted}
    if found != wanted:
        capacity = next(one for one in wanted if found[one] != wanted[one])
        evidence.fail(
            f"a share has {found[capacity]} of {capacity} instead of {wanted[capacity]}",
            expected="what the device's request policy makes of what was asked for",
            observed=", ".join(f"{name} {has}" for name, has in consumed.items()) or "nothing",
            blame=Blame.SCHEDULER,
        )


@check(id="ALLOC-020", level=3, source="ALLOC-20", scenario=shares_of_a_device)
def test_every_share_has_an_id_and_is_prepared(evidence: Evidence) -> None:
    """Every share of a device MUST have an ID of its own and say how much it has, as the device's
    policy rounds it, and the driver MUST prepare each of them.
    """
    shares = [_share(evidence, name).get("shareID") for name in (ONE, OTHER)]
    if not all(shares) or shares[0] == shares[1]:
        evidence.fail(
            f"two shares of {evidence.noted['device'].name} are not told apart by an ID",
            expected="a shareID for each",
            observed=" and ".join(str(share or "none") for share in shares),
            blame=Blame.SCHEDULER,
        )
    plans: Mapping[str, Amounts] = evidence.noted["plans"]
    for name in (ONE, OTHER):
        _see_given(evidence, name, {key: plan.given for key, plan in plans.items()})
    for name in (ONE, OTHER):
        evidence.container(name).started.get()


@check(
    id="ALLOC-021",
    level=3,
    source="ALLOC-21",
    scenario=shares_of_a_device,
    after=("ALLOC-020", "ALLOC-007"),
)
def test_pods_with_shares_see_their_device(evidence: Evidence) -> None:
    """Every pod with a share of a device MUST have that device, and no other."""
    for name in (ONE, OTHER):
        must_see(evidence, name, evidence.claim(name).devices)


@check(
    id="ALLOC-040",
    level=3,
    source="ALLOC-20",
    scenario=shares_of_a_device,
    after=("ALLOC-021",),
)
def test_the_end_of_a_share_leaves_the_others(evidence: Evidence) -> None:
    """When a share of a device was given back, another pod MUST still be able to join the claim of
    another share, and have its device.
    """
    evidence.container(LATER).started.get()
    must_see(evidence, LATER, evidence.claim(OTHER).devices)


@check(
    id="ALLOC-019",
    level=3,
    source="ALLOC-19",
    scenario=shares_of_a_device,
    after=("ALLOC-020",),
)
def test_shares_are_never_more_than_their_device(evidence: Evidence) -> None:
    """A pod with a claim for more than the shares of a device leave MUST wait, and MUST run when
    enough is given back.
    """
    if evidence.noted.get("scarce") is False:
        raise UnsupportedError("no claim for more than is left of the device is possible")
    rest, device = evidence.container(REST), evidence.noted["device"]
    see_waiting(evidence, rest, f"a claim for more than is left of {device.name} does not wait")
    plans: Mapping[str, Amounts] = evidence.noted["plans"]
    _see_given(evidence, REST, {name: plan.most for name, plan in plans.items()})
    rest.started.get()
