"""Settings of a device that a claim asks for: in force as long as the claim is."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from harness.checks.check import check
from harness.cluster.profile import OPTIONAL, REFUSED, Configuration
from harness.scenario.claim_spec import Parameters
from harness.scenario.evidence import Claim, Evidence
from harness.scenario.pod_spec import ContainerSpec
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps
from harness.verdict.finding import Blame, RefusedError, UnsupportedError, one_line
from suites.allocation.answers import answer

BEFORE, DURING, AFTER = "before", "during", "after"
REFUSAL = "refusal"


@scenario()
def settings_of_a_device(steps: Steps) -> None:
    """A claim asks for settings of a device; claims of the device before and after it do not."""
    known = steps.run.subject.profile.configurations
    wanted = next((one for one in known if one.asks and one.expect != REFUSED), None)
    if wanted is None:
        raise UnsupportedError("the driver's profile names no parameters that set up a device")
    steps.evidence.noted["wanted"] = wanted
    claim = steps.claim(1, BEFORE)
    note(steps, BEFORE, claim, wanted)
    claim = steps.claim_again(claim, DURING, [Parameters(wanted.parameters)])
    note(steps, DURING, claim, wanted)
    note(steps, AFTER, steps.claim_again(claim, AFTER), wanted)


def note(steps: Steps, role: str, claim: Claim, wanted: Configuration) -> None:
    """Note what a command prints in a container of a claim, or why there is no container."""
    program, *arguments = wanted.asks
    spec = ContainerSpec(role, arguments, command=[program], waits=False)
    (container,) = steps.create_pod(role, [spec], claim)
    steps.hold_off_others()  # when the command has ended, the device is free for whoever waits
    if said := answer(steps, container):
        steps.evidence.noted[REFUSAL] = said
        return
    steps.await_start(container)
    follower = container.the_follower()
    steps.wait(
        f"the end of {program}'s output",
        follower.ended,
        steps.run.budgets.workload,
        lambda: "it goes on",
        Blame.WORKLOAD,
        container.the_pod(),
    )
    steps.evidence.noted[role] = follower.lines()


@check(id="ALLOC-029", level=3, source="ALLOC-29", scenario=settings_of_a_device)
def test_settings_of_a_device_come_and_go_with_the_claim(evidence: Evidence) -> None:
    """Settings of a device that a claim asks for, such as time slices, MUST be in force in its
    containers, and MUST be taken back with the claim.
    """
    evidence.ended.get()
    wanted, refusal = evidence.noted["wanted"], evidence.noted.get(REFUSAL)
    if refusal and wanted.expect == OPTIONAL:
        raise RefusedError(
            f"the driver, as it is installed, does not take parameters {wanted.name}"
        )
    if refusal:
        evidence.fail(
            f"a claim with parameters {wanted.name} was refused",
            expected="a claim that is prepared",
            observed=refusal,
        )
    before, during, after = (evidence.noted[role] for role in (BEFORE, DURING, AFTER))
    command = one_line(" ".join(wanted.asks), 50)
    if in_force(before, wanted):
        raise UnsupportedError(f"what parameters {wanted.name} ask for is in force anyway")
    if not in_force(during, wanted):
        evidence.fail(
            f"parameters {wanted.name} are not in force: {command} does not show them",
            expected=" or ".join(wanted.shows),
            observed="\n".join(during) or "no output",
        )
    if after != before:
        stays = next((line for line in after if line not in before), "nothing")
        evidence.fail(
            f"parameters {wanted.name} stay when their claim is gone: {one_line(stays, 50)}",
            expected="\n".join(before) or "no output",
            observed="\n".join(after) or "no output",
        )


def in_force(lines: Sequence[str], wanted: Configuration) -> bool:
    """Whether lines show what parameters ask for."""
    return any(fnmatchcase(line, pattern) for line in lines for pattern in wanted.shows)
