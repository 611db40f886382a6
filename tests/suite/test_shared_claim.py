"""The shared-claim checks against a cluster in this process: what each fault turns red."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from suites.__main__ import checks
from tests.suite.fake_cluster import FakeCluster

ROOT = Path(__file__).parents[2]
SHARING = ROOT / "suites" / "sharing"
"""The fake cluster knows the scenarios of these checks only."""
OTHERS = sorted(check.id for check in checks() if check.area != SHARING.name)
FORMS = ("privileged", "hostpid", "restricted", "one-gpu")
TWO_GPUS = ("privileged", "hostpid", "restricted", "equal-pids")
UNPRIVILEGED = ("hostpid", "restricted", "one-gpu", "equal-pids")
EVERY = ("privileged", *UNPRIVILEGED)
STARTED = (*EVERY, "any-driver")
CASES = 74


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


def start(kubeconfig: Path, folder: Path, *options: str) -> subprocess.Popen[str]:
    """Start the suite against a cluster, as a user does."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("DRA_")},
        "KUBECONFIG": str(kubeconfig),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml")),
            *("-p", "pytest_timeout", "-p", "no:cacheprovider", "-m", "dra", "-q"),
            *("--dra-allow", "privileged", "--dra-image", "workload", *options),
            str(SHARING),
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


def everywhere(check: str, forms: tuple[str, ...], outcome: str) -> dict[str, str]:
    """One check, red in some forms."""
    return {f"{check}[{form}]": outcome for form in forms}


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


def test_two_free_gpus_are_enough(tmp_path: Path) -> None:
    """Then the forms are played one after the other."""
    ended = run(FakeCluster(gpus=2), tmp_path)
    assert (ended.code, ended.red()) == (0, {}), ended.output


@pytest.mark.parametrize("version", ["v1beta2", "v1beta1"])
def test_an_older_version_of_the_api_is_enough(version: str, tmp_path: Path) -> None:
    """What is served is found by discovery, and the checks see no difference."""
    cluster = FakeCluster(dra_api=version)
    ended = run(cluster, tmp_path)
    assert (ended.code, ended.red()) == (0, {}), ended.output
    assert ended.results["counts"]["pass"] == CASES
    assert ended.results["cluster"]["dra_api"] == version
    paths = {path for _, path, _ in cluster.api.requests if path.startswith("/apis/resource")}
    assert paths == {path for path in paths if f"/{version}/" in path} | {"/apis/resource.k8s.io"}
    assert cluster.left() == []


def test_a_version_that_is_not_served_is_refused(tmp_path: Path) -> None:
    """With those that are; nothing is created."""
    cluster = FakeCluster(dra_api="v1beta2")
    ended = run(cluster, tmp_path, "--dra-api", "v1")
    assert (ended.code, list(ended.red())) == (10, ["PF-02"])
    (line,) = ended.first_lines()
    assert "does not serve resource.k8s.io in v1 (--dra-api); it serves v1alpha3, v1beta2" in line
    assert cluster.api.asked_to_create() == []


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--embedded-kubernetes", "1.20", "'1.20': must be one of 1.37, 1.36"),
        ("--embedded-driver", "intel", "'intel': must be one of nvidia, example, reference"),
    ],
)
def test_a_wrong_option_of_the_embedded_cluster_starts_none(
    option: str, value: str, words: str, tmp_path: Path
) -> None:
    """Exit 10 with option, value, and what would be right; nobody is sent to another cluster."""
    options = ("--dra-cluster", "embedded", option, value)
    ended = end(start(tmp_path / "none", tmp_path, *options), tmp_path)
    assert (ended.code, ended.red()) == (10, {"PF-01": "error"})
    (line,) = ended.first_lines()
    assert line.startswith(f"PF-01 the embedded cluster cannot be started: {option} ")
    (error,) = ended.junit.findall(".//error")
    assert f"{option} {words}" in (error.text or "")
    assert "KUBECONFIG" not in (error.text or "")
    assert f"{option} {words}"[:60] in ended.output


