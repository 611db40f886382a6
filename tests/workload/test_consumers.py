"""Several consumers, those that only look, those that stay, and how a producer ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from embedded.hardware.products import H100
from tests.workload.processes import Node, Workload

SIZE = 8 << 20
WORDS = (SIZE - (2 << 20)) // 8
PRODUCE = ("produce", "--nonce", "n", "--bytes", str(SIZE))
CONSUME = ("consume", "--nonce", "n")
AS_FIRST = """\
import ctypes, subprocess, sys
CLONE_NEWPID = 0x20000000
assert ctypes.CDLL(None).unshare(CLONE_NEWPID) == 0
print(subprocess.run(sys.argv[1:]).returncode, file=sys.stderr)
"""
"""Runs a command as the first process of a PID namespace and tells how it ended."""


def offered(node: Node, *more: str, namespace: bool = False) -> tuple[Workload, str]:
    """A producer, and its offer in the log."""
    producer = node.start(*PRODUCE, "--log", *more, namespace=namespace)
    return producer, producer.until("Producer: offer ")


@pytest.mark.parametrize("transport", ["folder", "log"])
def test_several_consumers_of_one_offer(
    new_node: Callable[..., Node], shared: Path, transport: str
) -> None:
    """Each has a doorbell of its own, and the producer waits for all of them."""
    node, count = new_node(H100.name, 1), 3
    if transport == "folder":
        folder = ("--folder", str(shared))
        producer = node.start(*PRODUCE, *folder, "--consumers", str(count), gpus=(0,))
        take: tuple[str, ...] = folder
    else:
        producer = node.start(*PRODUCE, "--log", "--consumers", str(count), gpus=(0,))
        take = ("--offer", producer.until("Producer: offer "))
    consumers = [
        node.start(*CONSUME, *take, "--read-only", "--index", str(index), gpus=(0,))
        for index in range(count)
    ]
    for consumer in consumers:
        result = consumer.end()
        assert result["verdict"] == "ok", result["error"]
        (transfer,) = result["transfers"]
        assert (transfer["words"], transfer["wrong_words"]) == (WORDS, 0)
        assert transfer["wrote"] is False
        assert transfer["open_ms"] > 0
    ended = producer.end()
    assert (ended["verdict"], ended["seen"]) == ("ok", [])
    assert f"Producer: nobody wrote: {WORDS} words as they were\n" in producer.lines


def test_one_of_several_consumers_fails(node: Node, shared: Path) -> None:
    """The producer learns it though others could still come."""
    folder = ("--folder", str(shared))
    producer = node.start(*PRODUCE, *folder, "--consumers", "2")
    assert node.start(*CONSUME, *folder, "--read-only").end()["verdict"] == "ok"
    wrong = node.start("consume", "--nonce", "other", *folder, "--index", "1").end()
    assert wrong["verdict"] == "stale-offer"
    ended = producer.end()
    assert ended["verdict"] == "partner-never-came"
    assert "stale-offer" in ended["error"]["text"]


def test_not_all_consumers_come(node: Node) -> None:
    """One doorbell of two is not enough."""
    producer, offer = offered(node, "--consumers", "2")
    assert node.start(*CONSUME, "--offer", offer, "--read-only").end()["verdict"] == "ok"
    producer.signal(signal.SIGTERM)
    assert producer.end()["verdict"] == "partner-never-came"


def test_a_write_that_nobody_admits_is_noticed(node: Node) -> None:
    """A producer whose consumers only looked verifies that nothing changed."""
    producer, offer = offered(node)
    with node.allocations(0)[0].open("r+b") as memory:
        memory.seek(8 * 1000)
        memory.write(bytes(8))
    result = node.start(*CONSUME, "--offer", offer, "--read-only").end()
    assert result["transfers"][0]["first_wrong"] == 1000
    assert producer.end()["verdict"] == "partner-never-came"  # told that the consumer failed
    producer, offer = offered(node)
    with node.allocations(0)[0].open("r+b") as memory:
        memory.seek(8 * 1000)
        memory.write(bytes(8))
    probe = node.start("probe", "--offer", offer, "--attempt", "open")
    assert probe.end()["verdict"] == "ok"  # it does not judge what it sees
    ended = producer.end()
    assert ended["verdict"] == "checksum-wrong"
    assert ended["error"]["step"] == "verify the data that nobody wrote"


def test_the_consumer_has_another_gpu_first(node: Node) -> None:
    """With the exporting GPU injected but not its own, it writes everything over path `cross`."""
    producer, offer = offered(node, "--gpus", node.uuids(0))
    result = node.start(*CONSUME, "--offer", offer, "--gpus", node.uuids(1)).end()
    assert [(item["path"], item["wrote"]) for item in result["transfers"]] == [("cross", True)]
    ended = producer.end()
    assert (ended["verdict"], result["verdict"]) == ("ok", "ok")
    assert [(item["path"], item["words"]) for item in ended["seen"]] == [("cross", WORDS)]


def test_what_broke_the_context_is_what_is_told(node: Node) -> None:
    """Not the calls that fail because of it; and the result is still the last line."""
    _, offer = offered(node)
    longer = json.dumps({**json.loads(offer), "bytes": 2 * SIZE})  # a kernel reads where nothing is
    result = node.start(*CONSUME, "--offer", longer).end()
    assert (result["verdict"], result["error"]["code"]) == ("cuda-error", 700)
    assert result["error"]["step"] == "verify by a kernel"


# ---------------------------------------------------------------- the PID in the handle


def test_the_pid_in_the_handle_rewritten(node: Node) -> None:
    """To the importer's own: refused. To another: opens though the own PIDs are equal."""
    producer, offer = offered(node, "--own-pid", "5", namespace=True)
    take = (*CONSUME, "--offer", offer)
    equal = node.start(*take, "--own-pid", "5", namespace=True).end()
    assert equal["error"]["code"] == 201
    assert equal["offer"]["rewritten_pid"] is None
    assert equal["transfers"][0]["open_ms"] > 0
    own = node.start(*take, "--own-pid", "6", "--rewrite-pid", "own", namespace=True).end()
    assert (own["verdict"], own["error"]["code"]) == ("not-opened", 201)
    assert own["offer"]["rewritten_pid"] == 6
    assert own["offer"]["handle"] == json.loads(offer)["handle"]
    freed = node.start(*take, "--own-pid", "5", "--rewrite-pid", "99", namespace=True).end()
    assert (freed["verdict"], freed["offer"]["rewritten_pid"]) == ("ok", 99)
    assert producer.end()["verdict"] == "ok"


