"""The nightly run as an admin has it: deploy/ on a cluster, a job by hand, files on a volume."""

from __future__ import annotations

import json
import os
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from building.architecture import AMD64
from building.artifacts import Artifact
from building.binaries import KUBECTL
from building.progress import Progress
from building.tree import ROOT
from delivery import runner
from embedded import cluster as embedded_cluster
from embedded.drivers.reference import REFERENCE, set_fault
from reports import in_log
from tests.delivery.test_deploy import call
from tests.drivers.cluster import DriverCluster, running
from tests.zoo.test_breaks import load

pytestmark = [pytest.mark.embedded, pytest.mark.matrix]

VOLUME = "/var/results"
SECONDS = 180
"""A budget, not a delay."""
CHECKS = "ALLOC-003,ISO-003"
HERE = ("--namespace", "dra-conformance")
PERSISTENT_VOLUME = f"""
apiVersion: v1
kind: PersistentVolume
metadata:
  name: results
spec:
  accessModes: [ReadWriteOnce]
  capacity: {{storage: 5Gi}}
  hostPath: {{path: {VOLUME}}}
"""


@dataclass
class Nights:
    """A cluster with the nightly run in it."""

    cluster: DriverCluster
    kubectl: Path

    def call(self, *words: str | Path) -> str:
        """Call kubectl; answers what it prints."""
        return call(self.kubectl, *words, KUBECONFIG=str(self.cluster.kubeconfig)).stdout

    @property
    def node(self) -> Path:
        """The root of its node."""
        return embedded_cluster.node_root(self.cluster.name)

    def pod(self, job: str) -> Any:
        """The pod of a job."""
        found = self.call("get", "pods", *HERE, "-l", f"job-name={job}", "-o", "json")
        return json.loads(found)["items"][0]

    def code(self, job: str) -> int:
        """The exit code of a job's container."""
        (status,) = self.pod(job)["status"]["containerStatuses"]
        return int(status["state"]["terminated"]["exitCode"])

    def start(self, job: str) -> None:
        """Make a job of the CronJob, as the documentation says."""
        self.call("create", "job", *HERE, "--from=cronjob/dra-conformance", job)

    def wait(self, job: str, condition: str) -> None:
        """Wait for the end of a job."""
        self.call(
            "wait", *HERE, f"--for=condition={condition}", f"job/{job}", f"--timeout={SECONDS}s"
        )

    def namespaces(self) -> list[str]:
        """Those of a run's own."""
        found = self.call("get", "namespaces", "-o", "name").split()
        return [name for name in found if name.startswith("namespace/dra-conformance-")]

    def folders(self) -> set[Path]:
        """The runs on the volume."""
        volume = self.node / VOLUME.lstrip("/")
        return {path.parent for path in volume.glob("*/results.json")}


@pytest.fixture(scope="module")
def nights(
    obtained: Callable[[Artifact], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Nights]:
    """A cluster with the reference driver, to which the overlay was applied."""
    folder = tmp_path_factory.mktemp("nightly")
    archive = runner.assemble(tmp_path_factory.mktemp("image"), AMD64, Progress())
    options = {
        "DRA_IMAGE": "",
        "DRA_CHECK": CHECKS,
        "DRA_METRICS": "/results/dra.prom",
        "DRA_BUNDLE_IN_LOG": "true",
    }
    with running("reference") as cluster:
        load(archive, cluster)  # type: ignore[arg-type] # by its name only
        nights = Nights(cluster, obtained(KUBECTL) / "kubectl")
        volume = nights.node / VOLUME.lstrip("/")
        volume.mkdir()
        volume.chmod(0o777)  # the kubelet gives a folder of the node to no group
        (folder / "volume.yaml").write_text(PERSISTENT_VOLUME)
        options["DRA_IMAGE"] = cluster.workload_image
        kustomization = {
            "resources": [os.path.relpath(ROOT / "deploy/overlays/default", folder), "volume.yaml"],
            "configMapGenerator": [
                {
                    "name": "dra-conformance",
                    "namespace": "dra-conformance",
                    "behavior": "merge",
                    "literals": [f"{name}={value}" for name, value in options.items()],
                }
            ],
        }
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        nights.call("apply", "-k", folder)
        yield nights


def test_a_night_leaves_its_files_on_the_volume(nights: Nights, tmp_path: Path) -> None:
    """A driver that is well: exit code 0, JUnit, page and metrics; the log has them, too."""
    nights.start("well")
    nights.wait("well", "complete")
    (folder,) = nights.folders()
    assert {"junit.xml", "report.html", "results.json", "environment.json"} <= {
        path.name for path in folder.iterdir()
    }
    results = json.loads((folder / "results.json").read_text())
    passed = {one["id"] for one in results["results"] if one["outcome"] == "pass"}
    assert passed >= {*CHECKS.split(",")}
    assert results["leftovers"] == []
    metrics = (folder.parent / "dra.prom").read_text()
    verdict = f'dra_conformance_verdict{{driver="{REFERENCE.name}",verdict="partial"}} 1'
    assert verdict in metrics
    assert nights.code("well") == 0
    fetched = in_log.fetch(nights.call("logs", *HERE, "job/well"), tmp_path)
    assert (fetched / "junit.xml").read_text() == (folder / "junit.xml").read_text()


def test_a_night_with_a_broken_driver_ends_with_1(nights: Nights) -> None:
    """The job has failed, and the evidence is on the volume."""
    before = nights.folders()
    set_fault(nights.node, "one-too-many")
    try:
        nights.start("broken")
        nights.wait("broken", "failed")
    finally:
        set_fault(nights.node, None)
    assert nights.code("broken") == 1
    (folder,) = nights.folders() - before
    with tarfile.open(folder / "bundle.tar.gz") as bundle:
        assert any(name.endswith("results.json") for name in bundle.getnames())
    assert 'verdict="nonconformant"} 1' in (folder.parent / "dra.prom").read_text()


def test_a_deadline_leaves_a_report_and_nothing_else(nights: Nights, tmp_path: Path) -> None:
    """The job's end is a SIGTERM, and what follows is clean-up and reports."""
    before = nights.folders()
    dry = ("--from=cronjob/dra-conformance", "late", "--dry-run=client", "-o", "yaml")
    job = yaml.safe_load(nights.call("create", "job", *HERE, *dry))
    (container,) = job["spec"]["template"]["spec"]["containers"]
    container["env"] = [{"name": "DRA_CHECK", "value": ""}]  # all of them take minutes
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(job))
    nights.call("create", "-f", file)
    until = time.monotonic() + SECONDS
    while not nights.namespaces() and time.monotonic() < until:
        time.sleep(0.2)
    assert nights.namespaces()
    patch = '{"spec": {"activeDeadlineSeconds": 1}}'
    nights.call("patch", "job", *HERE, "late", "--patch", patch)
    nights.wait("late", "failed")
    (folder,) = nights.folders() - before
    results = json.loads((folder / "results.json").read_text())
    assert "SIGTERM" in results["run"]["interrupted"]
    assert results["exit_code"] == 2
    assert results["leftovers"] == []
    assert nights.namespaces() == []