FAULTS = {
    # What the driver gets wrong.
    "one-missing": (everywhere("ISO-003", UNPRIVILEGED, "fail"), 1, "saw 1 of the 2 allocated"),
    "one-too-many": (
        everywhere("ISO-003", UNPRIVILEGED, "fail"),
        1,
        "saw 1 GPU that is not allocated to it: GPU-",
    ),
    "wrong-one": (everywhere("ISO-003", UNPRIVILEGED, "fail"), 1, "missing, GPU-"),
    "no-libcuda": (
        everywhere("NODE-029", EVERY, "fail"),
        1,
        "does not find libcuda.so.1 in its container",
    ),
    "wrong-name": (everywhere("SLICE-007", FORMS, "fail"), 1, "is 'A100' in the producer, not"),
    "flipped-word": (
        everywhere("IPC-011", FORMS, "fail"),
        1,
        "consumer read 1 of 8126464 words wrong on the same GPU, the first at 600",
    ),
    "write-not-seen": (everywhere("IPC-013", FORMS, "fail"), 1, "producer saw 3 of"),
    "prepare-fails": (
        everywhere("NODE-028", STARTED, "fail"),
        1,
        "the start of the producer's container did not come within",
    ),
    "consumer-never-starts": (
        everywhere("NODE-028", STARTED, "fail"),
        1,
        "the start of the consumer's container did not come within",
    ),
    # What others get wrong: never a failure of the driver.
    "same-device-twice": (everywhere("ALLOC-003", TWO_GPUS, "error"), 12, "the same device"),
    "image-missing": ({"PF-15": "error"}, 10, "cannot pull the workload image workload: ErrImage"),
    "never-deallocated": (
        everywhere("LIFE-004", ("privileged", "hostpid"), "error"),
        12,
        "the release of the claim did not come within",
    ),
    "exporter-dies": (
        everywhere("IPC-015", EVERY, "error"),
        12,
        "the producer ended without a result (exit code 137, Error)",
    ),
    "crash": (everywhere("IPC-015", EVERY, "error"), 12, "ended without a result (exit code 139"),
    "stale-handle": (
        {**everywhere("IPC-001", FORMS, "error"), "IPC-002[equal-pids]": "error"},
        12,
        "the consumer never came to open the memory (same)",
    ),
    "claim-forbidden": (
        everywhere("NODE-028", STARTED, "error"),
        12,
        "the start of the producer's container did not come within",
    ),
    "usage": (
        everywhere("IPC-015", EVERY, "error"),
        12,
        "did not come to its task: unknown option",
    ),
    "again-usage": (everywhere("LIFE-005", FORMS, "error"), 12, "did not come to its task"),
    "ptx-too-new": (everywhere("IPC-015", EVERY, "error"), 12, "did not come to its task"),
    "log-altered": (everywhere("IPC-015", EVERY, "error"), 12, "tell different results"),
    "privileges-given": (
        everywhere("SEC-008", ("restricted", "one-gpu", "equal-pids"), "error"),
        12,
        "is not restricted: its no_new_privs is 0",
    ),
}


SCALES = {
    "prepare-fails": 0.05,
    "consumer-never-starts": 0.05,
    "claim-forbidden": 0.05,
    "never-deallocated": 0.05,
    "image-missing": 0.1,
    "stale-handle": 0.2,
}
"""Time limits are short only where one has to be reached: a busy machine must not reach others."""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_turns_exactly_its_checks_red(fault: str, tmp_path: Path) -> None:
    """One cause, one red check a form; more red is as wrong as less."""
    red, code, words = FAULTS[fault]
    ended = run(FakeCluster(fault), tmp_path, "--dra-timeout-scale", str(SCALES.get(fault, 1)))
    assert ended.red() == red, ended.output
    assert ended.code == code
    assert any(words in line for line in ended.first_lines()), ended.first_lines()
    for line in ended.first_lines():
        assert len(line) <= 120
        assert "Error(" not in line
        assert "Traceback" not in line


def test_gpus_without_peer_access_are_a_named_skip(tmp_path: Path) -> None:
    """Verdict partial, exit 0."""
    ended = run(FakeCluster("no-peer-access"), tmp_path)
    assert (ended.code, ended.red(), ended.results["verdict"]) == (0, {}, "partial")
    skips = {e["headline"] for e in ended.results["results"] if e["outcome"] == "skip"}
    assert skips == {"unsupported: the two GPUs have no peer access (CUDA error 217)"}


def test_what_is_not_allowed_is_a_named_skip(tmp_path: Path) -> None:
    """On a cluster that the run did not start nothing privileged happens unasked."""
    cluster = FakeCluster()
    ended = run(cluster, tmp_path, "--dra-allow", "none")
    assert (ended.code, ended.red(), ended.results["verdict"]) == (0, {}, "partial")
    created = [path for method, path, _ in cluster.api.requests if method == "POST"]
    assert not any("privileged" in path for path in created)
    skips = {e["headline"] for e in ended.results["results"] if e["outcome"] == "skip"}
    assert skips == {"not allowed: impact privileged; --dra-allow privileged allows it"}


def test_one_check_brings_those_that_it_builds_on(tmp_path: Path) -> None:
    """And the verdict says that it was not everything."""
    ended = run(FakeCluster(), tmp_path, "--dra-check", "IPC-002")
    made = {entry["id"] for entry in ended.results["results"] if entry["level"] is not None}
    assert made == {
        *("ALLOC-003", "IPC-002", "IPC-015", "ISO-003", "ISO-007", "NODE-028", "NODE-029")
    }
    assert (ended.code, ended.results["verdict"]) == (0, "partial")
    narrowed = ended.results["run"]["narrowed"].removeprefix("not selected: ").split(", ")
    assert narrowed == sorted({check.id for check in checks()} - made)


