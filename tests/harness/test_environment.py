"""What a run ran on: taken from the API, and what cannot be had is named."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.cluster.kinds import Object
from harness.session import environment

NODE: Object = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "a"},
    "status": {
        "nodeInfo": {
            "osImage": "Ubuntu 24.04",
            "kernelVersion": "6.8",
            "architecture": "amd64",
            "containerRuntimeVersion": "containerd://2",
            "kubeletVersion": "v1.37.2",
            "machineID": "secret",
        }
    },
}


def node(name: str) -> Object:
    """A node that tells nothing of itself."""
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}


def test_nodes_tell_what_decides_and_nothing_else() -> None:
    """Only those that publish devices; all when none does."""
    (found,) = environment.nodes([node("b"), NODE], {"a", "gone"})
    assert found == {
        "name": "a",
        "os": "Ubuntu 24.04",
        "kernel": "6.8",
        "architecture": "amd64",
        "container_runtime": "containerd://2",
        "kubelet": "v1.37.2",
    }
    assert [entry["name"] for entry in environment.nodes([node("b"), NODE], set())] == ["a", "b"]
    assert environment.nodes([node("b")], {"b"})[0]["kernel"] is None


def test_the_drivers_image_is_told_as_it_runs() -> None:
    """That of its own container, with the digest."""
    pod: Object = {
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "n"},
        "spec": {
            "nodeName": "a",
            "containers": [{"name": "x", "image": "y"}, {"name": "gpus", "image": "driver:v1"}],
        },
        "status": {"containerStatuses": [{"name": "gpus", "imageID": "driver@sha256:1"}]},
    }
    expected = {"node": "a", "pod": "n/p", "image": "driver:v1", "image_id": "driver@sha256:1"}
    assert environment.containers([pod], "gpus") == [expected]
    del pod["status"]
    assert environment.containers([pod], "gpus") == [{**expected, "image_id": ""}]


def _git(folder: Path, *arguments: str) -> None:
    subprocess.run(
        ["git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@example", *arguments],
        check=True,
        capture_output=True,
    )


def test_the_commit_is_told_only_of_a_checkout_of_the_suite(tmp_path: Path) -> None:
    """Not of a repository around it, and with whether something was changed."""
    assert "commit" not in environment.suite(tmp_path)
    _git(tmp_path, "init")
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "a").touch()
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-m", "a")
    assert "commit" not in environment.suite(tmp_path / "suite")
    found: dict[str, Any] = environment.suite(tmp_path)
    assert len(found["commit"]) == 40
    assert found["changed"] is False
    (tmp_path / "b").touch()
    assert environment.suite(tmp_path)["changed"] is True


def test_without_git_there_is_no_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is guessed."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.suite(Path(__file__).parents[2]).keys() == {"version", "python"}
