"""What a run would do, told without doing it (``--dra-plan``)."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence

from harness.checks.check import Check
from harness.options import Impact, Options
from harness.scenario.launcher import MOST_AT_A_TIME
from harness.scenario.run import PRIVILEGED, RESTRICTED
from harness.scenario.scenario import EVERY_DEVICE, Scenario
from harness.session.permissions import manifest
from harness.session.selection import PlannedChecks
from harness.verdict.finding import counted

WIDTH = 100
INDENT = " " * 11


def lines(
    options: Options,
    cluster: str,
    driver: str,
    checks: PlannedChecks,
    narrowed: str = "",
    took: Mapping[int, float] | None = None,
) -> Iterator[str]:
    """Tell what a run would do, for the terminal; the manifest of its rights is the end of it.

    Args:
        options: what was asked for.
        cluster: which cluster it would be, in words.
        driver: the driver, in words.
        checks: what would be made.
        narrowed: why some checks of the catalogue are not among them.
        took: how many seconds the last whole run of each level took here.
    """
    made = checks.possible()
    skipped = {
        planned.name: str(why)
        for planned in checks.checks
        if (why := checks.why_not(planned)) is not None
    }
    cases = counted(len(made), "case")
    yield f"PLAN     {cases} to run, {len(skipped)} to skip; nothing was touched"
    yield f"CLUSTER  {cluster}"
    yield f"DRIVER   {driver}"
    times = ", ".join(f"level {level} {seconds:.0f} s" for level, seconds in (took or {}).items())
    yield f"TIME     of the last run here: {times or 'not known, there was none'}"
    if narrowed:
        yield f"SELECTED a part of the checks; {narrowed}"
    for check in {planned.check.id: planned.check for planned in made}.values():
        forms = [planned.form for planned in made if planned.check.id == check.id]
        yield f" CHECK   {_named(check, forms)}: level {check.level}, {_impact(check, forms)}"
        yield from _wrapped(check.sentence)
    for reason in dict.fromkeys(skipped.values()):
        names = [name for name, why in skipped.items() if why == reason]
        yield f" SKIPPED {counted(len(names), 'case')}: {reason}:"
        yield from _wrapped(", ".join(names))
    yield from _created(options, checks)
    yield "RIGHTS   exactly these, as a manifest for kubectl apply -f:"
    yield "---"
    yield from manifest(checks.rules(options), options.namespace).splitlines()


def _created(options: Options, checks: PlannedChecks) -> Iterator[str]:
    scenarios = checks.scenarios()
    if not scenarios:
        yield "CREATE   nothing: these checks only read"
        return
    yield (
        f"RUN      {counted(len(scenarios), 'scenario')}, at most {MOST_AT_A_TIME} in parallel,"
        " using free devices only:"
    )
    yield from (f"         {_scenario(one)}" for one in scenarios)
    privileged = any(Impact.PRIVILEGED in one.impacts for one in scenarios)
    if options.namespace:
        yield f"CREATE   in namespace {options.namespace}, which exists and stays:"
        yield "         a Lease dra-conformance-RUN, which says how long the run lives"
    else:
        standards = [RESTRICTED, *([PRIVILEGED] if privileged else [])]
        yield "CREATE   namespaces, deleted at the end:"
        yield "         dra-conformance-RUN (a Lease in it says how long the run lives)"
        for standard in standards:
            yield (
                f"         dra-conformance-RUN-{standard} (enforces the Pod Security Standard"
                f" {standard})"
            )
        yield "         and in them:"
    yield "         claims for the devices of the scenarios"
    yield "         pods with these claims, and config maps that tell them what was allocated"
    if options.brings_program:
        yield "         a config map with the workload's program"
    yield "         for preflight: a pod that never starts, one pod per node to pull the image"
    if privileged:
        yield "         among the pods: privileged ones, with host namespaces and a folder in"
        yield "         /tmp of the node"
    used = dict.fromkeys(use.does for one in scenarios for use in one.uses)
    if used:
        yield "CHANGE   what is not the run's own, and as it was at the end; the checks"
        for does in used:
            yield from _wrapped(does)
    own = options.cluster == "embedded"
    unnamed = (
        "the embedded cluster's own"
        if own
        else "none named: give --dra-image, --dra-python-image or --dra-shell-image"
    )
    yield f"IMAGE    {options.named_image or unnamed}"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=INDENT, subsequent_indent=INDENT)


def _named(check: Check, forms: Sequence[str | None]) -> str:
    names = [form for form in forms if form is not None]
    return f"{check.id}_{check.name}" + (f"[{', '.join(names)}]" if names else "")


def _impact(check: Check, forms: Sequence[str | None]) -> str:
    impacts = dict.fromkeys(named_impacts(check.impacts_of(form)) for form in forms)
    scenarios = [one.name for form in forms if (one := check.scenario_of(form)) is not None]
    names = [name for name in dict.fromkeys(scenarios) if name not in forms]
    judges = f", judges {', '.join(names)}" if names else ""
    return f"impact {', '.join(impacts)}{judges}"


def named_impacts(impacts: Collection[Impact]) -> str:
    """Name impacts in a sentence; ``none`` where there is none."""
    return " and ".join(sorted(impacts)) or "none"


def _scenario(scenario: Scenario) -> str:
    takes = f"{counted(scenario.devices, 'device')} of one node"
    if scenario.most >= EVERY_DEVICE:
        takes = f"every free device of one node, {scenario.devices} at least"
    elif scenario.most > scenario.devices:
        takes = f"{scenario.devices} to {scenario.most} devices of one node"
    alone = ", nothing else at the same time" if scenario.alone else ""
    return f"{scenario.name}: impact {named_impacts(scenario.impacts)}, {takes}{alone}"
