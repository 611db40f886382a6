"""The reference driver keeps the node contract: over real gRPC, without a cluster."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import grpc
import pytest

from embedded.drivers.reference.kubelet_plugin import DRIVER
from tests.drivers.api_server import NODE, SECONDS
from tests.drivers.node import Instance, Node

COMMON = ["/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidiactl"]


@pytest.fixture
def driver(node: Node) -> Iterator[Instance]:
    """A running driver."""
    with node.driver() as running:
        yield running


def registration(node: Node, channel: grpc.Channel) -> Any:
    """The stub of the registration service."""
    return node.services.pluginregistration_v1_pb2_grpc.RegistrationStub(channel)


def test_registers_with_services_that_it_serves(node: Node, driver: Instance) -> None:
    """Type, name and endpoint are right, the newest version comes first, all of them answer."""
    with grpc.insecure_channel(f"unix:{node.registry}/{DRIVER}-reg.sock") as channel:
        messages = node.services.pluginregistration_v1_pb2
        info = registration(node, channel).GetInfo(messages.InfoRequest(), timeout=SECONDS)
    assert (info.type, info.name) == ("DRAPlugin", DRIVER)
    assert info.endpoint == str(node.folder / "dra.sock")
    plugins = [one for one in info.supported_versions if one.endswith(".DRAPlugin")]
    assert plugins == ["v1.DRAPlugin", "v1beta1.DRAPlugin"]
    for version in ("v1", "v1beta1"):
        assert not driver.prepare(version=version)
    health = [one for one in info.supported_versions if one.endswith(".DRAResourceHealth")]
    assert health == ["v1.DRAResourceHealth", "v1alpha1.DRAResourceHealth"]


def test_is_registered_when_the_kubelet_says_so(node: Node, driver: Instance) -> None:
    """A refused registration is not one."""
    with grpc.insecure_channel(f"unix:{node.registry}/{DRIVER}-reg.sock") as channel:
        messages = node.services.pluginregistration_v1_pb2
        for registered in (True, False):
            status = messages.RegistrationStatus(plugin_registered=registered, error="no")
            registration(node, channel).NotifyRegistrationStatus(status, timeout=SECONDS)
            assert driver.plugin.registered.is_set() is registered


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_prepares_exactly_what_was_allocated(node: Node, driver: Instance, version: str) -> None:
    """The answer names the allocated devices, and their CDI IDs lead to their device nodes."""
    claim = node.allocate("two", "gpu-3", "gpu-1")
    answers = driver.prepare(claim, version=version)
    assert list(answers) == [claim[2]]
    devices = answers[claim[2]].devices
    assert [(one.pool_name, one.device_name, list(one.request_names)) for one in devices] == [
        (NODE, "gpu-3", ["request-0"]),
        (NODE, "gpu-1", ["request-1"]),
    ]
    assert all(claim[2] in name for one in devices for name in one.cdi_device_ids)
    injected = driver.prepared(claim, version)
    assert injected["deviceNodes"] == sorted([*COMMON, "/dev/nvidia1", "/dev/nvidia3"])
    assert injected["env"] == [f"REFERENCE_GPU_{n}={node.gpus[n].uuid}" for n in (1, 3)]
    assert "/usr/lib/x86_64-linux-gnu/libcuda.so.1" in injected["mounts"]
    assert "/usr/bin/nvidia-smi" in injected["mounts"]


def test_one_device_of_a_claim_brings_no_other(node: Node, driver: Instance) -> None:
    """A container that uses one request of a claim gets that request's GPU."""
    claim = node.allocate("two", "gpu-0", "gpu-1")
    second = driver.prepare(claim)[claim[2]].devices[1]
    assert node.injected(list(second.cdi_device_ids))["deviceNodes"] == sorted(
        [*COMMON, "/dev/nvidia1"]
    )


def test_preparing_again_changes_nothing(node: Node, driver: Instance) -> None:
    """The same answer, and the CDI file is not even written."""
    claim = node.allocate("one", "gpu-0")
    first = driver.prepare(claim)[claim[2]]
    (file,) = node.cdi.iterdir()
    written = file.stat().st_ino
    assert driver.prepare(claim)[claim[2]] == first
    assert file.stat().st_ino == written


