"""Verbs over time on a real cluster: what they change, and that all is as it was afterwards."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from embedded.cluster import Cluster, deaths, restart_kubelet
from harness.cluster.anchor import PREFIX, RUN_LABEL, moment
from harness.cluster.kinds import DAEMON_SET, LEASE, NAMESPACE, POD, Object, name_of
from harness.cluster.kube import Kube
from harness.cluster.kubeconfig import from_kubeconfig
from harness.scenario.node_pods import run_on
from harness.scenario.pod_spec import resting
from harness.scenario.pods import is_ready, restarts
from harness.scenario.steps import Steps
from harness.session.session import Session
from tests.drivers.cluster import running
from tests.embedded.over_time import ROOT, perform, session

pytestmark = pytest.mark.embedded

SELECTOR = "dra-driver-nvidia-gpu-component=kubelet-plugin"


@pytest.fixture
def kube(cluster: Cluster) -> Kube:
    """A client of the session's cluster."""
    return from_kubeconfig([cluster.kubeconfig], "", "test")


@pytest.fixture
def a_session(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Session]:
    """A session that has found the driver."""
    monkeypatch.setenv("KUBECONFIG", "")  # it is set by the session, and put back here
    with session(cluster.kubeconfig, cluster.workload_image, tmp_path) as made:
        yield made


def the_drivers(kube: Kube) -> tuple[Object, list[Object]]:
    """The driver's DaemonSet as far as people write it, and its pods."""
    pods, _ = kube.list(POD, labels=SELECTOR)
    (found,) = [
        one
        for one in kube.list(DAEMON_SET)[0]
        if one["spec"]["template"]["metadata"]["labels"].items() >= {tuple(SELECTOR.split("="))}
    ]
    return found["spec"], pods


def test_the_driver_stops_and_starts(a_session: Session, kube: Kube) -> None:
    """While it is away its pod is; afterwards its DaemonSet is as it was, and a pod can end."""
    before, (old,) = the_drivers(kube)
    seen: dict[str, Any] = {}

    def script(steps: Steps) -> None:
        claim = steps.claim(1)
        steps.start_pod("user", [resting("user")], claim)
        node = claim.devices[0].node
        steps.driver.stop(node)
        seen["stopped"] = the_drivers(kube)[1]
        steps.driver.start(node)
        seen["log"] = steps.driver.logs(node)
        steps.release()

    evidence = perform(a_session, script)
    assert evidence.ended.get(), evidence.steps
    assert seen["stopped"] == []
    assert seen["log"]
    after, (new,) = the_drivers(kube)
    assert after == before
    assert is_ready(new)
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    hash_of = "controller-revision-hash"
    assert new["metadata"]["labels"][hash_of] == old["metadata"]["labels"][hash_of]


@pytest.mark.parametrize("where", ["/node/run/cdi/new", "/node/tmp/new", "/node/etc/new"])
def test_a_pod_that_reads_a_node_cannot_write(a_session: Session, kube: Kube, where: str) -> None:
    """Not even where another file system is mounted."""
    node = str(the_drivers(kube)[1][0]["spec"]["nodeName"])
    values = {"command": ["python3", "-c", f"open({where!r}, 'w')"], "root": "/node"}

    def script(steps: Steps) -> None:
        run_on(steps, node, "node-files", "writer", values)

    assert "Read-only file system" in perform(a_session, script).ended.reason()


def test_folders_of_a_node_are_read(a_session: Session, kube: Kube) -> None:
    """Where the plugin registers, its socket is; of the pods that read nothing is left."""
    seen: dict[str, Any] = {}

    def script(steps: Steps) -> None:
        node = steps.node(str(the_drivers(kube)[1][0]["spec"]["nodeName"]))
        for folder in ("cdi", "plugin", "registry"):
            seen[folder] = node.files(folder, folder)

    evidence = perform(a_session, script)
    assert evidence.ended.get(), evidence.steps
    assert {"socket"} <= {file.kind for file in seen["registry"]}
    checkpoints = [file for file in seen["plugin"] if file.path.endswith("/checkpoint.json")]
    assert [file.kind for file in checkpoints] == ["file"]
    assert checkpoints[0].text
    assert seen["cdi"][0].path == "/run/cdi"


def test_a_driver_that_a_killed_run_stopped_is_started_by_a_sweep(
    cluster: Cluster, kube: Kube, tmp_path: Path
) -> None:
    """From the Lease alone."""
    before, _ = the_drivers(kube)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.embedded.over_time", cluster.kubeconfig),
            *(cluster.workload_image, tmp_path / "killed"),
        ],
        cwd=ROOT,
    )
    assert done.returncode == -signal.SIGKILL
    stopped, pods = the_drivers(kube)
    assert (stopped["updateStrategy"], pods) == ({"type": "OnDelete"}, [])
    (anchor,) = [
        one
        for one in kube.list(NAMESPACE, labels=RUN_LABEL)[0]
        if name_of(one).startswith(PREFIX) and not one["metadata"].get("ownerReferences")
    ]
    lease = kube.get(LEASE, name_of(anchor), name_of(anchor))
    kube.update({**lease, "spec": {**lease["spec"], "renewTime": moment(0)}})
    swept = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml", "-m", "dra"),
            *("--dra-sweep", ROOT / "suites"),
        ],
        cwd=tmp_path,
        env={**os.environ, "KUBECONFIG": str(cluster.kubeconfig)},
        capture_output=True,
        text=True,
    )
    assert swept.returncode == 0, swept.stdout
    assert "RESTORED daemonset/" in swept.stdout
    assert the_drivers(kube)[0] == before


@pytest.mark.matrix  # it waits a minute, and `./run dra` restarts a kubelet in the main job
def test_the_kubelet_restarts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pod that runs meanwhile runs on, and its claim is unprepared when it ends.

    With the reference driver: it publishes again at once what the kubelet removes at its start.
    """
    monkeypatch.setenv("KUBECONFIG", "")
    with (
        running("reference") as cluster,
        session(cluster.kubeconfig, cluster.workload_image, tmp_path) as made,
    ):
        restart_it(made, cluster.name, from_kubeconfig([cluster.kubeconfig], "", "test"))


def restart_it(made: Session, cluster: str, kube: Kube) -> None:
    """Restart the kubelet of the node that a pod with a claim is on."""
    made.run.cluster = dataclasses.replace(
        made.run.cluster, restart_kubelet=partial(restart_kubelet, cluster)
    )
    seen: dict[str, Any] = {}

    def script(steps: Steps) -> None:
        claim = steps.claim(1)
        (user,) = steps.start_pod("user", [resting("user")], claim)
        node = steps.node(claim.devices[0].node)
        steps.kubelet.restart(node.name)
        assert user.pod is not None
        seen["pod"] = kube.get(POD, name_of(user.pod), user.pod["metadata"]["namespace"])
        seen["uid"] = claim.obj["metadata"]["uid"]
        node.files("cdi", "before")
        steps.release()
        node.files("cdi", "after")

    evidence = perform(made, script)
    assert evidence.ended.get(), evidence.steps
    assert restarts(seen["pod"]) == 0
    looks = (evidence.files("before"), evidence.files("after"))
    found = [[file.kind for file in look if file.mentions(seen["uid"])] for look in looks]
    assert found == [["file"], []]
    assert deaths(cluster) == []
