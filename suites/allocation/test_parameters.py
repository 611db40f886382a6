"""Parameters for the driver: those that it understands take effect, all others are refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from harness.checks.check import check
from harness.cluster.inventory import Device
from harness.cluster.profile import PREPARED, REFUSED, Configuration
from harness.scenario.claim_spec import Parameters, Request
from harness.scenario.evidence import Claim, Container, Evidence
from harness.scenario.pod_spec import resting
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps
from harness.verdict.finding import UnsupportedError, one_line
from suites.allocation.answers import FAILED, answer
from suites.allocation.seen import must_see, showing

AT_ONCE = 4
"""So many pods are started side by side, where a node has devices for them."""
FOREIGN = Configuration(
    "of-another-driver",
    {"apiVersion": "other.dra-conformance.example/v1", "kind": "Foreign", "of": "another driver"},
    REFUSED,
)
"""No driver knows these."""
GONE = re.compile(r"code = Unavailable|EOF|connection refused|is not registered")
"""What the kubelet says where the driver did not answer."""


def understood(steps: Steps, *, shown: bool = False) -> list[Configuration]:
    """List the parameters that the driver's profile says it understands.

    Args:
        steps: of the scenario.
        shown: only those that containers show by a variable.
    """
    every = steps.run.subject.profile.configurations
    of_containers = [one for one in every if one.expect == PREPARED and not one.asks]
    return [one for one in of_containers if one.shows or not shown]


def claims(
    steps: Steps, configurations: Sequence[Configuration]
) -> Iterator[list[tuple[Container, Claim]]]:
    """Have a pod use a claim with each of several parameters, as many at once as may be.

    What one round of them had is given back when the next one is asked for.
    """
    for first in range(0, len(configurations), steps.devices):
        batch = []
        for one in configurations[first : first + steps.devices]:
            steps.evidence.noted[one.name] = one
            claim = steps.claim(1, one.name, parameters=[Parameters(one.parameters)])
            (container,) = steps.create_pod(one.name, [resting(one.name)], claim)
            batch.append((container, claim))
        yield batch
        steps.release()


def effects(evidence: Evidence, role: str, configuration: Configuration) -> list[str]:
    """List the variables of a container that show the effect of parameters."""
    variables = [f"{key}={value}" for key, value in evidence.report(role).environment.items()]
    return [one for one in variables if any(fnmatchcase(one, p) for p in configuration.shows)]


# Understood


@scenario(most=AT_ONCE)
def understood_parameters(steps: Steps) -> None:
    """Pods use claims, each with parameters that the driver's profile says it understands."""
    configurations = understood(steps)
    if not configurations:
        raise UnsupportedError("the driver's profile names no parameters that it understands")
    for batch in claims(steps, configurations):
        steps.await_start(*(container for container, _ in batch))
        steps.await_report(*(container for container, _ in batch))


@check(
    id="ALLOC-031", level=2, source="ALLOC-31", scenario=understood_parameters, after=("ISO-012",)
)
def test_parameters_of_a_claim_take_effect(evidence: Evidence) -> None:
    """Parameters of a claim that the driver understands MUST have the effect that its profile
    names.
    """
    evidence.ended.get()
    for role, configuration in evidence.noted.items():
        must_show(evidence, role, configuration)


def must_show(evidence: Evidence, role: str, configuration: Configuration) -> None:
    """End a check with a finding where parameters have no effect in a container."""
    report, found = evidence.report(role), effects(evidence, role, configuration)
    if configuration.shows and not found:
        evidence.fail(
            f"parameters {configuration.name} have no effect: there is no variable"
            f" {one_line(configuration.shows[0], 50)}",
            expected=" or ".join(configuration.shows),
            observed="\n".join(f"{key}={value}" for key, value in report.environment.items())
            or "no variable",
        )


@scenario(devices=2)
def parameters_of_two_requests(steps: Steps) -> None:
    """Two containers, each with one request of a claim that has other parameters for each."""
    configurations = understood(steps, shown=True)[:2]
    if len(configurations) < 2:
        raise UnsupportedError("the driver's profile names no two parameters that containers show")
    requests = [Request("one"), Request("two")]
    given = [
        Parameters(one.parameters, requests=[request.name])
        for one, request in zip(configurations, requests, strict=True)
    ]
    steps.evidence.noted = {
        request.name: one for one, request in zip(configurations, requests, strict=True)
    }
    claim = steps.claim(requests=requests, parameters=given)
    specs = [showing(steps, request.name, requests=[request.name]) for request in requests]
    steps.await_report(*steps.start_pod("pod", specs, claim))


