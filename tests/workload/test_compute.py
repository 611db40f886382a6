"""Kernels on fresh memory of all GPUs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from embedded.hardware.products import H100
from tests.workload.processes import Node

MIB = 1 << 20


@pytest.mark.parametrize("count", [1, 2, 4])
def test_every_gpu_computes(new_node: Callable[..., Node], count: int) -> None:
    """Each on memory of its own, in the order of --gpus."""
    node = new_node(H100.name, count)
    minors = tuple(reversed(range(count)))
    process = node.start(
        *("compute", "--nonce", "n", "--bytes", str(4 * MIB), "--gpus", node.uuids(*minors)),
        gpus=minors,
    )
    result = process.end()
    assert (result["verdict"], result["role"]) == ("ok", "compute")
    assert [done["uuid"] for done in result["compute"]] == node.uuids(*minors).split(",")
    for done in result["compute"]:
        assert (done["bytes"], done["words"]) == (4 * MIB, MIB // 2)
        assert (done["wrong_words"], done["first_wrong"]) == (0, None)
        assert done["foreign_words"] is None
        assert done["seconds"] > 0
    assert f"Compute: GPU 0: {MIB // 2} words right\n" in process.lines


def test_a_share_of_the_free_memory(node: Node) -> None:
    """Rounded down to 2 MiB, of what is free when it is asked for."""
    words = ("compute", "--nonce", "n", "--gpus", node.uuids(0), "--bytes")
    (done,) = node.start(*words, "0.05%").end()["compute"]
    free = node.machine.gpus[0].product.memory
    assert 0 < free * 0.0005 - done["bytes"] < 4 * MIB
    assert done["bytes"] % (2 * MIB) == 0
    (least,) = node.start(*words, "0.00001%").end()["compute"]
    assert least["bytes"] == 2 * MIB


def test_more_than_there_is(node: Node) -> None:
    """CUDA's refusal, by number and name."""
    result = node.start("compute", "--nonce", "n", "--bytes", str(1 << 40)).end()
    assert (result["verdict"], result["compute"]) == ("cuda-error", [])
    assert (result["error"]["code"], result["error"]["name"]) == (2, "CUDA_ERROR_OUT_OF_MEMORY")


def test_fresh_memory_has_no_words_of_another_run(node: Node) -> None:
    """Two processes on one GPU at once, each looking for the other's words."""
    producer = node.start("produce", "--log", "--nonce", "theirs", "--bytes", str(8 * MIB))
    producer.until("Producer: offer ")
    both = [
        node.start("compute", "--nonce", mine, "--foreign", other, "--bytes", str(4 * MIB))
        for mine, other in (("ours", "theirs"), ("others", "ours"))
    ]
    for process in both:
        result = process.end()
        assert result["verdict"] == "ok"
        assert [done["foreign_words"] for done in result["compute"]] == [0, 0]


def test_memory_that_another_run_left_is_counted(new_node: Callable[..., Node]) -> None:
    """On a GPU that does not clear it: every word that is still there, and nobody else's."""
    node = new_node(H100.name, 1, fault="keeps-memory")
    words = ("compute", "--bytes", str(4 * MIB), "--nonce")
    assert node.start(*words, "first", gpus=(0,)).end()["verdict"] == "ok"
    second = node.start(*words, "second", "--foreign", "nobody", gpus=(0,)).end()
    assert [done["foreign_words"] for done in second["compute"]] == [0]
    process = node.start(*words, "third", "--foreign", "second", gpus=(0,))
    (done,) = process.end()["compute"]
    assert done["foreign_words"] == done["words"] == MIB // 2
    assert done["wrong_words"] == 0
    assert f"Compute: GPU 0: {MIB // 2} words right, {MIB // 2} foreign before\n" in process.lines
