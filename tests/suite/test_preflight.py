"""What a run says before its first check, against a cluster in this process."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.cluster.anchor import RUN_LABEL, anchor_name, lease_values, naming
from harness.cluster.kinds import DEVICE_CLASS, SLICE, Object
from harness.cluster.kinds import NODE as NODE_KIND
from harness.cluster.render import Manifests
from suites.__main__ import checks
from tests.forms import form_names
from tests.harness.fake_api import Log
from tests.suite.fake_cluster import DRIVER, GPUS, NODE, FakeCluster
from tests.suite.test_shared_claim import CASES, ROOT, end, run, start

ONE = ("--dra-check", "ALLOC-003")
INIT = ("--dra-check", "SHARE-002", str(ROOT / "suites" / "lifecycle"))
"""Which admin access serves."""
SHORT = ("--dra-timeout-scale", "0.1")
"""Only where a time limit has to be reached: a busy machine must not reach others."""
HELD = {"results": [{"request": "r", "driver": DRIVER, "pool": NODE, "device": "gpu-0"}]}


def slice_of(driver: str, name: str, **spec: Any) -> Object:
    """A slice of one more driver or pool."""
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceSlice",
        "metadata": {"name": name},
        "spec": {
            "driver": driver,
            "nodeName": NODE,
            "pool": {"name": name, "generation": 1, "resourceSliceCount": 1},
            "devices": [{"name": "device-0"}, {"name": "device-1"}],
            **spec,
        },
    }


def hold_all(cluster: FakeCluster) -> None:
    """Somebody else has all devices."""
    for device in GPUS:
        allocation = {"devices": {"results": [{**HELD["results"][0], "device": device}]}}
        cluster.api.put(
            {
                "apiVersion": "resource.k8s.io/v1",
                "kind": "ResourceClaim",
                "metadata": {"name": "train", "namespace": f"team-{device}"},
                "spec": {"devices": {"requests": []}},
                "status": {"allocation": allocation},
            }
        )


def add_second_driver(cluster: FakeCluster) -> None:
    """One that a profile knows, too."""
    cluster.api.put(slice_of("gpu.example.com", "other"))


def lose_a_slice(cluster: FakeCluster) -> None:
    """A pool says that it has two, and one is there."""
    pool = {"name": "half", "generation": 1, "resourceSliceCount": 2}
    cluster.api.put(slice_of(DRIVER, "half", pool=pool, devices=[]))


def change_devices(cluster: FakeCluster, change: Callable[[Object], object]) -> None:
    """The driver publishes its devices otherwise."""
    found = cluster.api.get(SLICE, "", "slice")
    assert found is not None
    for device in found["spec"]["devices"]:
        change(device)
    cluster.api.put(found)


def lose_an_identity(cluster: FakeCluster) -> None:
    """Nothing tells a device from others."""
    change_devices(cluster, lambda device: device["attributes"].pop("uuid"))


def taint_all(cluster: FakeCluster) -> None:
    """The driver lets nobody have a device."""
    taint = {"key": "gpu.example/broken", "effect": "NoSchedule"}
    change_devices(cluster, lambda device: device.update(taints=[taint]))


def set_clock(cluster: FakeCluster) -> None:
    """An hour ahead."""
    cluster.api.clock_ahead = 3600.0


def serve_old_versions(cluster: FakeCluster) -> None:
    """Of before the API was stable."""
    cluster.api.documents["/apis/resource.k8s.io"] = {"versions": [{"version": "v1alpha3"}]}


def publish_nothing(cluster: FakeCluster) -> None:
    """The driver is not there."""
    cluster.api.remove(SLICE, "", "slice")


def end_again_and_again(cluster: FakeCluster) -> None:
    """The driver's pod is there, and its program ends with an error."""
    publish_nothing(cluster)
    labels = {"dra-driver-nvidia-gpu-component": "kubelet-plugin"}
    state = {"waiting": {"reason": "CrashLoopBackOff"}}
    reactions, cluster.api.reactions = cluster.api.reactions, []  # it is not the workload's
    cluster.api.put(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "plugin", "namespace": "driver", "labels": labels},
            "spec": {"nodeName": NODE, "containers": [{"name": "gpus", "image": "i"}]},
            "status": {"containerStatuses": [{"name": "gpus", "state": state}]},
        }
    )
    cluster.api.reactions = reactions
    cluster.api.logs["driver", "plugin"] = Log([b"starting\nError: no NVML\n"], complete=True)


