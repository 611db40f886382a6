"""Bandwidth and open times: that each path is measured, and that measuring changes nothing."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import pytest

from embedded.hardware.products import H100, RTX_4090
from tests.workload.processes import Node, Workload

SIZE = 8 << 20
DATA = SIZE - (2 << 20)
OPERATIONS = [("read", "kernel"), ("read", "copy"), ("write", "copy")]


def offered(node: Node, **how: Any) -> tuple[Workload, str]:
    """A producer that waits, and its offer."""
    words = ("produce", "--log", "--nonce", "n", "--bytes", str(SIZE), "--gpus", node.uuids(0))
    producer = node.start(*words, **how)
    return producer, producer.until("Producer: offer ")


@pytest.mark.parametrize(
    ("count", "importers", "paths", "opened"),
    [
        (1, (0,), ["local", "same"], ["same"]),
        (2, (0, 1), ["local", "same", "cross", "plain"], ["same", "cross"]),
        (2, (1, 0), ["local", "same", "cross", "plain"], ["same", "cross"]),
        (4, (3,), ["local", "cross", "plain"], ["cross"]),
    ],
)
def test_every_path(
    new_node: Callable[..., Node],
    count: int,
    importers: tuple[int, ...],
    paths: list[str],
    opened: list[str],
) -> None:
    """Each once, in every direction and method; the data is as it was."""
    node, visible = new_node(H100.name, count), tuple(range(count))
    producer, offer = offered(node, gpus=visible)
    process = node.start(
        "measure", "--offer", offer, "--gpus", node.uuids(*importers), gpus=visible
    )
    result = process.end()
    assert (result["verdict"], result["role"]) == ("ok", "measure")
    measured = [(item["path"], item["direction"], item["method"]) for item in result["bandwidth"]]
    assert sorted(measured) == sorted((path, *how) for path in paths for how in OPERATIONS)
    for item in result["bandwidth"]:
        assert item["bytes"] == DATA
        assert len(item["samples"]) >= 5
        assert item["gbps"] == statistics.median(item["samples"]) > 0
    assert [item["path"] for item in result["open"]] == opened
    for item in result["open"]:
        assert len(item["samples"]) >= 5
        assert item["ms_median"] == statistics.median(item["samples"]) > 0
    assert producer.end()["verdict"] == "ok"


def test_less_than_all(node: Node) -> None:
    """As much as is asked for."""
    producer, offer = offered(node)
    result = node.start("measure", "--offer", offer, "--bytes", str(2 << 20)).end()
    assert {item["bytes"] for item in result["bandwidth"]} == {2 << 20}
    assert producer.end()["verdict"] == "ok"


def test_gpus_without_peer_access(new_node: Callable[..., Node]) -> None:
    """Only what is possible is measured, and that is no error."""
    node = new_node(RTX_4090.name)
    producer, offer = offered(node)
    process = node.start("measure", "--offer", offer)
    result = process.end()
    assert result["verdict"] == producer.end()["verdict"] == "ok"
    assert {item["path"] for item in result["bandwidth"]} == {"local", "same"}
    assert "Measure: cross: the two GPUs have no peer access: not measured\n" in process.lines


def test_memory_that_does_not_open(node: Node) -> None:
    """CUDA's refusal, by number and name; nothing was measured."""
    producer, offer = offered(node)
    producer.kill()
    result = node.start("measure", "--offer", offer).end()
    assert (result["verdict"], result["bandwidth"]) == ("not-opened", [])
    assert (result["error"]["code"], result["error"]["name"]) == (400, "CUDA_ERROR_INVALID_HANDLE")


def test_wrong_words_are_no_measurement(node: Node) -> None:
    """Memory that is not what was offered."""
    _, offer = offered(node)
    with node.allocations(0)[0].open("r+b") as memory:
        memory.seek(8 * 1000)
        memory.write(bytes(8))
    result = node.start("measure", "--offer", offer).end()
    assert result["verdict"] == "checksum-wrong"
    assert result["error"]["step"].startswith("verify over path")
