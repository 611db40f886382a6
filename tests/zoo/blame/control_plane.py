"""Faults of the scheduler and the API server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from threading import Event, Thread

from kubernetes.client.exceptions import ApiException

from tests.drivers.cluster import DriverCluster
from tests.zoo.blame import Options, row
from tests.zoo.blame.hands import items, killed, patched, stopped


@row(
    "the scheduler is stopped",
    says="PF-08",
    party="scheduler",
    words="the scheduler says nothing about the pod",
    next="is kube-scheduler alive?",
    hasty=True,
)
def _scheduler_stopped(cluster: DriverCluster) -> Iterator[Options]:
    with stopped(cluster, "kube-scheduler"):
        yield []


@row(
    "the scheduler dies in the middle of a run",
    says="NODE-028",
    party="scheduler",
    words="the scheduler is stopped, far behind, or not responsible for it",
    next="is kube-scheduler alive?",
    during=True,
    hasty=True,
)
def _scheduler_dies(cluster: DriverCluster) -> Iterator[Options]:
    with killed(cluster, "kube-scheduler"):
        yield []


@row(
    "the pods are for a scheduler that does not exist",
    says="PF-08",
    party="scheduler",
    words="the scheduler says nothing about the pod",
    next="is kube-scheduler alive?",
    hasty=True,
)
def _no_such_scheduler(_cluster: DriverCluster) -> Iterator[Options]:
    yield from patched({"schedulerName": "nobody"})


@row(
    "another scheduler, which knows no claims, places the pods",
    says="PF-08",
    party="scheduler",
    words="the pod is on node-1 and its claim is not allocated",
    next="schedulerName",
    hasty=True,
)
def _scheduler_without_claims(cluster: DriverCluster) -> Iterator[Options]:
    name, over = "simple", Event()
    pods = cluster.kind("v1", "Pod")

    def place() -> None:
        while not over.wait(0.2):
            for pod in items(cluster, "v1", "Pod"):
                if pod["spec"]["schedulerName"] == name and not pod["spec"].get("nodeName"):
                    target = {"apiVersion": "v1", "kind": "Node", "name": "node-1"}
                    own = {key: pod["metadata"][key] for key in ("name", "namespace")}
                    body = {
                        "apiVersion": "v1",
                        "kind": "Binding",
                        "metadata": own,
                        "target": target,
                    }
                    with suppress(ApiException):  # it is gone
                        pods.subresources["binding"].create(body=body, **own)

    scheduler = Thread(target=place)
    scheduler.start()
    try:
        yield from patched({"schedulerName": name})
    finally:
        over.set()
        scheduler.join()


@row(
    "another controller takes claims from pods whose containers start again",
    says="LIFE-015",
    words="somebody else changes claims that pods use",
    next="--show-managed-fields",
    checks="LIFE-015",
)
def _reservations_taken(cluster: DriverCluster) -> Iterator[Options]:
    over, taken = Event(), set[str]()
    claims = cluster.kind("resource.k8s.io/v1", "ResourceClaim")

    def take() -> None:
        while not over.wait(0.2):
            again = {
                pod["metadata"]["uid"]
                for pod in items(cluster, "v1", "Pod")
                for one in pod["status"].get("initContainerStatuses") or []
                if one["restartCount"]
            }
            for claim in items(cluster, "resource.k8s.io/v1", "ResourceClaim"):
                users = {one["uid"] for one in claim["status"].get("reservedFor") or []}
                own = {key: claim["metadata"][key] for key in ("name", "namespace")}
                if users & again and claim["metadata"]["uid"] not in taken:
                    taken.add(claim["metadata"]["uid"])
                    with suppress(ApiException):  # it is gone
                        claims.status.patch(
                            body={"status": {"reservedFor": None}},
                            content_type="application/merge-patch+json",
                            **own,
                        )

    controller = Thread(target=take)
    controller.start()
    try:
        yield []
    finally:
        over.set()
        controller.join()


@row(
    "the controllers are stopped",
    says="PF-10",
    words="has no service account yet",
    next="is kube-controller-manager alive?",
    hasty=True,
)
def _controllers_stopped(cluster: DriverCluster) -> Iterator[Options]:
    with stopped(cluster, "kube-controller-manager"):
        yield []


@row(
    "the API server does not answer for 20 s in the middle of a run",
    says="",
    words="",
    next="",
    during=True,
)
def _api_server_away(cluster: DriverCluster) -> Iterator[Options]:
    with stopped(cluster, "kube-apiserver"):
        time.sleep(20)
    yield []
