"""The tables of a report, from scenarios that were never played."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.scenario.run import Run
from harness.verdict.finding import Blame, Finding, UndecidedError
from harness.verdict.table import Cell, Table
from suites.cuda.security_matrix import EXPORTER, IMPORTER, NOT_RESTRICTED, ROWS, Matrix
from suites.cuda.tables import tables
from tests.suite.accounts import (
    DEVICES,
    GOOD,
    alter,
    good_matrix,
    lose,
    not_opened,
    own_pids,
    report,
    transfer,
)

RESTRICTED = sum(row.scenario.name == "matrix-restricted" for row in ROWS)
EQUAL, DIFFERENT = "restricted-1-1", "restricted-1-300"
RULE = (
    "The exporting process's own PID must differ from the importing process's own PID; no"
    " privilege is needed"
)
GONE = UndecidedError(Finding("the node is gone", "a node", "none", Blame.CLUSTER))


def made(hardware: str = "real", **measured: Any) -> dict[str, Table]:
    """The tables of a run that measured this."""
    named = {name.replace("_", "-"): value for name, value in measured.items()}
    run = SimpleNamespace(measured=named, place=SimpleNamespace(hardware=hardware))
    return {table.name: table for table in tables(cast(Run, run))}


def matrix_table(matrix: Matrix, hardware: str = "real") -> Table:
    """The security matrix's table."""
    return made(hardware, matrix_restricted=matrix)["security-matrix"]


def row_of(table: Table, name: str) -> dict[str, Cell]:
    """A row by its first cell."""
    (found,) = [row for row in table.rows if row[0] == name]
    return dict(zip(table.columns, found, strict=True))


def test_a_run_that_measured_nothing_has_no_table() -> None:
    """What was not played is not shown as measured."""
    assert made() == {}


def test_the_sentence_when_every_row_agrees() -> None:
    """What is needed, on which GPUs, by how many rows."""
    table = matrix_table(good_matrix("matrix-restricted"))
    where = "NVIDIA H100 80GB HBM3, GPU driver 580.159.04"
    assert table.sentence == f"{RULE} ({RESTRICTED} of {RESTRICTED} rows; {where})."
    assert len(table.rows) == RESTRICTED + len(NOT_RESTRICTED)


def test_both_namespaces_make_one_table() -> None:
    """Every row of the matrix, in its order."""
    table = made(
        matrix_restricted=good_matrix("matrix-restricted"),
        matrix_privileged=good_matrix("matrix-privileged"),
    )["security-matrix"]
    assert [row[0] for row in table.rows][: len(ROWS)] == [row.name for row in ROWS]
    assert f"({len(ROWS)} of {len(ROWS)} rows" in table.sentence


def test_the_sentence_when_rows_are_contrary() -> None:
    """It names them, and does not state the rule."""
    matrix = good_matrix("matrix-restricted")
    alter(matrix.rows[EQUAL], IMPORTER, transfers=(transfer(),))
    alter(matrix.rows[DIFFERENT], IMPORTER, transfers=(transfer(), not_opened(201, "cross")))
    table = matrix_table(matrix)
    assert RULE not in table.sentence
    assert table.sentence == (
        f"NVIDIA H100 80GB HBM3, GPU driver 580.159.04: {RESTRICTED - 2} of {RESTRICTED} rows"
        f" follow the rule that own PIDs alone decide; these do not: {EQUAL}, {DIFFERENT}."
    )


def test_another_error_than_201_is_contrary() -> None:
    """Refused is not enough: CUDA must take the importer for the exporter."""
    matrix = good_matrix("matrix-restricted")
    alter(matrix.rows[EQUAL], IMPORTER, transfers=(not_opened(400),))
    assert f"these do not: {EQUAL}." in matrix_table(matrix).sentence


def test_the_sentence_when_no_row_was_played() -> None:
    """There is none, and every row says so."""
    matrix = good_matrix("matrix-restricted")
    for row in matrix.rows.values():
        for member in row.members.values():
            member.report = lose(member.report, GONE)
    table = matrix_table(matrix)
    assert table.sentence == ""
    notes = {row_of(table, str(row[0]))["same GPU"] for row in table.rows[:RESTRICTED]}
    assert notes == {"not played to its end"}


def test_a_matrix_that_did_not_begin_has_no_rows() -> None:
    """And no sentence."""
    matrix = Matrix("matrix-restricted")
    matrix.without(GONE)
    table = matrix_table(matrix)
    assert (table.rows, table.sentence) == ((), "")


@pytest.mark.parametrize("role", [EXPORTER, IMPORTER])
def test_a_row_whose_workload_is_at_fault_does_not_count(role: str) -> None:
    """Nor does it end the report."""
    matrix = good_matrix("matrix-restricted")
    alter(matrix.rows[DIFFERENT], role, verdict="workload-fault", exit=15)
    table = matrix_table(matrix)
    assert row_of(table, DIFFERENT)["same GPU"] == "not played to its end"
    assert f"({RESTRICTED - 1} of {RESTRICTED - 1} rows" in table.sentence


def test_simulated_gpus_are_called_so_in_the_sentence() -> None:
    """Nobody may take it for a measurement."""
    table = matrix_table(good_matrix("matrix-restricted"), "simulated")
    assert "SIMULATED GPUs: the codes are those that the simulation was given" in table.sentence


