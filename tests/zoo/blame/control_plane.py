"""Faults of the scheduler and the API server."""

from __future__ import annotations

from collections.abc import Iterator

from tests.drivers.cluster import DriverCluster
from tests.zoo.blame import Options, row
from tests.zoo.blame.hands import stopped


@row(
    "the scheduler is stopped",
    says="PF-08",
    party="scheduler",
    words="the scheduler says nothing about the pod",
    next="is kube-scheduler alive?",
)
def _scheduler_stopped(cluster: DriverCluster) -> Iterator[Options]:
    with stopped(cluster, "kube-scheduler"):
        yield ["--dra-timeout-scale", "0.3"]
