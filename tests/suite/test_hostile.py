"""Whatever a cluster says, a run ends with a verdict and reports, and shows it as text."""

from __future__ import annotations

from pathlib import Path

from harness.cluster.kinds import SLICE, Object
from tests.suite.fake_cluster import FakeCluster
from tests.suite.test_preflight import ONE
from tests.suite.test_shared_claim import run

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
    ended = run(cluster, tmp_path, "--dra-timeout-scale", "0.02")
    assert ended.code == 12, ended.output
    assert set(ended.red().values()) == {"error"}
    assert any("pod/producer-" in left for left in ended.results["leftovers"])
    refused = [line for line in ended.first_lines() if "refuse" in line]
    assert refused, ended.output
    assert all("the run's credentials are expired or unknown" in line for line in refused)
