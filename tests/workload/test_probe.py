"""Right and wrong ways to open a handle: the codes measured on hardware, and how they are told."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from embedded.hardware.products import H100, RTX_4090
from tests.workload.processes import Node, Workload
from workload.attempts import NAMES

SIZE = 8 << 20
WORDS = (SIZE - (2 << 20)) // 8
SMALL_WORDS = 16 * (2 << 20) // 8
OK, INVALID_VALUE, INVALID_CONTEXT, NO_PEER_ACCESS, INVALID_HANDLE = 0, 1, 201, 217, 400

CODES = {
    **dict.fromkeys(("open", "reopened", "twice", "many", "interior", "event"), OK),
    **dict.fromkeys(("freed", "garbage-zeros", "garbage-random", "truncated-32"), INVALID_VALUE),
    **{f"flip-{byte}": OK for byte in (0, 1, 4, 8, 12, 16, 63)},
    **dict.fromkeys(("flip-24", "flip-32", "flags-0", "flags-2"), INVALID_VALUE),
    "flip-48": INVALID_HANDLE,
    "own": INVALID_CONTEXT,
    "pid-of-nobody": OK,
    "pid-of-importer": INVALID_CONTEXT,
}
"""Measured: H100, driver 580.159.04; not of `many`, `truncated-32` and `event`."""


def offered(node: Node, *more: str, **how: Any) -> tuple[Workload, str]:
    """A producer that waits, and its offer."""
    words = ("produce", "--log", "--nonce", "n", "--bytes", str(SIZE), *more)
    producer = node.start(*words, **how)
    return producer, producer.until("Producer: offer ")


def attempts(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By name; no name comes twice."""
    found = {attempt["name"]: attempt for attempt in result["attempts"]}
    assert len(found) == len(result["attempts"])
    return found


@pytest.mark.parametrize(("count", "importer"), [(1, 0), (2, 1), (4, 3)])
def test_every_attempt(new_node: Callable[..., Node], count: int, importer: int) -> None:
    """On the same GPU and on another: codes, names, and that what opened is right."""
    node = new_node(H100.name, count)
    visible = tuple(range(count))
    producer, offer = offered(node, "--extras", "--gpus", node.uuids(0), gpus=visible)
    process = node.start("probe", "--offer", offer, "--gpus", node.uuids(importer), gpus=visible)
    result = process.end()
    assert (result["verdict"], result["role"]) == ("ok", "probe")
    found = attempts(result)
    assert list(found) == list(NAMES)
    assert {name: attempt["code"] for name, attempt in found.items()} == CODES
    for name, attempt in found.items():
        opened = attempt["code"] == OK
        assert attempt["function"] == f"cuIpcOpen{'Event' if name == 'event' else 'Mem'}Handle"
        assert attempt["ms"] > 0
        assert (attempt["error"] is None) is opened
        words = SMALL_WORDS if name == "many" else WORDS
        if opened and name != "event":
            assert (attempt["words"], attempt["wrong_words"]) == (words, 0), name
        else:
            assert (attempt["words"], attempt["wrong_words"]) == (0, None), name
    assert found["own"]["error"] == "CUDA_ERROR_INVALID_CONTEXT"
    assert found["twice"]["note"] == "the same pointer came"
    assert found["many"]["note"] == "16 opened at once, at 16 addresses"
    assert found["interior"]["note"] == "the base of the allocation came"
    assert found["pid-of-importer"]["note"] == f"PID {result['process']['own_pid']}"
    assert f"Probe: open: opened, 0 of {WORDS} words wrong\n" in process.lines
    ended = producer.end()
    assert (ended["verdict"], ended["seen"]) == ("ok", [])


def test_chosen_attempts_in_their_order(node: Node) -> None:
    """An offer without extras is enough for most."""
    producer, offer = offered(node)
    result = node.start("probe", "--offer", offer, "--attempt", "flags-0,open").end()
    assert [attempt["name"] for attempt in result["attempts"]] == ["flags-0", "open"]
    assert producer.end()["verdict"] == "ok"
    producer, offer = offered(node)
    result = node.start("probe", "--offer", offer).end()
    assert set(attempts(result)) == {name for name, extras in NAMES.items() if not extras}
    assert producer.end()["verdict"] == "ok"


