"""What is wrong with the run itself: its rights, its options, the suite."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from tests.admin import ROOT
from tests.drivers.cluster import DriverCluster
from tests.zoo.blame import Options, row
from tests.zoo.blame.hands import Object, patched, there


@row(
    "the run's own patch ends the pods after a second",
    says="LIFE-013",
    words="activeDeadlineSeconds",
    next="activeDeadlineSeconds",
    checks="LIFE-013",  # its pod needs ten seconds on any machine: most others may be done in one
)
def _short_deadline(_cluster: DriverCluster) -> Iterator[Options]:
    yield from patched({"activeDeadlineSeconds": 1})


@row(
    "no node has the labels of --dra-node-selector",
    says="PF-06",
    party="suite",
    words="no node with devices has the labels",
    next="kubectl get nodes -l",
)
def _no_such_nodes(_cluster: DriverCluster) -> Iterator[Options]:
    yield ["--dra-node-selector", "example.com/none=true"]


@row(
    "the run's user has no rights",
    says="PF-09",
    words="may not",
    next="have an administrator give the rights: kubectl apply -f",
)
def _no_rights(cluster: DriverCluster) -> Iterator[Options]:
    accounts, request = cluster.kind("v1", "ServiceAccount"), "authentication.k8s.io/v1"
    nobody: Object = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "nobody"}}
    nobody["metadata"]["namespace"] = "default"
    with there(cluster, nobody):
        token = accounts.subresources["token"].create(
            body={"apiVersion": request, "kind": "TokenRequest", "spec": {}},
            name="nobody",
            namespace="default",
        )
        yield from _with_token(cluster, token.status.token)


@row(
    "the run's token has expired",
    says="PF-01",
    words="expired",
    next="log in again",
)
def _old_token(cluster: DriverCluster) -> Iterator[Options]:
    yield from _with_token(cluster, "old")


@row(
    "the clock of the machine that runs the suite is an hour slow",
    says="PF-14",
    words="the API server's clock is",
    next="let both take the time from NTP",
)
def _slow_clock(_cluster: DriverCluster) -> Iterator[Options]:
    # Only the run's own, for Linux has no clock of the day that part of a machine can have alone.
    yield from _with_plugin(
        "import time\ntrue_time = time.time\ntime.time = lambda: true_time() - 3600\n"
    )


@row(
    "the suite itself has a fault",
    says="ISO-007",
    party="suite",
    words="ZeroDivisionError",
    next="report it to the suite's authors",
)
def _fault_of_the_suite(_cluster: DriverCluster) -> Iterator[Options]:
    yield from _with_plugin(
        "from harness.scenario.steps import Steps\nSteps.start_pod = lambda *_, **__: 1 / 0\n"
    )


def _with_plugin(program: str) -> Iterator[Options]:
    """Have a program in the run that is not the suite's."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "wrong.py").write_text(program)
        yield ["-p", "wrong", f"PYTHONPATH={folder}{os.pathsep}{ROOT}"]


def _with_token(cluster: DriverCluster, token: str) -> Iterator[Options]:
    document = yaml.safe_load(cluster.kubeconfig.read_text())
    document["users"][0]["user"] = {"token": token}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "kubeconfig"
        path.write_text(yaml.safe_dump(document))
        yield [f"KUBECONFIG={path}"]
