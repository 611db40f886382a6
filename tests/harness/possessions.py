"""A run against the fake API server, and the control loops that take away what is deleted."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from harness.cluster.kinds import KINDS, NAMESPACE, Object
from harness.cluster.kube import Kube
from harness.options import resolve
from harness.scenario.run import ClusterInfo, Run
from harness.verdict.outcome import Record
from tests.harness.fake_api import FakeApi

MANIFESTS = Path(__file__).parents[2] / "fixtures" / "manifests"
CLUSTER = ClusterInfo("a cluster", "the cluster's", own=False)


class Controllers:
    """End what is deleted, unless it is held; a namespace takes its content along."""

    def __init__(self, api: FakeApi) -> None:
        self.api = api
        self.held: set[str] = set()
        """Names of what a finalizer holds."""
        api.reactions.append(self._react)

    def _react(self, change: str, obj: Object) -> None:
        metadata = obj["metadata"]
        if change == "DELETED" or not metadata.get("deletionTimestamp"):
            return
        if obj["kind"] == NAMESPACE.name:
            inside = [key for key in self.api.objects if key[1] == metadata["name"]]
            for kind, namespace, name in inside:
                if name not in self.held:
                    self.api.remove(KINDS[kind], namespace, name)
            if any(name in self.held for _, _, name in inside):
                return
        if metadata["name"] not in self.held:
            self.api.remove(KINDS[obj["kind"]], metadata.get("namespace") or "", metadata["name"])


def a_run(kube: Kube, folder: Path, run_id: str = "20261123-000000-abcd", **options: Any) -> Run:
    """A run with some options other than their defaults."""
    return Run(
        run_id=run_id,
        options=dataclasses.replace(resolve({}, {}, folder), **options),
        manifests=MANIFESTS,
        kube=kube,
        cluster=CLUSTER,
        record=Record(),
    )


def thing(kind: str, name: str, namespace: str, **metadata: Any) -> Object:
    """An object with nothing in it."""
    return {
        "apiVersion": KINDS[kind].api_version,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, **metadata},
        **({"spec": {"devices": {"requests": []}}} if kind == "ResourceClaim" else {}),
    }
