"""Whatever a cluster says, a run ends with a verdict and reports, and shows it as text."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from harness.cluster.kinds import SLICE, Object
from tests.harness import fake_api
from tests.suite.fake_cluster import FakeCluster
from tests.suite.test_preflight import ONE
from tests.suite.test_shared_claim import end, run, start

HOSTILE = (
    "H\x1b[31m\x1b]8;;http://x\x07\u202e\u2066\u200b\x9b1m\rVERDICT\n\x00</td><b>|`%s{{1}}\ud800"
)


def test_what_a_cluster_says_is_text_everywhere(tmp_path: Path) -> None:
    """Attributes, versions, names and messages: on the terminal and in every file."""
    cluster = FakeCluster()
    found = cluster.api.get(SLICE, "", "slice")
    assert found is not None
    for device in found["spec"]["devices"]:
        device["attributes"]["productName"] = {"string": HOSTILE}
    cluster.api.put(found)
    cluster.api.documents["/version"] = {"gitVersion": f"v1.37.2{HOSTILE}"}
    ended = run(cluster, tmp_path, *ONE)
    assert (ended.code, ended.red()) == (0, {}), ended.output
    (folder,) = (tmp_path / "reports" / "out").iterdir()
    for text in (ended.output, *(path.read_text() for path in folder.iterdir())):
        assert text.replace("\n", "").replace("\t", "").isprintable()
    assert r"H\u001b[31m\u001b]8;;http://x\u0007\u202e" in ended.output
    assert not [line for line in ended.output.splitlines() if line.startswith("</td>")]
    assert ended.results["cluster"]["kubernetes"] == f"v1.37.2{HOSTILE}".replace("\ud800", "?")


def test_credentials_that_nobody_knows_are_named(tmp_path: Path) -> None:
    """By the first step, with the user's next one."""
    cluster = FakeCluster()
    cluster.api.token = "another"
    ended = run(cluster, tmp_path, *ONE)
    assert (ended.code, ended.red()) == (10, {"PF-01": "error"}), ended.output
    (error,) = (entry for entry in ended.results["results"] if entry["id"] == "PF-01")
    assert "credentials are expired or unknown to http://127.0.0.1" in error["headline"]
    assert "kubeconfig, context fake); it answers: Unauthorized" in error["body"]
    assert error["finding"]["next"].startswith("log in again")


def test_credentials_that_end_in_mid_run_end_it(tmp_path: Path) -> None:
    """The driver is not blamed; what is left is named, with the way to remove it."""
    cluster = FakeCluster()
    cluster.api.token = "t"

    def expire(change: str, obj: Object) -> None:
        if change == "ADDED" and obj["metadata"]["name"].startswith("consumer-"):
            cluster.api.token = "another"

    cluster.api.reactions.append(expire)
    ended = run(cluster, tmp_path, "--dra-check", "ISO-003", "--dra-timeout-scale", "0.02")
    assert ended.code == 12, ended.output
    assert ended.red() == {"CLUSTER-002": "error"}
    assert any("pod/producer-" in left for left in ended.results["leftovers"])
    (said,) = ended.first_lines()
    assert "the run's credentials are expired or unknown" in said


def _without(obj: Object, *path: str) -> Object:
    """Take away a field; the rest stays."""
    shown: Object = json.loads(json.dumps(obj))
    inner = shown
    for name in path[:-1]:
        inner = inner[name] if isinstance(inner, dict) else inner[0]
    inner[path[-1]] = None
    return shown


