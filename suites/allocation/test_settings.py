"""Settings of a device and daemons that a claim asks for: there as long as the claim is."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from harness.checks.check import check
from harness.cluster.kinds import uid_of
from harness.cluster.profile import OPTIONAL, REFUSED, Configuration
from harness.scenario.claim_spec import Parameters
from harness.scenario.evidence import Claim, Evidence
from harness.scenario.pod_spec import ContainerSpec, resting
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps
from harness.verdict.finding import Blame, RefusedError, UnsupportedError, one_line
from suites.allocation.answers import answer

BEFORE, DURING, AFTER = "before", "during", "after"
REFUSAL, PODS, LEFT = "refusal", "pods", "left"


@scenario()
def settings_of_a_device(steps: Steps) -> None:
    """A claim asks for settings of a device; claims of the device before and after it do not."""
    wanted = wanted_of(steps, daemon=False)
    claim = steps.claim(1, BEFORE)
    note(steps, BEFORE, claim, wanted)
    claim = steps.claim_again(claim, DURING, [Parameters(wanted.parameters)])
    note(steps, DURING, claim, wanted)
    note(steps, AFTER, steps.claim_again(claim, AFTER), wanted)


def wanted_of(steps: Steps, *, daemon: bool) -> Configuration:
    """Note and answer the first parameters that set up a device, those with a daemon or without.

    Raises:
        UnsupportedError: the driver's profile names none.
    """
    known = [one for one in steps.run.subject.profile.configurations if one.expect != REFUSED]
    found = [one for one in known if one.asks and bool(one.daemon) == daemon]
    if not found:
        what = "bring a daemon" if daemon else "set up a device"
        raise UnsupportedError(f"the driver's profile names no parameters that {what}")
    steps.evidence.noted["wanted"] = found[0]
    return found[0]


def note(steps: Steps, role: str, claim: Claim, wanted: Configuration) -> None:
    """Note what commands print in containers of a claim, or why there is no container.

    Where there is a daemon, one asks it, and one goes on: when all have ended, the pod's claim is
    unprepared.
    """
    commands, rest = {role: wanted.asks}, list[ContainerSpec]()
    if wanted.daemon is not None and role != BEFORE:
        commands[client(role)] = wanted.daemon.asks
        rest = [resting(f"{role}-rest")]
    specs = [
        ContainerSpec(name, arguments, command=[program], waits=False)
        for name, (program, *arguments) in commands.items()
    ]
    containers = steps.create_pod(role, [*specs, *rest], claim)
    steps.hold_off_others()  # when the commands have ended, the device is free for whoever waits
    said = answer(steps, containers[0])
    if said and wanted.names in said:  # else it may be prepared when the kubelet asks once more
        steps.evidence.noted[REFUSAL] = said
        return
    for container in containers[: len(specs)]:
        steps.await_start(container)
        follower = container.the_follower()
        steps.wait(
            f"the end of {commands[container.role][0]}'s output",
            follower.ended,
            steps.run.budgets.workload,
            lambda: "it goes on",
            Blame.WORKLOAD,
            container.the_pod(),
        )
        steps.evidence.noted[container.role] = follower.lines()


def client(role: str) -> str:
    """Name the container beside another one that asks the daemon."""
    return f"{role}-client"


@check(id="ALLOC-029", level=3, source="ALLOC-29", scenario=settings_of_a_device)
def test_settings_of_a_device_come_and_go_with_the_claim(evidence: Evidence) -> None:
    """Settings of a device that a claim asks for, such as time slices, MUST be in force in its
    containers, and MUST be taken back with the claim.
    """
    must_come_and_go(evidence)


def must_be_taken(evidence: Evidence) -> Configuration:
    """End a check where the driver refuses the parameters; answers them."""
    evidence.ended.get()
    wanted: Configuration = evidence.noted["wanted"]
    refusal = evidence.noted.get(REFUSAL)
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
    return wanted


def must_come_and_go(evidence: Evidence) -> None:
    """End a check with a finding where settings are not in force, or stay without the claim."""
    wanted = must_be_taken(evidence)
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


@scenario()
def daemon_of_a_claim(steps: Steps) -> None:
    """A claim asks for a daemon, such as that of MPS; claims of the device before and after it do
    not.
    """
    wanted = wanted_of(steps, daemon=True)
    claim = steps.claim(1, BEFORE)
    note(steps, BEFORE, claim, wanted)
    claim = steps.claim_again(claim, DURING, [Parameters(wanted.parameters)])
    note(steps, DURING, claim, wanted)
    if REFUSAL in steps.evidence.noted:
        return
    assert wanted.daemon is not None
    daemons = steps.driver.daemons(wanted.daemon.pods.replace("CLAIM", uid_of(claim.obj)))
    steps.evidence.noted[PODS] = daemons.look()
    note(steps, AFTER, steps.claim_again(claim, AFTER), wanted)
    steps.evidence.noted[LEFT] = daemons.await_end()


@check(id="ALLOC-054", level=3, source="ALLOC-30", scenario=daemon_of_a_claim)
def test_a_daemon_serves_the_containers_of_its_claim(evidence: Evidence) -> None:
    """A daemon that parameters of a claim ask for, such as that of MPS, MUST serve the claim's
    containers from their start on, and MUST NOT serve those of a claim that does not ask.
    """
    wanted = must_be_taken(evidence)
    assert wanted.daemon is not None
    command = one_line(" ".join(wanted.daemon.asks), 40)
    for role in (DURING, AFTER):
        lines = evidence.noted[client(role)]
        alone = any(fnmatchcase(line, wanted.daemon.without) for line in lines)
        if alone == (role == DURING):
            what = "does not serve its claim's containers" if alone else "serves another claim"
            evidence.fail(
                f"the daemon of parameters {wanted.name} {what}",
                expected=f"{command} finds {'the' if alone else 'no'} daemon",
                observed="\n".join(lines) or "no output",
            )


@check(
    id="ALLOC-055",
    level=3,
    source="ALLOC-30",
    scenario=daemon_of_a_claim,
    after=("ALLOC-054",),
)
def test_a_daemon_goes_with_its_claim(evidence: Evidence) -> None:
    """A daemon that parameters of a claim ask for MUST end when the claim is given back."""
    wanted = must_be_taken(evidence)
    if not evidence.noted[PODS]:
        raise UnsupportedError(f"no pod is seen of the daemon of parameters {wanted.name}")
    if left := evidence.noted[LEFT]:
        evidence.fail(
            f"the daemon of parameters {wanted.name} stays when their claim is gone",
            expected="no pod of it",
            observed="\n".join(left),
        )


@check(
    id="ALLOC-030",
    level=3,
    source="ALLOC-30",
    scenario=daemon_of_a_claim,
    after=("ALLOC-055",),
)
def test_settings_of_a_device_come_and_go_with_the_daemon(evidence: Evidence) -> None:
    """Settings of a device that come with a daemon, such as its compute mode with MPS, MUST be in
    force in the claim's containers, and MUST be taken back with the claim.
    """
    must_come_and_go(evidence)
