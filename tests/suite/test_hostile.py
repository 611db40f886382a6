"""Whatever a cluster says, a run ends with a verdict and reports, and shows it as text."""

from __future__ import annotations

from pathlib import Path

from harness.cluster.kinds import SLICE
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
