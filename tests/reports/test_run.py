"""The files of a run as a user has them."""

from __future__ import annotations

import json
from pathlib import Path

from reports import results
from tests.suite.fake_cluster import GPUS, PRODUCT, FakeCluster
from tests.suite.test_shared_claim import run


def test_a_run_leaves_all_files_and_names_them(tmp_path: Path) -> None:
    """What it ran on among them, asked from the cluster."""
    ended = run(FakeCluster(), tmp_path, "--dra-check", "ALLOC-003")
    (place,) = (tmp_path / "reports" / "out").iterdir()
    names = {path.name for path in place.iterdir()}
    assert names == {
        *("report.html", "junit.xml", "results.json", "environment.json", "events.jsonl")
    }
    for name in ("report.html", "junit.xml", "results.json"):
        assert str(place / name) in ended.output
    environment = json.loads((place / "environment.json").read_text())
    assert environment["kubernetes"] == {"version": "v1.37.2", "dra_api": "v1"}
    assert environment["suite"]["version"] == ended.results["run"]["suite"]
    assert {gpu["uuid"]: gpu["product"] for gpu in environment["gpus"]} == dict.fromkeys(
        GPUS.values(), PRODUCT
    )
    assert environment["options"]["--dra-check"] == {"value": "ALLOC-003", "origin": "command line"}
    assert "machine" not in environment  # it is somebody else's cluster
    record, facts = results.read(place)
    assert facts.exit_code == ended.code
    assert record.environment["gpus"] == environment["gpus"]
    moments = {life.kind: list(life.moments) for life in record.timeline}
    assert moments["ResourceClaim"] == ["created", "allocated", "released", "deleted", "gone"]
    assert moments["Pod"][:2] == ["created", "scheduled"]
    assert moments["Pod"][-1] == "gone"
    judged = {one.scenario for one in record.results} - {""}
    assert {life.scenario for life in record.timeline} == judged
