"""An embedded cluster with a chosen driver, and pods that look at what they get."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from kubernetes import client, config, dynamic

from building.binaries import KUBERNETES
from building.progress import Progress
from embedded import cluster as embedded_cluster
from embedded.drivers.reference import await_fault, set_fault

Object = dict[str, Any]

SECONDS = 60
"""A budget, not a delay."""

LOOK = """
import glob, json, os, subprocess, sys
inventory = subprocess.run(
    [sys.executable, "-m", "workload", "inventory"], capture_output=True, text=True
).stdout.splitlines()
seen = {
    "nodes": sorted(glob.glob("/dev/nvidia*")),
    "env": sorted(name for name in os.environ if "GPU" in name),
    "uuids": sorted(gpu["uuid"] for gpu in json.loads(inventory[-1])["gpus"]),
}
print(json.dumps(seen))
open("/dev/termination-log", "w").write(json.dumps(seen))
"""
"""A program for the workload's image: the device nodes, variables and CUDA devices that it has."""

SLEEP = "import signal, sys; signal.signal(signal.SIGTERM, sys.exit); signal.pause()"
"""A program that ends when its pod is deleted, at once."""


class DriverCluster:
    """The API of a cluster, in the words of these tests."""

    def __init__(self, cluster: embedded_cluster.Cluster) -> None:
        self.name = cluster.name
        self.kubeconfig = cluster.kubeconfig
        self.workload_image = cluster.workload_image
        self._client = dynamic.DynamicClient(
            config.new_client_from_config(config_file=str(cluster.kubeconfig))
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.client.close()

    def kind(self, api_version: str, kind: str) -> Any:
        """A kind of objects."""
        return self._client.resources.get(api_version=api_version, kind=kind)

    def get(self, path: str) -> str:
        """What the API server answers at a path, as it is."""
        text: str = self._client.request("get", path, serialize=False).data.decode()
        return text

    @property
    def slices(self) -> list[Object]:
        """All ResourceSlices."""
        found: list[Object] = (
            self.kind("resource.k8s.io/v1", "ResourceSlice").get().to_dict()["items"]
        )
        return found

    def claim(self, name: str, device_class: str, count: int) -> None:
        """Create a claim of so many devices."""
        request = {"name": "gpus", "exactly": {"deviceClassName": device_class, "count": count}}
        self.kind("resource.k8s.io/v1", "ResourceClaim").create(
            body={
                "apiVersion": "resource.k8s.io/v1",
                "kind": "ResourceClaim",
                "metadata": {"name": name},
                "spec": {"devices": {"requests": [request]}},
            },
            namespace="default",
        )

    def allocated(self, claim: str) -> list[Object]:
        """The entries that the slices have of a claim's devices."""
        found = self.kind("resource.k8s.io/v1", "ResourceClaim").get(
            name=claim, namespace="default"
        )
        results = found.to_dict()["status"]["allocation"]["devices"]["results"]
        names = {(result["pool"], result["device"]) for result in results}
        return [
            device
            for item in self.slices
            for device in item["spec"]["devices"]
            if (item["spec"]["pool"]["name"], device["name"]) in names
        ]

    def pod(self, name: str, claim: str, program: str) -> None:
        """Start a pod that runs a Python program with a claim's devices."""
        self.kind("v1", "Pod").create(
            body={
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name},
                "spec": {
                    "restartPolicy": "Never",
                    "resourceClaims": [{"name": "gpus", "resourceClaimName": claim}],
                    "containers": [
                        {
                            "name": "main",
                            "image": self.workload_image,
                            "imagePullPolicy": "Never",
                            "command": ["/opt/python/bin/python3", "-c", program],
                            "resources": {"claims": [{"name": "gpus"}]},
                        }
                    ],
                },
            },
            namespace="default",
        )

    def look(self, name: str, claim: str) -> Object:
        """Run `LOOK` in a pod with the claim, and delete the pod."""
        self.pod(name, claim, LOOK)
        pod = self.wait("v1", "Pod", name, lambda pod: "terminated" in state(pod))
        seen: Object = json.loads(state(pod)["terminated"]["message"])
        self.delete(name)
        return seen

    def create_slice_as(self, pod: Object, spec: Object) -> str:
        """Create a slice (dry run) with the token that a pod has; what the server says."""
        account, namespace = pod["spec"]["serviceAccountName"], pod["metadata"]["namespace"]
        bound = {"kind": "Pod", "apiVersion": "v1"}
        bound |= {key: pod["metadata"][key] for key in ("name", "uid")}
        token = self.kind("v1", "ServiceAccount").token.create(
            name=account,
            namespace=namespace,
            body={
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": {"boundObjectRef": bound},
            },
        )
        other = client.Configuration()
        own = self._client.configuration
        other.host, other.ssl_ca_cert = own.host, own.ssl_ca_cert
        other.api_key = {"authorization": f"Bearer {token.status.token}"}
        item = {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "ResourceSlice",
            "metadata": {"generateName": "another-"},
            "spec": spec,
        }
        with client.ApiClient(other) as as_pod:
            try:
                dynamic.DynamicClient(as_pod).resources.get(
                    api_version="resource.k8s.io/v1", kind="ResourceSlice"
                ).create(body=item, query_params=[("dryRun", "All")])
            except client.ApiException as error:
                return str(error.body)
        return "created"

    def delete(self, name: str) -> None:
        """Delete a pod and wait until it is gone: its claim is unprepared then."""
        self.kind("v1", "Pod").delete(name=name, namespace="default")
        self.wait("v1", "Pod", name, lambda pod: pod is None)

    def wait(
        self,
        api_version: str,
        kind: str,
        name: str,
        ready: Callable[[Any], Any],
        namespace: str = "default",
    ) -> Object:
        """Watch one object until ``ready(object)``; one that is not there is None."""
        resource = self.kind(api_version, kind)
        selector = {"namespace": namespace, "field_selector": f"metadata.name={name}"}
        listed = resource.get(**selector).to_dict()
        found: Any = next(iter(listed["items"]), None)
        if ready(found):
            return found or {}
        version = listed["metadata"]["resourceVersion"]
        events = resource.watch(**selector, resource_version=version, timeout=SECONDS)
        with closing(events):
            for event in events:
                found = None if event["type"] == "DELETED" else event["raw_object"]
                if ready(found):
                    return found or {}
        raise AssertionError(f"{kind} {name} after {SECONDS} s: {json.dumps(found, default=str)}")

    @contextmanager
    def fault(self, name: str | None, nodes: Iterable[int] = (1,)) -> Iterator[None]:
        """Have the reference driver misbehave on these nodes, in what it publishes already."""
        roots = [embedded_cluster.node_root(self.name, number) for number in nodes]
        try:
            for root in roots:
                set_fault(root, name)
            for root in roots:
                await_fault(root)
            yield
        finally:
            for root in roots:
                set_fault(root, None)

    def wait_for_slices(self, ready: Callable[[list[Object]], bool]) -> list[Object]:
        """Watch ResourceSlices until ``ready`` of all of them."""
        resource = self.kind("resource.k8s.io/v1", "ResourceSlice")
        with closing(resource.watch(timeout=SECONDS)) as events:
            if ready(now := self.slices):
                return now
            for _ in events:
                if ready(now := self.slices):
                    return now
        raise AssertionError(f"ResourceSlices after {SECONDS} s: {json.dumps(self.slices)}")


def state(pod: Object) -> Object:
    """The state of a pod's container."""
    found: Object = pod["status"].get("containerStatuses", [{}])[0].get("state", {})
    return found


@contextmanager
def running(
    driver: str, nodes: int = 1, kubernetes: str = KUBERNETES.minor
) -> Iterator[DriverCluster]:
    """A cluster with this driver, for the duration of a ``with`` block."""
    name = f"{driver.replace(',', '-').replace('+', '-')}-{os.getpid()}"
    options = embedded_cluster.Options(
        driver=driver, nodes=nodes, kubernetes=kubernetes, name=name, tied=True
    )
    try:
        with closing(DriverCluster(embedded_cluster.up(options, Progress()))) as cluster:
            yield cluster
    finally:
        embedded_cluster.down(name)