def test_rows_show_pids_and_answers() -> None:
    """Equal PIDs, different ones, and a handle that was rewritten."""
    table = matrix_table(good_matrix("matrix-restricted"))
    assert row_of(table, EQUAL) == {
        "row": EQUAL,
        "exporter may": "nothing",
        "importer may": "nothing",
        "handle goes by": "the API",
        "exporter's own PID": 1,
        "importer's own PID": 1,
        "PID in the handle": 1,
        "same GPU": 201,
        "other GPU": 201,
    }
    different = row_of(table, DIFFERENT)
    assert (different["importer's own PID"], different["same GPU"]) == (300, "ok")
    rewritten = row_of(table, "handle-rewritten-to-nobodys-pid")
    assert (rewritten["exporter's own PID"], rewritten["PID in the handle"]) == (1, 99)
    assert rewritten["same GPU"] == "ok"
    rewritten = row_of(table, "handle-rewritten-to-importers-pid")
    assert (rewritten["PID in the handle"], rewritten["same GPU"]) == (300, 201)
    pair = row_of(table, "two-containers-sharing-process-namespace")
    assert (pair["exporter may"], pair["handle goes by"]) == (
        "one pod: shareProcessNamespace",
        "an emptyDir folder",
    )


def test_gpus_without_peer_access_follow_the_rule() -> None:
    """217 is recorded, and no row is contrary for it."""
    matrix = good_matrix("matrix-restricted")
    refused = not_opened(217, "cross", can_access_peer=False)
    for row in ROWS:
        if row.name in matrix.rows and set(own_pids(row)) == {1, 300} and not row.rewrite_pid:
            alter(matrix.rows[row.name], IMPORTER, transfers=(transfer(), refused))
    table = matrix_table(matrix)
    assert row_of(table, DIFFERENT)["other GPU"] == 217
    assert table.sentence.startswith(RULE)


def test_one_gpu_has_no_other_path() -> None:
    """Nothing stands where nothing was tried."""
    matrix = good_matrix("matrix-restricted")
    alter(matrix.rows[DIFFERENT], IMPORTER, transfers=(transfer(wrong_words=2),))
    row = row_of(matrix_table(matrix), DIFFERENT)
    assert (row["same GPU"], row["other GPU"]) == ("2 words wrong", None)


def test_what_was_unsupported_says_why() -> None:
    """In the place of an answer."""
    matrix = good_matrix("matrix-restricted")
    row = matrix.rows[DIFFERENT]
    row.notes["unsupported"] = "the exporter's PID on the host is 70000"
    row.members[IMPORTER].report = lose(row.members[IMPORTER].report, GONE)
    shown = row_of(matrix_table(matrix), DIFFERENT)
    assert shown["same GPU"] == "the exporter's PID on the host is 70000"


def test_refusals_are_rows() -> None:
    """What the restricted standard said to each pod."""
    matrix = good_matrix("matrix-restricted")
    matrix.refusals.found({**matrix.refusals.get(), "root": ""})
    table = matrix_table(matrix)
    assert row_of(table, "restricted/root")["same GPU"] == "taken"
    refused = row_of(table, "restricted/hostpid")
    assert refused["same GPU"] == "refused by Pod Security admission"
    assert refused["exporter may"] == "hostPID"


def test_handles_show_every_attempt() -> None:
    """With the driver's version, or that it is unknown."""
    attempts = GOOD["attempts"]().report(IMPORTER)
    table = made(attempts=attempts)["handles"]
    assert [row[0] for row in table.rows] == [a.name for a in attempts.attempts]
    assert row_of(table, "own")["code"] == 201
    assert table.note == "GPU driver 580.159.04; 0: it opened."
    unknown = made(attempts=replace(attempts, driver_version=None))["handles"]
    assert unknown.note == "GPU driver of unknown version; 0: it opened."
    assert "SIMULATED" in made("simulated", attempts=attempts)["handles"].note


def test_speeds_of_simulated_gpus_are_no_statement() -> None:
    """The numbers stand there with what they are worth; on hardware the sentence has the times."""
    measured = GOOD["bandwidth"]().report(IMPORTER)
    simulated = made("simulated", bandwidth=measured)["bandwidth"]
    assert simulated.sentence == ""
    assert "SIMULATED GPUs: these numbers say nothing" in simulated.note
    real = made(bandwidth=measured)["bandwidth"]
    assert real.sentence == "opening the handle (same): 0.200 ms."
    assert "Link between the GPUs: NVLink." in real.note
    assert ("same", "read", "kernel", 1 << 30, 1697.0) in real.rows
    assert made(bandwidth=replace(measured, open_times=()))["bandwidth"].sentence == ""


def test_peers_are_called_by_their_number() -> None:
    """In the order in which the container sees them; one GPU has none."""
    measured = GOOD["bandwidth"]().report(IMPORTER)
    (row,) = made(bandwidth=measured)["peers"].rows
    assert row == ("GPU 0", "GPU 1", True, 0, True, "NVLink")
    assert "peers" not in made(bandwidth=report(DEVICES[0]))
