"""The embedded cluster is a real one, and nothing of it is left."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes import config, dynamic

from building.errors import UserError
from building.progress import Progress
from embedded import cluster as embedded_cluster
from embedded.options import Options
from tests import footprint

pytestmark = pytest.mark.embedded

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def client(cluster: embedded_cluster.Cluster) -> dynamic.DynamicClient:
    """A client of the session's cluster."""
    return dynamic.DynamicClient(config.new_client_from_config(str(cluster.kubeconfig)))


def test_serves_the_pinned_kubernetes(client: dynamic.DynamicClient) -> None:
    """The API server says the version that was built."""
    assert client.version["kubernetes"]["gitVersion"] == "v1.37.2"


def test_the_drivers_slice_names_what_nvml_says(client: dynamic.DynamicClient) -> None:
    """The real driver found the simulated GPUs through NVML and published them."""
    slices = client.resources.get(api_version="resource.k8s.io/v1", kind="ResourceSlice").get()
    devices = [device for item in slices.to_dict()["items"] for device in item["spec"]["devices"]]
    assert len(devices) == 4
    products = {device["attributes"]["productName"]["string"] for device in devices}
    assert products == {"NVIDIA H100 80GB HBM3"}
    assert len({device["attributes"]["uuid"]["string"] for device in devices}) == 4


def test_the_kubelet_refuses_strangers(
    cluster: embedded_cluster.Cluster, client: dynamic.DynamicClient
) -> None:
    """Kubelet authentication and authorization are on: a user without rights gets no logs."""
    nodes = client.resources.get(api_version="v1", kind="Node")
    address = next(
        one["address"]
        for one in nodes.get(name="node-1").to_dict()["status"]["addresses"]
        if one["type"] == "InternalIP"
    )
    pid = embedded_cluster.node_root(cluster.name).parts[2]
    context = "import ssl,urllib.request as u; c=ssl._create_unverified_context()"
    asked = subprocess.run(
        [
            *("nsenter", "--net", "--target", pid, sys.executable, "-c"),
            f"{context}; u.urlopen('https://{address}:10250/pods', context=c)",
        ],
        capture_output=True,
        text=True,
    )
    assert "401" in asked.stderr


def test_a_client_without_certificate_gets_nothing(cluster: embedded_cluster.Cluster) -> None:
    """The API server does not let the anonymous user read."""
    server = config.new_client_from_config(str(cluster.kubeconfig)).configuration.host
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{server}/api/v1/nodes", context=context)
    refused.value.close()
    assert refused.value.code in (401, 403)


def test_a_pod_reaches_the_api_by_its_service(
    cluster: embedded_cluster.Cluster, client: dynamic.DynamicClient
) -> None:
    """Plain in-cluster configuration works: Service address, CA and token of the pod."""
    script = (
        "import os,ssl,urllib.request as u\n"
        "d='/var/run/secrets/kubernetes.io/serviceaccount/'\n"
        "h={'Authorization':'Bearer '+open(d+'token').read()}\n"
        "r=u.Request('https://%s:%s/version'%(os.environ['KUBERNETES_SERVICE_HOST'],"
        "os.environ['KUBERNETES_SERVICE_PORT']),headers=h)\n"
        "c=ssl.create_default_context(cafile=d+'ca.crt')\n"
        "print(u.urlopen(r,context=c).status)\n"
    )
    pods = client.resources.get(api_version="v1", kind="Pod")
    image = {"image": cluster.workload_image, "imagePullPolicy": "Never"}
    container = {"name": "main", "command": ["/opt/python/bin/python3", "-c", script], **image}
    pods.create(
        body={
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "reaches-the-api"},
            "spec": {"restartPolicy": "Never", "containers": [container]},
        },
        namespace="default",
    )
    for event in pods.watch(
        namespace="default", field_selector="metadata.name=reaches-the-api", timeout=30
    ):
        state = event["raw_object"]["status"].get("containerStatuses", [{}])[0].get("state", {})
        if "terminated" in state:
            break
    assert state["terminated"]["exitCode"] == 0
    pods.delete(name="reaches-the-api", namespace="default")


