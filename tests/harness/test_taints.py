"""Taints of devices that a scenario holds: of these only, and not for longer than it runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cluster.kinds import CLAIM, TAINT_RULE, Object, name_of
from harness.cluster.kube import ApiError, Kube
from harness.cluster.profile import named
from harness.scenario.evidence import Evidence
from harness.scenario.run import RESTRICTED, Run, Subject
from harness.scenario.steps import Steps
from harness.scenario.taints import NO_EXECUTE, NO_SCHEDULE, Taints
from harness.scenario.verbs import needs_of
from harness.verdict.finding import UnmetError, UnsupportedError
from tests.harness.fake_api import FakeApi
from tests.harness.possessions import a_run, thing
from tests.suite.made import DEVICES

PROFILES = Path(__file__).parents[2] / "profiles"
DEVICE = DEVICES[0]


@pytest.fixture
def run(kube: Kube, tmp_path: Path) -> Iterator[Run]:
    """A run that sees the claims of everybody."""
    run = a_run(kube, tmp_path, timeout_scale=0.02)
    nvidia = named("nvidia", PROFILES)
    run.subject = Subject(DEVICE.driver, nvidia, "resource.k8s.io/v1", "image", {})
    run.observer.observe(CLAIM)
    run.open_namespace(RESTRICTED)
    yield run
    run.close()


def steps_of(run: Run) -> Steps:
    """Steps of a scenario that says that it taints."""
    return Steps(run, Evidence("scenario"), None, RESTRICTED, uses=[needs_of(Taints.add)])


def rules(api: FakeApi) -> list[Object]:
    """The rules there are."""
    return [one for one in api.objects.values() if one["kind"] == TAINT_RULE.name]


def test_a_taint_is_of_one_device_and_of_the_run(run: Run, api: FakeApi) -> None:
    """Its anchor owns the rule, and the scenario's end removes it, however the script ends."""
    there: list[Object] = []

    def script(steps: Steps) -> None:
        steps.taints.add(DEVICE, NO_SCHEDULE)
        steps.taints.add(DEVICE, NO_EXECUTE)
        there.extend(rules(api))
        raise UnsupportedError("no more")

    steps_of(run).perform(script)
    selected = {"driver": DEVICE.driver, "pool": DEVICE.pool, "device": DEVICE.name}
    assert [one["spec"]["deviceSelector"] for one in there] == [selected, selected]
    assert {one["spec"]["taint"]["effect"] for one in there} == {NO_SCHEDULE, NO_EXECUTE}
    assert all(one["metadata"]["ownerReferences"] for one in there)
    assert rules(api) == []


def test_a_device_that_others_look_at_is_not_tainted(run: Run, api: FakeApi) -> None:
    """They would be ended by it."""
    result = {"driver": DEVICE.driver, "pool": DEVICE.pool, "device": DEVICE.name}
    devices = {"results": [{**result, "request": "all", "adminAccess": True}]}
    theirs = {**thing("ResourceClaim", "monitor", "others"), "status": {"allocation": {}}}
    theirs["status"]["allocation"] = {"devices": devices}
    theirs = api.put(theirs)
    run.observer.known(theirs)
    with pytest.raises(UnmetError, match="claim monitor of others has gpu-0, too"):
        steps_of(run).taints.add(DEVICE, NO_EXECUTE)
    assert rules(api) == []


@pytest.mark.parametrize(
    ("status", "words"),
    [(404, "unsupported: .*serves no DeviceTaintRule"), (403, "which the run may not do")],
)
def test_a_cluster_without_such_rules_is_told(
    status: int, words: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one where the run may make none."""

    def refuse(obj: Object) -> Object:
        raise ApiError(status, name_of(obj))

    monkeypatch.setattr(run.kube, "create", refuse)
    with pytest.raises(UnmetError, match=words):
        steps_of(run).taints.add(DEVICE, NO_SCHEDULE)
