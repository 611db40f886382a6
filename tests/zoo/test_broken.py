"""A driver with which nothing works, and a cluster that is lost: a whole run ends soon, and says
once why.
"""

from __future__ import annotations

import json
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from embedded.drivers.reference.kubelet_plugin.faults import FAULTS
from harness.cluster.anchor import RUN_LABEL
from harness.cluster.kinds import POD
from harness.cluster.kubeconfig import from_kubeconfig
from tests.admin import ROOT, command, environment
from tests.drivers.cluster import DriverCluster, running
from tests.zoo.matrix.rows import Made, Tell, Tried, row

pytestmark = [pytest.mark.embedded, pytest.mark.matrix]

NODES = 2
SECONDS = 300
"""In which a run has to end, whatever is broken."""
ACCOUNT = "broken"


def start(
    driver: DriverCluster, folder: Path, kubeconfig: Path | None = None
) -> subprocess.Popen[str]:
    """Begin to run every check."""
    allowed = ("--dra-allow", "privileged,disrupt,exhaust")
    return subprocess.Popen(
        command(
            folder / "out",
            *("--dra-cluster", "kubeconfig", "--dra-image", driver.workload_image),
            *(*allowed, ROOT / "suites"),
        ),
        cwd=folder,
        env=environment(kubeconfig or driver.kubeconfig),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def the_finding(process: subprocess.Popen[str], folder: Path, tell: Tell) -> dict[str, Any]:
    """The only one that a run came to, once it has ended."""
    printed, _ = process.communicate(timeout=SECONDS)
    assert "Traceback" not in printed
    (path,) = (folder / "out").glob("*/results.json")
    results: list[dict[str, Any]] = json.loads(path.read_text())["results"]
    tell(results)
    red = [one for one in results if one["outcome"] in ("fail", "error")]
    assert len(red) == 1, [one["headline"] for one in red]
    blocked = [one for one in results if one["blocked_by"] == red[0]["id"]]
    assert len(blocked) > 100, printed
    return red[0]


@pytest.mark.parametrize(
    ("fault", "check", "likely"),
    [
        pytest.param(
            *(fault, check, likely),
            marks=row("reference", Tried(fault, Made.REFERENCE, (check,), FAULTS[fault].sentence)),
        )
        for fault, check, likely in (
            ("never-prepares", "NODE-028", "the driver refused or failed to prepare the claim"),
            ("hangs-at-prepare", "NODE-028", "the driver did not answer the kubelet's request"),
            ("ends-at-prepare", "NODE-028", "CrashLoopBackOff"),
            ("never-unprepares", "LIFE-004", "the driver does not unprepare its claims"),
        )
    ],
)
def test_a_driver_with_which_nothing_works(
    fault: str, check: str, likely: str, kubernetes: str, tmp_path: Path, tell: Tell
) -> None:
    """It is the driver's, said once, and nothing is left that is not explained."""
    every = range(1, NODES + 1)
    with running("reference", NODES, kubernetes) as driver, driver.fault(fault, every):
        found = the_finding(start(driver, tmp_path), tmp_path, tell)
    assert (found["id"], found["outcome"]) == (check, "fail")
    assert found["finding"]["blame"] == "driver"
    assert likely in found["finding"]["likely"]


@row("reference", Tried("the API server goes away for good", Made.OTHERS, ("CLUSTER-002",)))
def test_an_api_server_that_goes_away_for_good(kubernetes: str, tmp_path: Path, tell: Tell) -> None:
    """In the middle, with pods that have not started."""

    @contextmanager
    def through(kubeconfig: Path) -> Iterator[tuple[Path, Callable[[], None]]]:
        document = yaml.safe_load(kubeconfig.read_text())
        cluster = document["clusters"][0]["cluster"]
        address = urlsplit(cluster["server"])
        with closing(Forwarder(str(address.hostname), address.port or 443)) as forwarder:
            cluster["server"] = f"https://127.0.0.1:{forwarder.port}"
            path = tmp_path / "kubeconfig"
            path.write_text(yaml.safe_dump(document))
            yield path, forwarder.close

    with (
        running("reference", NODES, kubernetes) as driver,
        through(driver.kubeconfig) as (path, go),
    ):
        process = start(driver, tmp_path, path)
        await_pods(driver)
        go()
        found = the_finding(process, tmp_path, tell)
    assert (found["id"], found["outcome"]) == ("CLUSTER-002", "error")
    assert "does not answer" in found["headline"]


@row("reference", Tried("the account of the run is deleted", Made.OTHERS, ("CLUSTER-002",)))
def test_credentials_that_are_lost(kubernetes: str, tmp_path: Path, tell: Tell) -> None:
    """The account of the run is deleted in the middle."""
    with running("reference", NODES, kubernetes) as driver:
        accounts = driver.kind("v1", "ServiceAccount")
        accounts.create(body={"metadata": {"name": ACCOUNT}}, namespace="default")
        subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": "default"}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole"}
        driver.kind("rbac.authorization.k8s.io/v1", "ClusterRoleBinding").create(
            body={
                "metadata": {"name": ACCOUNT},
                "roleRef": {**role, "name": "cluster-admin"},
                "subjects": [subject],
            }
        )
        document = yaml.safe_load(driver.kubeconfig.read_text())
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        token = accounts.subresources["token"].create(
            body=request, name=ACCOUNT, namespace="default"
        )
        document["users"][0]["user"] = {"token": token.status.token}
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(document))
        process = start(driver, tmp_path, path)
        await_pods(driver)
        accounts.delete(name=ACCOUNT, namespace="default")
        found = the_finding(process, tmp_path, tell)
    assert (found["id"], found["outcome"]) == ("CLUSTER-002", "error")
    assert "the run's credentials are expired or unknown" in found["headline"]


def await_pods(driver: DriverCluster) -> None:
    """Wait until scenarios run."""
    kube, until = from_kubeconfig([driver.kubeconfig], "", "test"), time.monotonic() + SECONDS
    while len(kube.list(POD, labels=RUN_LABEL)[0]) < 4:
        assert time.monotonic() < until
        time.sleep(0.2)


class Forwarder:
    """Passes connections on, until it is gone with all of them."""

    def __init__(self, host: str, port: int) -> None:
        self._open: list[socket.socket] = []

        class Handler(socketserver.BaseRequestHandler):
            def handle(handler) -> None:  # noqa: N805 - the forwarder is `self`
                with socket.create_connection((host, port)) as other:
                    self._open += [handler.request, other]
                    back = threading.Thread(target=_pump, args=(other, handler.request))
                    back.start()
                    _pump(handler.request, other)
                    back.join()

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Refuse connections, and break those that there are."""
        self._server.shutdown()
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._server.server_close()  # when all have ended


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