def test_preparing_again_restores_what_was_lost(node: Node, driver: Instance) -> None:
    """The runtime's folder was emptied under a running driver (kubernetes/kubernetes#141966)."""
    claim = node.allocate("one", "gpu-0")
    before = driver.prepared(claim)
    for file in node.cdi.iterdir():
        file.unlink()
    assert driver.prepared(claim) == before


def test_a_restarted_driver_knows_its_claims(node: Node) -> None:
    """It restores their specifications, defends their devices, and can unprepare them."""
    claim = node.allocate("one", "gpu-0")
    with node.driver() as driver:
        before = driver.prepared(claim)
    for file in node.cdi.iterdir():
        file.unlink()
    with node.driver() as driver:
        assert len(node.specifications()) == 1
        assert "gpu-0 is in use" in driver.refusal(node.allocate("other", "gpu-0"))
        assert driver.prepared(claim) == before
        assert not driver.unprepare(claim)[claim[2]].error
        assert not node.specifications()


def test_a_newer_version_knows_the_claims_of_the_one_before(node: Node) -> None:
    """And its own; the older one does not start on those, but it does once there are none."""
    claim, other = node.allocate("one", "gpu-0"), node.allocate("other", "gpu-1")
    with node.driver() as driver:
        before = driver.prepared(claim)
    for version in (2, 2):
        with node.driver(version) as driver:
            assert driver.prepared(claim) == before
            driver.prepared(other)
            assert len(node.specifications()) == 2
    with pytest.raises(ValueError, match="schema 2, not 1 or older"), node.driver():
        pass
    with node.driver(2) as driver:
        for one in (claim, other):
            assert not driver.unprepare(one)[one[2]].error
        assert not node.specifications()
    with node.driver() as driver:
        assert driver.prepared(claim) == before


def test_a_fault_at_an_upgrade_is_none_at_a_restart(node: Node) -> None:
    """What the same version has prepared is not concerned."""
    for fault, version, there, kept in (
        *(("removes-cdi-files-at-upgrade", 1, 1, 0), ("forgets-at-upgrade", 1, 1, 0)),
        *(("removes-cdi-files-at-upgrade", 2, 0, 0), ("forgets-at-upgrade", 2, 1, 1)),
    ):
        claim = node.allocate("one", "gpu-0")
        with node.driver() as driver:
            driver.prepared(claim)
        node.fault(fault)
        with node.driver(version) as driver:
            assert len(node.specifications()) == there
            node.fault(None)
            assert not driver.unprepare(claim)[claim[2]].error
            assert len(node.specifications()) == kept


def test_after_a_reboot_claims_are_prepared_anew(node: Node) -> None:
    """What has a pod gets prepared again; what lost its pod does not block its device."""
    kept, lost = node.allocate("kept", "gpu-0"), node.allocate("lost", "gpu-1")
    with node.driver() as driver:
        before = driver.prepared(kept)
        driver.prepared(lost)
    for file in node.cdi.iterdir():
        file.unlink()
    node.cdi.rmdir()
    node.boot_id = "second boot"
    del node.api.claims["default/lost"]
    with node.driver() as driver:
        assert driver.prepared(kept) == before
        assert driver.prepared(node.allocate("next", "gpu-1"))
        assert not driver.unprepare(lost)[lost[2]].error


def test_a_reboot_that_keeps_files_leaves_no_specification(node: Node) -> None:
    """Not every node has /var/run on a tmpfs."""
    with node.driver() as driver:
        driver.prepared(node.allocate("one", "gpu-0"))
    node.boot_id = "second boot"
    with node.driver():
        assert not node.specifications()


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_unpreparing_what_is_not_prepared_succeeds(
    node: Node, driver: Instance, version: str
) -> None:
    """Every claim has an entry without error: unknown, unprepared twice, or never existing."""
    claim, unknown = node.allocate("one", "gpu-0"), ("default", "unknown", "no-such-uid")
    driver.prepared(claim)
    for _ in range(2):
        answers = driver.unprepare(claim, unknown, version=version)
        assert sorted(answers) == sorted([claim[2], unknown[2]])
        assert not any(answer.error for answer in answers.values())
    assert not node.specifications()