def test_equal_own_pids_are_told_and_the_producer_ends_all_the_same(node: Node) -> None:
    """The doorbell is rung through the handle with another PID."""
    producer, offer = offered(node, "--own-pid", "5", namespace=True)
    chosen = "open,flip-8,reopened,twice,pid-of-nobody,pid-of-importer"
    probe = ("probe", "--offer", offer, "--attempt", chosen, "--own-pid", "5")
    found = attempts(node.start(*probe, namespace=True).end())
    assert {name: attempt["code"] for name, attempt in found.items()} == {
        **dict.fromkeys(("open", "reopened", "twice", "pid-of-importer"), INVALID_CONTEXT),
        **dict.fromkeys(("flip-8", "pid-of-nobody"), OK),
    }
    assert found["twice"]["note"] == "the first time"
    assert producer.end()["verdict"] == "ok"


def test_wrong_words_are_counted(node: Node) -> None:
    """What opened and is not right is told, not judged."""
    _, offer = offered(node)
    with node.allocations(0)[0].open("r+b") as memory:
        memory.seek(8 * 1000)
        memory.write(bytes(16))
    (attempt,) = node.start("probe", "--offer", offer, "--attempt", "open").end()["attempts"]
    assert (attempt["code"], attempt["words"], attempt["wrong_words"]) == (0, WORDS, 2)


def test_an_attempt_that_breaks_the_context(node: Node) -> None:
    """It says so, and the next one has a fresh process with the same PID."""
    _, offer = offered(node)
    longer = json.dumps({**json.loads(offer), "bytes": 2 * SIZE})  # a kernel reads where nothing is
    process = node.start("probe", "--offer", longer, "--attempt", "open,own,flip-0,garbage-zeros")
    result = process.end()
    found = attempts(result)
    assert [attempt["code"] for attempt in found.values()] == [0, INVALID_CONTEXT, 0, INVALID_VALUE]
    broken = "the context is broken since then (CUDA_ERROR_ILLEGAL_ADDRESS, 700)"
    for name in ("open", "flip-0"):
        assert "verify by a kernel" in found[name]["note"]
        assert broken in found[name]["note"]
        assert (found[name]["words"], found[name]["wrong_words"]) == (0, None)
    assert found["own"]["note"] == found["garbage-zeros"]["note"] == ""
    starts = [line for line in process.lines if line.startswith("Probe: Found")]
    assert len(starts) == 3  # at first, and after each attempt that broke it
    assert result["process"]["own_pid"] == process.pid
    # There is no doorbell where this offer has it.
    assert (result["verdict"], result["error"]["code"]) == ("cuda-error", 1)


def test_gpus_without_peer_access(new_node: Callable[..., Node]) -> None:
    """Every attempt has a code; the producer cannot be reached."""
    node = new_node(RTX_4090.name)
    _, offer = offered(node, "--extras", "--gpus", node.uuids(0))
    result = node.start("probe", "--offer", offer, "--gpus", node.uuids(1)).end()
    found = attempts(result)
    refused = [name for name, code in CODES.items() if code == OK]
    assert {found[name]["code"] for name in refused} == {NO_PEER_ACCESS}
    assert found["many"]["note"] == "number 0"
    assert (result["verdict"], result["error"]["code"]) == ("not-opened", NO_PEER_ACCESS)


def test_an_offer_of_another_run(node: Node) -> None:
    """Nothing is tried."""
    _, offer = offered(node)
    result = node.start("probe", "--offer", offer, "--nonce", "m").end()
    assert (result["verdict"], result["attempts"]) == ("stale-offer", [])


def test_extras_say_what_is_wrong_with_them(node: Node) -> None:
    """A handle that is cut off on its way is named."""
    _, offer = offered(node, "--extras")
    given = json.loads(offer)
    assert len(given["extras"]["small"]) == 16
    given["extras"]["small"][3] = "abc"
    result = node.start("probe", "--offer", json.dumps(given)).end()
    assert result["verdict"] == "usage"
    assert "'extras.small[3]' is 'abc'" in result["error"]["text"]
