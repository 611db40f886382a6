"""A container that has nothing of its claims: whether the runtime or the driver is why."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.scenario.evidence import Container
from harness.scenario.node_files import File
from harness.scenario.runtime import is_asked, named_nothing, shows_something, why_nothing
from harness.verdict.causes import RUNTIME_OR_DRIVER, RUNTIME_WITHOUT_CDI, Cause
from harness.verdict.finding import Blame, FailedError, InconclusiveError
from tests.suite.made import DEVICES, made, report, using, with_claim

KIND = "k8s.gpu.example.com/claim"
EDITS: dict[str, Any] = {"env": ["GPU=gpu-0"], "deviceNodes": [{"path": "/dev/nvidia0"}]}


def state(*ids: str, claim: str = "u-1") -> str:
    """The kubelet's state of a claim, as Kubernetes 1.37 writes it."""
    device = {"PoolName": "node-1", "DeviceName": "gpu-0", "CDIDeviceIDs": [*ids]}
    entry = {"ClaimUID": claim, "DriverState": {"gpu.example.com": {"Devices": [device]}}}
    return json.dumps({"Data": json.dumps({"Entries": [entry]}), "Checksum": 1})


def cdi(name: str = "u-1-gpu-0", **edits: Any) -> str:
    """A CDI file with one device."""
    device = {"name": name, "containerEdits": edits}
    return json.dumps({"cdiVersion": "0.5.0", "kind": KIND, "devices": [device]})


@pytest.mark.parametrize(
    ("known", "file", "environment", "expected"),
    [
        (state(f"{KIND}=u-1-gpu-0"), cdi(**EDITS), {}, RUNTIME_WITHOUT_CDI),
        (state(f"{KIND}=u-1-gpu-0"), cdi(**EDITS), {"GPU": "gpu-0"}, None),
        (state(f"{KIND}=u-1-gpu-0"), cdi(mounts=[]), {}, None),
        (state(f"{KIND}=u-1-gpu-0"), cdi("u-1-gpu-1", **EDITS), {}, None),
        (state(), cdi(**EDITS), {}, None),
        (state(claim="u-2"), cdi(**EDITS), {}, RUNTIME_OR_DRIVER),
        ("", cdi(**EDITS), {}, RUNTIME_OR_DRIVER),
        ("[1]", cdi(**EDITS), {}, RUNTIME_OR_DRIVER),
        (None, cdi(**EDITS), {}, RUNTIME_OR_DRIVER),
    ],
    ids=[
        "the runtime left it out",
        "it is there",
        "the file says nothing",
        "the file has another device",
        "the driver named no device",
        "another claim",
        "an empty state",
        "an unknown state",
        "no state",
    ],
)
def test_what_is_on_the_node_tells(
    known: str | None, file: str, environment: dict[str, str], expected: Cause | None
) -> None:
    """Only where kubelet and driver have done their part is it the runtime."""
    files = [File("/run/cdi/u-1.json", "file", 1, text=file)]
    if known is not None:
        files.append(File("/var/lib/kubelet/dra_manager_state", "file", 1, text=known))
    assert why_nothing({"u-1"}, files, report(environment=environment)) is expected


def pod(**container: Any) -> dict[str, Any]:
    """A pod with one container."""
    return {"spec": {"nodeName": "node-1", "containers": [{"name": "user", **container}]}}


@pytest.mark.parametrize(
    ("shown", "parts"),
    [
        (False, {}),
        (False, {"environment": {"PATH": "/bin"}}),
        (True, {"environment": {"ONE": f"{DEVICES[1].uuid},x"}}),
        (False, {"environment": {"DRA_GPUS": DEVICES[0].uuid}}),
        (True, {"device_nodes": ("dri/card0",)}),
    ],
)
def test_what_shows_a_device(shown: bool, parts: dict[str, Any]) -> None:
    """That of another claim, too: then the runtime has given something."""
    told = report(**{"device_nodes": (), **parts})
    evidence = with_claim(made("scenario", user=told), "gpus", DEVICES[0])
    container = using(evidence, "user", "gpus").container("user")
    container.pod = pod(env=[{"name": "DRA_GPUS", "value": "told by the suite"}])
    assert shows_something(container, told) is shown


def test_only_what_has_devices_by_cdi_is_asked() -> None:
    """Not a container without claims, nor one that sees every device of the node."""
    claims = {"claims": [{"name": "gpus"}]}
    assert is_asked(pod(resources=claims), "user")
    assert not is_asked(pod(resources={}), "user")
    assert not is_asked(pod(resources=claims, securityContext={"privileged": True}), "user")


@pytest.mark.parametrize(
    ("names", "named_none"),
    [
        (["gpu.example.com/node-1/gpu-0"], True),
        ([f"{KIND}=u-1-gpu-0"], False),
        (["gpu.example.com/node-1/gpu-0", f"{KIND}=u-1-gpu-1"], False),
        ([], False),
    ],
    ids=["no CDI device", "a CDI device", "for one of two devices", "nothing is told"],
)
def test_the_status_of_a_pod_tells_that_no_cdi_device_was_named(
    names: list[str], named_none: bool
) -> None:
    """Where its kubelet tells of devices."""
    told = [{"name": "claim:gpus", "resources": [{"resourceID": name} for name in names]}]
    status = {"containerStatuses": [{"name": "user", "allocatedResourcesStatus": told}]}
    assert named_nothing({**pod(), "status": status}, "user") is named_none


@pytest.mark.parametrize(
    ("shows", "cause", "blame"),
    [
        ({"user": False}, RUNTIME_OR_DRIVER, Blame.CLUSTER),
        ({"user": False}, None, Blame.DRIVER),
        ({"user": False, "other": None}, RUNTIME_WITHOUT_CDI, Blame.CLUSTER),
        ({"user": False, "other": True}, RUNTIME_OR_DRIVER, Blame.DRIVER),
        ({"user": None}, RUNTIME_OR_DRIVER, Blame.DRIVER),
    ],
)
def test_the_driver_alone_is_not_blamed(
    shows: dict[str, bool | None], cause: Cause | None, blame: Blame
) -> None:
    """Where no container of a scenario has anything, and the runtime may be why."""
    evidence = made("scenario")
    evidence.runtimes = {"node-1": cause}
    for role, shown in shows.items():
        evidence.containers[role] = container = Container(role)
        container.pod, container.shows_something = pod(), shown
    with pytest.raises((FailedError, InconclusiveError)) as raised:
        evidence.fail("the container has no device", expected="gpu-0", observed="no device")
    assert raised.value.finding.blame is blame
    assert isinstance(raised.value, FailedError) == (blame is Blame.DRIVER)