# ---------------------------------------------------------------- the end of a producer


@pytest.mark.parametrize("end", ["exit", "kill"])
def test_a_producer_that_ends_with_its_offer(node: Node, end: str) -> None:
    """In order, with a result, or killed without one; its memory is gone both times."""
    producer, offer = offered(node, "--end", end)
    if end == "exit":
        assert producer.end()["offer"]["handle"] == json.loads(offer)["handle"]
    else:
        assert producer.died() == -signal.SIGKILL
    result = node.start(*CONSUME, "--offer", offer).end()
    assert (result["verdict"], result["error"]["code"]) == ("not-opened", 400)


def test_the_first_process_of_a_namespace_kills_itself(node: Node) -> None:
    """Though the kernel lets nobody inside of the namespace kill it."""
    done = subprocess.run(
        [
            *(sys.executable, "-c", AS_FIRST),
            *(str(node.python), "-P", "-m", "workload", *PRODUCE, "--log", "--end", "kill"),
        ],
        env=node.machine.environment(),
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert done.stderr.splitlines()[-1] == str(-signal.SIGKILL)
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("Producer: offer"))
    offer = json.loads(line.removeprefix("Producer: offer "))
    assert offer["own_pid"] == 1
    result = node.start(*CONSUME, "--offer", json.dumps(offer)).end()
    assert result["error"]["code"] == 400


def test_a_mapping_outlives_its_producer(node: Node, shared: Path) -> None:
    """Over both paths; what the consumer wrote before is still there."""
    folder = ("--folder", str(shared))
    producer = node.start(*PRODUCE, *folder, "--end", "kill-when-rung")
    consumer = node.start(*CONSUME, *folder, "--until-gone")
    result = consumer.end()
    assert producer.died() == -signal.SIGKILL
    assert result["verdict"] == "ok"
    for transfer, path in zip(result["transfers"], ("same", "cross"), strict=True):
        assert (transfer["path"], transfer["wrote"]) == (path, True)
        assert transfer["after_gone"] == {"words": WORDS, "wrong_words": 0}
    assert f"Consumer: same: the producer is gone, 0 of {WORDS} words wrong\n" in consumer.lines


def test_a_mapping_that_changes_after_its_producers_end(node: Node, shared: Path) -> None:
    """It is not only looked at, it is verified."""
    folder = ("--folder", str(shared))
    producer = node.start(*PRODUCE, *folder, "--consumers", "2")
    consumer = node.start(*CONSUME, *folder, "--until-gone", "--read-only")
    consumer.until("Consumer: cross: opened")
    with node.allocations(0)[0].open("r+b") as memory:
        memory.seek(8 * 1000)
        memory.write(bytes(8))
    producer.kill()
    result = consumer.end()
    assert (result["verdict"], result["exit"]) == ("checksum-wrong", 13)
    assert "since the exporter is gone" in result["error"]["text"]
    for transfer in result["transfers"]:
        assert transfer["after_gone"] == {"words": WORDS, "wrong_words": 1}


def test_a_producer_that_does_not_go(node: Node, shared: Path) -> None:
    """The consumer's patience ends."""
    folder = ("--folder", str(shared))
    producer = node.start(*PRODUCE, *folder, "--consumers", "2")
    producer.until("Producer: filled")  # the patience of a consumer begins with its first wait
    result = node.start(*CONSUME, *folder, "--until-gone", "--patience", "2").end()
    assert result["verdict"] == "partner-never-came"
    assert "the producer's end" in result["error"]["text"]
    producer.kill()