def publish_no_devices(cluster: FakeCluster) -> None:
    """The driver is there, and has nothing to offer."""
    publish_nothing(cluster)
    cluster.api.put(slice_of(DRIVER, NODE, devices=[]))


def belong_to_no_node(cluster: FakeCluster) -> None:
    """Devices that every node can reach, as DRA allows."""
    found = cluster.api.get(SLICE, "", "slice")
    assert found is not None
    del found["spec"]["nodeName"]
    cluster.api.put({**found, "spec": {**found["spec"], "allNodes": True}})


def allow_one_device(cluster: FakeCluster) -> None:
    """A quota of the namespace."""
    said = 'resourceclaims.resource.k8s.io "preflight" is forbidden: exceeded quota: one'

    def refuse(_path: str, obj: Object) -> tuple[int, str, str] | None:
        if obj["kind"] != "ResourceClaim" or obj["metadata"]["name"] != "preflight":
            return None
        many = obj["spec"]["devices"]["requests"][0]["exactly"].get("count", 1) > 1
        return (403, "Forbidden", said) if many else None

    cluster.api.fail = refuse


def have_no_class(cluster: FakeCluster) -> None:
    """Nobody can claim devices."""
    cluster.api.remove(DEVICE_CLASS, "", DRIVER)


def refuse_pods(cluster: FakeCluster) -> None:
    """A policy of the cluster."""
    said = 'admission webhook "policy" denied the request: no registry but ours'
    cluster.api.fail = lambda path, _: (403, "Forbidden", said) if "/pods" in path else None


def rewrite_labels(cluster: FakeCluster) -> None:
    """A policy of the cluster that takes away what new namespaces enforce."""

    def rewrite(_path: str, obj: Object) -> None:
        if obj["kind"] == "Namespace":
            obj["metadata"]["labels"].pop("pod-security.kubernetes.io/enforce", None)

    cluster.api.fail = rewrite


@pytest.mark.parametrize(
    ("spoil", "step", "outcome", "words"),
    [
        (serve_old_versions, "PF-02", "error", "does not serve resource.k8s.io in v1, v1beta2, v1"),
        (publish_nothing, "PF-03", "error", "no driver publishes devices.*DESIRED is 0"),
        (end_again_and_again, "PF-03", "fail", "ends again and again: Error: no NVML.*CrashLoop"),
        (publish_no_devices, "PF-03", "fail", f"slices without devices: {DRIVER}"),
        (belong_to_no_node, "PF-06", "error", "belongs to no one node, which this suite cannot"),
        (allow_one_device, "PF-10", "error", "claim of 2 devices.*exceeded quota.*--dra-namespace"),
        (have_no_class, "PF-04", "fail", f"there is no DeviceClass {DRIVER}"),
        (hold_all, "PF-07", "error", "held by team-gpu-0/train, team-gpu-1/train"),
        (hold_all, "PF-07", "error", "--dra-admin takes none, and says what can be said so"),
        (add_second_driver, "PF-03", "error", "choose one with --dra-driver gpu.example.com"),
        (lose_a_slice, "PF-05", "fail", "pool half has 1 of 2 slices of generation 1"),
        (lose_an_identity, "PF-06", "fail", "device gpu-0 is published without uuid"),
        (taint_all, "PF-08", "fail", "taints every one itself: gpu.example/broken=:NoSchedule"),
        (set_clock, "PF-14", "error", r"clock is 3(599|600|601) s ahead of this machine's"),
        (refuse_pods, "PF-10", "error", "no registry but ours"),
        (rewrite_labels, "PF-10", "error", "enforce is gone"),
    ],
)
def test_what_is_not_so_ends_the_run(
    spoil: Callable[[FakeCluster], None], step: str, outcome: str, words: str, tmp_path: Path
) -> None:
    """Code 10, or 1 if it is the driver's fault; one red case, and nothing of the run is left."""
    cluster = FakeCluster()
    spoil(cluster)
    before = cluster.left()
    ended = run(cluster, tmp_path, *ONE, *(SHORT if spoil in (lose_a_slice, taint_all) else ()))
    assert ended.red() == {step: outcome}, ended.output
    wanted = (1, "nonconformant") if outcome == "fail" else (10, "inconclusive")
    assert (ended.code, ended.results["verdict"]) == wanted
    (case,) = [entry for entry in ended.results["results"] if entry["id"] == step]
    assert re.search(words, f"{case['headline']}\n{case['body']}", re.DOTALL), case["body"]
    assert case["finding"]["next"]
    assert cluster.left() == before