@check(
    id="ALLOC-016",
    level=2,
    source="ALLOC-16",
    scenario=parameters_of_two_requests,
    after=("ALLOC-031", "ALLOC-007", "ALLOC-004", "SHARE-001"),
)
def test_containers_get_devices_and_parameters_of_their_request(evidence: Evidence) -> None:
    """A container that names one request of a claim MUST have the devices of that request, with the
    parameters for it, and nothing of another request.
    """
    evidence.ended.get()
    claim = evidence.claim("gpus")
    for request, configuration in evidence.noted.items():
        must_see(evidence, request, claim.by_request.get(request, ()), f"of request {request}")
        must_show(evidence, request, configuration)
        for other, of_other in evidence.noted.items():
            surplus = effects(evidence, request, of_other) if other != request else []
            if surplus:
                evidence.fail(
                    f"a container of request {request} has the parameters of request {other}:"
                    f" {one_line(surplus[0], 40)}",
                    expected=f"{' or '.join(configuration.shows)}, and no other",
                    observed=", ".join(surplus),
                )


@scenario(devices=2, uses=(Steps.device_class,))
def parameters_of_class_and_claim(steps: Steps) -> None:
    """Two containers, each with one request of a claim: for one its class has parameters, for the
    other the claim has others.
    """
    configurations = understood(steps, shown=True)[:2]
    if len(configurations) < 2:
        raise UnsupportedError("the driver's profile names no two parameters that containers show")
    of_class, of_claim = configurations
    made = steps.device_class("parameters", Parameters(of_class.parameters))
    requests = [Request("of-class", device_class=made), Request("of-claim")]
    given = [Parameters(of_claim.parameters, requests=["of-claim"])]
    steps.evidence.noted = {"of-class": of_class, "of-claim": of_claim}
    claim = steps.claim(requests=requests, parameters=given)
    specs = [showing(steps, request.name, requests=[request.name]) for request in requests]
    steps.await_report(*steps.start_pod("pod", specs, claim))


@check(
    id="ALLOC-015",
    level=2,
    source="ALLOC-15",
    scenario=parameters_of_class_and_claim,
    after=("ALLOC-031", "ALLOC-016", "ALLOC-004", "SHARE-001"),
)
def test_parameters_of_class_and_claim_take_effect(evidence: Evidence) -> None:
    """Parameters of a request's DeviceClass MUST take effect, and so MUST those of the claim."""
    evidence.ended.get()
    for role, configuration in evidence.noted.items():
        must_show(evidence, role, configuration)


# Refused


@dataclass(frozen=True)
class Answer:
    """What came of a claim with parameters that are to be refused."""

    to: Configuration
    said: str
    """By the kubelet's event; empty: the claim was prepared."""


@scenario(most=AT_ONCE)
def refused_parameters(steps: Steps) -> None:
    """Pods use claims with parameters that the driver does not understand; then one without any
    uses the same device.
    """
    known = steps.run.subject.profile.configurations
    every = [FOREIGN, *(one for one in known if one.expect == REFUSED)]
    devices: Sequence[Device] = ()
    for batch in claims(steps, every):
        for container, claim in batch:
            to = next(one for one in every if one.name == container.role)
            steps.evidence.noted[container.role] = Answer(to, answer(steps, container))
            devices = claim.devices[:1]
    steps.start_pod("after", [resting("after")], steps.claim(1, "after", of=devices))


def answers(evidence: Evidence) -> list[Answer]:
    """List what came of the claims.

    Raises:
        JudgementError: there is no answer to one of them.
    """
    found = [one for one in evidence.noted.values() if isinstance(one, Answer)]
    if not found or len(found) < len(evidence.noted):
        evidence.ended.get()
    return found


@check(id="NEG-008", level=2, source="NEG-8", scenario=refused_parameters)
def test_parameters_that_are_not_understood_are_refused(evidence: Evidence) -> None:
    """A claim with parameters that the driver does not understand, by kind or field, MUST NOT be
    prepared: what they ask for would not be done.
    """
    for one in answers(evidence):
        if not one.said:
            evidence.fail(
                f"a claim with parameters {one.to.name} was prepared",
                expected=f"an event {FAILED} of the pod",
                observed="a container that runs",
            )


@check(
    id="NEG-014",
    level=2,
    source="NEG-8",
    scenario=refused_parameters,
    after=("NEG-008", "NEG-012"),
)
def test_the_driver_survives_parameters_that_it_refuses(evidence: Evidence) -> None:
    """A driver that refuses a claim's parameters MUST go on, and the device of the claim MUST be
    free for the next one.
    """
    for one in answers(evidence):
        if GONE.search(one.said):
            evidence.fail(
                f"the driver was gone when it was given parameters {one.to.name}",
                expected="an answer of the driver",
                observed=one.said,
            )
    evidence.container("after").started.get()


@check(
    id="NEG-015",
    level=2,
    source="NEG-8",
    scenario=refused_parameters,
    after=("NEG-008", "NEG-014"),
)
def test_a_refusal_names_what_is_wrong(evidence: Evidence) -> None:
    """What the driver says of parameters that it refuses, which is an event of the pod, MUST name
    the kind or field that it does not understand.
    """
    for one in answers(evidence):
        wanted = one.to.names or str(one.to.parameters["kind"])
        if wanted not in one.said:
            evidence.fail(
                f"the refusal of parameters {one.to.name} does not name {wanted}",
                expected=f"an event with {wanted} in it",
                observed=one.said,
            )
