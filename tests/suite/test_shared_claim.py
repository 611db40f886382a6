"""A whole run of the sharing checks against a cluster in this process.

What each check says of what can be wrong: `tests.suite.test_checks`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.verdict.finding import HEAD_CHARACTERS
from suites.__main__ import checks
from tests.suite import reproductions
from tests.suite.fake_cluster import FakeCluster

ROOT = Path(__file__).parents[2]
SHARING = [ROOT / "suites" / "sharing" / f"test_shared_{name}.py" for name in ("claim", "memory")]
"""The fake cluster knows the scenarios of these checks only."""
_CODE = "".join(path.read_text() for path in SHARING)
OTHERS = sorted(check.id for check in checks() if f"def test_{check.name}(" not in _CODE)
CASES = 75
"""Checks in their forms."""


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    code: int
    output: str
    results: dict[str, Any]
    junit: ET.Element

    def red(self) -> dict[str, str]:
        """Each check that failed or could not decide, with its outcome."""
        return {
            f"{entry['id']}[{entry['variant']}]" if entry["variant"] else entry["id"]: entry[
                "outcome"
            ]
            for entry in self.results["results"]
            if entry["outcome"] in ("fail", "error")
        }

    def first_lines(self) -> list[str]:
        """The first line of everything red."""
        return [
            entry["headline"]
            for entry in self.results["results"]
            if entry["outcome"] in ("fail", "error")
        ]


def start(
    kubeconfig: Path, folder: Path, *options: str, by: Sequence[str | Path] = ()
) -> subprocess.Popen[str]:
    """Start the suite against a cluster, as a user does, or by a command that starts it."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("DRA_")},
        "KUBECONFIG": str(kubeconfig),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    return subprocess.Popen(
        [
            *(*by, sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml")),
            *("-p", "pytest_timeout", "-p", "no:cacheprovider", "-m", "dra", "-q"),
            *("--dra-allow", "privileged", "--dra-image", "workload", *options),
            *map(str, SHARING),
        ],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def end(process: subprocess.Popen[str], folder: Path) -> Ended:
    """Wait for its end and read its reports."""
    output, _ = process.communicate(timeout=120)
    runs = list((folder / "reports" / "out").glob("*"))
    assert len(runs) == 1, output
    results = json.loads((runs[0] / "results.json").read_text())
    return Ended(process.returncode, output, results, ET.parse(runs[0] / "junit.xml").getroot())


def run(cluster: FakeCluster, folder: Path, *options: str) -> Ended:
    """Run the suite against a cluster from its start to its end."""
    with cluster.up(folder) as kubeconfig:
        return end(start(kubeconfig, folder, *options), folder)


def test_a_good_driver_passes_everything(tmp_path: Path) -> None:
    """Every check in every form, nothing left, exit 0."""
    cluster = FakeCluster()
    ended = run(cluster, tmp_path)
    assert (ended.code, ended.red()) == (0, {}), ended.output
    # Not "conformant", for this reason only: the checks of other areas were not selected.
    assert ended.results["verdict"] == "partial"
    assert ended.results["run"]["narrowed"] == f"not selected: {', '.join(OTHERS)}"
    assert ended.results["counts"] == {"pass": CASES, "fail": 0, "error": 0, "skip": 0}
    assert cluster.left() == []
    cases = ended.junit.findall(".//testcase")
    assert len(cases) == len({case.get("name") for case in cases})
    name = "IPC-001_memory_opens_on_the_same_gpu[restricted]"
    assert name in {case.get("name") for case in cases}


def test_the_workload_is_brought_where_the_image_is_without_it(tmp_path: Path) -> None:
    """Once to each namespace; nothing of it stays."""
    cluster = FakeCluster()
    ended = run(cluster, tmp_path, "--dra-image", "", "--dra-python-image", "python:3")
    assert (ended.code, ended.red()) == (0, {}), ended.output
    assert cluster.left() == []
    (events,) = tmp_path.glob("reports/out/*/events.jsonl")
    made = [
        event
        for event in map(json.loads, events.read_text().splitlines())
        if event.get("kind") == "ConfigMap" and str(event.get("name")).endswith("-workload")
    ]
    assert sorted(event["ns"].rpartition("-")[2] for event in made) == ["privileged", "restricted"]


def test_a_fault_turns_exactly_its_check_red(tmp_path: Path) -> None:
    """One cause, one red check a form; more red is as wrong as less."""
    ended = run(FakeCluster("one-missing"), tmp_path)
    forms = ("hostpid", "restricted", "one-gpu", "equal-pids")
    assert ended.red() == {f"ISO-003[{form}]": "fail" for form in forms}, ended.output
    assert ended.code == 1
    assert any("saw 1 of the 2 allocated" in line for line in ended.first_lines())
    reproductions.can_be_made_again(ended.results, "ISO-003", "restricted")
    reproductions.can_be_handed_on(ended.results, "ISO-003", "restricted")
    assert all(len(line) <= HEAD_CHARACTERS for line in ended.first_lines())


def test_a_driver_that_never_prepares_is_said_once(tmp_path: Path) -> None:
    """One check fails, the others are blocked by it, and nobody waits for their pods."""
    cluster = FakeCluster("never-prepares")
    ended = run(cluster, tmp_path, "--dra-timeout-scale", "0.05")
    assert (ended.code, ended.red()) == (1, {"NODE-028[any-driver]": "fail"}), ended.output
    skipped = [entry for entry in ended.results["results"] if entry["outcome"] == "skip"]
    assert {entry["headline"] for entry in skipped} == {"blocked by NODE-028"}
    passed = [entry["id"] for entry in ended.results["results"] if entry["outcome"] == "pass"]
    assert len(skipped) == CASES - 2
    assert "ISO-007" in passed
    assert cluster.left() == []


def test_a_driver_that_never_unprepares_is_said_once(tmp_path: Path) -> None:
    """The first pod of a claim goes all the same; what is left is no second finding."""
    ended = run(FakeCluster("never-unprepares"), tmp_path, "--dra-timeout-scale", "0.05")
    assert list(ended.red()) == ["LIFE-004[any-driver]"], ended.output
    skipped = [entry for entry in ended.results["results"] if entry["outcome"] == "skip"]
    assert {entry["headline"] for entry in skipped} == {"blocked by LIFE-004"}
    assert "HYGIENE-001" in {entry["id"] for entry in skipped}
    assert ended.results["leftovers"]


def test_a_claim_that_works_for_one_pod_blocks_nothing(tmp_path: Path) -> None:
    """A check of the basic scenario fails, but a pod came and went: the others are judged."""
    ended = run(FakeCluster("one-user"), tmp_path, "--dra-timeout-scale", "0.05")
    forms = ("privileged", "hostpid", "restricted", "one-gpu", "equal-pids", "any-driver")
    assert ended.red() == {f"NODE-028[{form}]": "fail" for form in forms}, ended.output
    passed = [entry["id"] for entry in ended.results["results"] if entry["outcome"] == "pass"]
    assert passed.count("LIFE-004") == len(forms) - 1  # it has no form equal-pids


def test_pods_are_kept_when_asked(tmp_path: Path) -> None:
    """With the command that removes them; of one check, and of those that it builds on."""
    cluster = FakeCluster("one-missing")
    ended = run(cluster, tmp_path, "--dra-keep", "failed", "--dra-check", "ISO-003")
    assert ended.code == 1
    red = {case.removeprefix("ISO-003[").removesuffix("]") for case in ended.red()}
    left = {name.removeprefix("Pod/producer-") for name in cluster.left() if "producer" in name}
    assert left == red != set()
    assert "kubectl delete namespace dra-conformance-" in ended.results["kept"]
    assert "LOOK     kubectl get pods,resourceclaims --all-namespaces --selector=" in ended.output
    made = {entry["id"] for entry in ended.results["results"] if entry["level"] is not None}
    assert made == {"ALLOC-003", "IPC-015", "ISO-003", "ISO-007", "NODE-028", "NODE-029"}


def test_a_folder_that_stays_on_the_node_is_a_leftover(tmp_path: Path) -> None:
    """Exit 11: the checks passed, but the run left something behind."""
    ended = run(FakeCluster("folder-stays"), tmp_path)
    assert (ended.code, ended.red()) == (11, {"HYGIENE-002": "error"})
    assert "not permitted" in ended.results["leftovers"][0]


def test_sigterm_leaves_reports_and_nothing_else(tmp_path: Path) -> None:
    """Exit 2; the check that was being made is named, the others are not run."""
    cluster = FakeCluster("hangs")
    with cluster.up(tmp_path) as kubeconfig:
        process = start(kubeconfig, tmp_path)
        with cluster.api.changed:
            pods = ("Pod", "consumer-privileged")
            assert cluster.api.changed.wait_for(
                lambda: any((kind, name) == pods for kind, _, name in cluster.api.objects), 30
            )
        process.send_signal(signal.SIGTERM)
        ended = end(process, tmp_path)
        assert ended.code == 2, ended.output
        assert cluster.left() == []
    (line,) = ended.first_lines()
    assert line.endswith("] the run was ended by SIGTERM in the middle of this check")
    counts = ended.results["counts"]
    assert (counts["fail"], counts["error"]) == (0, 1)
    assert counts["pass"] + counts["skip"] == CASES - 1
    assert len(ended.junit.findall(".//testcase")) == 15 + CASES + 2 + 3


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("api-lost", "does not answer"),
        ("user-lost", "the run's credentials are expired or unknown"),
    ],
)
def test_a_lost_api_server_is_said_once(fault: str, said: str, tmp_path: Path) -> None:
    """The driver is not blamed, and what is left is named."""
    ended = run(FakeCluster(fault), tmp_path, "--dra-timeout-scale", "0.05")
    assert (ended.code, ended.red()) == (12, {"CLUSTER-002": "error"}), ended.output
    assert said in ended.first_lines()[0]
    checks = [entry for entry in ended.results["results"] if entry["level"] is not None]
    others = {entry["headline"] for entry in checks if entry["outcome"] != "pass"}
    assert others == {"blocked by CLUSTER-002"}
    assert any("pod/producer-" in left for left in ended.results["leftovers"])