def test_a_server_without_admin_access_is_not_asked_for_devices(tmp_path: Path) -> None:
    """It would drop the word, and the claims would take them."""
    cluster = FakeCluster()
    cluster.api.gates_off = {"adminAccess"}
    ended = run(cluster, tmp_path, *INIT, "--dra-admin")
    assert (ended.code, ended.red()) == (10, {"PF-10": "error"}), ended.output
    assert "the API server drops adminAccess from claims" in ended.output
    assert not [path for path in cluster.api.asked_to_create() if path.endswith("claims")]


def test_a_version_that_is_not_served_is_refused(tmp_path: Path) -> None:
    """With those that are; nothing is created, and no check is made."""
    cluster = FakeCluster(dra_api="v1beta2")
    ended = run(cluster, tmp_path, "--dra-api", "v1")
    assert (ended.code, list(ended.red())) == (10, ["PF-02"])
    (line,) = ended.first_lines()
    assert "does not serve resource.k8s.io in v1 (--dra-api); it serves v1alpha3, v1beta2" in line
    assert cluster.api.asked_to_create() == []
    assert ended.results["counts"]["skip"] == CASES


def test_a_wrong_option_of_the_embedded_cluster_starts_none(tmp_path: Path) -> None:
    """Exit 10 with option, value, and what would be right; nobody is sent to another cluster."""
    options = ("--dra-cluster", "embedded", "--embedded-kubernetes", "1.20")
    ended = end(start(tmp_path / "none", tmp_path, *options), tmp_path)
    assert (ended.code, ended.red()) == (10, {"PF-01": "error"})
    (line,) = ended.first_lines()
    assert line.startswith("PF-01 the embedded cluster cannot be started: --embedded-kubernetes ")
    (error,) = ended.junit.findall(".//error")
    assert "--embedded-kubernetes '1.20': must be one of 1.38, 1.37" in (error.text or "")
    assert "KUBECONFIG" not in (error.text or "")
    assert "--embedded-kubernetes '1.20': must be one of" in ended.output


def test_an_older_version_of_the_api_is_enough(tmp_path: Path) -> None:
    """What is served is found by discovery, and used for everything."""
    cluster = FakeCluster(dra_api="v1beta1")
    ended = run(cluster, tmp_path, *ONE)
    assert (ended.code, ended.red()) == (0, {}), ended.output
    assert ended.results["cluster"]["dra_api"] == "v1beta1"
    paths = {path for _, path, _ in cluster.api.requests if path.startswith("/apis/resource")}
    assert {path for path in paths if "/v1beta1/" not in path} == {"/apis/resource.k8s.io"}
    assert cluster.left() == []


def test_the_driver_is_named_where_there_are_two(tmp_path: Path) -> None:
    """Then it is clear which one."""
    cluster = FakeCluster()
    add_second_driver(cluster)
    ended = run(cluster, tmp_path, *ONE, "--dra-driver", DRIVER)
    assert (ended.code, ended.red()) == (0, {}), ended.output


def unknown_driver() -> FakeCluster:
    """A driver that no profile knows, with a class that is called otherwise."""
    cluster = FakeCluster()
    publish_nothing(cluster)
    expression = 'device.driver == "gpu.nobody.example"'
    cluster.api.put(slice_of("gpu.nobody.example", NODE))
    cluster.api.put(
        {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "DeviceClass",
            "metadata": {"name": "nobody"},
            "spec": {"selectors": [{"cel": {"expression": expression}}]},
        }
    )
    return cluster


def test_a_driver_that_no_profile_knows_is_tested_as_far_as_that_goes(tmp_path: Path) -> None:
    """What takes knowledge of its vendor is a named skip; the rest is judged, and conclusive."""
    ended = run(FakeCluster(driver="gpu.nobody.example"), tmp_path)
    assert (ended.code, ended.red(), ended.results["verdict"]) == (0, {}, "partial"), ended.output
    assert ended.results["driver"] == {
        "name": "gpu.nobody.example",
        "profile": "default",
        "product": "",
    }
    checks = [entry for entry in ended.results["results"] if entry["level"] is not None]
    made = {(entry["id"], entry["variant"]) for entry in checks if entry["outcome"] == "pass"}
    ids = ("ISO-007", "NODE-028", "SHARE-004", "LIFE-004")
    assert made == {(name, "any-driver") for name in ids}
    (reason,) = {entry["headline"] for entry in checks if entry["outcome"] == "skip"}
    assert reason.startswith("unsupported: needs devices visible by cuda; how these are is not")