@pytest.mark.parametrize(
    ("kind", "path", "code", "words"),
    [
        ("ResourceSlice", ("spec",), 10, "PF-03 the step itself broke"),
        ("Pod", ("apiVersion",), 10, "SUITE-001 the suite itself broke"),
        ("ResourceClaim", ("metadata", "labels"), 12, "the check itself broke"),
    ],
)
def test_an_object_that_is_none_does_not_end_a_run_without_report(
    kind: str,
    path: tuple[str, ...],
    code: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody but the suite is blamed for it, and all files are there."""
    served = fake_api.served_form

    def spoilt(obj: Object, version: str) -> Object:
        shown = served(obj, version)
        return _without(shown, *path) if obj.get("kind") == kind else shown

    monkeypatch.setattr(fake_api, "served_form", spoilt)
    ended = run(FakeCluster(), tmp_path, *ONE, "--dra-timeout-scale", "0.02")
    assert ended.code == code, ended.output
    assert words in ended.output, ended.output
    for word in ("INTERNALERROR", "Traceback", "Exception in thread"):
        assert word not in ended.output
    assert "fail" not in ended.red().values()


@pytest.mark.parametrize("answer", [b"<html>Log in</html>", b"[" * 100_000])
def test_what_answers_no_api_is_named(answer: bytes, tmp_path: Path) -> None:
    """A proxy's page, for one."""
    cluster = FakeCluster()
    cluster.api.documents["/version"] = answer
    ended = run(cluster, tmp_path, *ONE)
    assert (ended.code, ended.red()) == (10, {"PF-01": "error"}), ended.output
    assert "/version answered no JSON object; is it an API server?" in ended.output


def test_reports_that_cannot_be_written_are_refused_at_once(tmp_path: Path) -> None:
    """Nothing is asked of the cluster; exit code 4, in one sentence."""
    (tmp_path / "file").write_text("")
    cluster = FakeCluster()
    for options in (("--dra-output=file/out",), ("--junitxml", "file/junit.xml")):
        with cluster.up(tmp_path) as kubeconfig:
            process = start(kubeconfig, tmp_path, *ONE, *options)
            output, _ = process.communicate(timeout=60)
        assert process.returncode == 4, output
        assert f"{options[0].partition('=')[0]}: {tmp_path}/file" in output
        assert "cannot be written: " in output
    assert cluster.api.requests == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_a_disk_that_becomes_full_costs_no_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are written where there is room, and it is said where."""
    small, room = tmp_path / "small", tmp_path / "room"
    small.mkdir()
    room.mkdir()
    monkeypatch.setenv("TMPDIR", str(room))
    # For the run alone: tests beside this one look at the mounts of the machine.
    mount = 'mount -t tmpfs -o size=64k tmpfs "$0" && exec "$@"'
    mounted = ("unshare", "--mount", "sh", "-c", mount, small)
    with FakeCluster().up(tmp_path) as kubeconfig:
        process = start(kubeconfig, tmp_path, *ONE, f"--dra-output={small}", by=mounted)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "ERROR    not every report could be written to " in output
    place = Path(output.rpartition("REPORT")[2].split()[0]).parent
    assert place.parent == room
    assert json.loads((place / "results.json").read_text())["verdict"] == "partial"
    assert (place / "junit.xml").exists()


def test_a_log_of_binary_bytes_is_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the workload said cannot be read; that is not the driver's fault."""

    def say(cluster: FakeCluster, pod: Object, _: str) -> None:
        key = (pod["metadata"]["namespace"], pod["metadata"]["name"])
        cluster.api.write_log(*key, "\n")
        cluster.api.logs[key].pieces[-1] = bytes(range(256)) * 20 + b"\n"

    monkeypatch.setattr(FakeCluster, "_say", say)
    ended = run(FakeCluster(), tmp_path, "--dra-check", "ISO-003", "--dra-timeout-scale", "0.05")
    assert ended.code == 12, ended.output
    assert set(ended.red().values()) == {"error"}
    assert "Traceback" not in ended.output
    assert "ended without a result (exit code 0" in ended.output
    assert "rotated or cut the log" in ended.output
    assert "(responsible: cluster)" in ended.output


def test_a_path_that_is_no_text_is_shown(tmp_path: Path) -> None:
    """A byte that is not UTF-8 in the kubeconfig's folder; the verdict stands, JUnit is there."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/k\xfc\x1b[31m"))
    folder.mkdir()
    with FakeCluster().up(folder) as kubeconfig:
        ended = end(start(kubeconfig, tmp_path, *ONE), tmp_path)
    assert (ended.code, ended.red()) == (0, {}), ended.output
    assert r"/k\udcfc\u001b[31m/kubeconfig" in ended.output
