"""The result and what becomes of it."""

from __future__ import annotations

import json

from workload.buffer import Findings, seed_of
from workload.result import (
    TERMINATION_MESSAGE_LIMIT,
    Problem,
    Process,
    Result,
    Verdict,
    WorkloadError,
)

PROCESS = Process(7, [100, 7], 1000, "pid:[1]", "ipc:[2]", "0" * 16, 1, 2)


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
        *("offer", "seen", "transfers"),
    }
    assert document["process"]["nspid"] == [100, 7]


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