@pytest.fixture
def name() -> Iterator[str]:
    """Name of a cluster of the test's own, of which nothing may be left."""
    before = footprint.host()
    yield "leftovers"
    embedded_cluster.down("leftovers")
    assert not footprint.of_cluster("leftovers")
    assert footprint.host() == before


def test_down_leaves_nothing(name: str) -> None:
    """Up beside another cluster, then down: the machine is as it was."""
    embedded_cluster.up(Options(name=name, gpus="1", nodes=1), Progress())
    assert embedded_cluster.is_running(name)
    assert not embedded_cluster.deaths(name)
    assert footprint.of_cluster(name)
    assert embedded_cluster.down(name)
    assert not footprint.of_cluster(name)


@pytest.mark.parametrize("seconds", [0.6, 2.0, 3.5])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_up_leaves_nothing(name: str, seconds: float, number: signal.Signals) -> None:
    """Whenever ``up`` is stopped, by Ctrl-C or by a kill followed by ``down``."""
    process = subprocess.Popen(
        [sys.executable, "-m", "embedded", "up", "--name", name],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=footprint.as_on_a_terminal,  # noqa: PLW1509 - no thread is running yet
    )
    time.sleep(seconds)  # the moment of the interruption is what is tested
    os.killpg(process.pid, number)
    process.communicate()
    if number == signal.SIGKILL:
        embedded_cluster.down(name)
    assert not footprint.of_cluster(name)


def test_kill_of_every_process_leaves_nothing_after_down(name: str) -> None:
    """``kill -9`` of everything, then ``down``."""
    embedded_cluster.up(Options(name=name, gpus="1", nodes=1), Progress())
    for pid, _ in footprint.processes(name):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    assert embedded_cluster.down(name)
    assert not footprint.of_cluster(name)


def test_a_component_that_dies_is_named_with_the_end_of_its_log(name: str) -> None:
    """Status says which component died, and how."""
    embedded_cluster.up(Options(name=name, gpus="1", nodes=1), Progress())
    for pid, words in footprint.processes(name):
        if "kube-scheduler" in words:
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while not (died := embedded_cluster.deaths(name)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "kube-scheduler on control-plane was killed by signal 9" in died[0]
    assert "the end of kube-scheduler.log" in died[0]


def test_a_gate_that_kubernetes_does_not_know_is_named_by_kubernetes(name: str) -> None:
    """The start ends at once, with the component's own words and the option."""
    options = Options(name=name, gpus="1", nodes=1, feature_gates="NoSuchGate=true")
    with pytest.raises(UserError) as error:
        embedded_cluster.up(options, Progress())
    assert "unrecognized feature gate: NoSuchGate" in str(error.value)
    assert "--embedded-feature-gates NoSuchGate=true" in str(error.value)


def test_nodes_have_the_gpus_that_were_asked_for(name: str) -> None:
    """A mixed node, and one without GPUs beside it; an older API is served when asked for."""
    options = Options(
        name=name,
        gpus="1+2:NVIDIA GeForce RTX 4090,0",
        feature_gates="DRAConsumableCapacity=false",
        runtime_config="resource.k8s.io/v1beta2=true",
    )
    up = embedded_cluster.up(options, Progress())
    assert up.description.endswith(
        "2 nodes: node-1 with 1 x NVIDIA H100 80GB HBM3 and 2 x NVIDIA GeForce RTX 4090, "
        "node-2 with no GPU"
    )
    client = dynamic.DynamicClient(config.new_client_from_config(str(up.kubeconfig)))
    slices = client.resources.get(api_version="resource.k8s.io/v1beta2", kind="ResourceSlice")
    products = [
        (item["spec"]["nodeName"], device["attributes"]["productName"]["string"])
        for item in slices.get().to_dict()["items"]
        for device in item["spec"].get("devices") or ()
    ]
    assert sorted(products) == [
        ("node-1", "NVIDIA GeForce RTX 4090"),
        ("node-1", "NVIDIA GeForce RTX 4090"),
        ("node-1", "NVIDIA H100 80GB HBM3"),
    ]
    assert not embedded_cluster.deaths(name)
