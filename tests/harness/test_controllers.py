"""Classes and controllers that a scenario makes: what they are, and that they go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cluster.kinds import CLAIM, CONFIG_MAP, DEVICE_CLASS, JOB, POD, Kind, Object, name_of
from harness.cluster.kube import Kube
from harness.cluster.profile import named
from harness.scenario.claim_spec import Parameters
from harness.scenario.controllers import Controllers
from harness.scenario.evidence import Evidence
from harness.scenario.pod_spec import ContainerSpec, PodSpec, resting
from harness.scenario.run import RESTRICTED, Run, Subject
from harness.scenario.steps import Steps
from harness.scenario.verbs import needs_of
from harness.verdict.finding import UnmetError
from tests.harness.fake_api import FakeApi
from tests.harness.possessions import Controllers as ClusterControllers
from tests.harness.possessions import a_run, thing
from workload.result import Process, Result

PROFILES = Path(__file__).parents[2] / "profiles"
CLASS, SELECTORS = "gpu.nvidia.com", [{"cel": {"expression": "true"}}]
REPORT = Result("worker", Process(own_pid=1)).line()


class Cluster(ClusterControllers):
    """Makes the pods of Jobs, and claims and results of the pods."""

    def _react(self, change: str, obj: Object) -> None:
        super()._react(change, obj)
        if change != "ADDED":
            return
        if obj["kind"] == JOB.name:
            for number in range(obj["spec"]["completions"]):
                template = obj["spec"]["template"]
                pod = thing(POD.name, f"pod-{number}", obj["metadata"]["namespace"])
                pod["metadata"] |= {**template["metadata"], "ownerReferences": []}
                self.api.put({**pod, "spec": {**template["spec"], "nodeName": "node-1"}})
        elif obj["kind"] == POD.name:
            self._run(obj)

    def _run(self, pod: Object) -> None:
        name, namespace = name_of(pod), pod["metadata"]["namespace"]
        claim = thing(CLAIM.name, f"{name}-claim", namespace)
        devices = {"results": [{"request": "gpu-1", "driver": "d", "pool": "p", "device": "x"}]}
        self.api.put({**claim, "status": {"allocation": {"devices": devices}}})
        call = pod["spec"]["resourceClaims"][0]["name"]
        ended = {"name": "worker", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}
        said = [{"name": call, "resourceClaimName": f"{name}-claim"}]
        self.api.write_log(namespace, name, REPORT + "\n", complete=True)
        status = {"resourceClaimStatuses": said, "containerStatuses": [ended]}
        self.api.edit(POD, namespace, name, status=status)


@pytest.fixture
def run(kube: Kube, api: FakeApi, tmp_path: Path) -> Iterator[Run]:
    """A run that has found a driver, which has a class."""
    Cluster(api)
    api.put({**thing(DEVICE_CLASS.name, CLASS, ""), "spec": {"selectors": SELECTORS}})
    run = a_run(kube, tmp_path, timeout_scale=0.02)
    run.subject = Subject("driver", named("nvidia", PROFILES), "resource.k8s.io/v1", "image", {})
    run.observer.observe(CLAIM)
    yield run
    run.close()


def steps_of(run: Run) -> Steps:
    """Steps of a scenario that says what it uses."""
    verbs = (Steps.device_class, Steps.generated_claim, Controllers.job)
    return Steps(run, Evidence("scenario"), None, RESTRICTED, uses=[needs_of(one) for one in verbs])


def of_kind(api: FakeApi, kind: Kind) -> list[Object]:
    """What there is of a kind."""
    return [one for one in api.objects.values() if one["kind"] == kind.name]


def test_a_class_has_the_devices_of_the_drivers_own(run: Run, api: FakeApi) -> None:
    """And parameters for the driver; it goes with the run."""
    name = steps_of(run).device_class("labels", Parameters({"kind": "K"}))
    made = api.get(DEVICE_CLASS, "", name)
    assert made is not None
    opaque = {"driver": "driver", "parameters": {"kind": "K"}}
    assert made["spec"] == {"selectors": SELECTORS, "config": [{"opaque": opaque}]}
    assert made["metadata"]["ownerReferences"][0]["kind"] == "Namespace"


def test_who_may_make_no_class_is_not_judged(run: Run, api: FakeApi) -> None:
    """It is a right in the whole cluster."""
    api.denied = {("create", "deviceclasses")}
    with pytest.raises(UnmetError, match="not allowed: it creates a DeviceClass"):
        steps_of(run).device_class("labels")


def test_a_job_makes_pods_with_claims_of_their_own(run: Run, api: FakeApi) -> None:
    """They are found as containers of the scenario; the Job goes before them."""
    steps = steps_of(run)
    spec = ContainerSpec("worker", ["inventory"], waits=False)
    first, second = steps.controllers.job(spec, steps.generated_claim(), 2)
    assert list(steps.evidence.containers) == ["job-1", "job-2"]
    assert first.claims[0].name != second.claims[0].name
    assert first.report.get().role == "worker"
    assert all(map(steps.controllers.makes, of_kind(api, POD)))
    steps.controllers.delete_all()
    assert not of_kind(api, JOB)


def test_the_workload_is_brought_to_a_namespace_once(run: Run, api: FakeApi) -> None:
    """And is among the manifests of each scenario that has pods there."""
    run.subject = replace(run.subject, program="mine")
    spec = PodSpec("pod", [resting("rest")], [])
    for steps in (steps_of(run), steps_of(run)):
        for _ in range(2):
            assert steps.pod_values(spec)["program"] == "mine"
        (told,) = steps.script.lines
        assert isinstance(told, dict)
        assert (told["kind"], name_of(told)) == (CONFIG_MAP.name, "mine")
    (made,) = of_kind(api, CONFIG_MAP)
    assert made["data"].keys() >= {"__main__.py", "kernels.ptx"}
