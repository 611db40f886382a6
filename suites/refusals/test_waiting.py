"""Pods that cannot run for now wait side by side; then what three of them lack is there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from http.client import UNPROCESSABLE_ENTITY

from harness.checks.check import check
from harness.scenario.claim_spec import Request
from harness.scenario.evidence import HOLDER, Claim, Container, Evidence
from harness.scenario.pod_spec import ContainerSpec, resting
from harness.scenario.refusals import NOT_GENERATED, NOT_SCHEDULED
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps
from harness.verdict.finding import Blame, UnsupportedError, one_line

UNMATCHED, MANY, FAILING = "unmatched", "many", "failing"
TAKEN, CLASSLESS, UNTEMPLATED = "taken", "classless", "untemplated"
LATER = (TAKEN, CLASSLESS, UNTEMPLATED)
"""Those that run once they can, on the device that the scenario has."""
NONE_FITS = "cannot allocate all claims"
WORDS = {
    UNMATCHED: NONE_FITS,
    MANY: NONE_FITS,
    TAKEN: NONE_FITS,
    FAILING: "CEL runtime error.*no such key",
    CLASSLESS: "device class .*does not exist",
    UNTEMPLATED: "not found",
}
"""What the event of a pod has to say (regular expressions)."""
EXPRESSION, RESOURCE = "an invalid expression", "an invalid resource name"
MOST_OF_A_CLAIM = 32
"""Devices, by the API."""


@scenario(uses=(Steps.generated_claim, Steps.device_class))
def impossible_for_now(steps: Steps) -> None:
    """Pods wait for what there is not, beside one that runs; then there is some of it."""
    refusals = steps.refusals
    # Selectors are tried on free devices alone, and the scenario may have one: the first asks.
    (failing,) = steps.submit_pod(FAILING, [resting(FAILING)], _failing(steps))
    refusals.await_word(failing, NOT_SCHEDULED, WORDS[FAILING], Blame.SCHEDULER)
    running = steps.hold(held := steps.claim(1, HOLDER))
    claims = _claims(steps, held)
    node = held.devices[0].node
    pods = {
        role: steps.submit_pod(role, [resting(role)], claim, node=node if role in LATER else "")[0]
        for role, claim in claims.items()
    }
    for role, pod in pods.items():
        reason = NOT_GENERATED if role == UNTEMPLATED else NOT_SCHEDULED
        blame = Blame.CLUSTER if role == UNTEMPLATED else Blame.SCHEDULER
        refusals.await_word(pod, reason, WORDS[role], blame)
    invalid = Request("gpu-1", selectors=["this is no expression"])
    refusals.ask(EXPRESSION, lambda: steps.claim(name="invalid", requests=[invalid]))
    named = ContainerSpec("invalid", resting("invalid").args, limits={"no name/of a/resource": "1"})
    refusals.ask(RESOURCE, lambda: steps.submit_pod("invalid", [named]))
    now_possible: Mapping[str, Callable[[], object]] = {
        TAKEN: lambda: None,
        CLASSLESS: lambda: steps.device_class(steps.name),
        UNTEMPLATED: lambda: steps.make_template(claims[UNTEMPLATED]),
    }
    for role, make_possible in now_possible.items():
        if role in pods:
            steps.hold_off_others()
            steps.delete(running)
            steps.await_gone(running)
            running = pods[role]
            run = partial(_run_after, steps, make_possible, running)
            steps.attempt(run, running.started.missing)
    refusals.look(failing, *(pods[role] for role in (UNMATCHED, MANY) if role in pods))


def _failing(steps: Steps) -> Claim:
    """Claim a device by an attribute that none has."""
    attribute = f'device.attributes["{steps.run.subject.driver}"].nobodyHasIt'
    request = Request("gpu-1", selectors=[f'{attribute} == "x"'])
    return steps.claim(name=FAILING, requests=[request])


def _claims(steps: Steps, held: Claim) -> dict[str, Claim]:
    """Claim what there is not, but for the device that another pod holds."""
    this = steps.selectors(held.devices[0])
    every = len(steps.run.devices())
    wanted = {
        UNMATCHED: Request("gpu-1", selectors=['device.driver == "nobody.example.com"']),
        MANY: Request("gpu-1", count=every + 1),
        CLASSLESS: Request("gpu-1", device_class=steps.class_name(steps.name), selectors=this),
        TAKEN: Request("gpu-1", selectors=this),
    }
    if not this or held.devices[0].is_shareable:
        del wanted[TAKEN]
    if every >= MOST_OF_A_CLAIM:
        del wanted[MANY]
    claims = {role: steps.claim(name=role, requests=[one]) for role, one in wanted.items()}
    return {**claims, UNTEMPLATED: steps.generated_claim(UNTEMPLATED, exists=False)}


def _run_after(steps: Steps, make_possible: Callable[[], object], pod: Container) -> None:
    make_possible()
    steps.await_allocation(pod)
    steps.await_start(pod)


def see_waiting(evidence: Evidence, role: str, what: str) -> None:
    """End a check with a finding where a pod does not wait, or for another reason.

    Args:
        evidence: of the scenario.
        role: the pod's container.
        what: begins the finding: what kind of a pod it is.
    """
    container = evidence.container(role)
    told, words = container.told.get(), WORDS[role]
    if not re.search(words, told):
        evidence.fail(
            f"{what} {'runs' if not told else 'waits: ' + one_line(told, 50)}",
            expected=f"it waits, and an event says why, with words such as {words}",
            observed=told or "it runs",
            blame=Blame.CLUSTER if role == UNTEMPLATED else Blame.SCHEDULER,
        )


def see_waiting_still(evidence: Evidence, role: str, what: str) -> None:
    """End a check with a finding where a pod that waited got something after all."""
    if got := evidence.container(role).waits.get():
        evidence.fail(
            f"{what} waits, but has {one_line(got, 50)} now",
            expected="as long as nothing changes it waits, and its claim is not allocated",
            observed=got,
            blame=Blame.SCHEDULER,
        )


@check(id="NEG-001", level=2, source="NEG-1", scenario=impossible_for_now, judges_driver=False)
def test_a_pod_whose_claim_no_device_satisfies_waits(evidence: Evidence) -> None:
    """A pod whose claim no device satisfies MUST wait, MUST be told so, and its claim MUST stay
    unallocated.
    """
    what = "a pod whose claim no device satisfies"
    see_waiting(evidence, UNMATCHED, what)
    see_waiting_still(evidence, UNMATCHED, what)


@check(id="NEG-002", level=2, source="NEG-2", scenario=impossible_for_now, judges_driver=False)
def test_a_pod_that_wants_more_devices_than_there_are_waits(evidence: Evidence) -> None:
    """A pod that claims more devices than there are MUST wait, MUST be told so, and its claim MUST
    stay unallocated, while one that claims fewer runs.
    """
    evidence.container(HOLDER).started.get()
    if MANY not in evidence.containers:
        raise UnsupportedError(f"there are {MOST_OF_A_CLAIM} devices or more, all that a claim has")
    what = "a pod that claims more devices than there are"
    see_waiting(evidence, MANY, what)
    see_waiting_still(evidence, MANY, what)


@check(id="NEG-003", level=2, source="NEG-3", scenario=impossible_for_now, judges_driver=False)
def test_a_pod_runs_when_a_device_is_given_back(evidence: Evidence) -> None:
    """A pod for which no device is left MUST wait, MUST be told so, and MUST run when one is given
    back.
    """
    evidence.container(HOLDER).started.get()
    if TAKEN not in evidence.containers:
        raise UnsupportedError(
            "no attribute tells the claim's device from all others, or others may share it"
        )
    what = "a pod whose device another one holds"
    see_waiting(evidence, TAKEN, what)
    evidence.container(TAKEN).started.get()


@check(id="NEG-004", level=2, source="NEG-4", scenario=impossible_for_now, judges_driver=False)
def test_a_pod_runs_when_its_class_exists(evidence: Evidence) -> None:
    """A pod whose DeviceClass does not exist MUST wait, MUST be told so, and MUST run when the
    class is created.
    """
    what = "a pod whose DeviceClass does not exist"
    see_waiting(evidence, CLASSLESS, what)
    evidence.container(CLASSLESS).started.get()


@check(id="NEG-005", level=2, source="NEG-5", scenario=impossible_for_now, judges_driver=False)
def test_a_selector_that_fails_keeps_its_pod_waiting(evidence: Evidence) -> None:
    """A pod with a selector that fails on a device MUST wait, MUST be told the error, and its claim
    MUST stay unallocated.
    """
    what = "a pod with a selector that fails on a device"
    see_waiting(evidence, FAILING, what)
    see_waiting_still(evidence, FAILING, what)


@check(id="NEG-007", level=2, source="NEG-7", scenario=impossible_for_now, judges_driver=False)
def test_a_pod_runs_when_its_template_exists(evidence: Evidence) -> None:
    """A pod whose ResourceClaimTemplate does not exist MUST wait with an event that says so, and
    MUST run when the template is created.
    """
    what = "a pod whose ResourceClaimTemplate does not exist"
    see_waiting(evidence, UNTEMPLATED, what)
    evidence.container(UNTEMPLATED).started.get()


def see_refused(evidence: Evidence, what: str, words: str) -> None:
    """End a check with a finding where the API server takes what is invalid, or does not say why.

    Args:
        evidence: of the scenario.
        what: the answer, and what is wrong with the object.
        words: what the answer must say (a regular expression).
    """
    answer = evidence.answer(what)
    said = f"{answer.status}: {answer}" if answer is not None else "it was created"
    if answer is None or answer.status != UNPROCESSABLE_ENTITY or not re.search(words, str(answer)):
        evidence.fail(
            f"the API server's answer to {what}: {one_line(said, 60)}",
            expected=f"{UNPROCESSABLE_ENTITY}, with words such as {words}",
            observed=said,
            blame=Blame.CLUSTER,
        )


@check(id="NEG-006", level=2, source="NEG-6", scenario=impossible_for_now, judges_driver=False)
def test_an_invalid_expression_is_refused(evidence: Evidence) -> None:
    """A claim with a selector that is no valid expression MUST be refused when it is created."""
    see_refused(evidence, EXPRESSION, "compilation failed|Syntax error")


@check(id="NEG-010", level=3, source="NEG-10", scenario=impossible_for_now, judges_driver=False)
def test_an_invalid_name_of_a_resource_is_refused(evidence: Evidence) -> None:
    """A pod with an invalid name of an extended resource MUST be refused when it is created."""
    see_refused(evidence, RESOURCE, "qualified name|resource")