def test_unpreparing_needs_no_claim(node: Node, driver: Instance) -> None:
    """The claim is deleted by then; its device is free afterwards."""
    claim = node.allocate("one", "gpu-0")
    driver.prepared(claim)
    del node.api.claims["default/one"]
    assert not driver.unprepare(claim)[claim[2]].error
    driver.prepared(node.allocate("next", "gpu-0"))


def test_a_failing_claim_stops_no_other(node: Node, driver: Instance) -> None:
    """Errors are the claims' own, and say what is wrong."""
    good, unallocated = node.allocate("good", "gpu-0"), node.allocate("unallocated", "gpu-1")
    del node.api.claims["default/unallocated"]["status"]["allocation"]
    replaced = ("default", node.allocate("replaced", "gpu-2")[1], "an-older-uid")
    missing = ("default", "missing", "some-uid")
    answers = driver.prepare(missing, replaced, unallocated, good)
    assert len(answers) == 4
    assert "404" in answers[missing[2]].error
    assert "default/replaced was replaced" in answers[replaced[2]].error
    assert "default/unallocated is not allocated" in answers[unallocated[2]].error
    assert not answers[good[2]].error
    assert len(node.specifications()) == 1


def test_refuses_a_device_that_is_in_use(node: Node, driver: Instance) -> None:
    """Until the claim that has it is unprepared; the refused one leaves nothing behind."""
    first, second = node.allocate("first", "gpu-0"), node.allocate("second", "gpu-1", "gpu-0")
    driver.prepared(first)
    assert "gpu-0 is in use by ResourceClaim default/first" in driver.refusal(second)
    driver.prepared(node.allocate("third", "gpu-1"))
    driver.unprepare(first, node.allocate("third", "gpu-1"))
    assert len(node.specifications()) == 1


def test_admin_access_shares_a_device(node: Node, driver: Instance) -> None:
    """An administrator's claim gets a device in use, and takes nothing away when it goes."""
    user, admin = node.allocate("user", "gpu-0"), node.allocate("admin", "gpu-0")
    results = node.api.claims["default/admin"]["status"]["allocation"]["devices"]["results"]
    results[0]["adminAccess"] = True
    driver.prepared(admin)
    before = driver.prepared(user)
    driver.unprepare(admin)
    assert driver.prepared(user) == before
    assert driver.prepared(admin)["deviceNodes"] == before["deviceNodes"]


def test_ignores_what_is_for_other_drivers(node: Node, driver: Instance) -> None:
    """Devices and configurations of another driver in the same claim."""
    foreign = {"driver": "gpu.other.example", "pool": "p", "device": "d", "request": "r"}
    config = {"source": "FromClaim", "opaque": {"driver": "gpu.other.example", "parameters": {}}}
    claim = node.allocate("mixed", "gpu-0", config=[config])
    allocation = node.api.claims["default/mixed"]["status"]["allocation"]
    allocation["devices"]["results"].insert(0, foreign)
    answer = driver.prepare(claim)[claim[2]]
    assert [one.device_name for one in answer.devices] == ["gpu-0"]


def test_names_the_request_not_its_alternative(node: Node, driver: Instance) -> None:
    """Of a prioritized list (KEP-4816) the result has ``request/alternative``."""
    claim = node.allocate("list", "gpu-0")
    results = node.api.claims["default/list"]["status"]["allocation"]["devices"]["results"]
    results[0]["request"] = "gpu/small"
    assert list(driver.prepare(claim)[claim[2]].devices[0].request_names) == ["gpu"]


def parameters(source: str, *requests: str, **fields: Any) -> dict[str, Any]:
    """An entry of an allocation's ``config`` for this driver."""
    content = {"apiVersion": f"{DRIVER}/v1", "kind": "GpuConfig", **fields}
    opaque = {"driver": DRIVER, "parameters": content}
    return {"source": source, "requests": list(requests), "opaque": opaque}