def test_a_class_that_gives_other_devices_is_noticed(tmp_path: Path) -> None:
    """It is found by what it speaks of; what it selects, only an allocation tells."""
    cluster = unknown_driver()
    ended = run(cluster, tmp_path, "--dra-check", "ISO-007")
    # The fake scheduler allocates the devices of its own driver, whatever the class.
    assert (ended.code, ended.red()) == (10, {"PF-08": "error"}), ended.output
    assert "DeviceClass nobody gives devices of gpu.nvidia.com" in ended.first_lines()[0]
    assert cluster.left() == []


def test_a_device_plugin_on_the_same_devices_is_advice(tmp_path: Path) -> None:
    """The node offers them for pods without a claim, too."""
    cluster = FakeCluster()
    node = cluster.api.get(NODE_KIND, "", NODE)
    assert node is not None
    allocatable = {"cpu": "8", "nvidia.com/gpu": "4", "rdma.example.com/hca": "1"}
    cluster.api.put({**node, "status": {"allocatable": allocatable}})
    ended = run(cluster, tmp_path, *ONE)
    assert (ended.code, ended.red()) == (0, {}), ended.output
    (advice,) = [entry for entry in ended.results["results"] if entry["advice"]]
    assert advice["headline"].startswith(f"PF-07 {NODE} offers 4 x nvidia.com/gpu by a device plug")


def leave_anchor(cluster: FakeCluster, run_id: str, renewed: float) -> str:
    """What another run has in the cluster; answers the name of its namespace."""
    name = anchor_name(run_id)
    namespace = cluster.api.put(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": {RUN_LABEL: run_id}},
        }
    )
    values = lease_values(run_id, name, namespace, renewed)
    cluster.api.put(Manifests(ROOT / "fixtures" / "manifests").one("lease.yaml.j2", values))
    return name


def test_leftovers_are_advice(tmp_path: Path) -> None:
    """They are named, with the way to remove them; a run that goes on is told."""
    cluster = FakeCluster()
    dead = leave_anchor(cluster, "20260101-000000-dead", renewed=1)
    alive = leave_anchor(cluster, "20260101-000000-beef", renewed=time.time())
    ended = run(cluster, tmp_path, *ONE)
    assert (ended.code, ended.red()) == (0, {}), ended.output
    left, at_work = (
        entry for entry in ended.results["results"] if entry["id"] in ("PF-11", "PF-16")
    )
    assert (left["advice"], at_work["advice"]) == (True, True)
    assert left["headline"].startswith(f"PF-11 runs that were killed left namespace/{dead}, and")
    assert "--dra-sweep removes it" in left["finding"]["next"]
    assert "PF-16 another run is at work: run 20260101-000000-beef of " in at_work["headline"]
    assert {f"Namespace/{name}" for name in (dead, alive)} <= set(cluster.left())


def test_two_runs_in_one_namespace_are_one_too_many(tmp_path: Path) -> None:
    """Their objects would have the same names: the second ends before it makes any."""
    cluster = FakeCluster()
    cluster.api.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})
    first = "20260101-000000-beef"
    lease = Manifests(ROOT / "fixtures" / "manifests").one(
        "lease.yaml.j2", lease_values(first, "team", None, time.time())
    )
    lease["metadata"]["labels"] = {RUN_LABEL: first}
    lease = cluster.api.put(lease)
    lease["metadata"]["annotations"].update(naming(lease))
    cluster.api.put(lease)
    before = cluster.left()
    ended = run(cluster, tmp_path, *ONE, "--dra-namespace", "team")
    assert (ended.code, ended.red()) == (10, {"PF-16": "error"}), ended.output
    assert f"is at work in namespace team: run {first} of " in ended.output
    assert cluster.left() == before


def test_expectations_are_written_down_and_compared(tmp_path: Path) -> None:
    """What was there passes; what is missing later fails, and so does what is known and solved."""
    path = tmp_path / "expect.yaml"
    first = tmp_path / "first"
    first.mkdir()
    ended = run(FakeCluster(), first, *ONE, f"--dra-expect-write={path}")
    assert ended.code == 0, ended.output
    document = yaml.safe_load(path.read_text())
    assert document["nodes"] == {NODE: {"NVIDIA H100 80GB HBM3": 4}}
    document["known"] = [{"check": "ALLOC-003", "url": "https://i/1", "until": "2126-01-01"}]
    path.write_text(yaml.safe_dump(document).replace("'2126-01-01'", "2126-01-01"))
    second = tmp_path / "second"
    second.mkdir()
    ended = run(FakeCluster(gpus=2), second, *ONE, f"--dra-expect={path}")
    assert ended.code == 1
    assert ended.red() == {"EXP-004": "fail", "EXP-007[ALLOC-003]": "fail"}


