"""The driver's pods are found by what they mount."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.cluster.inventory import Device
from harness.cluster.kinds import Object
from harness.cluster.kube import Kube
from harness.cluster.profile import NO_POD, Profile, named
from harness.session.preflight.context import Context
from harness.session.preflight.driver_pods import with_driver_pods
from harness.session.selection import PlannedChecks
from tests.harness.fake_api import FakeApi
from tests.harness.possessions import a_run, thing

PROFILES = Path(__file__).parents[2] / "profiles"
DRIVER = "gpu.example.org"
KUBELET = "/var/lib/kubelet"
OWN = (f"{KUBELET}/plugins/{DRIVER}/", f"{KUBELET}/plugins_registry")
EVERY = (f"{KUBELET}/plugins", f"{KUBELET}/plugins_registry")


def pod(name: str, *paths: str, image: str = "plugin") -> Object:
    """A pod that mounts folders of its node in its second container."""
    volumes = [{"name": f"v{n}", "hostPath": {"path": path}} for n, path in enumerate(paths)]
    mounts = [{"name": volume["name"]} for volume in volumes]
    labels = {"app": name, "controller-revision-hash": "1"}
    containers = [
        {"name": "proxy", "image": image},
        {"name": "main", "image": image, "volumeMounts": mounts},
    ]
    spec = {"nodeName": "n", "containers": containers, "volumes": volumes}
    return {**thing("Pod", name, "drivers", labels=labels), "spec": spec}


@pytest.fixture
def context(kube: Kube, tmp_path: Path) -> Iterator[Context]:
    """A preflight that knows driver and devices."""
    run = a_run(kube, tmp_path)
    device = Device(DRIVER, "n", "gpu-0", "n", "", "")
    yield Context(run, PlannedChecks(), PROFILES, driver=DRIVER, devices=(device,))
    run.close()


def found(context: Context, api: FakeApi, *pods: Object) -> Profile:
    """What the profile is where there are these pods."""
    for one in pods:
        api.put(one)
    return with_driver_pods(context, named("default", PROFILES))


@pytest.mark.parametrize("folders", [OWN, EVERY])
def test_the_only_pod_with_the_kubelets_folders_is_the_drivers(
    folders: tuple[str, ...], context: Context, api: FakeApi
) -> None:
    """By the labels that its successor has, too."""
    profile = found(context, api, pod("gpu", *folders), pod("web"), pod("log", KUBELET))
    assert (profile.plugin_selector, profile.plugin_container) == ("app=gpu", "main")


def test_the_folder_of_the_driver_says_more_than_that_of_all(
    context: Context, api: FakeApi
) -> None:
    """Another driver may have the latter."""
    profile = found(context, api, pod("net", *EVERY), pod("gpu", *OWN))
    assert profile.plugin_selector == "app=gpu"


@pytest.mark.parametrize(
    "pods",
    [
        (),
        (pod("one", *EVERY), pod("other", *EVERY)),
        (pod("storage", *EVERY, image="csi-node-driver-registrar"),),
        (pod("half", EVERY[0]),),
    ],
)
def test_where_it_is_not_clear_none_is_the_drivers(
    pods: tuple[Any, ...], context: Context, api: FakeApi
) -> None:
    """It might be restarted."""
    assert found(context, api, *pods).plugin_selector == NO_POD