def labels(node: Node, driver: Instance, *config: dict[str, Any]) -> list[str]:
    """The labels that containers find with a claim of two devices."""
    claim = node.allocate("configured", "gpu-0", "gpu-1", config=list(config))
    found = driver.prepared(claim)["env"]
    driver.unprepare(claim)
    return sorted(one for one in found if "_LABEL=" in one)


def test_labels_devices_as_parameters_say(node: Node, driver: Instance) -> None:
    """Those of the request, or all; what the claim says goes before what the class says."""
    red, blue = (partial(parameters, label=label) for label in ("red", "blue"))
    both = ["REFERENCE_GPU_0_LABEL=red", "REFERENCE_GPU_1_LABEL=red"]
    assert labels(node, driver) == []
    assert labels(node, driver, red("FromClaim")) == both
    assert labels(node, driver, red("FromClaim", "request-1")) == both[1:]
    mixed = [both[0], "REFERENCE_GPU_1_LABEL=blue"]
    assert labels(node, driver, red("FromClass"), blue("FromClaim", "request-1")) == mixed


@pytest.mark.parametrize("source", ["FromClass", "FromClaim"])
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "NoSuchKind"}, "no parameters NoSuchKind of "),
        ({"label": "red", "nope": 1}, "GpuConfig has no field 'nope'"),
        ({"label": "no label"}, "label 'no label': give up to 63 letters, digits and dashes"),
        ({"timeSlice": "Huge"}, "timeSlice 'Huge': give Default, Short, Medium, Long"),
    ],
)
def test_refuses_parameters_that_it_does_not_understand(
    node: Node, driver: Instance, source: str, fields: dict[str, Any], said: str
) -> None:
    """And says what is wrong."""
    claim = node.allocate("configured", "gpu-0", config=[parameters(source, **fields)])
    assert said in driver.refusal(claim)
    driver.prepared(node.allocate("next", "gpu-0"))


def test_refuses_parameters_that_contradict_each_other(node: Node, driver: Instance) -> None:
    """Two labels of one claim for one device."""
    config = [parameters("FromClaim", label=label) for label in ("red", "blue")]
    claim = node.allocate("configured", "gpu-0", config=config)
    assert "request request-0 has two values of label: red and blue" in driver.refusal(claim)


def test_a_time_slice_is_there_as_long_as_the_claim(node: Node, driver: Instance) -> None:
    """Of the GPU that was asked for; a claim that asks for none changes nothing."""
    slices = [gpu.folder / "timeslice" for gpu in node.gpus[:2]]
    config = [parameters("FromClaim", "request-1", timeSlice="Long")]
    claim = node.allocate("configured", "gpu-0", "gpu-1", config=config)
    driver.prepared(claim)
    assert [file.exists() for file in slices] == [False, True]
    assert slices[1].read_text() == "3\n"
    driver.unprepare(claim)
    assert slices[1].read_text() == "0\n"


def test_files_tell_of_devices_as_long_as_the_claim_is_prepared(
    node: Node, driver: Instance
) -> None:
    """Where that is wanted: one a request, at the path for it."""
    node.fault("describes-devices")
    claim = node.allocate("claim", "gpu-1", "gpu-2")
    below = "/var/run/kubernetes.io/dra-device-attributes/resourceclaims/claim"
    mounted = driver.prepared(claim)["mounts"]
    paths = [f"{below}/request-{number}/{DRIVER}-metadata.json" for number in (0, 1)]
    assert [path for path in mounted if path.startswith(below)] == paths
    files = sorted((node.folder / "metadata" / claim[2]).glob("*.json"))
    assert [file.name for file in files] == ["request-0.json", "request-1.json"]
    told = json.loads(files[1].read_text())
    assert told["metadata"] == {
        "namespace": "default",
        "name": "claim",
        "uid": claim[2],
        "generation": 1,
    }
    ((device,),) = (request["devices"] for request in told["requests"])
    assert (device["pool"], device["name"]) == (NODE, "gpu-2")
    assert device["attributes"]["uuid"] == {"string": node.gpus[2].uuid}
    driver.unprepare(claim)
    assert not (node.folder / "metadata" / claim[2]).exists()


