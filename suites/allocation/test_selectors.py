"""A device that is chosen by what its slice says of it is that device in the container, too."""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from harness.checks.check import Part, check
from harness.cluster.inventory import Device, qualified, quantity
from harness.scenario.claim_spec import Request
from harness.scenario.evidence import Evidence
from harness.scenario.report import Report
from harness.scenario.scenario import Scenario
from harness.scenario.steps import Steps
from harness.verdict.finding import Blame, UnsupportedError
from suites.allocation.seen import free, must_see, show

MIB = 1 << 20
CAPACITY = "capacity"
"""For `Kind.type`: no attribute."""


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.split(r"[-+]", text)[0].split("."))


def _at_least(read: Callable[[str], Any]) -> Callable[[str, str], bool]:
    return lambda found, wanted: bool(read(found) >= read(wanted))


@dataclass(frozen=True)
class Kind:
    """A way to choose a device."""

    name: str
    type: str
    """Of the attribute, as slices have it, or `CAPACITY`."""
    known: str
    """What of the driver's profile is taken if it has that type; else any other is."""
    expression: str
    """In CEL; ``{A}`` is the attribute, ``{V}`` the value of the device to be had."""
    words: str
    """The same for people."""
    fits: Callable[[str, str], bool] = operator.eq
    """Whether a value is as chosen."""


TEXT = Kind("text", "string", "uuid", "{A} == {V}", "is")
NUMBER = Kind("number", "int", "", "{A} == {V}", "is")
FLAG = Kind("flag", "bool", "", "{A} == {V}", "is")
PATTERN = Kind(
    *("pattern", "string", "product", "{A}.matches({V})", "matches"),
    lambda found, wanted: re.fullmatch(wanted, found) is not None,
)
VERSION = Kind(
    *("version", "version", "version", "{A}.compareTo(semver({V})) >= 0", "is at least"),
    _at_least(_version),
)
QUANTITY = Kind(
    *("quantity", CAPACITY, "memory", "{A}.compareTo(quantity({V})) >= 0", "is at least"),
    _at_least(quantity),
)


def values(kind: Kind, device: Device) -> dict[str, str | int | bool]:
    """Find what a slice says of a device in the way of a kind, by full name."""
    if kind.type == CAPACITY:
        found = {name: one["value"] for name, one in device.entry.get("capacity", {}).items()}
    else:
        every = device.entry.get("attributes", {}).items()
        found = {name: one[kind.type] for name, one in every if kind.type in one}
    return {qualified(device.driver, name): value for name, value in found.items()}


def choose(steps: Steps, kind: Kind) -> None:
    """A pod uses a claim whose selector a free device satisfies."""
    device, profile = free(steps)[-1], steps.run.subject.profile
    of_kind = values(kind, device)
    if not of_kind:
        raise UnsupportedError(f"{device.name} has no {kind.type} in its slice")
    known = qualified(device.driver, profile.attributes.get(kind.known, ""))
    name = known if known in of_kind else min(of_kind)
    value = of_kind[name]
    if kind is PATTERN:
        value = r"\s+".join(re.escape(word) for word in str(value).split())
    domain, _, attribute = name.partition("/")
    where = (
        f'device.{"capacity" if kind.type == CAPACITY else "attributes"}["{domain}"].{attribute}'
    )
    expression = kind.expression.format(A=where, V=json.dumps(value))
    steps.evidence.noted = {
        "attribute": name,
        "value": str(value),
        "what": kind.known if name == known else "",
    }
    selectors = [f"has({where}) && {expression}"]
    show(steps, "user", steps.claim(requests=[Request("gpu", selectors=selectors)]))


def _scenario(kind: Kind) -> Scenario:
    return Scenario(f"chosen-by-{kind.name}", partial(choose, kind=kind))


BY_TEXT, BY_NUMBER, BY_FLAG = (Part(kind.name, _scenario(kind)) for kind in (TEXT, NUMBER, FLAG))
KINDS = {kind.name: kind for kind in (TEXT, NUMBER, FLAG)}


def must_fit(evidence: Evidence, kind: Kind) -> None:
    """End a check with a finding where the allocated device is not as chosen, or not seen."""
    claim = evidence.claim("gpus")
    claim.allocated.get()
    chosen = evidence.noted
    name, wanted = chosen["attribute"], chosen["value"]
    for device in claim.devices:
        found = values(kind, device).get(name)
        if found is None or not kind.fits(str(found), wanted):
            evidence.fail(
                f"{device.name} was allocated, whose {name} is {found or 'not published'}",
                expected=f"a device whose {name} {kind.words} {wanted}",
                observed=f"{device.name}: {found or 'not published'}",
                blame=Blame.SCHEDULER,
            )
    must_see(evidence, "user", claim.devices)
    for device in claim.devices:
        told = _told(evidence.report("user"), device, chosen["what"])
        if told and not kind.fits(told, wanted):
            evidence.fail(
                f"{device.name} has another {chosen['what']} than it was chosen by: {told}",
                expected=f"{name} {kind.words} {wanted}, in the slice and in the container",
                observed=f"{told} in the container",
            )


def _told(report: Report, device: Device, what: str) -> str:
    """What the container tells of a device; empty where it tells nothing."""
    views = [gpu for gpu in report.nvml or () if gpu.uuid == device.uuid]
    told = {"version": report.driver_version if views else ""}
    for gpu in views:
        # Slices may have it in whole MiB.
        memory = f"{math.ceil(gpu.memory / MIB)}Mi" if gpu.memory else ""
        told |= {"product": gpu.name, "memory": memory}
    return told.get(what) or ""


@check(id="ALLOC-007", level=2, source="ALLOC-7", forms=(BY_TEXT, BY_NUMBER, BY_FLAG))
def test_a_device_chosen_by_a_value_has_it(evidence: Evidence, form: Part) -> None:
    """A device that is chosen by the value of an attribute MUST have that value, and be the one
    that the container has.
    """
    must_fit(evidence, KINDS[form.name])


@check(id="ALLOC-008", level=2, source="ALLOC-8", scenario=_scenario(PATTERN), after=("ALLOC-007",))
def test_a_device_chosen_by_a_pattern_matches_it(evidence: Evidence) -> None:
    """A device that is chosen by a pattern MUST match it, in its slice and in the container."""
    must_fit(evidence, PATTERN)


@check(id="ALLOC-009", level=2, source="ALLOC-9", scenario=_scenario(VERSION), after=("ALLOC-007",))
def test_a_device_chosen_by_its_version_has_it(evidence: Evidence) -> None:
    """A device that is chosen by comparing versions MUST satisfy the comparison, in its slice and
    in the container.
    """
    must_fit(evidence, VERSION)


@check(
    id="ALLOC-010", level=2, source="ALLOC-10", scenario=_scenario(QUANTITY), after=("ALLOC-007",)
)
def test_a_device_chosen_by_its_capacity_has_it(evidence: Evidence) -> None:
    """A device that is chosen by comparing capacities MUST satisfy the comparison, in its slice and
    in the container.
    """
    must_fit(evidence, QUANTITY)
