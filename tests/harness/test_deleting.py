"""A scenario deletes what is in use, and notes how it went."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cluster.kinds import CLAIM, NAMESPACE, POD, Object, name_of
from harness.cluster.kube import Kube
from harness.cluster.profile import named
from harness.scenario.evidence import Claim, Container, Evidence
from harness.scenario.pod_spec import resting
from harness.scenario.run import RESTRICTED, Run, Subject
from harness.scenario.steps import Steps
from harness.scenario.verbs import needs_of
from harness.session.cleanup import clean_up
from harness.verdict.finding import InconclusiveError, JudgementError, UnmetError
from tests.harness.fake_api import FakeApi
from tests.harness.possessions import Controllers, a_run, thing

PROFILES = Path(__file__).parents[2] / "profiles"
FINALIZER = "resource.kubernetes.io/delete-protection"


@pytest.fixture
def controllers(api: FakeApi) -> Controllers:
    """The cluster's own control loops; one of them makes claims from templates."""

    def generate(change: str, obj: Object) -> None:
        claims = (obj.get("spec") or {}).get("resourceClaims") or []
        if change == "ADDED" and obj["kind"] == POD.name and claims:
            name, namespace = f"{name_of(obj)}-x7z", obj["metadata"]["namespace"]
            api.put(thing("ResourceClaim", name, namespace))
            said = {"name": claims[0]["name"], "resourceClaimName": name}
            api.edit(POD, namespace, name_of(obj), status={"resourceClaimStatuses": [said]})

    controllers = Controllers(api)
    api.reactions.append(generate)
    return controllers


@pytest.fixture
def run(kube: Kube, controllers: Controllers, tmp_path: Path) -> Iterator[Run]:
    """A run that has found a driver."""
    run = a_run(kube, tmp_path, timeout_scale=0.02)
    run.subject = Subject("driver", named("nvidia", PROFILES), "resource.k8s.io/v1", "image", {})
    run.observer.observe(CLAIM)
    yield run
    run.close()


def steps_of(run: Run) -> Steps:
    """Steps of a scenario that says what it uses."""
    uses = [needs_of(verb) for verb in (Steps.force_delete, Steps.generated_claim)]
    return Steps(run, Evidence("scenario"), None, RESTRICTED, uses=uses)


def pod_and_claim(steps: Steps) -> tuple[Container, Claim]:
    """A pod, and a claim that it does not know."""
    return steps.submit_pod("user", [resting("user")])[0], steps.claim(1)


def test_what_is_deleted_goes_and_when_is_known(run: Run) -> None:
    """By all the states in which it was seen."""
    steps = steps_of(run)
    user, claim = pod_and_claim(steps)
    steps.delete(claim, user)
    steps.await_gone(claim, user)
    for end in (claim.gone.get(), user.gone.get()):
        assert 0 <= end.seconds < 10
        assert "deletionTimestamp" in end.versions[-1]["metadata"]


def test_what_does_not_go_is_named_with_what_holds_it(
    run: Run, api: FakeApi, controllers: Controllers
) -> None:
    """That says who has to act."""
    steps = steps_of(run)
    user, claim = pod_and_claim(steps)
    controllers.held = {claim.name}
    metadata = {**claim.obj["metadata"], "finalizers": [FINALIZER]}
    api.edit(CLAIM, steps.namespace, claim.name, metadata=metadata)
    steps.delete(claim, user)
    words = rf"resourceclaim/gpus-scenario is still there \(finalizers: {FINALIZER}\)$"
    with pytest.raises(JudgementError, match=words):
        steps.await_gone(claim, user)
    assert user.gone.get()
    with pytest.raises(InconclusiveError, match="the end of claim gpus-scenario was not collected"):
        claim.gone.get()


def test_a_pod_is_deleted_by_force(run: Run, controllers: Controllers) -> None:
    """It is gone, whatever its node does."""
    steps = steps_of(run)
    user, _ = pod_and_claim(steps)
    controllers.held = {name_of(user.the_pod())}
    steps.force_delete(user)
    steps.await_gone(user)
    assert "pod/user-scenario deleted by force" in steps.evidence.steps[0]


def test_a_new_claim_can_have_the_name_of_one_before(run: Run) -> None:
    """The evidence has both."""
    steps = steps_of(run)
    _, claim = pod_and_claim(steps)
    steps.delete(claim)
    steps.await_gone(claim)
    again = steps.claim(1, "again", like=claim)
    assert again.name == claim.name
    assert steps.evidence.claims == {"gpus": claim, "again": again}


def test_a_claim_is_generated_for_each_pod(run: Run) -> None:
    """From one template; what the pod calls it is not its name."""
    steps = steps_of(run)
    one = steps.generated_claim("one")
    two = steps.generated_claim("two", like=one)
    for role, claim in (("first", one), ("second", two)):
        (container,) = steps.submit_pod(role, [resting(role)], claim)
        assert container.the_pod()["spec"]["resourceClaims"] == [
            {"name": f"{claim.call}", "resourceClaimTemplateName": "one-scenario"}
        ]
        with pytest.raises(JudgementError, match="the claim is not allocated"):
            steps.await_allocation(container)
        assert claim.name == f"{role}-scenario-x7z"


def test_a_namespace_goes_with_all_that_is_in_it(run: Run, api: FakeApi) -> None:
    """It is the scenario's own: that of the others stays until the end of the run."""
    shared = run.open_namespace(RESTRICTED)
    steps = steps_of(run)
    steps.own_namespace()
    user, claim = pod_and_claim(steps)
    assert user.the_pod()["metadata"]["namespace"] == f"{name_of(run.anchor or {})}-scenario"
    steps.delete_namespace()
    assert steps.evidence.namespace.get().seconds >= 0
    assert user.gone.get()
    assert claim.gone.get()
    assert api.get(NAMESPACE, "", shared)
    assert not [result for result in clean_up(run) if result.red]
    assert not [kind for kind, _, _ in api.objects if kind == NAMESPACE.name]


def test_a_confined_run_makes_no_namespace(kube: Kube, api: FakeApi, tmp_path: Path) -> None:
    """Then what needs one is skipped."""
    api.put(thing("Namespace", "team", ""))
    run = a_run(kube, tmp_path, namespace="team")
    run.subject = Subject("driver", named("nvidia", PROFILES), "resource.k8s.io/v1", "image", {})
    with pytest.raises(UnmetError, match="--dra-namespace keeps the run to team"):
        steps_of(run).own_namespace()
    run.close()