@pytest.mark.parametrize(("pool", "device"), [("node-2", "gpu-0"), (NODE, "gpu-4")])
def test_refuses_devices_that_it_does_not_have(
    node: Node, driver: Instance, pool: str, device: str
) -> None:
    """Of another node, or gone."""
    claim = node.allocate("wrong", device)
    results = node.api.claims["default/wrong"]["status"]["allocation"]["devices"]["results"]
    results[0]["pool"] = pool
    assert f"{pool}/{device}, which is not on node {NODE}" in driver.refusal(claim)


def test_a_new_allocation_replaces_the_old(node: Node, driver: Instance) -> None:
    """Claims can be deallocated and allocated anew under the same UID."""
    claim = node.allocate("moved", "gpu-0")
    driver.prepared(claim)
    results = node.api.claims["default/moved"]["status"]["allocation"]["devices"]["results"]
    results[0]["device"] = "gpu-1"
    assert "/dev/nvidia0" not in driver.prepared(claim)["deviceNodes"]
    driver.prepared(node.allocate("next", "gpu-0"))


def test_a_failed_preparation_leaves_nothing(node: Node, driver: Instance) -> None:
    """The specification cannot be written: the device stays free, on disk, too."""
    claim = node.allocate("unlucky", "gpu-0")
    node.cdi.write_text("in the way")
    assert "File exists" in driver.refusal(claim)
    node.cdi.unlink()
    driver.prepared(node.allocate("next", "gpu-0"))


def test_an_unreachable_api_is_an_error_of_the_claim(node: Node, driver: Instance) -> None:
    """The kubelet retries; what is prepared stays so."""
    claim = node.allocate("one", "gpu-0")
    node.api.failing = 503
    assert "503" in driver.refusal(claim)
    node.api.failing = 0
    driver.prepared(claim)


def test_the_token_is_read_anew(node: Node, driver: Instance) -> None:
    """The kubelet renews it under the running driver."""
    claim = node.allocate("one", "gpu-0")
    node.api.accepted_token = "second"
    assert "401" in driver.refusal(claim)
    node.api.token.write_text("second")
    driver.prepared(claim)


def test_prepares_concurrently(node: Node, driver: Instance) -> None:
    """Calls for different claims at the same time."""
    claims = [node.allocate(f"claim-{number}", f"gpu-{number}") for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(driver.prepare, claims))
    assert not any(answer.error for claim in answers for answer in claim.values())
    with node.driver() as restarted:
        assert "in use" in restarted.refusal(node.allocate("late", "gpu-2"))


def test_takes_over_the_sockets_of_a_killed_instance(node: Node) -> None:
    """They are still there, and nobody listens."""
    for path in (node.folder / "dra.sock", node.registry / f"{DRIVER}-reg.sock"):
        path.parent.mkdir(parents=True)
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))
    with node.driver() as driver:
        driver.prepared(node.allocate("one", "gpu-0"))


def test_removes_its_own_sockets_and_no_others(node: Node) -> None:
    """Removing the registration socket is how a driver deregisters."""
    with node.driver():
        other = node.registry / "other-reg.sock"
        other.touch()
        assert len(list(node.registry.iterdir())) == 2
    assert list(node.registry.iterdir()) == [other]
    assert not (node.folder / "dra.sock").exists()


def test_ends_gracefully(node: Node) -> None:
    """It deregisters first, then finishes what it has begun."""
    claim = node.allocate("one", "gpu-0")
    node.api.gate.clear()
    with ThreadPoolExecutor(2) as pool, node.driver() as driver:
        preparing = pool.submit(driver.prepare, claim)
        assert node.api.asked.wait(SECONDS)
        stopping = pool.submit(driver.plugin.stop)
        deadline = time.monotonic() + SECONDS
        while list(node.registry.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.001)
        assert not list(node.registry.iterdir())
        assert not stopping.done()
        node.api.gate.set()
        assert not preparing.result()[claim[2]].error
        stopping.result()
    assert len(node.specifications()) == 1


@pytest.mark.parametrize("content", ["", "{", "{}", '{"schema": 2}', '{"schema": 1, "claims": 0}'])
def test_does_not_start_on_a_checkpoint_that_it_cannot_read(node: Node, content: str) -> None:
    """Forgetting silently what is prepared would give devices away that are in use."""
    node.folder.mkdir(parents=True)
    (node.folder / "checkpoint.json").write_text(content)
    with pytest.raises(ValueError, match=r"checkpoint\.json is not a checkpoint"), node.driver():
        pass


