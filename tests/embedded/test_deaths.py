"""A component that dies is named at once, and never blamed on the driver."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from building.errors import UserError
from building.progress import Progress
from embedded import cluster, deaths
from embedded.api import Api, Object
from embedded.options import Options
from tests import footprint

RUN = Path(__file__).parents[2] / "run"
SECONDS = 60
"""A budget, not a delay."""


def test_a_death_is_told_when_it_happens(tmp_path: Path) -> None:
    """Those before and those during the watch, each once."""
    heard: queue.Queue[str] = queue.Queue()
    deaths.leave_word(tmp_path, "early", "early ended")
    with deaths.told(tmp_path, [os.getpid()], heard.put, lambda: "all"):
        assert heard.get(timeout=SECONDS) == "early ended"
        deaths.leave_word(tmp_path, "late", "late ended\nthe end of late.log")
        assert heard.get(timeout=SECONDS) == "late ended\nthe end of late.log"
    assert heard.empty()
    assert deaths.known(tmp_path) == ["early ended", "late ended\nthe end of late.log"]


def test_the_end_of_everything_is_told(tmp_path: Path) -> None:
    """When the first process is killed nobody can leave word of it."""
    heard: queue.Queue[str] = queue.Queue()
    with (
        subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as first,
        deaths.told(tmp_path, [first.pid], heard.put, lambda: "all"),
    ):
        first.kill()
        assert heard.get(timeout=SECONDS) == "all"
    with deaths.told(tmp_path, [first.pid], heard.put, lambda: "all"):
        assert heard.get(timeout=SECONDS) == "all"


def test_an_orderly_end_is_no_death(tmp_path: Path) -> None:
    """Nobody listens any more when the cluster is taken down."""
    heard: queue.Queue[str] = queue.Queue()
    with deaths.told(tmp_path, [os.getpid()], heard.put, lambda: "all"):
        pass
    deaths.leave_word(tmp_path, "late", "late ended")
    assert heard.empty()


def test_where_nobody_leaves_word_it_cannot_be_heard(tmp_path: Path) -> None:
    """The error names the folder."""
    with (
        pytest.raises(FileNotFoundError, match="none"),
        deaths.told(tmp_path / "none", [], lambda _: None, lambda: ""),
    ):
        pass


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("component", "said"),
    [
        ("kube-scheduler", "kube-scheduler on control-plane was killed by signal 9"),
        ("--hostname-override=node-2", "kubelet on node-2 was killed by signal 9"),
        ("embedded.control_plane", "ended as a whole"),
    ],
)
def test_a_run_ends_early_and_blames_the_cluster(component: str, said: str, tmp_path: Path) -> None:
    """On the terminal and in the results, with the end of its log; nothing is left."""
    before = footprint.host()
    running = subprocess.Popen(
        [RUN, "dra"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert running.stdout is not None
    printed = ""
    while not printed.endswith("\n.") and (read := running.stdout.read(1)):
        printed += read  # until the first check has been judged
    *_, (victim, _) = sorted(
        (pid, words)
        for pid, words in footprint.processes(f"run-{running.pid}")
        if component in words
    )
    os.kill(victim, signal.SIGKILL)
    rest, _ = running.communicate(timeout=SECONDS)
    printed += rest
    assert running.returncode == 12, printed
    (died,) = [line for line in printed.splitlines() if line.startswith("DIED")]
    assert said in died
    (path,) = tmp_path.glob("reports/out/*/results.json")
    results = json.loads(path.read_text())["results"]
    assert not [result for result in results if result["outcome"] == "fail"]
    (told,) = [result for result in results if result["id"] == "CLUSTER-001"]
    assert said in told["headline"]
    assert "the end of" in told["body"] or component == "embedded.control_plane"
    assert not footprint.of_cluster(f"run-{running.pid}")
    assert footprint.host() == before


@pytest.mark.embedded
def test_a_death_in_mid_start_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the start was waiting for; a connection that broke is no explanation."""
    before, name, wait = footprint.host(), f"dies-{os.getpid()}", Api.wait

    def kill_the_server(slices: list[Object]) -> bool:
        if slices:  # so the watch is at work
            for pid, words in footprint.processes(name):
                if words.split()[0].endswith("/kube-apiserver"):
                    os.kill(pid, signal.SIGKILL)
        return False

    def wait_for_ever(
        api: Api, api_version: str, kind: str, ready: Callable[[list[Object]], bool]
    ) -> None:
        wait(api, api_version, kind, kill_the_server if kind == "ResourceSlice" else ready)

    monkeypatch.setattr(Api, "wait", wait_for_ever)
    with pytest.raises(UserError, match=r"kube-apiserver on control-plane was killed by sig"):
        cluster.up(Options(nodes=1, name=name), Progress())
    assert not footprint.of_cluster(name)
    assert footprint.host() == before
