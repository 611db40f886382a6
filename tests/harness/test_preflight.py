"""Steps of preflight by themselves; with a whole cluster they are in tests/suite."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.checks.check import Check, Force
from harness.cluster.inventory import Device
from harness.cluster.kube import Kube
from harness.cluster.profile import load
from harness.options import Impact
from harness.scenario.run import Run
from harness.scenario.scenario import Scenario
from harness.scenario.steps import Steps
from harness.session.preflight.context import Context
from harness.session.preflight.read_only import free_devices
from harness.session.selection import Planned, PlannedChecks
from harness.verdict.finding import InconclusiveError
from tests.harness.fake_api import FakeApi
from tests.harness.possessions import a_run

PROFILES = Path(__file__).parents[2] / "profiles"


def no_steps(_: Steps) -> None:
    """A script that is never run."""


FORMS = (
    Scenario("one", no_steps, devices=1),
    Scenario("two", no_steps, devices=2),
    Scenario("host", no_steps, frozenset({Impact.PRIVILEGED}), devices=0),
)
CHECK = Check("AA-001", "test_it", "area", "It MUST be.", Force.MUST, 1, "here", forms=FORMS)
GPU = Device("gpu.nvidia.com", "node-1", "gpu-0", "node-1", "GPU-0", "H100")


@pytest.fixture
def run(kube: Kube, tmp_path: Path) -> Iterator[Run]:
    """A run that may do nothing special."""
    run = a_run(kube, tmp_path)
    yield run
    run.close()


def context(run: Run, *devices: Device) -> Context:
    """What is known once the devices are."""
    found = Context(run, PlannedChecks(Planned(CHECK, form.name) for form in FORMS), PROFILES)
    found.profile, found.driver, found.devices = load(PROFILES / "nvidia.yaml"), GPU.driver, devices
    return found


def test_enough_devices_are_as_many_as_the_smallest_check_takes(run: Run) -> None:
    """Those that take more are left out, not the run; those that are not allowed do not count."""
    found = context(run, GPU)
    free_devices(found)
    assert (found.free, found.checks.possible()) == ({"node-1": 1}, [Planned(CHECK, "one")])


def test_a_run_that_can_make_nothing_ends(run: Run, api: FakeApi) -> None:
    """With who has the devices."""
    result = {"driver": GPU.driver, "pool": GPU.pool, "device": GPU.name}
    api.put(
        {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "ResourceClaim",
            "metadata": {"name": "train", "namespace": "team"},
            "spec": {"devices": {"requests": []}},
            "status": {"allocation": {"devices": {"results": [result]}}},
        }
    )
    with pytest.raises(InconclusiveError) as error:
        free_devices(context(run, GPU))
    assert str(error.value) == (
        "the checks need 1 free device on one node; free are 0 on node-1; held by team/train"
    )


@pytest.mark.parametrize(
    ("selector", "free"),
    [
        ({}, 0),
        ({"driver": GPU.driver}, 0),
        ({"driver": GPU.driver, "pool": "node-1", "device": "gpu-0"}, 1),
        ({"device": "gpu-9"}, 2),
        (None, 2),
    ],
)
def test_devices_that_a_rule_taints_are_not_free(
    selector: dict[str, str] | None, free: int, run: Run, api: FakeApi
) -> None:
    """An empty selector is about every device of every driver; the rule is named."""
    spec = {"taint": {"key": "example.com/maintenance", "effect": "NoSchedule"}}
    api.put(
        {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "DeviceTaintRule",
            "metadata": {"name": "everything"},
            "spec": spec if selector is None else {**spec, "deviceSelector": selector},
        }
    )
    found = context(run, GPU, replace(GPU, name="gpu-1"))
    if free:
        free_devices(found)
        assert found.free == {"node-1": free}
        return
    with pytest.raises(InconclusiveError) as error:
        free_devices(found)
    assert str(error.value) == (
        "the checks need 1 free device on one node; free are 0 on node-1:"
        " DeviceTaintRule everything keeps claims away from 2 devices"
    )
    assert error.value.finding.next.endswith("kubectl delete devicetaintrule everything ends it")


@pytest.mark.parametrize(
    ("capacity", "free"),
    [
        ({}, True),
        ({"memory": {"value": "80Gi", "requestPolicy": {"default": "10Gi"}}}, True),
        ({"memory": {"value": "80Gi", "requestPolicy": {"default": "50Gi"}}}, False),
        ({"memory": {"value": "80Gi"}}, False),
        (None, False),
    ],
)
def test_a_device_that_others_share_is_free_as_long_as_it_has_room(
    capacity: dict[str, Any] | None, free: bool, run: Run, api: FakeApi
) -> None:
    """Somebody has 40 GiB of it; a claim that does not say how much gets the default, or all."""
    result: dict[str, Any] = {"driver": GPU.driver, "pool": GPU.pool, "device": GPU.name}
    result |= {"shareID": "1", "consumedCapacity": {"memory": "40Gi"}}
    api.put(
        {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "ResourceClaim",
            "metadata": {"name": "train", "namespace": "team"},
            "spec": {"devices": {"requests": []}},
            "status": {"allocation": {"devices": {"results": [result]}}},
        }
    )
    entry: dict[str, Any] = {"name": GPU.name}
    if capacity is not None:
        entry |= {"allowMultipleAllocations": True, "capacity": capacity}
    found = context(run, replace(GPU, entry=entry))
    if free:
        free_devices(found)
        assert found.free == {"node-1": 1}
    else:
        with pytest.raises(InconclusiveError, match="held by team/train"):
            free_devices(found)
