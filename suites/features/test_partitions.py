"""Devices that draw on shared counters: a GPU and its parts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations

from harness.checks.check import check
from harness.cluster.inventory import Device, devices
from harness.cluster.kinds import SLICE
from harness.scenario.claim_spec import Request
from harness.scenario.evidence import Evidence
from harness.scenario.pod_spec import resting
from harness.scenario.refusals import NOT_SCHEDULED
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps
from harness.verdict.finding import Blame, UnsupportedError
from suites.allocation.seen import named
from suites.counters import Amounts, counters, draws, fit
from suites.features.offers import TAKEN, Held, await_free, must_be_on, see_waiting, using
from suites.shown import in_variables

ONE, OTHER, WHOLE = "one", "other", "whole"
"""Pods with a part each, and one with a device that cannot be there beside either."""
Trio = tuple[Device, Device, Device]
"""Two devices that fit beside each other, and one that fits beside neither."""


def trios(every: Sequence[Device], counters: Amounts) -> Iterable[Trio]:
    """Find, for each device, two that can be allocated at once, but neither of them beside it."""
    usable = [one for one in every if fit([one], counters)]
    for whole in usable:
        alike = [one for one in usable if one.pool == whole.pool]
        parts = [one for one in alike if one != whole and not fit([one, whole], counters)]
        pair = next((two for two in combinations(parts, 2) if fit(two, counters)), None)
        if pair is not None:
            yield (*pair, whole)


@scenario(uses=(Steps.device_class,))
def parts_of_a_device(steps: Steps) -> None:
    """Two pods have a part each; one with the whole waits until both are given back."""
    must_be_on(steps, "DRAPartitionableDevices")
    subject, slices = steps.run.subject, steps.run.observer.objects(SLICE)
    anything = replace(subject.profile, select_attribute="", select_value="")
    drawing = [one for one in devices(slices, subject.driver, anything) if draws(one)]
    usable = [one for one in drawing if one.node in subject.slots and steps.selectors(one)]
    found = list(trios(usable, counters(steps)))
    if not found:
        raise UnsupportedError(
            "the driver, as it is installed, publishes no two devices that fit beside each other,"
            " but not beside a third"
        )

    def free(held: Held) -> Trio | None:
        taken = {key for one in drawing if one.key in held for key in draws(one)}
        return next((trio for trio in found if not taken.intersection(*map(draws, trio))), None)

    trio = await_free(steps, "a device in parts", free)
    steps.evidence.noted = {"devices": dict(zip((ONE, OTHER, WHOLE), trio, strict=True))}
    of_driver = steps.device_class(steps.name, selectors=[f'device.driver == "{subject.driver}"'])
    one, other, whole = (
        steps.claim(
            name=role,
            requests=[Request("part", selectors=steps.selectors(device), device_class=of_driver)],
        )
        for role, device in steps.evidence.noted["devices"].items()
    )
    users = [using(steps, role, claim) for role, claim in ((ONE, one), (OTHER, other))]
    steps.await_start(*users)
    steps.await_report(*users)
    (waiting,) = steps.submit_pod(WHOLE, [resting(WHOLE)], whole, node=trio[2].node)
    steps.refusals.await_word(waiting, NOT_SCHEDULED, TAKEN, Blame.SCHEDULER)
    steps.refusals.look(waiting)
    steps.hold_off_others()
    steps.delete(*users)
    steps.await_gone(*users)
    steps.await_allocation(waiting)
    steps.await_start(waiting)


@check(id="ALLOC-041", level=3, source="ALLOC-23", scenario=parts_of_a_device)
def test_every_container_has_its_part(evidence: Evidence) -> None:
    """Two parts of a device MUST be prepared side by side, and the container that uses one MUST
    have that, and no other and not the whole.
    """
    for role in (ONE, OTHER):
        evidence.container(role).started.get()
    published = set(evidence.noted["devices"].values())
    seen = {}
    for role in (ONE, OTHER):
        report = evidence.report(role)
        uuids = set() if evidence.simulated else {gpu.uuid for gpu in report.gpus}
        by_cuda = {device for device in published if device.uuid in uuids}
        seen[role] = in_variables(report, published) | by_cuda
    if not any(seen.values()):
        raise UnsupportedError("nothing in the containers tells which part they have")
    for role, found in seen.items():
        if found != {own := evidence.noted["devices"][role]}:
            evidence.fail(
                f"the container has {named(found)}; allocated: {own.name}",
                expected=own.name,
                observed=named(found),
            )


@check(
    id="ALLOC-023",
    level=3,
    source="ALLOC-23",
    scenario=parts_of_a_device,
    after=("ALLOC-041",),
)
def test_a_device_and_its_parts_are_never_allocated_together(evidence: Evidence) -> None:
    """A pod with a device that draws more on counters than others leave MUST wait, and MUST run
    when they are given back.
    """
    whole, device = evidence.container(WHOLE), evidence.noted["devices"][WHOLE]
    see_waiting(evidence, whole, f"a claim for {device.name} does not wait for its parts")
    whole.started.get()
