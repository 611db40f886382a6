"""The reference driver publishes wrong things, and the checks that only read find them."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from embedded import cluster as embedded_cluster
from embedded.drivers.reference import await_fault, set_fault
from embedded.drivers.reference.image import NEXT_IMAGE_NAME
from embedded.drivers.reference.kubelet_plugin import DRIVER
from embedded.drivers.reference.kubelet_plugin.faults import FAULTS
from suites.__main__ import checks
from tests.admin import ROOT, environment, run_suite
from tests.drivers.cluster import DriverCluster, running
from tests.zoo.blame.hands import changed, items, there, until
from tests.zoo.matrix.rows import Made, Tell, Tried, row

pytestmark = pytest.mark.embedded

CHECKS = sorted(check.id for check in checks() if check.area == "slices")
FAULTY = 2
"""The node on which the driver misbehaves."""
FAULTY_NODE = f"node-{FAULTY}"


@pytest.fixture(scope="module")
def driver(kubernetes: str) -> Iterator[DriverCluster]:
    """A cluster of two nodes with the reference driver."""
    with running("reference", 2, kubernetes) as cluster:
        yield cluster


@pytest.fixture
def judge(
    driver: DriverCluster, tmp_path: Path, tell: Tell
) -> Callable[[], tuple[int, dict[str, Any]]]:
    """Run the checks as an admin does; answers exit code and results that are not bare passes."""

    def run() -> tuple[int, dict[str, Any]]:
        done = run_suite(
            driver.kubeconfig,
            tmp_path / "out",
            *("--dra-check", ",".join(CHECKS), ROOT / "suites" / "slices"),
        )
        tell(done.results)
        judged = [entry for entry in done.results if entry["area"] == "slices"]
        assert {entry["id"] for entry in judged} == set(CHECKS), done.printed
        told = [
            entry for entry in judged if entry["outcome"] not in ("pass", "skip") or entry["advice"]
        ]
        return done.code, {entry["id"]: entry for entry in told}

    return run


@pytest.fixture
def fault(driver: DriverCluster) -> Iterator[Callable[[str | None], None]]:
    """Puts a fault in force on one node and waits until it shows; none is left at the end."""
    root = embedded_cluster.node_root(driver.name, FAULTY)

    def switch(name: str | None) -> None:
        set_fault(root, name)
        await_fault(root)

    yield switch
    switch(None)


def test_a_replay_says_what_is_fixed(
    driver: DriverCluster, fault: Callable[[str | None], None], tmp_path: Path
) -> None:
    """Once the fault is switched off; nothing but what failed is made."""
    fault("no-product-name")
    out = tmp_path / "out"
    assert run_suite(driver.kubeconfig, out, "--dra-level", "0", ROOT / "suites").code == 1
    (run,) = out.iterdir()
    fault(None)
    done = subprocess.run(
        [sys.executable, "-m", "reports", "replay", run, f"--dra-output={tmp_path / 'again'}"],
        cwd=ROOT,
        env=environment(driver.kubeconfig),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"^ FIXED .*|.*STILL.*", done.stdout, re.MULTILINE) == [
        " FIXED         SLICE-004"
    ]
    (again,) = (tmp_path / "again").glob("*/results.json")
    made = [e["id"] for e in json.loads(again.read_text())["results"] if e["level"] is not None]
    assert made == ["SLICE-004"]


@row("reference", Tried("only what it publishes", Made.NOTHING))
def test_the_reference_driver_passes(judge: Any) -> None:
    """With nothing to say."""
    assert judge() == (0, {})


def rows(*table: tuple[str, str, str]) -> pytest.MarkDecorator:
    """A fault, the check that finds it, and words of its first line, as the matrix has them."""
    return pytest.mark.parametrize(
        ("name", "check", "words"),
        [
            pytest.param(
                *one,
                marks=row(
                    "reference", Tried(one[0], Made.REFERENCE, (one[1],), FAULTS[one[0]].sentence)
                ),
            )
            for one in table
        ],
    )


@rows(
    ("no-slices", "SLICE-001", f"runs on {FAULTY_NODE}, but no device of it"),
    ("published-twice", "SLICE-009", f"gpu-0-again of {FAULTY_NODE} have the same UUID"),
    ("pci-of-the-first-gpu", "SLICE-009", f"gpu-3 of {FAULTY_NODE} have the same PCI address"),
    ("pci-of-nvml", "SLICE-018", f"of {FAULTY_NODE} is '00000000:"),
    ("no-product-name", "SLICE-004", f"productName of gpu-3 of {FAULTY_NODE} is missing"),
    ("version-as-text", "SLICE-004", f"driverVersion of gpu-3 of {FAULTY_NODE} is of type str"),
    ("stale-version", "SLICE-016", f"GPUs of {FAULTY_NODE} have driver 580.159.4 (gpu-0) and"),
    ("empty-attribute", "SLICE-005", f"serial of gpu-3 of {FAULTY_NODE} is an empty text"),
    ("attribute-of-two-types", "SLICE-025", "index is int on gpu-0 of"),
    ("no-memory", "SLICE-026", f"memory of gpu-3 of {FAULTY_NODE} is 0"),
    ("milli-memory", "SLICE-026", f"memory of gpu-3 of {FAULTY_NODE} is 100m"),
    ("version-too-large", "SLICE-027", f"firmware of gpu-3 of {FAULTY_NODE} is too large: 92"),
    (
        "two-slashes",
        "SLICE-029",
        f"gpu.example/board/serial of gpu-3 of {FAULTY_NODE} has more",
    ),
    ("unknown-counter-set", "SLICE-031", f"gpu-3 of {FAULTY_NODE} draws on board, which its"),
    (
        "needs-more-than-there-is",
        "SLICE-032",
        f"gpu-3 of {FAULTY_NODE} draws 171041619968 of gpu-3/memory, which has 85520809984",
    ),
    ("gpu-beside-its-parts", "SLICE-008", f"gpu-3-part of {FAULTY_NODE} and the whole gpu-3"),
    ("half-a-pool", "SLICE-010", f"pool {FAULTY_NODE} is not whole: 1 of 2 slices of "),
)
def test_a_fault_turns_its_check_red(
    name: str, check: str, words: str, judge: Any, fault: Callable[[str | None], None]
) -> None:
    """That one only, and the driver is to blame."""
    fault(name)
    code, told = judge()
    assert (code, {entry["id"]: entry["outcome"] for entry in told.values()}) == (
        1,
        {check: "fail"},
    )
    assert words in told[check]["headline"]
    assert told[check]["finding"]["blame"] == "driver"


@rows(
    ("owned-by-nobody", "SLICE-022", f"the slice of {FAULTY_NODE} stays when the node goes"),
    ("own-prefix", "SLICE-028", f"serial of gpu-3 of {FAULTY_NODE} repeats the driver's name"),
    ("taint-without-domain", "SLICE-030", f"the taint unhealthy of gpu-3 of {FAULTY_NODE} has"),
    ("share-of-nothing", "SLICE-019", f"a share of gpu-3 of {FAULTY_NODE} may take nothing of"),
)
def test_a_fault_that_breaks_nothing_yet_is_advice(
    name: str, check: str, words: str, judge: Any, fault: Callable[[str | None], None]
) -> None:
    """It fails nothing."""
    fault(name)
    code, told = judge()
    assert (code, set(told)) == (0, {check})
    assert words in told[check]["headline"]


@pytest.mark.parametrize(
    ("expression", "check", "outcome", "words"),
    [
        pytest.param(
            'device.driver == "other"',
            *("DISC-010", "fail"),
            f"DeviceClass {DRIVER} matches none of the driver's devices",
            marks=row(
                "reference",
                Tried("its class matches none of its devices", Made.REFERENCE, ("DISC-010",)),
            ),
        ),
        pytest.param(
            f'device.attributes["{DRIVER}"].nosuch == "x"',
            *("DISC-015", "error"),
            f"DeviceClass {DRIVER} has an error on gpu-0 of node-1: no such key: nosuch",
            marks=row(
                "reference",
                Tried("its class selects by what no device has", Made.REFERENCE, ("DISC-015",)),
            ),
        ),
    ],
)
def test_a_wrong_class_is_found(
    expression: str, check: str, outcome: str, words: str, judge: Any, driver: DriverCluster
) -> None:
    """Without a claim of it."""
    classes = driver.kind("resource.k8s.io/v1", "DeviceClass")
    good = classes.get(name=DRIVER).to_dict()["spec"]["selectors"]
    merge = {"content_type": "application/merge-patch+json"}
    wrong = [{"cel": {"expression": expression}}]
    try:
        classes.patch(name=DRIVER, body={"spec": {"selectors": wrong}}, **merge)
        _, told = judge()
    finally:
        classes.patch(name=DRIVER, body={"spec": {"selectors": good}}, **merge)
    assert {name: entry["outcome"] for name, entry in told.items()} == {check: outcome}
    assert words in told[check]["headline"]


ZONES = [
    {"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]} for zone in "ab"
]
"""Terms of a node selector."""


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("place", "check", "words"),
    [
        pytest.param(
            {"nodeSelector": {"nodeSelectorTerms": ZONES}},
            *("SLICE-033", " has 2 terms"),
            marks=row(
                "reference",
                Tried("a device has two terms for its node", Made.REFERENCE, ("SLICE-033",)),
            ),
        ),
        pytest.param(
            {"nodeName": "gone"},
            *("SLICE-034", "another is published of gone, and there is no such"),
            marks=row(
                "reference",
                Tried("a device is of a node that is gone", Made.REFERENCE, ("SLICE-034",)),
            ),
        ),
    ],
)
def test_a_device_with_a_place_of_its_own_is_looked_at(
    place: dict[str, Any], check: str, words: str, judge: Any, driver: DriverCluster
) -> None:
    """As in a slice of several nodes."""
    with there(driver, slice_with(driver, DRIVER, place, perDeviceNodeSelection=True)):
        _, told = judge()
    assert {name: entry["outcome"] for name, entry in told.items()} == {check: "fail"}
    assert words in told[check]["headline"]
    assert told[check]["finding"]["blame"] == "driver"


def slice_with(
    driver: DriverCluster, whose: str, fields: dict[str, Any], **place: Any
) -> dict[str, Any]:
    """A ResourceSlice of a driver with one device, which is like the first that is published."""
    device = copy.deepcopy(driver.slices[0]["spec"]["devices"][0])
    uuid = {"string": "GPU-a0000000-0000-0000-0000-000000000000"}
    pci = {"resource.kubernetes.io/pciBusID": {"string": "0000:aa:00.0"}}
    attributes = {**device["attributes"], "uuid": uuid, **pci}
    device |= {"name": "another", "attributes": attributes, **fields}
    pool = {"name": "other", "generation": 1, "resourceSliceCount": 1}
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceSlice",
        "metadata": {"name": "other"},
        "spec": {"driver": whose, "pool": pool, "devices": [device], **place},
    }


@row("reference", Tried("its class matches devices of others", Made.REFERENCE, ("DISC-016",)))
@pytest.mark.matrix
def test_a_class_that_matches_devices_of_others_is_found(judge: Any, driver: DriverCluster) -> None:
    """Who asks for a device of it may be given one of these."""
    other = slice_with(driver, "other.example", {}, allNodes=True)
    (found,) = items(driver, "resource.k8s.io/v1", "DeviceClass")
    every = {"selectors": [{"cel": {"expression": "true"}}]}
    with there(driver, other), changed(driver, found, every, found["spec"]):
        _, told = judge()
    assert {name: entry["outcome"] for name, entry in told.items()} == {"DISC-016": "error"}
    assert "also matches a device of other.example" in told["DISC-016"]["headline"]


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("device", "more", "check", "outcome", "words"),
    [
        pytest.param(
            *("gone", {}),
            *("SLICE-024", "fail", f"gone of pool {FAULTY_NODE} is allocated, but not"),
            marks=row(
                "reference",
                Tried("an allocated device is not published", Made.REFERENCE, ("SLICE-024",)),
            ),
        ),
        pytest.param(
            *("gpu-0", {"bindingConditions": ["attached"], "bindingFailureConditions": ["failed"]}),
            *("SLICE-020", "pass", f"nobody sets attached of gpu-0 of pool {FAULTY_NODE}"),
            marks=row(
                "reference",
                Tried("nobody sets a binding condition", Made.REFERENCE, ("SLICE-020",)),
            ),
        ),
    ],
)
def test_what_claims_have_is_looked_at(
    device: str,
    more: dict[str, Any],
    check: str,
    outcome: str,
    words: str,
    judge: Any,
    driver: DriverCluster,
) -> None:
    """Whatever became of their pods: allocated long ago."""
    driver.claim("held", DRIVER, 1)
    claims = driver.kind("resource.k8s.io/v1", "ResourceClaim")
    result = {"request": "gpus", "driver": DRIVER, "pool": FAULTY_NODE, "device": device, **more}
    allocation = {
        "allocationTimestamp": "2026-01-01T00:00:00Z",
        "devices": {"results": [result]},
    }
    place = {"name": "held", "namespace": "default"}
    try:
        claims.status.patch(
            body={"status": {"allocation": allocation}},
            content_type="application/merge-patch+json",
            **place,
        )
        _, told = judge()
    finally:
        claims.delete(**place)
    assert {name: entry["outcome"] for name, entry in told.items()} == {check: outcome}
    assert words in told[check]["headline"]


@row("reference", Tried("never-ready", Made.REFERENCE, ("DISC-004",)))
@pytest.mark.matrix
def test_a_driver_that_is_not_ready_is_found(judge: Any, driver: DriverCluster) -> None:
    """Though it serves."""

    def ready() -> list[int]:
        found = items(driver, "apps/v1", "DaemonSet")
        return [one["status"].get("numberReady", 0) for one in found]

    with driver.fault("never-ready", [FAULTY]):
        until(lambda: ready() == [1], "a driver that is not ready")
        code, told = judge()
    until(lambda: ready() == [2], "a driver that is ready again")
    assert (code, {name: entry["outcome"] for name, entry in told.items()}) == (
        1,
        {"DISC-004": "fail"},
    )
    assert f"the driver's pod on {FAULTY_NODE} is not ready" in told["DISC-004"]["headline"]
    assert told["DISC-004"]["finding"]["blame"] == "driver"


@row("reference", Tried("nodes have two versions of it", Made.REFERENCE, ("DISC-011",)))
@pytest.mark.matrix
def test_a_driver_of_two_versions_is_advice(judge: Any, driver: DriverCluster) -> None:
    """As in the middle of an update that does not go on."""
    (daemon_set,) = items(driver, "apps/v1", "DaemonSet")
    template, strategy = (daemon_set["spec"][key] for key in ("template", "updateStrategy"))
    newer = copy.deepcopy(template)
    newer["spec"]["containers"][0]["image"] = NEXT_IMAGE_NAME
    later = {"updateStrategy": {"type": "OnDelete", "rollingUpdate": None}, "template": newer}
    with changed(driver, daemon_set, later, {"updateStrategy": strategy, "template": template}):
        pods = items(driver, "v1", "Pod")
        (old,) = (one["metadata"] for one in pods if one["spec"]["nodeName"] == FAULTY_NODE)
        driver.kind("v1", "Pod").delete(name=old["name"], namespace=old["namespace"])
        until(lambda: len(_ready_pods(driver) - {old["uid"]}) == 2, "the driver of both nodes")
        code, told = judge()
    until(lambda: _images(driver) == {template["spec"]["containers"][0]["image"]}, "one version")
    until(lambda: len(_ready_pods(driver)) == 2, "the driver of both nodes")
    assert (code, set(told)) == (0, {"DISC-011"})
    assert "2 images of the driver run, such as " in told["DISC-011"]["headline"]


def _ready_pods(driver: DriverCluster) -> set[str]:
    return {
        one["metadata"]["uid"]
        for one in items(driver, "v1", "Pod")
        for condition in one["status"].get("conditions") or []
        if condition["type"] == "Ready" and condition["status"] == "True"
    }


def _images(driver: DriverCluster) -> set[str]:
    return {one["spec"]["containers"][0]["image"] for one in items(driver, "v1", "Pod")}


@row("reference", Tried("a device plugin offers the same GPUs", Made.OTHERS, ("DISC-012",)))
@pytest.mark.matrix
def test_a_device_plugin_beside_the_driver_is_found(judge: Any, driver: DriverCluster) -> None:
    """It gives the same GPUs away."""
    nodes = driver.kind("v1", "Node")

    def offer(amount: str | None) -> None:
        offered = {f"{DRIVER}/gpu": amount}
        body = {"status": {"capacity": offered, "allocatable": offered}}
        merge = "application/merge-patch+json"
        nodes.status.patch(body=body, name=FAULTY_NODE, content_type=merge)

    offer("4")
    try:
        _, told = judge()
    finally:
        offer(None)
    assert {name: entry["outcome"] for name, entry in told.items()} == {"DISC-012": "error"}
    assert f"a device plugin offers 4 {DRIVER}/gpu on {FAULTY_NODE}" in told["DISC-012"]["headline"]


@row("reference", Tried("it may do everything", Made.REFERENCE, ("SEC-007",)))
@pytest.mark.matrix
def test_a_driver_that_may_do_everything_is_advice(judge: Any, driver: DriverCluster) -> None:
    """Who breaks into a node may then do so, too."""
    (pod, *_) = items(driver, "v1", "Pod")
    account = {"kind": "ServiceAccount", "name": pod["spec"]["serviceAccountName"]}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "everything"},
        "roleRef": role,
        "subjects": [{**account, "namespace": pod["metadata"]["namespace"]}],
    }
    with there(driver, binding):
        code, told = judge()
    assert (code, set(told)) == (0, {"SEC-007"})
    assert " may do everything" in told["SEC-007"]["headline"]


@row("reference", Tried("no policy confines it", Made.REFERENCE, ("DISC-013",)))
def test_a_driver_that_no_policy_confines_is_advice(judge: Any, driver: DriverCluster) -> None:
    """It may write slices of every node then."""
    bindings = driver.kind("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding")
    binding = bindings.get(name="dra-reference-driver").to_dict()
    bindings.delete(name="dra-reference-driver")
    try:
        code, told = judge()
    finally:
        kept = {key: binding[key] for key in ("apiVersion", "kind", "spec")}
        bindings.create(body={**kept, "metadata": {"name": "dra-reference-driver"}})
    assert (code, set(told)) == (0, {"DISC-013"})
    assert "no policy keeps the driver's account" in told["DISC-013"]["headline"]


@row("reference", Tried("a node is gone, its devices are not", Made.REFERENCE, ("SLICE-002",)))
def test_devices_of_a_node_that_is_gone_are_found(judge: Any, driver: DriverCluster) -> None:
    """What the advice before warns of. (The last test: the kubelet does not register again.)"""
    root = embedded_cluster.node_root(driver.name, FAULTY)
    set_fault(root, "owned-by-nobody")
    await_fault(root)
    driver.kind("v1", "Node").delete(name=FAULTY_NODE)
    driver.wait("v1", "Node", FAULTY_NODE, lambda node: node is None)
    code, told = judge()
    assert (code, set(told)) == (1, {"SLICE-002"})
    assert (
        f"there is no node {FAULTY_NODE}, and its slice publishes" in told["SLICE-002"]["headline"]
    )
