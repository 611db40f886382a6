"""Claims that come and go, each with a pod of its own: of one device, or of two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import ceil
from threading import Barrier

from harness.cluster.inventory import Device
from harness.scenario.evidence import Evidence
from harness.scenario.pod_spec import resting
from harness.scenario.scenario import CUDA
from harness.scenario.steps import Steps
from harness.verdict.finding import FailedError, UnsupportedError, counted
from harness.verdict.table import Cell, Table
from suites.allocation.seen import showing
from suites.counters import Amounts, at_once, counters

AT_A_TIME = 8
ONE_BY_ONE = 4
"""So many claims of a round come one after another."""
USER, SHOWN = "user", "shown"
"""The container of a turn, and the one beside it that shows the devices to CUDA."""
FIRST, TWO, AGAIN = "first", "two", "again"
"""Of the names of turns: those in which a device is claimed for the first time, those of two
devices, and all others."""
START, END, GROUP = "start", "end", "group"
"""What is timed: from a claim's creation until its container ran; from the deletion of its pod
until both were gone; and all of those that were claimed at a time."""


def timed(what: str, at_a_time: int) -> str:
    """Name seconds in `Evidence.times`: of `START`, `END` or `GROUP`."""
    return f"{what} of {at_a_time}"


def take_turns(
    steps: Steps, called: str, devices: Sequence[Device], at_a_time: int = AT_A_TIME
) -> list[Device]:
    """Claim each device once, several at a time, and give them back when all their pods run.

    A GPU and parts of it, which cannot be had together, are claimed one after the other.

    Each turn is a part of the evidence, ``FIRST-1`` or ``AGAIN-17``. Of those that are called
    `AGAIN` only that stays which did not come to a good end, and with it the round ends. In the
    others a container reports which devices it has.

    Args:
        steps: of the scenario.
        called: `FIRST`, `TWO` (then there is one claim for every two devices of a node) or `AGAIN`.
        devices: all of them are free.
        at_a_time: how many are claimed at a time. A driver without UUIDs cannot be asked for a
            certain device: to get all of them, all are claimed at once, and none by twos.

    Returns:
        The devices whose turn came to a good end.

    Raises:
        UnsupportedError: it takes all at once, and they cannot be had so.
    """
    chosen = bool(steps.run.subject.profile.attributes.get("uuid"))
    has = counters(steps)
    claims = _by_twos(devices, has) if called == TWO and chosen else [(one,) for one in devices]
    size = at_a_time if chosen or at_a_time == 1 else max(1, len(claims))
    groups = at_once(claims, size, has)
    if not chosen and at_a_time > 1 and len(groups) > 1:
        raise UnsupportedError(
            "the devices cannot all be had at once, and no UUID tells them apart"
        )
    evidence, well = steps.evidence, list[Device]()
    for group in groups:
        began, before = steps.seconds, len(well)
        number = count_turns(evidence) + 1
        names = [f"{called}-{number + place}" for place in range(len(group))]
        together = Barrier(len(group))
        with ThreadPoolExecutor(len(group)) as pool:
            turns = list(pool.map(partial(_turn, steps, together), names, group))
        evidence.times.setdefault(timed(GROUP, at_a_time), []).append(steps.seconds - began)
        for name, claimed, turn in zip(names, group, turns, strict=True):
            for what, seconds in turn.times.items():
                evidence.times.setdefault(timed(what, at_a_time), []).extend(seconds)
            if turn.ended.known():
                well += claimed
                if called == AGAIN:
                    del evidence.parts[name]
        if called == AGAIN and len(well) < before + len(group):
            break
    return well


def _by_twos(devices: Sequence[Device], has: Amounts) -> list[Sequence[Device]]:
    """Put every two devices of a node together; one that finds no other stays alone.

    Args:
        devices: the devices.
        has: what counters have.
    """
    of_nodes: dict[str, list[Device]] = {}
    for device in devices:
        of_nodes.setdefault(device.node, []).append(device)
    return [
        [device for (device,) in two]
        for ones in of_nodes.values()
        for two in at_once([(one,) for one in ones], 2, has)
    ]


def count_turns(evidence: Evidence) -> int:
    """Count the claims so far, those that failed, too."""
    starts = (len(times) for what, times in evidence.times.items() if what.startswith(START))
    return sum(starts) + sum(START not in part.times for part in evidence.parts.values())


def reporter(visible_by: str) -> str:
    """Name the container of a turn that reports which devices it has."""
    return SHOWN if visible_by == CUDA else USER


def _turn(steps: Steps, together: Barrier, name: str, devices: Sequence[Device]) -> Evidence:
    role, specs = reporter(steps.evidence.visible_by), [resting(USER)]
    reports = not name.startswith(AGAIN)
    if reports and role == SHOWN:
        specs.append(showing(steps, SHOWN))

    def turn(part: Steps) -> None:
        part.evidence.devices = dict.fromkeys(devices, "")
        began = part.seconds
        try:
            containers = part.start_pod(USER, specs, part.claim(of=devices))
            part.evidence.times[START] = [part.seconds - began]
            if reports:
                part.await_report(containers[-1])
        finally:
            together.wait()
        began = part.seconds
        part.release()
        part.evidence.times[END] = [part.seconds - began]

    return steps.part(name, turn)


# For the report


def tables(scenarios: Mapping[str, Evidence]) -> Iterator[Table]:
    """Tell which devices were tried, and how fast claims came and went."""
    for evidence in scenarios.values():
        if evidence.devices:
            yield _devices(evidence)
        if evidence.times:
            yield _claims(evidence)


def tried(evidence: Evidence) -> dict[Device, Evidence]:
    """Answer the turns in which devices were claimed for the first time, by the device."""
    return {
        device: part
        for name, part in evidence.parts.items()
        if name.startswith(FIRST)
        for claim in part.claims.values()
        for device in claim.devices
    }


def why_not(turn: Evidence) -> str:
    """Say why a turn did not come to a good end, by the driver's fault.

    Raises:
        JudgementError: another than the driver is responsible.
    """
    try:
        turn.ended.get()
    except FailedError as error:
        return str(error)
    return ""


def _devices(evidence: Evidence) -> Table:
    turns = tried(evidence)
    rows = [_row(device, holder, turns.get(device)) for device, holder in evidence.devices.items()]
    good = sum(row[-1] == "" for row in rows)
    return Table(
        name="devices",
        title="Every device of the driver, claimed once",
        columns=("node", "device", "UUID", "tried", "seconds until its container ran", "why not"),
        rows=tuple(rows),
        sentence=(
            f"{counted(len(rows), 'device')}: {len(turns)} tried, {good} prepared and given to a"
            f" container, {len(rows) - len(turns)} not tried."
        ),
    )


def _row(device: Device, holder: str, turn: Evidence | None) -> tuple[Cell, ...]:
    name = (device.node, device.name, device.uuid)
    if turn is None:
        return (*name, False, None, f"held by {holder}" if holder else "not tried")
    seconds = turn.times.get(START)
    if not seconds:
        return (*name, True, None, turn.ended.reason())
    return (*name, True, round(seconds[0], 1), "")


def _claims(evidence: Evidence) -> Table:
    numbers = [int(what.split()[-1]) for what in evidence.times if what.startswith(GROUP)]
    lost = sum(name.startswith(AGAIN) for name in evidence.parts)
    rows: list[tuple[Cell, ...]] = []
    for number in numbers:
        starts, ends = (evidence.times.get(timed(what, number), []) for what in (START, END))
        seconds = sum(evidence.times[timed(GROUP, number)])
        rate = round(len(starts) / seconds, 2) if seconds else None
        shown = (*percentiles(starts), *percentiles(ends))
        rows.append((number, len(starts), round(seconds, 1), rate, *shown))
    return Table(
        name="claims",
        title="Claims that came and went",
        columns=(
            *("at a time", "claims", "seconds", "claims a second"),
            *("start, s, p50", "start, s, p99", "end, s, p50", "end, s, p99"),
        ),
        rows=tuple(rows),
        sentence=(
            f"{counted(count_turns(evidence), 'claim')} came and went;"
            f" {lost or 'none'} found its device not given back."
        ),
        note="start: from the claim's creation until the containers of its pod ran; end: from the"
        " pod's deletion until it was gone and the claim free. Of eight at a time, claims of two"
        " devices and the wait for what containers report are counted, too.",
    )


def percentiles(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Answer p50 and p99, by the nearest rank."""
    ranked = sorted(values)
    if not ranked:
        return None, None
    p50, p99 = (ranked[ceil(len(ranked) * share) - 1] for share in (0.5, 0.99))
    return round(p50, 2), round(p99, 2)
