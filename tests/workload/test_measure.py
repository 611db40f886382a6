"""Bandwidth, rounds and signals: that all is measured, and that measuring changes nothing."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embedded.hardware.products import H100, RTX_4090
from tests.workload.processes import Node
from tests.workload.test_lending import DESCRIPTOR, IPC, POOL_DESCRIPTOR, SIZE, codes, pair
from workload.result import Mechanism
from workload.rounds import BYTES

OPERATIONS = [("read", "kernel"), ("read", "copy"), ("write", "copy")]
WITHOUT_CHANNEL = (IPC, DESCRIPTOR, POOL_DESCRIPTOR)
EPERM = 1


@pytest.mark.parametrize(
    ("importers", "paths"),
    [
        ((0,), ["local", "same"]),
        ((0, 1), ["local", "same", "cross", "plain"]),
        ((1, 0), ["local", "same", "cross", "plain"]),
    ],
)
def test_every_path(
    new_node: Callable[..., Node], shared: Path, importers: tuple[int, ...], paths: list[str]
) -> None:
    """By each mechanism, in every direction and method; the data is as it was."""
    node = new_node(H100.name, 2)
    borrow = ("--measure", "--gpus", node.uuids(*importers))
    _, result = pair(node, shared, ("--gpus", node.uuids(0)), borrow, channels=1)
    assert result["verdict"] == "ok"
    keys = ("mechanism", "path", "direction", "method")
    measured = [tuple(item[key] for key in keys) for item in result["bandwidth"]]
    wanted = [(by, path, *how) for by in Mechanism for path in paths for how in OPERATIONS]
    assert sorted(measured) == sorted(wanted)
    for item in result["bandwidth"]:
        assert item["bytes"] == SIZE
        assert len(item["samples"]) >= 5
        assert item["gbps"] == statistics.median(item["samples"]) > 0
    assert codes(result, "same") == dict.fromkeys(Mechanism, 0)


def test_gpus_without_peer_access(new_node: Callable[..., Node], shared: Path) -> None:
    """Only what is possible is measured, and that is no error."""
    _, result = pair(new_node(RTX_4090.name), shared, (), ("--measure",))
    assert result["verdict"] == "ok"
    assert {item["path"] for item in result["bandwidth"]} == {"local", "same"}


@pytest.mark.parametrize("leaks", [False, True])
def test_rounds(new_node: Callable[..., Node], shared: Path, leaks: bool) -> None:
    """What is free after the last is what was free after the first, unless something is kept."""
    node = new_node(H100.name, 1, fault="leaks-memory" if leaks else "")
    exporter, importer = pair(node, shared, (), ("--rounds", "5"), gpus=(0,), channels=1)
    assert exporter["verdict"] == importer["verdict"] == "ok"
    assert {one["mechanism"]: one["times"] for one in exporter["rounds"]} == dict.fromkeys(
        Mechanism, 5
    )
    for one in exporter["rounds"]:
        assert one["free_before"] - one["free_after"] == (5 * BYTES if leaks else 0)
    assert [len(one["samples"]) for one in importer["open"]] == [6] * 5


@pytest.mark.parametrize("lost", [False, True])
def test_signals(new_node: Callable[..., Node], shared: Path, lost: bool) -> None:
    """Each side's stream sees what the other's writes, or somebody notes that it does not."""
    node = new_node(H100.name, 1, fault="loses-signals" if lost else "")
    both = pair(node, shared, (), ("--rounds", "1"), gpus=(0,))
    for result, writer in zip(both, ("importer", "exporter"), strict=True):
        assert result["verdict"] == "ok"
        found: list[dict[str, Any]] = result["signals"]
        assert [one["mechanism"] for one in found] == list(WITHOUT_CHANNEL)
        for one in found:
            came = not lost and not one["mechanism"].startswith("pool")
            code = 1 if one["mechanism"].startswith("pool") else None
            assert (one["writer"], one["came"]) == (writer, came)
            assert (one["error"] or {}).get("code") == code
            assert (one["ms"] is None) == (not came)


def test_a_descriptor_is_not_taken(node: Node, shared: Path) -> None:
    """By another user's process; these here are root's, which may trace any."""
    _, importer = pair(node, shared, gpus=(0,))
    (attempt,) = importer["attempts"]
    assert (attempt["name"], attempt["function"]) == ("pidfd-getfd", "pidfd_getfd")
    assert attempt["code"] in (0, EPERM, 92)  # ENOPROTOOPT: a kernel before 6.5
