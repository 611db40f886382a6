"""The main job as a newcomer has it: ``./run dra`` on a machine without GPU and without Docker."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from embedded import cluster
from embedded.drivers.driver import Driver
from embedded.drivers.example import EXAMPLE
from embedded.drivers.nvidia import NVIDIA
from harness.options import Impact
from harness.verdict.known import load
from suites.__main__ import checks
from tests import footprint
from tests.known_findings import differences

pytestmark = pytest.mark.embedded

RUN = Path(__file__).parents[1] / "run"
FORMS = {"privileged", "hostpid", "restricted", "equal-pids"}
STOPPED_SECONDS = 60
CALM = ",".join(
    check.id
    for check in checks()
    if check.impacts_of(None).isdisjoint((Impact.DISRUPT, Impact.EXHAUST))
)
"""The checks that neither disturb a node nor take all devices: those are made once."""
OF_GPUS = {check.id for check in checks() if check.area in ("cuda", "sharing")}
"""The checks that depend on how many GPUs there are, and on their model."""
OF_ISOLATION = {"SEC-001", "SEC-002"}
"""Those of them that try 73 pods two by two, of one GPU each time."""
NOWHERE = (
    r"no other driver publishes devices and has a class of its name",
    r"\S+ has no (int|bool) in its slice",
    r"no device of the driver (draws on counters|names its own node)",
    r"no device of the driver has a (node selector of its own|policy for shares of it)",
    r"no claim had a device of the driver allocated when slices were read",
    r"no allocated device of the driver has binding conditions",
    r"the driver, as it is installed, publishes no device (that claims can share|with binding .+)",
    r"the driver reports no health of its devices",
    r"the driver says nothing of its devices in the status of claims",
    r"the driver tells containers nothing of their devices in files",
    r"the driver, as it is installed, publishes no two devices that fit .+",
)
"""Why a check is made with no driver that the embedded cluster runs alone: patterns."""
WHY_NOT = (
    *NOWHERE,
    r"no other version of the driver is known that the nodes have: --dra-upgrade-image",
    r"needs real GPUs, and these are simulated",
    r"the driver's profile names no two parameters that containers show",
    r"CUDA shows devices of this driver: ISO-004 and SHARE-008 look by it",
    r"the driver names devices by no variable; CUDA-001 looks by CUDA",
    r"no GPU is published beside parts of it",
    r"(no IMEX channel in the container: )?no DeviceClass of channels is known: .+",
    # On a machine so busy that a pod is scheduled only after another one has ended slowly.
    r"each device was unprepared before the kubelet had the next pod for it",
)
"""Why a check is not made on simulated GPUs with the NVIDIA driver: patterns."""
NOT_INSTALLED = "the driver, as it is installed, does not take parameters mps"
"""Why a check of MPS is not made with the NVIDIA driver that is not installed for it."""
SMALL = (
    r"needs \d free devices on one node; the most that one has is \d",
    r"needs a claim of two GPUs",
)
"""Why a check is not made where a node has few GPUs: patterns."""
NO_PEERS = "2:NVIDIA GeForce RTX 4090"
PID_ON_HOST = "the exporter's PID on the host is"
"""Begins the reason on a machine that has started very many processes."""


def junit(folder: Path) -> ET.Element:
    """The one JUnit file of the one run below the directory of invocation."""
    (path,) = folder.glob("reports/out/*/junit.xml")
    return ET.parse(path).getroot()


def passed_or_skipped(folder: Path, code: int, driver: Driver = NVIDIA) -> dict[str, str]:
    """The cases with why they were skipped (empty: they passed); what is red is known to be.

    Args:
        folder: the directory of invocation.
        code: how the run ended: with 0, for what is known of the driver does not decide it.
        driver: the one under test.
    """
    cases = list(junit(folder).iter("testcase"))
    assert not [case for case in cases if list(case.iter("error"))]
    red = {case.attrib["name"] for case in cases if list(case.iter("failure"))}
    reasons = {
        case.attrib["name"]: skipped.attrib["message"]
        if (skipped := case.find("skipped")) is not None
        else ""
        for case in cases
    }
    made = {name for name, reason in reasons.items() if not reason}
    failed, all_made = ({name.partition("_")[0] for name in names} for names in (red, made))
    assert not list(differences(load(), driver.name, driver.version, failed=failed, made=all_made))
    assert code == 0
    return {name: reason for name, reason in reasons.items() if name not in red}


def unexplained(cases: dict[str, str], *patterns: str) -> set[str]:
    """Why cases were skipped, but for what is expected, and for what comes with a machine's age.

    Where many processes were started, their numbers are too large for one row of the matrix.
    """
    expected = re.compile(f"unsupported: ({'|'.join(patterns)})|refused: {NOT_INSTALLED}")
    why = {reason for reason in cases.values() if reason and PID_ON_HOST not in reason}
    return {one for one in why if not one.startswith("blocked by ") and not expected.fullmatch(one)}


def blocked_by(cases: dict[str, str]) -> set[str]:
    """The checks that kept others from being made."""
    why = (reason.partition("blocked by ")[2] for reason in cases.values())
    return {one for reason in why for one in reason.split(", ") if one}


def assert_nothing_left(running: subprocess.Popen[str], before: dict[str, set[str]]) -> None:
    """The run's own cluster (``run`` hands over by exec, so the PID is pytest's) is gone."""
    assert not footprint.of_cluster(f"run-{running.pid}")
    assert footprint.host() == before


def test_all_forms_pass_on_the_real_driver(tmp_path: Path) -> None:
    """All forms of the scenario passed, nothing unknown is red, JUnit written, nothing left."""
    before = footprint.host()
    running = subprocess.Popen(
        [RUN, "dra"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    printed, _ = running.communicate()
    assert running.returncode == 0, printed[-5000:]
    assert "NVIDIA DRA driver v0.5.0" in printed
    assert "SIMULATED GPUs" in printed
    cases = passed_or_skipped(tmp_path, running.returncode)
    sharing = [name for name in cases if name.startswith("ALLOC-003")]
    assert {re.search(r"\[(.+)\]", name)[1] for name in sharing} == FORMS  # type: ignore[index]
    # What simulated GPUs cannot show, and what this driver cannot do: every reason is named.
    assert not unexplained(cases, *WHY_NOT)
    assert blocked_by(cases) == {"SEC-005"}
    assert_nothing_left(running, before)


@pytest.mark.parametrize(
    ("gpus", "tried"),
    [
        pytest.param("1", OF_GPUS, id="one"),
        pytest.param(NO_PEERS, OF_GPUS - OF_ISOLATION, id="no peers"),
        pytest.param(NO_PEERS, OF_GPUS, id="no peers, all", marks=pytest.mark.matrix),
    ],
)
def test_fewer_gpus_and_gpus_without_peer_access_skip_what_needs_more(
    gpus: str, tried: set[str], tmp_path: Path
) -> None:
    """One GPU, and two that are no peers: nothing is red, what needs more is a named skip."""
    cluster = ("--embedded-nodes", "1", "--embedded-gpus", gpus)
    done = subprocess.run(
        [RUN, "dra", *cluster, "--dra-check", ",".join(sorted(tried))],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    cases = passed_or_skipped(tmp_path, done.returncode)
    needs_two = "needs 2 free devices on one node; the most that one has is 1"
    no_peers = "the two GPUs have no peer access (CUDA error 217)"
    no_fabric = r"this GPU or its driver does not share memory by (pool-)?fabric"
    no_nvlink = "NVML shows no NVLink between two GPUs"
    assert not unexplained(cases, *WHY_NOT, *SMALL, re.escape(no_peers), no_fabric, no_nvlink)
    assert blocked_by(cases) <= {"SEC-005", "IPC-004", "IPC-031"}
    assert f"unsupported: {needs_two if gpus == '1' else no_peers}" in cases.values()
    passed = {name.partition("_")[0] for name, reason in cases.items() if not reason}
    every = {"CUDA-001", "CUDA-004", "IPC-020", "IPC-021", "SEC-001", "SEC-004", "IPC-011"}
    assert passed >= every & tried
    assert ("ALLOC-003" in passed) == (gpus != "1")


@pytest.mark.matrix
def test_eight_gpus_of_one_node(tmp_path: Path) -> None:
    """Every pair of them shares memory, and every claim brings its own: docs/several-gpus.md."""
    of_several = "IPC-031,IPC-032,CUDA-001,CUDA-004,CUDA-007,SLICE-038,ISO-015,ALLOC-006,ALLOC-011"
    cluster = ("--embedded-nodes", "1", "--embedded-gpus", "8")
    done = subprocess.run(
        [RUN, "dra", *cluster, "--dra-check", of_several],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    cases = passed_or_skipped(tmp_path, done.returncode)
    passed = {name.partition("_")[0] for name, reason in cases.items() if not reason}
    assert passed >= set(of_several.split(","))
    (path,) = tmp_path.glob("reports/out/*/results.json")
    tables = {table["name"]: table for table in json.loads(path.read_text())["tables"]}
    assert [row[4] for row in tables["pairs"]["rows"]] == ["ok"] * 64
    assert len(tables["devices"]["rows"]) == 8


def test_a_driver_without_hardware_is_judged_as_far_as_that_goes(tmp_path: Path) -> None:
    """dra-example-driver: what takes no GPU passes, the rest is a named skip."""
    done = subprocess.run(
        [RUN, "dra", "--embedded-nodes", "1", "--embedded-driver", "example", "--dra-check", CALM],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    cases = passed_or_skipped(tmp_path, done.returncode, EXAMPLE)
    no_cuda = "needs devices visible by cuda; these are by env"
    no_attribute = "the driver publishes no standard attribute"
    unknown = (
        r"profile example does not say (where the driver's metrics are|what a part of a GPU is)"
    )
    no_settings = r"the driver's profile names no parameters that (set up a device|bring a daemon)"
    assert not unexplained(cases, *NOWHERE, *SMALL, no_cuda, no_attribute, unknown, no_settings)
    assert {f"unsupported: {no_cuda}", f"unsupported: {no_attribute}"} <= set(cases.values())
    passed = {name for name, reason in cases.items() if not reason}
    assert "NODE-028_containers_of_both_pods_start[any-driver]" in passed
    assert "LIFE-004_claim_is_deallocated_when_its_pods_are_gone[any-driver]" in passed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_in_mid_run_it_reports_and_leaves_nothing(
    tmp_path: Path, number: signal.Signals
) -> None:
    """A deadline of a job, or Ctrl-C: JUnit is written, no process or object of ours remains."""
    before = footprint.host()
    running = subprocess.Popen(
        [RUN, "dra"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=footprint.as_on_a_terminal,  # noqa: PLW1509 - no thread is running yet
    )
    assert running.stdout is not None
    for line in running.stdout:
        if line.startswith("."):  # the first check has been judged
            break
    running.send_signal(number)
    printed, _ = running.communicate(timeout=STOPPED_SECONDS)
    assert running.returncode == 2, printed
    assert len(list(junit(tmp_path).iter("testcase"))) > len(FORMS)
    assert_nothing_left(running, before)


def test_killed_it_leaves_no_process_and_the_next_run_removes_the_rest(tmp_path: Path) -> None:
    """``kill -9`` of the run ends its cluster; what lies around is removed by the next one."""
    before = footprint.host()
    running = subprocess.Popen([RUN, "dra"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    name = f"run-{running.pid}"
    deadline = time.monotonic() + STOPPED_SECONDS
    while not footprint.processes(name) and time.monotonic() < deadline:
        time.sleep(0.1)
    running.kill()
    running.communicate()
    while footprint.processes(name) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not footprint.processes(name)
    assert footprint.of_cluster(name)
    cluster.sweep()
    assert_nothing_left(running, before)


def test_without_a_cluster_it_says_so(tmp_path: Path) -> None:
    """``pytest -m dra`` without kubeconfig: code 10, and where a cluster can be had."""
    environment = {**os.environ, "HOME": str(tmp_path), "KUBECONFIG": str(tmp_path / "none")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "dra", f"--dra-output={tmp_path}"],
        cwd=RUN.parent,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 10
    assert "./run dra" in done.stdout