@pytest.mark.parametrize(
    ("fault", "step", "words"),
    [
        ("old-api", "PF-02", "does not serve resource.k8s.io in v1, v1beta2, v1beta1"),
        ("no-slices", "PF-03", "no driver publishes devices"),
        ("no-class", "PF-04", "there is no DeviceClass gpu.nvidia.com"),
    ],
)
def test_preflight_ends_the_run_before_anything_is_created(
    fault: str, step: str, words: str, tmp_path: Path
) -> None:
    """Exit 10, a red case with a reason, every check in the report as not run."""
    cluster = FakeCluster(fault)
    ended = run(cluster, tmp_path)
    assert ended.code == 10
    assert list(ended.red()) == [step]
    assert words in ended.first_lines()[0]
    assert cluster.api.asked_to_create() == []
    assert ended.results["counts"]["skip"] == CASES


def test_one_gpu_is_enough_for_one_form(tmp_path: Path) -> None:
    """What takes two is a named skip; sharing was seen, so the run is conclusive."""
    ended = run(FakeCluster(gpus=1), tmp_path)
    assert (ended.code, ended.red(), ended.results["verdict"]) == (0, {}, "partial")
    passed = {
        e["variant"] for e in ended.results["results"] if e["outcome"] == "pass" and e["level"]
    }
    assert passed == {"one-gpu", "any-driver"}
    skips = {e["headline"] for e in ended.results["results"] if e["outcome"] == "skip"}
    assert skips == {"unsupported: needs 2 free devices on one node; the most that one has is 1"}


def test_what_cannot_be_deleted_is_named(tmp_path: Path) -> None:
    """A pod that does not go is a leftover, and LIFE-004 does not pass."""
    ended = run(FakeCluster("stuck-pods"), tmp_path, "--dra-timeout-scale", "0.02")
    assert ended.code == 12
    red = ended.red()
    assert red.pop("HYGIENE-001") == "error"
    assert red == everywhere("LIFE-004", ("privileged", "hostpid"), "error")
    skips = {e["headline"] for e in ended.results["results"] if e["outcome"] == "skip"}
    assert "not run: devices of an earlier form were not given back, and none are free" in skips
    assert any("pod/producer-hostpid" in left for left in ended.results["leftovers"])


def test_a_folder_that_stays_on_the_node_is_a_leftover(tmp_path: Path) -> None:
    """Exit 11: the checks passed, but the run left something behind."""
    ended = run(FakeCluster("folder-stays"), tmp_path)
    assert (ended.code, ended.red()) == (11, {})
    assert "not permitted" in ended.results["leftovers"][0]


def test_pods_are_kept_when_asked(tmp_path: Path) -> None:
    """With the command that removes them."""
    cluster = FakeCluster("one-missing")
    ended = run(cluster, tmp_path, "--dra-keep", "failed")
    assert ended.code == 1
    assert "Pod/producer-hostpid" in cluster.left()
    assert "kubectl delete namespace dra-conformance-" in ended.results["kept"]


def test_junit_is_written_where_pytest_is_told(tmp_path: Path) -> None:
    """One JUnit file, with one set of names: ours."""
    cluster = FakeCluster()
    with cluster.up(tmp_path) as kubeconfig:
        subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "-m", "dra"),
                *("--junitxml", "mine.xml", "--dra-image", "w", "-p", "no:cacheprovider"),
                str(SHARING),
            ],
            cwd=tmp_path,
            env={**os.environ, "KUBECONFIG": str(kubeconfig)},
            capture_output=True,
            check=True,
            timeout=120,
        )
    root = ET.parse(tmp_path / "mine.xml").getroot()
    assert {suite.get("name") for suite in root.findall("testsuite")} == {"dra-conformance"}
    assert not list(tmp_path.glob("reports/out/*/junit.xml"))


def test_sigterm_leaves_reports_and_nothing_else(tmp_path: Path) -> None:
    """Exit 2; the check that was being made is named, the others are not run."""
    cluster = FakeCluster("hangs")
    with cluster.up(tmp_path) as kubeconfig:
        process = start(kubeconfig, tmp_path)
        with cluster.api.changed:
            pods = ("Pod", "consumer-hostpid")
            assert cluster.api.changed.wait_for(
                lambda: any((kind, name) == pods for kind, _, name in cluster.api.objects), 30
            )
        process.send_signal(signal.SIGTERM)
        ended = end(process, tmp_path)
        assert ended.code == 2, ended.output
        assert cluster.left() == []
    assert ended.first_lines() == [
        "ALLOC-003[privileged] the run was ended by SIGTERM in the middle of this check"
    ]
    assert ended.results["counts"] == {"pass": 0, "fail": 0, "error": 1, "skip": CASES - 1}
    assert len(ended.junit.findall(".//testcase")) == 15 + CASES + 2 + 3


def test_a_lost_api_server_is_nobodys_failure_but_its_own(tmp_path: Path) -> None:
    """Reports are written, the driver is not blamed, what is left is named."""
    ended = run(FakeCluster("api-lost"), tmp_path, "--dra-timeout-scale", "0.02")
    assert ended.code == 12, ended.output
    assert set(ended.red().values()) == {"error"}
    assert any("pod/producer-" in left for left in ended.results["leftovers"])