def test_a_known_issue_is_seen_but_not_red(tmp_path: Path) -> None:
    """The run ends well, and partial; what builds on the check is blocked as it would be."""
    path = tmp_path / "expect.yaml"
    issue = "{check: ISO-003, url: 'https://i/1', until: 2126-01-01}"
    path.write_text(f"schema: dra-conformance/expect/v1\nknown: [{issue}]\n")
    options = ("--dra-check", "IPC-014", f"--dra-expect={path}")
    ended = run(FakeCluster("one-missing"), tmp_path, *options)
    assert (ended.code, ended.results["verdict"]) == (0, "partial"), ended.output
    known = [e for e in ended.results["results"] if e["headline"].startswith("known issue until")]
    assert {entry["id"] for entry in known} == {"ISO-003"}
    blocked = [e for e in ended.results["results"] if e["headline"] == "blocked by ISO-003"]
    assert {entry["id"] for entry in blocked} == {"IPC-014"}
    assert len(ended.junit.findall(".//skipped")) == len(known) + len(blocked), ended.output


def test_a_known_finding_fails_but_does_not_decide_the_exit_code(tmp_path: Path) -> None:
    """What is not listed does, and so does what is listed of another driver."""
    path = tmp_path / "known.yaml"
    entry = (
        "schema: dra-conformance/known-findings/v1\nfindings:\n"
        "- {driver: gpu.nvidia.com, version: v1, check: ISO-003, link: https://i/1, evidence: e}\n"
    )
    options = ("--dra-check", "ISO-003", f"--dra-known={path}")
    for text, code in (
        (entry, 0),
        (entry.replace("ISO-003", "ISO-004"), 1),
        (entry.replace("gpu.nvidia.com", "gpu.example.com"), 1),
    ):
        path.write_text(text)
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        ended = run(FakeCluster("one-missing"), folder, *options)
        assert (ended.code, ended.results["verdict"]) == (code, "nonconformant"), ended.output
        assert set(ended.red().values()) == {"fail"}
        assert ("1 known finding of gpu.nvidia.com, without which" in ended.output) is (code == 0)


def test_a_wrong_profile_is_refused_with_its_line(tmp_path: Path) -> None:
    """Before anything is asked of the cluster."""
    path = tmp_path / "mine.yaml"
    path.write_text("schema: dra-conformance/profile/v1\nname: mine\ntitle: m\nclas: c\n")
    cluster = FakeCluster()
    with cluster.up(tmp_path) as kubeconfig:
        process = start(kubeconfig, tmp_path, f"--dra-profile={path}")
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 4
    assert "mine.yaml: profile mine.yaml:4: unknown key clas; there are schema" in output
    assert cluster.api.requests == []


# The plan


def test_the_plan_touches_nothing(tmp_path: Path) -> None:
    """Of the cluster only version and API are read; exit code 0, no report."""
    cluster = FakeCluster()
    with cluster.up(tmp_path) as kubeconfig:
        process = start(kubeconfig, tmp_path, "--dra-plan")
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert [path for _, path, _ in cluster.api.requests] == ["/version", "/apis/resource.k8s.io"]
    assert not (tmp_path / "reports").exists()
    assert f"PLAN     {CASES} cases to run, 0 to skip; nothing was touched" in output
    assert "dra-conformance-RUN-privileged" in output
    (role,) = (
        document
        for document in yaml.safe_load_all(output.partition("\n---\n")[2].rpartition("# Give")[0])
        if document
    )
    assert role["kind"] == "ClusterRole"


def test_the_plan_needs_no_cluster(tmp_path: Path) -> None:
    """It says what would be skipped, and that the cluster is missing."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "-q"),
            *("-p", "no:cacheprovider", "-m", "dra", "--dra-plan", "--dra-profile", "example"),
            str(ROOT / "suites"),
        ],
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": "/nowhere"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "no cluster is configured" in done.stdout
    assert "unsupported: needs devices visible by cuda; these are by env" in done.stdout
    ready = {
        scenario.name
        for check in checks()
        for form in form_names(check)
        if (scenario := check.scenario_of(form)) and not scenario.needs and not scenario.impacts
    }
    assert f"RUN      {len(ready)} scenarios" in done.stdout
    assert "not allowed: runs privileged pods; enable with --dra-allow privileged" in done.stdout
