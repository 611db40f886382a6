"""Every device is claimed, and claims come and go."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

from harness.checks.check import check
from harness.cluster.kinds import Object
from harness.scenario.evidence import Evidence
from harness.scenario.scenario import EVERY_DEVICE, scenario
from harness.scenario.steps import Steps
from harness.verdict.finding import UnmetError, counted, one_line
from suites.allocation.seen import must_see
from suites.residue.turns import (
    AGAIN,
    FIRST,
    ONE_BY_ONE,
    START,
    TWO,
    count_turns,
    reporter,
    tables,
    take_turns,
    tried,
    why_not,
)


@scenario(most=EVERY_DEVICE, impacts=("exhaust",), tables=tables)
def every_device(steps: Steps) -> None:
    """Every free device is claimed, by one claim each and by one for two; then some again, one
    after another.

    ``--dra-soak`` repeats the last part, and claims all again, for as long as it says.
    """
    with steps.slices():
        well = take_turns(steps, FIRST, steps.look_at_devices())
        few = well[:ONE_BY_ONE]
        goes_on = bool(well) and len(take_turns(steps, TWO, well)) == len(well)
        while goes_on:
            goes_on = (
                len(take_turns(steps, AGAIN, few, at_a_time=1)) == len(few)
                and steps.seconds < steps.run.options.soak
                and len(take_turns(steps, AGAIN, well)) == len(well)
            )


@check(id="ALLOC-017", level=2, source="ALLOC-17", scenario=every_device, after=("ALLOC-047",))
def test_every_device_can_be_prepared(evidence: Evidence) -> None:
    """A claim MUST be prepared whichever of the published devices it was allocated."""
    turns = tried(evidence)
    if not turns:
        evidence.ended.get()
        raise UnmetError("no device was allocated: others were faster")
    failed = {device: why_not(turn) for device, turn in turns.items() if START not in turn.times}
    if failed:
        first = next(iter(failed))
        turns[first].fail(
            f"{len(failed)} of {counted(len(turns), 'device')} cannot be prepared:"
            f" {one_line(first.name, 24)} of {one_line(first.node, 24)}"
            + (" and others" if len(failed) > 1 else ""),
            expected="each of them in a container",
            observed="\n".join(f"{one.name} of {one.node}: {why}" for one, why in failed.items()),
        )


@check(
    id="ISO-015",
    level=2,
    source="ALLOC-2, ISO-3, ISO-4",
    area="isolation",
    scenario=every_device,
    after=("ALLOC-017", "ALLOC-004", "LIFE-002"),
)
def test_each_of_many_claims_brings_its_own_devices(evidence: Evidence) -> None:
    """Where up to eight claims of a node's devices, of one device or of two, are prepared at once,
    each container MUST have the devices of its own claim and no others.
    """
    turns = [
        turn
        for name, turn in evidence.parts.items()
        if not name.startswith(AGAIN) and START in turn.times
    ]
    if not turns:
        evidence.ended.get()
        raise UnmetError("no device was allocated: others were faster")
    for turn in turns:
        must_see(turn, reporter(turn.visible_by), turn.claim("gpus").devices)


@check(
    id="STRESS-002",
    level=2,
    source="STRESS-2",
    scenario=every_device,
    after=("ALLOC-017", "ALLOC-004"),
)
def test_devices_that_were_given_back_can_be_claimed_again(evidence: Evidence) -> None:
    """A device whose claim is gone MUST be there for the next one, however many came before."""
    evidence.ended.get()
    count = count_turns(evidence)
    for name, turn in evidence.parts.items():
        if not name.startswith(FIRST) and not turn.ended.known():
            device, *_ = turn.devices
            turn.fail(
                f"{one_line(device.name, 24)} of {one_line(device.node, 24)} cannot be claimed"
                f" again after {counted(count, 'claim')} came and went",
                expected="a container with the device, and its end",
                observed=why_not(turn),
            )


@check(id="STRESS-010", level=2, source="STRESS-2", scenario=every_device)
def test_claims_leave_what_is_published_as_it_was(evidence: Evidence) -> None:
    """Claims that came and went MUST NOT change what the driver publishes of its devices."""
    slices, count = evidence.slices.get(), count_turns(evidence)
    before, after = _published(slices.before), _published(slices.after)
    changed = sorted(key for key in before | after if before.get(key) != after.get(key))
    for pool, name in changed[:1]:
        was, now = before.get((pool, name)), after.get((pool, name))
        how = "published differently" if was and now else "published anew" if now else "gone"
        evidence.fail(
            f"after {counted(count, 'claim')} came and went {one_line(name, 24)} of pool"
            f" {one_line(pool, 24)} is {how}",
            expected=_shown(was),
            observed="\n".join([_shown(now), *map(str, slices.writes)]),
        )


def _published(slices: Iterable[Object]) -> dict[tuple[str, str], Any]:
    """Every device by pool and name, in whichever slice of whichever generation it is."""
    return {
        (str(item["spec"]["pool"]["name"]), str(device["name"])): device
        for item in slices
        for device in item["spec"].get("devices") or []
    }


def _shown(device: Any) -> str:
    """A device for people, one that is not there, too."""
    return yaml.safe_dump(device).strip() if device else "no such device"
