"""What goes wrong is told apart, and blamed on the right party."""

from __future__ import annotations

import json
import shutil
import signal
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from building.artifacts import Build, obtain
from building.progress import Progress
from building.toolchain import ZIG, zig_command, zig_environment
from tests.workload.processes import Node, Workload

SIZE = "8388608"
WORD = 700_000
"""In the second half of a buffer of `SIZE`, far outside of its first 4 KiB."""


def offered(node: Node, *more: str, namespace: bool = False) -> tuple[Workload, str]:
    """A producer that waits, and its offer."""
    words = ["produce", "--log", "--nonce", "n", "--bytes", SIZE, *more]
    producer = node.start(*words, namespace=namespace)
    return producer, producer.until("Producer: offer ")


def test_no_gpu_is_visible(node: Node) -> None:
    """The library is there, a device is not."""
    process = node.start("inventory", gpus=())
    result = process.end()
    assert (result["verdict"], result["exit"]) == ("no-gpu", 10)
    assert (result["error"]["code"], result["error"]["name"]) == (100, "CUDA_ERROR_NO_DEVICE")
    assert process.lines[0] == "Inventory: Found 0 GPU(s)\n"


@pytest.mark.parametrize("namespace", [False, True])
def test_at_rest_nothing_is_needed(node: Node, namespace: bool) -> None:
    """No library and no GPU; it ends by SIGTERM, as the first process of its namespace, too."""
    process = node.start("rest", gpus=(), library=False, namespace=namespace)
    process.until("Rest: at rest")
    process.signal(signal.SIGTERM)
    result = process.end()
    assert (result["verdict"], result["exit"], result["gpus"]) == ("ok", 0, [])
    assert node.start("rest", "--patience", "0.1", library=False).end()["verdict"] == "ok"


@pytest.mark.parametrize("namespace", [False, True])
def test_at_rest_the_result_is_there_before_the_end(node: Node, namespace: bool) -> None:
    """Also of a process that is killed; with the variables that it was started with."""
    words = ("rest", "--patience", "0.1", "--end", "kill")
    process = node.start(*words, library=False, namespace=namespace, GIVEN="by the driver")
    result = json.loads("{" + process.until("{"))
    assert (result["role"], result["verdict"]) == ("rest", "ok")
    assert result["environment"]["GIVEN"] == "by the driver"
    with pytest.raises(AssertionError, match="the log ended"):
        process.until("anything more")


def test_no_driver_library(node: Node) -> None:
    """Nothing was injected."""
    result = node.start("inventory", library=False).end()
    assert (result["verdict"], result["exit"]) == ("no-gpu", 10)
    assert "libcuda.so.1" in result["error"]["text"]
    assert result["error"]["blame"] is None


def test_the_allocated_gpu_is_not_visible(node: Node) -> None:
    """Another one is: the verdict names both."""
    result = node.start(
        "produce", "--log", "--nonce", "n", "--gpus", node.uuids(0), gpus=(1,)
    ).end()
    assert (result["verdict"], result["exit"]) == ("wrong-gpu", 11)
    for gpu in node.machine.gpus:
        assert gpu.uuid in result["error"]["text"]


def test_the_exporting_gpu_was_not_injected(node: Node) -> None:
    """The consumer has another GPU: CUDA calls the handle an invalid argument."""
    _, offer = offered(node)
    result = node.start("consume", "--nonce", "n", "--offer", offer, gpus=(1,)).end()
    assert (result["verdict"], result["exit"]) == ("not-opened", 12)
    (transfer,) = result["transfers"]
    assert (transfer["path"], transfer["can_access_peer"]) == ("cross", None)
    assert (transfer["error"]["code"], transfer["error"]["name"]) == (1, "CUDA_ERROR_INVALID_VALUE")


def test_one_wrong_word(node: Node) -> None:
    """A single bit outside of the first 4 KiB is found, with its index, over every path."""
    producer, offer = offered(node)
    memory = node.allocations(0)[0]
    with memory.open("r+b") as file:
        file.seek(8 * WORD)
        (word,) = struct.unpack("<Q", file.read(8))
        file.seek(8 * WORD)
        file.write(struct.pack("<Q", word ^ 1))
    result = node.start("consume", "--nonce", "n", "--offer", offer).end()
    assert (result["verdict"], result["exit"]) == ("checksum-wrong", 13)
    assert f"the first is {WORD}" in result["error"]["text"]
    for transfer in result["transfers"]:
        assert (transfer["wrong_words"], transfer["first_wrong"]) == (1, WORD)
        assert transfer["checksum"] != transfer["expected_checksum"]
        assert not transfer["wrote"]
    ended = producer.end()  # at once: the consumer rang that it failed
    assert ended["verdict"] == "partner-never-came"
    assert "the consumer failed" in ended["error"]["text"]


def test_the_exporter_was_killed(node: Node) -> None:
    """Its memory is gone: CUDA calls the handle invalid."""
    producer, offer = offered(node)
    producer.kill()
    result = node.start("consume", "--nonce", "n", "--offer", offer).end()
    assert (result["verdict"], result["exit"]) == ("not-opened", 12)
    assert (result["error"]["code"], result["error"]["name"]) == (
        400,
        "CUDA_ERROR_INVALID_HANDLE",
    )


