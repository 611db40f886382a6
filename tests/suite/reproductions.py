"""What lies beside a failure for who makes it again with kubectl alone."""

from __future__ import annotations

import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import yaml


def can_be_handed_on(results: dict[str, Any], check: str, form: str) -> None:
    """The bundle has what the failed check's scenario left, each file with its hash."""
    folder = Path(results["files"]["events"]).parent
    with tarfile.open(folder / "bundle.tar.gz") as archive:
        archive.extractall(folder / "unpacked", filter="data")
    place = folder / "unpacked" / folder.name
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=place, check=True)
    (first, *_) = (place / "reproduce").iterdir()
    assert (first / "commands.sh").is_file()
    left = place / "evidence" / f"{check}-{form}"
    before, after = (
        list(yaml.safe_load_all((left / f"{when}.yaml").read_text()))
        for when in ("before", "after")
    )
    assert [one["kind"] for one in before] == [one["kind"] for one in after]
    assert {one["kind"] for one in before} == {"ResourceClaim", "Pod"}
    assert not any("allocation" in one.get("status", {}) for one in before)
    assert "dra-conformance/workload" in (left / "logs" / "consumer.log").read_text()
    assert (left / "logs" / "driver.log").is_file()
    assert (left / "slices.yaml").is_file()


def can_be_made_again(results: dict[str, Any], check: str, form: str) -> None:
    """Beside the failure lie manifests and commands that do the same with kubectl alone."""
    (entry,) = (e for e in results["results"] if (e["id"], e["variant"]) == (check, form))
    assert f"commands.sh in reproduce/{check}-{form}" in entry["body"]
    place = Path(results["files"]["events"]).parent / entry["reproduction"]
    text = (place / "commands.sh").read_text()
    assert results["run"]["id"] not in text
    assert subprocess.run(["sh", "-n", place / "commands.sh"], check=False).returncode == 0
    applied = re.findall(r"^kubectl apply -f (.*)$", text, re.MULTILINE)
    assert sorted(applied) == sorted(path.name for path in place.glob("*.yaml"))
    objects = [yaml.safe_load((place / name).read_text()) for name in applied]
    kinds = ["Namespace", "ResourceClaim", "Pod", "Pod"]
    assert [one["kind"] for one in objects][: len(kinds)] == kinds
    own = f"reproduce-{check}-{form}-restricted".lower()
    assert objects[0]["metadata"]["name"] == own
    for one in objects[1:]:
        assert one["metadata"]["namespace"] == own
        assert one["metadata"].keys() <= {"name", "namespace", "labels", "annotations"}
        assert not any("dra-conformance" in label for label in one["metadata"].get("labels") or {})
    in_order = ("wait resourceclaim/", "create configmap", "wait pod/", "logs pod/")
    places = list(map(text.index, in_order))
    assert places == sorted(places)
    assert text.rstrip().endswith(f"kubectl delete namespace {own}")