def test_does_not_start_without_the_vendors_driver(node: Node) -> None:
    """The error says what is missing, and where it was looked for."""
    (node.driver_root / "usr/lib64/libcuda.so.1").unlink()
    with pytest.raises(FileNotFoundError, match=r"no libcuda\.so\.1 in .* of "), node.driver():
        pass


@pytest.mark.parametrize("version", ["v1", "v1alpha1"])
def test_reports_the_health_of_all_devices_at_once(
    node: Node, driver: Instance, version: str
) -> None:
    """The first message is complete; two watchers do not disturb each other."""
    messages = getattr(node.services, f"dra_health_{version}_pb2")
    services = getattr(node.services, f"dra_health_{version}_pb2_grpc")
    stub = services.DRAResourceHealthStub(driver.channel)
    streams = [stub.NodeWatchResources(messages.NodeWatchResourcesRequest()) for _ in range(2)]
    for stream in streams:
        devices = next(stream).devices
        assert [one.device.device_name for one in devices] == [gpu.name for gpu in node.gpus]
        assert {(one.device.pool_name, one.health) for one in devices} == {(NODE, messages.HEALTHY)}
        stream.cancel()


def test_ends_health_streams_itself(node: Node, driver: Instance) -> None:
    """Or every update of the driver would wait for the kubelet to leave."""
    messages, services = node.services.dra_health_v1_pb2, node.services.dra_health_v1_pb2_grpc
    stub = services.DRAResourceHealthStub(driver.channel)
    stream = stub.NodeWatchResources(messages.NodeWatchResourcesRequest())
    next(stream)
    driver.plugin.stop()
    assert not list(stream)


def test_shares_of_a_gpu_are_prepared_and_ended_each_for_itself(node: Node) -> None:
    """Two claims have one GPU, each with its own share of it; one has two shares."""
    share = {"driver": DRIVER, "pool": NODE, "device": "gpu-0"}
    results = [
        {
            **share,
            "request": name,
            "shareID": f"{name * 8}-uid",
            "consumedCapacity": {"memory": has},
        }
        for name, has in (("a", "1Gi"), ("b", "2Gi"), ("c", "3Gi"))
    ]
    two, one = node.allocate("two", results=results[:2]), node.allocate("one", results=results[2:])
    with node.driver() as driver:
        answers = driver.prepare(two)[two[2]].devices
        assert [answer.share_id for answer in answers] == ["aaaaaaaa-uid", "bbbbbbbb-uid"]
        for answer, wanted in zip(answers, ("AAAAAAAA=1Gi", "BBBBBBBB=2Gi"), strict=True):
            given = node.injected(list(answer.cdi_device_ids))["env"]
            assert [name for name in given if "SHARE" in name] == [
                f"REFERENCE_GPU_0_SHARE_{wanted}"
            ]
        assert "REFERENCE_GPU_0_SHARE_CCCCCCCC=3Gi" in driver.prepared(one)["env"]
        assert "gpu-0 is in use" in driver.refusal(node.allocate("whole", "gpu-0"))
        driver.unprepare(two)
        assert driver.prepared(one)["deviceNodes"].count("/dev/nvidia0") == 1
        assert not driver.prepare(two, version="v1beta1")[two[2]].error


def test_a_gpu_is_not_prepared_beside_its_parts(node: Node) -> None:
    """Its parts are, beside each other."""
    whole, one, other = (
        node.allocate(name, name) for name in ("gpu-1", "gpu-1-part-0", "gpu-1-part-1")
    )
    with node.driver() as driver:
        (variable,) = driver.prepared(one)["env"]
        assert variable.startswith("REFERENCE_GPU_1_PART_0=MIG-")
        driver.prepared(other)
        assert "gpu-1-part-0 is in use" in driver.refusal(whole)
        driver.unprepare(one, other)
        driver.prepared(whole)
        assert "gpu-1 is in use" in driver.refusal(other)
