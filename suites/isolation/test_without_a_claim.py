"""Containers without a claim on a node with devices, some beside one that has a claim."""

from __future__ import annotations

from harness.checks.check import check
from harness.scenario.evidence import Evidence
from harness.scenario.pod_spec import INIT, ContainerSpec, resting
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps
from harness.verdict.finding import UnsupportedError, one_line
from suites.shown import ASKING, in_variables, shown
from workload.result import Verdict

USER, ASKING_USER, OTHER, INIT_OTHER = "user", "asking-user", "other", "init-other"
ALONE, ASKING_ALONE = "alone", "asking-alone"
ROOM = 45
"""Characters of a head for what shows a device."""


@scenario(admin=True)
def with_and_without_a_claim(steps: Steps) -> None:
    """Two containers of a pod name its claim, two do not; beside it is a pod without a claim.

    One of each asks for all GPUs by variables. One without the claim is killed and starts again.
    """
    claim = steps.claim(1)
    specs = [
        resting(INIT_OTHER, kind=INIT, uses_claims=False),
        resting(USER),
        resting(ASKING_USER, environment=ASKING),
        resting(OTHER, uses_claims=False, killed_after=2),
    ]
    pod = steps.create_pod("pod", specs, claim, restart="Always")
    alone = steps.create_pod(
        "alone",
        [
            ContainerSpec(ALONE, ["inventory", "--role", ALONE]),
            ContainerSpec(ASKING_ALONE, ["inventory", "--role", ASKING_ALONE], environment=ASKING),
        ],
        node=claim.devices[0].node,
    )
    for container in alone:
        container.verdict = Verdict.NO_GPU
    steps.await_start(*pod, *alone)
    steps.finish(*alone)
    init, user, asking, other = pod
    steps.await_restart(other)
    steps.await_report(init, user, asking, other)


@check(id="ISO-012", level=2, source="ISO-3, NODE-27", scenario=with_and_without_a_claim)
def test_a_container_is_shown_the_devices_of_its_claim(evidence: Evidence) -> None:
    """A container that names a claim MUST have what its driver is said to show devices by, device
    nodes or variables; where variables name devices, they MUST be those of the claim.
    """
    claim, report = evidence.claim("gpus"), evidence.report(USER)
    seen, wanted = in_variables(report, claim.node_devices), set(claim.devices)
    if seen - wanted or (evidence.visible_by == "env" and seen != wanted):
        names = [", ".join(sorted(one.name for one in some)) for some in (seen, wanted)]
        evidence.fail(
            f"the container's variables name {one_line(names[0] or 'no device', 30)}, its claim"
            f" was allocated {one_line(names[1], 30)}",
            expected=names[1],
            observed=", ".join(f"{key}={text}" for key, text in report.environment.items()),
        )
    if evidence.visible_by == "devnode":
        if not set(report.device_nodes) - set(evidence.report(ALONE).device_nodes):
            evidence.fail(
                "the container with the claim has no device node that one without a claim has not",
                expected="a device node below /dev, as the driver is said to show devices",
                observed=", ".join(report.device_nodes) or "no device node",
            )
    elif not seen:
        raise UnsupportedError("the driver names devices by no variable; CUDA-001 looks by CUDA")


def see_none(evidence: Evidence, who: str, role: str, start: int = -1) -> None:
    """End a check with a finding where a container has a device that no claim gave it.

    Raises:
        JudgementError: it has one, or what shows devices is not known.
    """
    published, report = evidence.claim("gpus").node_devices, evidence.report(role, start)
    if not shown(evidence.report(USER), published):
        raise UnsupportedError("nothing that is known to show devices is in a container with them")
    found = sorted(shown(report, published))
    if found:
        evidence.fail(
            f"{who} has {one_line(found[0], ROOM)}",
            expected="no device node of a GPU, no variable that names one, no GPU by CUDA",
            observed=", ".join(found),
        )


@check(
    id="ISO-001", level=2, source="ISO-1", scenario=with_and_without_a_claim, after=("SHARE-001",)
)
def test_a_pod_without_a_claim_sees_no_device(evidence: Evidence) -> None:
    """A pod without a claim MUST see no device of its node."""
    see_none(evidence, "a pod without a claim", ALONE)


@check(id="ISO-002", level=2, source="ISO-2", scenario=with_and_without_a_claim, after=("ISO-001",))
def test_a_container_without_the_claim_sees_no_device(evidence: Evidence) -> None:
    """A container that names no claim MUST see no device, beside one that does."""
    see_none(evidence, "a container that does not name its pod's claim", OTHER, 0)


@check(
    id="ISO-010",
    level=2,
    source="ISO-2",
    scenario=with_and_without_a_claim,
    after=("ISO-001", "ISO-002"),
)
def test_an_init_container_without_the_claim_sees_no_device(evidence: Evidence) -> None:
    """An init container that names no claim MUST see no device, in a pod that has a claim."""
    see_none(evidence, "an init container that does not name its pod's claim", INIT_OTHER)


@check(
    id="ISO-011",
    level=2,
    source="ISO-2",
    scenario=with_and_without_a_claim,
    after=("ISO-001", "ISO-002"),
)
def test_a_container_without_the_claim_sees_no_device_after_a_restart(evidence: Evidence) -> None:
    """A container that names no claim MUST see no device when it was started again, either."""
    see_none(evidence, "after its restart a container that does not name the claim", OTHER, 1)


@check(
    id="ISO-005",
    level=2,
    source="ISO-5",
    scenario=with_and_without_a_claim,
    after=("ISO-001", "ISO-002", "LIFE-002"),
)
def test_a_variable_brings_no_device(evidence: Evidence) -> None:
    """A container MUST NOT get a device by a variable of its pod, such as
    NVIDIA_VISIBLE_DEVICES=all, neither without a claim nor beyond its claim.
    """
    published = evidence.claim("gpus").node_devices
    see_none(evidence, "by NVIDIA_VISIBLE_DEVICES=all a pod without a claim", ASKING_ALONE)
    wanted, found = (shown(evidence.report(role), published) for role in (USER, ASKING_USER))
    if more := sorted(found - wanted):
        evidence.fail(
            f"by NVIDIA_VISIBLE_DEVICES=all a container has {one_line(more[0], ROOM)}, too",
            expected=", ".join(sorted(wanted)),
            observed=", ".join(sorted(found)),
        )
