"""Memory of every GPU, opened on every GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from embedded.hardware.products import H100, RTX_4090
from tests.workload.processes import Node

SIZE = 4 << 20
WORDS = (SIZE - (2 << 20)) // 8


def both(node: Node, count: int, *more: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The results of an exporter and an importer that see so many GPUs."""
    gpus = tuple(range(count))
    exporter = node.start("export-all", "--nonce", "n", "--bytes", str(SIZE), gpus=gpus)
    offer = exporter.until("Producer: offer ")
    importer = node.start("import-all", "--offer", offer, *more, gpus=gpus).end()
    return exporter.end(), importer


def faulty(node: Node, fault: str) -> None:
    """Give all GPUs of a machine a fault."""
    for path in node.machine.root.glob("gpu*/info"):
        path.write_text(path.read_text().replace("fault=", f"fault={fault}"))


def pairs(entries: list[dict[str, Any]], node: Node) -> list[tuple[int, int]]:
    """Importer and exporter of each entry, by their minor numbers."""
    minors = {gpu.uuid: gpu.minor for gpu in node.machine.gpus}
    return [(minors[one["importer"]], minors[one["exporter"]]) for one in entries]


def test_eight_gpus(new_node: Callable[..., Node]) -> None:
    """Every one opens what every one exports, and its writes arrive."""
    node = new_node(H100.name, 8)
    exporter, importer = both(node, 8)
    assert (exporter["verdict"], importer["verdict"]) == ("ok", "ok")
    every = [(one, other) for other in range(8) for one in range(8)]
    assert pairs(importer["transfers"], node) == pairs(exporter["seen"], node) == every
    for one in importer["transfers"]:
        assert one["opened"]
        assert one["wrote"]
        assert (one["words"], one["wrong_words"]) == (WORDS, 0)
        assert one["checksum"] == one["expected_checksum"]
        assert one["open_ms"] > 0
        assert one["can_access_peer"] is (None if one["path"] == "same" else True)
    assert sum(one["words"] for one in exporter["seen"]) == 8 * WORDS
    assert not any(one["wrong_words"] for one in exporter["seen"])
    assert importer["bandwidth"] == []


def test_speeds(new_node: Callable[..., Node]) -> None:
    """Each pair both ways, if asked for; measuring changes nothing."""
    node = new_node(H100.name, 2)
    exporter, importer = both(node, 2, "--speeds")
    measured = importer["bandwidth"]
    assert [one["direction"] for one in measured] == ["read", "write"] * 4
    assert pairs(measured[::2], node) == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert all(one["gbps"] > 0 and one["bytes"] == WORDS * 8 for one in measured)
    assert not any(one["wrong_words"] for one in exporter["seen"])


def test_links(new_node: Callable[..., Node]) -> None:
    """As NVML tells: two GPUs at a PCIe root, two roots at a CPU."""
    exporter, importer = both(new_node(H100.name, 8), 8)
    first = importer["gpus"][0]["uuid"]
    meet = [one["meet"] for one in importer["peers"] if one["importer"] == first]
    assert meet == ["PHB", "NODE", "NODE", "SYS", "SYS", "SYS", "SYS"]
    assert {(one["link"], one["nvlinks"]) for one in exporter["peers"]} == {("NVLink", 18)}


def test_gpus_without_peer_access(new_node: Callable[..., Node]) -> None:
    """What cannot be opened is told by CUDA's code, and is no error of the program."""
    node = new_node(RTX_4090.name, 2)
    exporter, importer = both(node, 2)
    assert (exporter["verdict"], importer["verdict"]) == ("ok", "ok")
    told = [one["error"] and one["error"]["code"] for one in importer["transfers"]]
    assert told == [None, 217, 217, None]
    assert pairs(exporter["seen"], node) == [(0, 0), (1, 1)]
    assert {(one["link"], one["nvlinks"]) for one in importer["peers"]} == {("PCIe", 0)}


def test_one_pair_is_refused(new_node: Callable[..., Node]) -> None:
    """CUDA says that there is peer access, and opens nothing."""
    node = new_node(H100.name, 4)
    faulty(node, "refuses-a-peer")
    _, importer = both(node, 4)
    wrong = [one for one in importer["transfers"] if not one["opened"]]
    assert pairs(wrong, node) == [(1, 0), (0, 1)]
    assert {(one["error"]["code"], one["can_access_peer"]) for one in wrong} == {(217, True)}


def test_one_pair_is_said_to_have_no_peer_access(new_node: Callable[..., Node]) -> None:
    """CUDA says so; NVML has the NVLinks."""
    node = new_node(H100.name, 4)
    faulty(node, "denies-a-peer")
    _, importer = both(node, 4)
    denied = [one for one in importer["peers"] if not one["can_access_peer"]]
    assert pairs(denied, node) == [(0, 1), (1, 0)]
    assert {(one["link"], one["nvlinks"]) for one in denied} == {("NVLink", 18)}


def test_wrong_words_of_one_gpu(new_node: Callable[..., Node]) -> None:
    """They are told of every pair with it, and its other words are verified all the same."""
    node = new_node(H100.name, 2)
    exporter = node.start("export-all", "--nonce", "n", "--bytes", str(SIZE))
    offer = exporter.until("Producer: offer ")
    path: Path = node.allocations(1)[0]
    with path.open("r+b") as memory:
        memory.seek(8 * 1000)
        memory.write(bytes(8))
    importer = node.start("import-all", "--offer", offer).end()
    assert [one["wrong_words"] for one in importer["transfers"]] == [0, 0, 1, 1]
    assert [one["first_wrong"] for one in importer["transfers"]] == [None, None, 1000, 1000]
    assert exporter.end()["verdict"] == "ok"


def test_an_exporter_that_is_gone(node: Node) -> None:
    """No GPU can open anything."""
    exporter = node.start("export-all", "--nonce", "n", "--bytes", str(SIZE))
    offer = exporter.until("Producer: offer ")
    exporter.kill()
    result = node.start("import-all", "--offer", offer).end()
    assert result["verdict"] == "not-opened"
    assert {one["error"]["code"] for one in result["transfers"]} == {400}