def test_an_offer_of_another_run(node: Node, shared: Path) -> None:
    """It is refused before anything is opened, and the producer learns it."""
    producer = node.start("produce", "--nonce", "old", "--folder", str(shared), "--bytes", SIZE)
    result = node.start("consume", "--nonce", "new", "--folder", str(shared)).end()
    assert (result["verdict"], result["exit"]) == ("stale-offer", 16)
    assert result["transfers"] == []
    ended = producer.end()
    assert (ended["verdict"], ended["exit"]) == ("partner-never-came", 14)
    assert "stale-offer" in ended["error"]["text"]


def test_no_consumer_comes(node: Node) -> None:
    """The producer's patience ends."""
    producer, _ = offered(node, "--patience", "0.2")
    result = producer.end()
    assert (result["verdict"], result["exit"]) == ("partner-never-came", 14)
    assert "0.2 s" in result["error"]["text"]


def test_no_producer_comes(node: Node, shared: Path) -> None:
    """The consumer's patience ends."""
    result = node.start(
        "consume", "--nonce", "n", "--folder", str(shared), "--patience", "0.2"
    ).end()
    assert (result["verdict"], result["exit"]) == ("partner-never-came", 14)


@pytest.mark.parametrize("own_pid", [None, "9"])
def test_sigterm_ends_a_wait_with_a_result(node: Node, own_pid: str | None) -> None:
    """As when the kubelet ends the pod: also through the process that stands for it."""
    own = ["--own-pid", own_pid] if own_pid else []
    producer, _ = offered(node, *own, namespace=True)
    producer.signal(signal.SIGTERM)
    result = producer.end()
    assert (result["verdict"], result["exit"]) == ("partner-never-came", 14)
    assert "signal" in result["error"]["text"]


def test_a_partner_that_dies_is_noticed_at_once(node: Node, shared: Path) -> None:
    """Over a folder: a consumer that waits for the offer of a producer without GPU."""
    common = ["--nonce", "n", "--folder", str(shared), "--patience", "600"]
    consumer = node.start("consume", *common)
    consumer.until("Consumer: GPU 1")
    producer = node.start("produce", *common, gpus=()).end()
    assert producer["verdict"] == "no-gpu"
    result = consumer.end()
    assert result["verdict"] == "partner-never-came"
    assert "ended without an offer" in result["error"]["text"]


def test_out_of_memory(node: Node) -> None:
    """Any other refusal is CUDA's error, with number and name."""
    result = node.start("produce", "--log", "--nonce", "n", "--bytes", str(1 << 40)).end()
    assert (result["verdict"], result["exit"]) == ("cuda-error", 17)
    assert (result["error"]["code"], result["error"]["name"]) == (2, "CUDA_ERROR_OUT_OF_MEMORY")


def test_kernels_too_new_for_the_driver(new_node: Callable[..., Node], tmp_path: Path) -> None:
    """CUDA's error 222 is the workload's fault."""
    node = new_node(cuda_version=11000)
    overlay = tmp_path / "workload"
    shutil.copytree(next(node.python.parents[1].glob("lib/*/site-packages/workload")), overlay)
    kernels = overlay / "kernels.ptx"
    kernels.write_text(kernels.read_text().replace(".version 6.0", ".version 8.8"))
    result = node.start(
        "produce", "--log", "--nonce", "n", "--bytes", SIZE, PYTHONPATH=str(tmp_path)
    ).end()
    assert (result["verdict"], result["exit"]) == ("workload-fault", 15)
    assert result["error"]["code"] == 222
    assert result["error"]["blame"] == "workload"


def test_a_driver_library_without_the_functions(node: Node, tmp_path: Path) -> None:
    """PyCUDA was built for more than this library has: the workload's fault."""
    tools = {"zig": obtain([ZIG], Progress())["zig"]}
    source = tmp_path / "empty.c"
    source.write_text("int nothing;\n")
    with (tmp_path / "log").open("w") as log:
        build = Build(tmp_path, tmp_path, tools, log)
        build.run(
            *zig_command(build),
            *("-shared", "-nostdlib", "-Wl,-soname,libcuda.so.1"),
            *("-o", tmp_path / "libcuda.so.1", source),
            env=zig_environment(build),
        )
    result = node.start("inventory", LD_LIBRARY_PATH=str(tmp_path)).end()
    assert (result["verdict"], result["exit"]) == ("workload-fault", 15)
    assert "cuda" not in json.dumps(result["gpus"])
    assert "lacks a function" in result["error"]["text"]
    assert result["error"]["blame"] == "workload"


def test_an_own_pid_that_is_passed_already(node: Node) -> None:
    """Outside of a fresh PID namespace, numbers are far along."""
    result = node.start("inventory", "--own-pid", "2").end()
    assert (result["verdict"], result["exit"]) == ("usage", 2)
    assert "--own-pid: 2 cannot be had" in result["error"]["text"]
