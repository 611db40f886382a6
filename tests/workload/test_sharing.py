"""Two processes share GPU memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.workload.processes import Node
from workload.result import TERMINATION_MESSAGE_LIMIT

SIZE = 8 << 20
WORDS = (SIZE - (2 << 20)) // 8


def test_inventory_names_the_visible_gpus(node: Node) -> None:
    """Lines for people and the result agree with the machine, in ordinals, UUIDs and PCI IDs."""
    process = node.start("inventory", "--role", "Somebody")
    result = process.end()
    assert process.lines[0] == "Somebody: Found 2 GPU(s)\n"
    for gpu, line, shown in zip(node.machine.gpus, process.lines[1:3], result["gpus"], strict=True):
        assert line.startswith(f"Somebody: GPU {gpu.minor}: {gpu.product.name} ({gpu.uuid}, ")
        assert (shown["uuid"], shown["name"]) == (gpu.uuid, gpu.product.name)
        assert shown["pci"].lower() == gpu.pci
        assert shown["compute_capability"] == "9.0"
    assert result["role"] == "somebody"
    assert result["cuda"]["driver_version"] == 13000


@pytest.mark.parametrize("first", ["producer", "consumer"])
def test_over_a_folder_whoever_is_first(node: Node, shared: Path, first: str) -> None:
    """Both paths are verified and written; the producer sees both writes."""
    common = ["--nonce", "run-1", "--folder", str(shared), "--gpus", node.uuids(0, 1)]
    commands = {"producer": ["produce", "--bytes", str(SIZE)], "consumer": ["consume"]}
    if first == "consumer":
        commands = dict(reversed(commands.items()))
    processes = {role: node.start(*words, *common) for role, words in commands.items()}
    producer, consumer = processes["producer"].end(), processes["consumer"].end()

    assert (producer["verdict"], consumer["verdict"]) == ("ok", "ok")
    gpus = [gpu.uuid for gpu in node.machine.gpus]
    for transfer, path, importer, peer in zip(
        consumer["transfers"], ("same", "cross"), gpus, (None, True), strict=True
    ):
        assert (transfer["path"], transfer["importer"]) == (path, importer)
        assert transfer["exporter"] == gpus[0]
        assert transfer["can_access_peer"] is peer
        assert transfer["opened"] and transfer["wrote"] and transfer["error"] is None
        assert (transfer["words"], transfer["wrong_words"]) == (WORDS, 0)
        assert transfer["checksum"] == transfer["expected_checksum"]
    first_half, second_half = producer["seen"]
    assert (first_half["path"], second_half["path"]) == ("same", "cross")
    assert first_half["words"] + second_half["words"] == WORDS
    assert first_half["wrong_words"] == second_half["wrong_words"] == 0
    assert "Producer: Found 2 GPU(s)\n" in processes["producer"].lines
    assert "Consumer: Found 2 GPU(s)\n" in processes["consumer"].lines
    assert node.allocations(0) == node.allocations(1) == []


def test_over_the_log_with_equal_gpu_order_reversed(node: Node) -> None:
    """The offer travels through the log and an environment variable; the order of --gpus counts."""
    producer = node.start(
        "produce", "--log", "--nonce", "n", "--bytes", str(SIZE), "--gpus", node.uuids(1, 0)
    )
    offer = producer.until("Producer: offer ")
    consumer = node.start(
        "consume", DRA_NONCE="n", DRA_OFFER=offer, DRA_GPUS=node.uuids(1, 0)
    ).end()
    assert producer.end()["verdict"] == consumer["verdict"] == "ok"
    assert json.loads(offer)["exporter"] == node.machine.gpus[1].uuid
    assert [item["importer"] for item in consumer["transfers"]] == [
        node.machine.gpus[1].uuid,
        node.machine.gpus[0].uuid,
    ]


def test_one_gpu_writes_everything_by_itself(node: Node, shared: Path) -> None:
    """With a single GPU there is the path `same` only, and it writes both halves."""
    common = ["--nonce", "n", "--folder", str(shared)]
    process = node.start("produce", "--bytes", str(SIZE), *common, gpus=(0,))
    consumer = node.start("consume", *common, gpus=(0,)).end()
    producer = process.end()
    assert [item["path"] for item in consumer["transfers"]] == ["same"]
    assert [(item["path"], item["words"]) for item in producer["seen"]] == [("same", WORDS)]


def test_gpus_without_peer_access_are_no_fault(new_node: Callable[..., Node], shared: Path) -> None:
    """Error 217 on path cross is recorded, and the process succeeds with what path same did."""
    node = new_node("NVIDIA GeForce RTX 4090")
    common = ["--nonce", "n", "--folder", str(shared)]
    process = node.start("produce", "--bytes", str(SIZE), *common)
    consumer = node.start("consume", *common).end()
    producer = process.end()
    assert (producer["verdict"], consumer["verdict"]) == ("ok", "ok")
    cross = consumer["transfers"][1]
    assert (cross["path"], cross["can_access_peer"], cross["opened"]) == ("cross", False, False)
    assert cross["error"]["code"] == 217
    assert cross["error"]["name"] == "CUDA_ERROR_PEER_ACCESS_UNSUPPORTED"
    assert [(item["path"], item["words"]) for item in producer["seen"]] == [("same", WORDS // 2)]


def test_equal_own_pids_are_refused_different_ones_are_not(node: Node) -> None:
    """The kernel's PID namespaces do not matter; the PIDs that the processes see do."""
    producer = node.start(
        *("--own-pid", "5", "produce", "--log", "--nonce", "n", "--bytes", str(SIZE)),
        namespace=True,
    )
    offer = producer.until("Producer: offer ")
    assert json.loads(offer)["own_pid"] == 5
    take = ["consume", "--nonce", "n", "--offer", offer]
    equal = node.start(*take, "--own-pid", "5", namespace=True).end()
    assert equal["process"]["own_pid"] == 5
    assert len(equal["process"]["nspid"]) > 1
    assert (equal["verdict"], equal["exit"]) == ("not-opened", 12)
    assert (equal["error"]["code"], equal["error"]["name"]) == (201, "CUDA_ERROR_INVALID_CONTEXT")
    assert equal["error"]["blame"] is None
    different = node.start(*take, "--own-pid", "6", namespace=True).end()
    assert different["process"]["own_pid"] == 6
    assert different["verdict"] == producer.end()["verdict"] == "ok"


def test_termination_message_names_verdict_and_hash(node: Node, tmp_path: Path) -> None:
    """What the kubelet keeps leads to the result in the log."""
    message = tmp_path / "message"
    process = node.start("inventory", DRA_TERMINATION_LOG=str(message))
    process.end()
    text = message.read_text()
    assert len(text) <= TERMINATION_MESSAGE_LIMIT
    kept = json.loads(text)
    line = process.lines[-1].rstrip("\n")
    assert kept["sha256"] == hashlib.sha256(line.encode()).hexdigest()
    assert (kept["verdict"], kept["exit"], kept["role"]) == ("ok", 0, "inventory")
