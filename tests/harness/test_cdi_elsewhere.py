"""A CDI device that the runtime does not find: whose fault it is, where the run may look."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cluster.kube import Kube
from harness.cluster.profile import named
from harness.options import Impact
from harness.scenario import node_pods
from harness.scenario.evidence import Evidence
from harness.scenario.pods import cannot_start
from harness.scenario.run import RESTRICTED, Subject
from harness.scenario.steps import Steps
from harness.verdict.finding import Blame, FindingError
from tests.harness.possessions import a_run
from tests.suite.made import DEVICES

PROFILES = Path(__file__).parents[2] / "profiles"
SAID = "CDI device injection failed: unresolvable CDI devices k8s.gpu.nvidia.com/claim=u-1-gpu-0"
SPEC = {"cdiVersion": "0.5.0", "kind": "k8s.gpu.nvidia.com/claim"}
WRITTEN = {**SPEC, "devices": [{"name": "u-1-gpu-0"}]}
OTHER = {**SPEC, "devices": [{"name": "u-1-gpu-01"}]}
UNREAD = {"kind": SPEC["kind"], "devices": WRITTEN["devices"]}


@pytest.mark.parametrize(
    ("allowed", "there", "blame"),
    [
        ({Impact.PRIVILEGED}, WRITTEN, Blame.CLUSTER),
        ({Impact.PRIVILEGED}, OTHER, Blame.DRIVER),
        ({Impact.PRIVILEGED}, UNREAD, Blame.DRIVER),
        (set(), WRITTEN, Blame.DRIVER),
    ],
)
def test_a_driver_that_wrote_it_has_done_its_part(
    allowed: set[Impact],
    there: object,
    blame: Blame,
    kube: Kube,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The runtime looks elsewhere then; a run that may not look on the node cannot know."""
    file = {"path": "/run/cdi/u-1.json", "kind": "file", "size": 1, "text": json.dumps(there)}
    monkeypatch.setattr(node_pods, "run_on", lambda *_: json.dumps([file]))
    waiting = {"reason": "CreateContainerError", "message": SAID}
    pod = {
        "kind": "Pod",
        "metadata": {"name": "user"},
        "spec": {"nodeName": "node-1", "containers": [{"name": "main"}]},
        "status": {"containerStatuses": [{"name": "main", "state": {"waiting": waiting}}]},
    }
    reason = cannot_start(pod, [{"message": SAID, "count": 3}])
    assert isinstance(reason, FindingError)
    run = a_run(kube, tmp_path, allow=frozenset(allowed))
    nvidia = named("nvidia", PROFILES)
    run.subject = Subject(DEVICES[0].driver, nvidia, "resource.k8s.io/v1", "image", {})
    steps = Steps(run, Evidence("scenario"), None, RESTRICTED)
    judged = steps.of_the_runtime(reason, pod)
    assert isinstance(judged, FindingError)
    assert judged.finding.blame is blame
    run.close()
