"""A claim of several devices gets different ones, also where claims share devices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.cluster.features import State
from harness.cluster.kinds import CLAIM, SLICE
from harness.cluster.kube import Kube
from harness.cluster.profile import named
from harness.scenario.evidence import Evidence
from harness.scenario.run import RESTRICTED, Run, Subject
from harness.scenario.steps import Steps
from tests.harness.fake_api import FakeApi
from tests.harness.possessions import a_run
from tests.suite.made import DEVICES

PROFILES = Path(__file__).parents[2] / "profiles"
DRIVER = DEVICES[0].driver
GATE = "DRAConsumableCapacity"


@pytest.fixture
def run(kube: Kube, tmp_path: Path) -> Iterator[Run]:
    """A run on a cluster that has the field for it."""
    run = a_run(kube, tmp_path)
    nvidia = named("nvidia", PROFILES)
    subject = Subject(DRIVER, nvidia, "resource.k8s.io/v1", "image", {})
    run.subject = replace(subject, features={GATE: State.ON})
    run.open_namespace(RESTRICTED)
    yield run
    run.close()


def publish(api: FakeApi, run: Run, **of_the_last: Any) -> None:
    """Have two GPUs, the last of which has more fields."""
    devices: list[dict[str, Any]] = [
        {
            "name": f"gpu-{number}",
            "attributes": {"type": {"string": "gpu"}, "uuid": {"string": f"GPU-{number}"}},
        }
        for number in range(2)
    ]
    devices[-1] |= of_the_last
    pool = {"name": "node-1", "generation": 1, "resourceSliceCount": 1}
    api.put(
        {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "ResourceSlice",
            "metadata": {"name": "slice"},
            "spec": {"driver": DRIVER, "nodeName": "node-1", "pool": pool, "devices": devices},
        }
    )
    run.observer.observe(SLICE)


def constraints(api: FakeApi, run: Run, count: int) -> Any:
    """What a claim of so many devices says of all of them."""
    Steps(run, Evidence("scenario"), None, RESTRICTED).claim(count)
    (claim,) = (one for one in api.objects.values() if one["kind"] == CLAIM.name)
    return claim["spec"]["devices"].get("constraints")


def test_devices_that_claims_share_are_told_apart(run: Run, api: FakeApi) -> None:
    """Or one would do for both requests, as the API allows."""
    publish(api, run, allowMultipleAllocations=True)
    assert constraints(api, run, 2) == [{"distinctAttribute": f"{DRIVER}/uuid"}]


@pytest.mark.parametrize(
    ("count", "shared", "state"),
    [(1, True, State.ON), (2, False, State.ON), (2, True, State.OFF)],
)
def test_else_nothing_is_said(
    count: int, shared: bool, state: State, run: Run, api: FakeApi
) -> None:
    """Of one device, of devices that nobody shares, and where the field would be dropped."""
    run.subject = replace(run.subject, features={GATE: state})
    publish(api, run, allowMultipleAllocations=shared)
    assert not constraints(api, run, count)
