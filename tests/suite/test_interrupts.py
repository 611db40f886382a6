"""What ends a run before its end: reports are written, clean-up is tried, what is left is named."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from harness.cluster.kinds import POD, Object
from tests.suite.fake_cluster import FakeCluster

ROOT = Path(__file__).parents[2]
HANGING = '''
import time

from harness.cluster.observe import Budget
from harness.checks.check import check

POD = {pod!r}


class Slow:
    def __del__(self):
        time.sleep({in_destructor})  # an exception that comes meanwhile is dropped


@check(id="HANG-001", level=0, source="a test")
def test_it_comes(dra_run):
    """It MUST come."""
    namespace = dra_run.open_namespace("restricted")
    dra_run.create({{**POD, "metadata": {{"name": "{waiting}", "namespace": namespace}}}})
    if {in_destructor}:
        Slow()
    dra_run.observer.wait("it", lambda: None, Budget("ever", 600), lambda: "")
'''
WITHOUT_LINES = """
code = test_it_comes.__code__
nowhere = bytes([0xF8])  # an instruction of no line, in the table of locations
test_it_comes.__code__ = code.replace(co_linetable=nowhere * (len(code.co_code) // 2))
"""
WAITING = "waits"
WAITING_POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "spec": {"containers": [{"name": "inventory", "image": "w"}]},
}


def start(
    kubeconfig: Path,
    folder: Path,
    *arguments: str | Path,
    in_destructor: float = 0,
    more: str = "",
    ignored: str = "",
) -> subprocess.Popen[str]:
    """Start a check that waits for ever, some seconds of it where no exception gets out of."""
    checks = folder / "hanging" / "test_hanging.py"
    checks.parent.mkdir()
    hanging = HANGING.format(pod=WAITING_POD, waiting=WAITING, in_destructor=in_destructor)
    checks.write_text(hanging + more)
    return subprocess.Popen(
        [
            # What a shell starts in the background ignores Ctrl-C, and what nohup starts SIGHUP.
            *("env", "--default-signal=INT,HUP", f"--ignore-signal={ignored}"),
            *(sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "-m", "dra"),
            *("-p", "no:cacheprovider", "-p", "fixtures.plugin"),
            *("--dra-image", "w", *arguments, checks),
        ],
        cwd=folder,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("DRA_")},
            "KUBECONFIG": str(kubeconfig),
            "PYTHONPATH": str(ROOT),
        },
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def reported(folder: Path) -> dict[str, Any]:
    """The only run's results; its JUnit file is there, too."""
    (run,) = (folder / "reports" / "out").glob("*")
    assert (run / "junit.xml").exists()
    document: dict[str, Any] = json.loads((run / "results.json").read_text())
    return document


def the_pod(cluster: FakeCluster) -> Object | None:
    """The check's pod; preflight has some of its own before."""
    found = [
        obj
        for (kind, _, name), obj in cluster.api.objects.items()
        if (kind, name) == (POD.name, WAITING)
    ]
    return found[0] if found else None


def await_pod(cluster: FakeCluster) -> None:
    """Wait until the check waits."""
    with cluster.api.changed:
        assert cluster.api.changed.wait_for(lambda: the_pod(cluster), 60)


def await_deletion(cluster: FakeCluster) -> None:
    """Wait until the clean-up waits for the pod's end: the first signal has been heeded."""

    def deleted() -> bool:
        pod = the_pod(cluster)
        return pod is not None and "deletionTimestamp" in pod["metadata"]

    with cluster.api.changed:
        assert cluster.api.changed.wait_for(deleted, 60)


def test_a_time_limit_within_a_check_is_an_error_of_the_suite(tmp_path: Path) -> None:
    """Nothing is said about the driver, and the run is cleaned up."""
    cluster = FakeCluster()
    with cluster.up(tmp_path) as kubeconfig:
        running = start(kubeconfig, tmp_path, "-o", "timeout=1")
        printed, _ = running.communicate(timeout=120)
    assert running.returncode == 12, printed
    assert cluster.left() == []
    (red,) = [entry for entry in reported(tmp_path)["results"] if entry["outcome"] == "error"]
    assert red["id"] == "HANG-001"
    assert "did not end within its time limit" in red["headline"]
    assert red["finding"]["blame"] == "suite"
    assert "Traceback" not in red["headline"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_with_reports_and_nothing_left(
    number: signal.Signals, tmp_path: Path
) -> None:
    """The check that was being made is named."""
    cluster = FakeCluster()
    with cluster.up(tmp_path) as kubeconfig:
        running = start(kubeconfig, tmp_path)
        await_pod(cluster)
        running.send_signal(number)
        printed, _ = running.communicate(timeout=120)
    assert running.returncode == 2, printed
    assert cluster.left() == []
    (red,) = [entry for entry in reported(tmp_path)["results"] if entry["outcome"] == "error"]
    assert "in the middle of this check" in red["headline"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_a_destructor_ends_the_run_all_the_same(
    number: signal.Signals, tmp_path: Path
) -> None:
    """Python drops the exception that it raises there: the signal comes again."""
    cluster = FakeCluster()
    with cluster.up(tmp_path) as kubeconfig:
        running = start(kubeconfig, tmp_path, in_destructor=30)
        await_pod(cluster)
        time.sleep(0.5)  # the answer has been read, and the destructor sleeps
        running.send_signal(number)
        printed, _ = running.communicate(timeout=120)
    assert running.returncode == 2, printed
    assert cluster.left() == []
    assert "again: ending" not in printed


def test_ctrl_c_in_the_clean_up_names_what_is_left(tmp_path: Path) -> None:
    """Reports are written all the same, with the command that removes it."""
    cluster = FakeCluster("stuck-pods")
    with cluster.up(tmp_path) as kubeconfig:
        running = start(kubeconfig, tmp_path)
        await_pod(cluster)
        running.send_signal(signal.SIGTERM)
        await_deletion(cluster)
        running.send_signal(signal.SIGINT)
        printed, _ = running.communicate(timeout=120)
    assert running.returncode == 2, printed
    (left,) = reported(tmp_path)["leftovers"]
    assert "remove them with: kubectl delete namespace dra-conformance-" in left
    assert left in printed


def test_a_second_sigterm_ends_at_once_and_names_what_is_left(tmp_path: Path) -> None:
    """Whoever sends it twice wants it so."""
    cluster = FakeCluster("stuck-pods")
    with cluster.up(tmp_path) as kubeconfig:
        running = start(kubeconfig, tmp_path)
        await_pod(cluster)
        running.send_signal(signal.SIGTERM)
        await_deletion(cluster)
        running.send_signal(signal.SIGTERM)
        printed, _ = running.communicate(timeout=120)
    assert running.returncode == 128 + signal.SIGTERM
    assert "SIGTERM again: ending at once" in printed
    assert "kubectl delete namespace dra-conformance-" in printed


def test_a_signal_may_meet_an_instruction_without_a_line(tmp_path: Path) -> None:
    """Such a traceback pytest cannot show; the run ends as it does otherwise."""
    cluster = FakeCluster()
    with cluster.up(tmp_path) as kubeconfig:
        running = start(kubeconfig, tmp_path, more=WITHOUT_LINES)
        await_pod(cluster)
        running.send_signal(signal.SIGINT)
        printed, _ = running.communicate(timeout=120)
    assert running.returncode == 2, printed
    assert "Traceback" not in printed
    assert "KeyboardInterrupt" in printed
    assert "keyboard" in reported(tmp_path)["run"]["interrupted"]


def test_a_signal_that_is_ignored_stays_so(tmp_path: Path) -> None:
    """As nohup has it: the terminal goes, and the run goes on."""
    cluster = FakeCluster()
    with cluster.up(tmp_path) as kubeconfig:
        running = start(kubeconfig, tmp_path, ignored="HUP")
        await_pod(cluster)
        running.send_signal(signal.SIGHUP)
        running.send_signal(signal.SIGTERM)
        printed, _ = running.communicate(timeout=120)
    assert running.returncode == 2, printed
    assert reported(tmp_path)["run"]["interrupted"] == "the run was ended by SIGTERM"
