"""What is refused or waits, and what is noted of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cluster.kinds import name_of, uid_of
from harness.cluster.kube import ApiError, Kube
from harness.cluster.profile import named
from harness.scenario.evidence import Container, Evidence
from harness.scenario.refusals import NOT_SCHEDULED
from harness.scenario.run import RESTRICTED, Subject
from harness.scenario.steps import Steps
from harness.scenario.verbs import needs_of
from harness.verdict.finding import Blame, InconclusiveError
from tests.harness.fake_api import FakeApi
from tests.harness.possessions import a_run, thing

PROFILES = Path(__file__).parents[2] / "profiles"


@pytest.fixture
def steps(kube: Kube, tmp_path: Path) -> Iterator[Steps]:
    """Steps of a scenario that says that it makes a class."""
    run = a_run(kube, tmp_path, timeout_scale=0.02)
    nvidia = named("nvidia", PROFILES)
    run.subject = Subject("gpu.nvidia.com", nvidia, "resource.k8s.io/v1", "image", {})
    run.open_namespace(RESTRICTED)
    uses = [needs_of(Steps.device_class)]
    yield Steps(run, Evidence("scenario"), None, RESTRICTED, uses=uses)
    run.close()


def test_the_answer_of_an_api_server_that_refuses_is_noted(steps: Steps) -> None:
    """Also where the pod of it is noted as refused; nothing is what it says of what it takes."""

    def refuse() -> None:
        raise ApiError(422, "no expression")

    def refuse_a_pod() -> None:
        raise steps.inconclusive("refused") from ApiError(422, "no name")

    steps.refusals.ask("claim", refuse)
    steps.refusals.ask("pod", refuse_a_pod)
    steps.refusals.ask("good", lambda: None)
    answers = [steps.evidence.answer(name) for name in ("claim", "pod", "good")]
    assert [str(answer) for answer in answers] == ["no expression", "no name", "None"]


@pytest.mark.parametrize(
    ("runs", "words"), [(False, "no device left"), (False, "no memory left"), (True, "")]
)
def test_a_pod_that_waits_is_told_why(runs: bool, words: str, steps: Steps, api: FakeApi) -> None:
    """By an event, unless it runs."""
    state = {"containerStatuses": [{"name": "user", "state": {"running": {}}}]}
    pod = thing("Pod", "user", steps.namespace)
    pod = api.put(
        {**pod, "spec": {"containers": [{"name": "user"}]}, "status": state if runs else {}}
    )
    if not runs:
        event = thing("Event", "why", steps.namespace)
        about = {"uid": uid_of(pod)}
        api.put({**event, "involvedObject": about, "reason": NOT_SCHEDULED, "message": words})
    container = Container("user")
    container.pod = pod
    steps.refusals.await_word(container, NOT_SCHEDULED, "no device", Blame.SCHEDULER)
    assert container.told.get() == words


def test_a_pod_of_which_nobody_says_why_it_waits_is_somebodys_fault(
    steps: Steps, api: FakeApi
) -> None:
    """The scenario goes on."""
    container = Container("user")
    spec = {"containers": [{"name": "user"}]}
    container.pod = api.put({**thing("Pod", "user", steps.namespace), "spec": spec})
    steps.refusals.await_word(container, NOT_SCHEDULED, "", Blame.SCHEDULER)
    with pytest.raises(InconclusiveError) as raised:
        container.told.get()
    assert raised.value.finding.blame is Blame.SCHEDULER
    assert str(raised.value).startswith("an event FailedScheduling of the user's pod did not come")


def test_a_class_is_made_like_the_drivers(steps: Steps, api: FakeApi) -> None:
    """Under a name of the run's own, owned by its anchor."""
    wanted = steps.run.subject.profile.device_class
    spec = {"selectors": [{"cel": {"expression": "true"}}]}
    a_class = thing("DeviceClass", wanted, "")
    del a_class["metadata"]["namespace"]
    api.put({**a_class, "spec": spec})
    steps.device_class(steps.name)
    made = next(o for o in api.objects.values() if name_of(o) == steps.class_name(steps.name))
    assert made["spec"] == spec
    assert made["metadata"]["ownerReferences"]
