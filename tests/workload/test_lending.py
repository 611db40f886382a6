"""Two processes share GPU memory by every mechanism, descriptors over a Unix socket."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from embedded.hardware.products import H100
from tests.workload.processes import Node
from workload import borrowing
from workload.result import Lent, Mechanism, Result
from workload.task import Log, Task

SIZE = 4 << 20
WORDS = SIZE // 8
INVALID_VALUE, INVALID_DEVICE, INVALID_CONTEXT, INVALID_HANDLE = 1, 101, 201, 400
NOT_PERMITTED, NOT_SUPPORTED = 800, 801
IPC, DESCRIPTOR, FABRIC, POOL_DESCRIPTOR, POOL_FABRIC = map(str, Mechanism)


def pair(
    node: Node, shared: Path, lend: tuple[str, ...] = (), borrow: tuple[str, ...] = (), **how: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run an exporter and an importer; return their results."""
    common = ["--nonce", "n", "--folder", str(shared), "--patience", "30"]
    of_importer = {name.removeprefix("to_"): how.pop(name) for name in list(how) if "to_" in name}
    importer = node.start("borrow", *common, *borrow, **{**how, **of_importer})
    exporter = node.start("lend", "--bytes", str(SIZE), *common, *lend, **how)
    return exporter.end(), importer.end()


def codes(result: dict[str, Any], path: str) -> dict[str, int | None]:
    """What CUDA said of each mechanism over a path; 0: it opened, and every word was right."""
    found = {}
    for transfer in result["transfers"]:
        if transfer["path"] == path:
            error = transfer["error"]
            assert error or (transfer["words"], transfer["wrong_words"]) == (WORDS, 0)
            found[transfer["mechanism"]] = error["code"] if error else 0
    return found


def test_every_mechanism_both_ways_and_on_both_gpus(node: Node, shared: Path) -> None:
    gpus = ("--gpus", node.uuids(1, 0))
    exporter, importer = pair(node, shared, gpus, gpus, channels=1)
    assert (exporter["verdict"], importer["verdict"]) == ("ok", "ok")
    assert codes(importer, "same") == codes(importer, "cross") == dict.fromkeys(Mechanism, 0)
    assert {one["importer"] for one in importer["transfers"]} == {
        gpu.uuid for gpu in node.machine.gpus
    }
    seen = {(one["mechanism"], one["path"]): one for one in exporter["seen"]}
    assert set(seen) == {(one, path) for one in Mechanism for path in ("same", "cross")}
    for one in seen.values():
        assert (one["words"], one["wrong_words"], one["writer"]) == (WORDS // 2, 0, "borrow")
    assert node.allocations(0) == node.allocations(1) == []


def test_equal_own_pids_without_a_channel(node: Node, shared: Path) -> None:
    """Legacy IPC alone looks at PIDs; fabric handles are not even made."""
    exporter, importer = pair(node, shared, namespace=True, gpus=(0,))
    assert exporter["process"]["own_pid"] == importer["process"]["own_pid"] == 1
    refused = {one["mechanism"]: one["error"] for one in exporter["lent"] if one["error"]}
    assert {name: error["code"] for name, error in refused.items()} == {
        FABRIC: NOT_PERMITTED,
        POOL_FABRIC: NOT_PERMITTED,
    }
    assert codes(importer, "same") == {IPC: INVALID_CONTEXT, DESCRIPTOR: 0, POOL_DESCRIPTOR: 0}
    assert [one["words"] for one in exporter["seen"]] == [WORDS // 2] * 4


def test_without_the_exporters_gpu(node: Node, shared: Path) -> None:
    _, importer = pair(node, shared, channels=1, gpus=(0,), to_gpus=(1,))
    assert codes(importer, "cross") == {
        IPC: INVALID_VALUE,
        DESCRIPTOR: INVALID_DEVICE,
        FABRIC: NOT_SUPPORTED,
        POOL_DESCRIPTOR: None,
        POOL_FABRIC: None,
    }
    assert importer["transfers"][-1]["error"]["text"].startswith("not tried: CUDA crashes")


@pytest.mark.parametrize("how", ["exit", "kill"])
def test_the_exporters_end(node: Node, shared: Path, how: str) -> None:
    common = ["--nonce", "n", "--folder", str(shared), "--patience", "30"]
    importer = node.start("borrow", "--until-gone", *common, channels=1, gpus=(0,))
    exporter = node.start(
        *("lend", "--end", how, "--bytes", str(SIZE), *common), channels=1, gpus=(0,)
    )
    result = importer.end()
    if how == "exit":
        assert exporter.end()["seen"] == []
    after = {one["mechanism"]: one["after_gone"] for one in result["transfers"][:5]}
    assert after == {one: {"words": WORDS, "wrong_words": 0} for one in Mechanism}
    late = codes(result, "late")
    assert late.pop(DESCRIPTOR) == 0
    # Who exits frees its memory first, and may be gone a moment later.
    gone = {INVALID_HANDLE} if how == "kill" else {INVALID_HANDLE, INVALID_VALUE}
    assert late.keys() == {IPC, FABRIC, POOL_DESCRIPTOR}  # at the other pool CUDA crashes
    assert {*late.values()} <= gone


def test_pages_that_are_lost_are_seen(new_node: Callable[..., Node], shared: Path) -> None:
    node = new_node(H100.name, 1, fault="loses-writes")
    exporter, importer = pair(node, shared, gpus=(0,))
    assert codes(importer, "same") == {IPC: 0, DESCRIPTOR: 0, POOL_DESCRIPTOR: 0}
    assert [(one["mechanism"], one["wrong_words"]) for one in exporter["seen"]] == [
        *((IPC, 0), (IPC, 0), (DESCRIPTOR, 512), (DESCRIPTOR, 0)),
        *((POOL_DESCRIPTOR, 512), (POOL_DESCRIPTOR, 0)),
    ]


def test_a_call_that_gives_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is noted, and what was open stays open: closing might wait for the same."""
    monkeypatch.setattr(borrowing, "_LONGEST", 0.05)
    result = cast(Result, SimpleNamespace(transfers=(), peers=()))
    task = cast(Task, SimpleNamespace(result=result, log=Log("importer")))
    borrowed = borrowing._Borrowed(task, Lent(Mechanism.POOL_DESCRIPTOR), None, "GPU-1", SIZE)
    context = SimpleNamespace(gpu=SimpleNamespace(uuid="GPU-2"))
    closed: list[str] = []
    stack, release = ExitStack(), threading.Event()
    stack.callback(closed.append, "closed")
    borrowed.in_time(stack, lambda _: cast(None, release.wait()), cast(Any, [context]))
    borrowed.in_time(stack, lambda _: closed.append("asked again"), cast(Any, [context]))
    release.set()
    stack.close()
    assert closed == []
    (transfer,) = result.transfers
    assert transfer.error
    assert transfer.error.text == "no answer within 0.05 s"
