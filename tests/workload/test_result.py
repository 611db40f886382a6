"""The result and what becomes of it."""

from __future__ import annotations

import json
import select
from dataclasses import replace

from workload.buffer import seed_of
from workload.cuda import Findings
from workload.result import (
    TERMINATION_MESSAGE_LIMIT,
    AfterGone,
    Attempt,
    Bandwidth,
    Computed,
    CudaDriver,
    Extras,
    Gpu,
    NvmlGpu,
    Offer,
    OpenTime,
    Peer,
    Problem,
    Process,
    Result,
    Seen,
    Transfer,
    Verdict,
    WorkloadError,
    handle_of,
)

PROCESS = Process(
    own_pid=7,
    nspid=(100, 7),
    uid=1000,
    gid=1000,
    uid_map=("0 100000 65536",),
    pid_namespace="pid:[1]",
    ipc_namespace="ipc:[2]",
    user_namespace="user:[3]",
    network_namespace="net:[4]",
    mount_namespace="mnt:[5]",
    cap_eff="0" * 16,
    no_new_privs=1,
    seccomp=2,
)
OFFER = Offer("n", "ab" * 64, 8 << 20, 1, "00" * 8, "GPU-1", 1)


def test_verdicts_and_exit_codes_are_public() -> None:
    """Checks, docs and other people's scripts rely on them."""
    assert {str(verdict): verdict.exit for verdict in Verdict} == {
        "ok": 0,
        "usage": 2,
        "no-gpu": 10,
        "wrong-gpu": 11,
        "not-opened": 12,
        "checksum-wrong": 13,
        "partner-never-came": 14,
        "workload-fault": 15,
        "stale-offer": 16,
        "cuda-error": 17,
    }


def test_a_result_is_one_line_of_the_schema() -> None:
    """All keys are there from the beginning."""
    line = Result("producer", PROCESS, nonce="n").line()
    assert "\n" not in line
    document = json.loads(line)
    assert document["schema"] == "dra-conformance/workload/v1"
    assert set(document) == {
        *("schema", "role", "nonce", "verdict", "exit", "error", "process", "cuda", "gpus"),
        *("environment", "metadata"),
        *("driver_version", "device_nodes", "forbidden_nodes", "nvml", "nvml_error", "peers"),
        *("offer", "seen", "lent", "transfers", "compute", "attempts", "bandwidth", "open"),
        *("rounds", "signals"),
    }
    assert document["process"]["nspid"] == [100, 7]


def test_what_is_written_is_read() -> None:
    """Every kind of part comes back as it was; what a newer workload adds is passed over."""
    result = Result("consumer", PROCESS, {"PATH": "/bin"}, "n", cuda=CudaDriver(13000), offer=OFFER)
    result.end(WorkloadError(Verdict.CUDA_ERROR, Problem("run", "no", 1, "NAME", "workload")))
    result.device_nodes, result.driver_version = ("nvidia0",), "580.159.04"
    result.gpus = (Gpu(0, "GPU-1", "H100", "0000:18:00.0", 80 << 30, "9.0"),)
    result.nvml = (NvmlGpu(0, "GPU-1", "H100", 3, "0000:18:00.0", 80 << 30, "9.0"),)
    result.peers = (Peer("GPU-1", "GPU-2", True, 0, True, False, "NVLink"),)
    result.seen = (Seen("same", 5, 1, 3),)
    refused = Problem("open", "refused", 217, "NAME")
    result.transfers = (
        Transfer("same", "GPU-1", "GPU-1", None, True, 0.2, 5, 0, None, "0", "0", True),
        Transfer("cross", "GPU-2", "GPU-1", False, error=refused, after_gone=AfterGone(5, 0)),
    )
    result.compute = (Computed("GPU-1", 8, 1, 0, None, None, 0.5),)
    result.attempts = (Attempt("freed", "cuIpcOpenMemHandle", 1, "NAME", 0.1),)
    result.bandwidth = (Bandwidth("same", "read", "copy", 8, 2.0, (1.0, 3.0)),)
    result.open = (OpenTime("same", 0.2, (0.3, 0.1)),)
    assert Result.read({**json.loads(result.line()), "of_tomorrow": 1}) == result


def test_long_errors_do_not_break_the_termination_message() -> None:
    """The text is cut, whatever characters it has; the JSON stays whole."""
    for text in ("x" * 10_000, "\u2603" * 10_000, "\0" * 10_000):
        result = Result("consumer", PROCESS)
        result.end(WorkloadError(Verdict.CUDA_ERROR, Problem("run", text, 1, "NAME")))
        message = result.termination_message()
        assert len(message.encode()) <= TERMINATION_MESSAGE_LIMIT
        kept = json.loads(message)
        assert kept["error"]["code"] == 1
        assert kept["error"]["text"].endswith("…")


def test_findings_add_up() -> None:
    """Parts of a buffer give the whole's numbers."""
    left, right = Findings(4, 0, None, 2**64 - 1), Findings(4, 2, 5, 3)
    assert left + right == right + left == Findings(8, 2, 5, 2)


def test_seeds_differ_between_runs() -> None:
    """So a buffer of one run is never taken for another's."""
    assert len({seed_of(nonce) for nonce in ("a", "b", "run-1", "run-2")}) == 4


def test_an_offer_fits_into_a_fifo() -> None:
    """Without extras it is shorter than an atomic write; with them it comes back as it was."""
    longest = replace(OFFER, nonce="n" * 64, bytes=1 << 40, seed=2**64 - 1, own_pid=1 << 22)
    assert len(longest.line()) < select.PIPE_BUF
    assert "extras" not in json.loads(longest.line())
    full = replace(OFFER, extras=Extras("01" * 64, "02" * 64, 1 << 20, ("03" * 64,), "04" * 64))
    assert Offer.parse(full.line()) == full


def test_the_pid_in_a_handle_is_rewritten() -> None:
    """Four bytes at byte 8, little endian; the others stay."""
    assert handle_of(OFFER) == bytes([0xAB] * 64)
    rewritten = handle_of(replace(OFFER, rewritten_pid=0x01020304))
    assert rewritten == bytes([0xAB] * 8 + [4, 3, 2, 1] + [0xAB] * 52)
