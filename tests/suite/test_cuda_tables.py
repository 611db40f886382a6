"""The tables of a report, of evidence made here."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.scenario.evidence import Evidence
from harness.verdict.finding import Blame, Finding, InconclusiveError
from harness.verdict.table import Cell, Table
from reports.matrix import pictures
from suites.cuda.security_matrix import security_table
from suites.cuda.security_rows import EXPORTER, IMPORTER, NOT_RESTRICTED, ROWS
from suites.cuda.tables import pairs, shared_memory
from tests.suite.cases import mechanisms
from tests.suite.cases.bandwidth import bandwidth
from tests.suite.cases.every_pair import every_gpu
from tests.suite.cases.ipc import attempts
from tests.suite.cases.security_matrix import (
    DIFFERENT,
    EQUAL,
    matrix,
    own_pids,
    restricted_standard,
    too_large_a_number,
)
from tests.suite.made import DEVICES, alter, lose, made, not_opened, report, transfer
from workload.result import Attempt, Verdict

RESTRICTED = sum(row.standard == "restricted" for row in ROWS)
RULE = (
    "The exporting process's own PID must differ from the importing process's own PID; no"
    " privilege is needed"
)
GONE = InconclusiveError(Finding("the node is gone", "a node", "none", Blame.CLUSTER))


def security(*evidence: Evidence) -> Table:
    """The security matrix's table."""
    (table,) = security_table({one.name: one for one in evidence})
    return table


def row_of(table: Table, name: str) -> dict[str, Cell]:
    """A row by its first cell."""
    (found,) = [row for row in table.rows if row[0] == name]
    return dict(zip(table.columns, found, strict=True))


def test_a_run_without_evidence_has_no_table() -> None:
    """What was not run is not shown as measured."""
    lost = made("bandwidth", importer=report())
    lost.containers[IMPORTER].report = lose(lost.containers[IMPORTER].report, GONE)
    for writer in (security_table, pairs, shared_memory):
        assert list(writer({})) == []
    for writer in (pairs, shared_memory):
        assert list(writer({lost.name: lost})) == []


def test_the_sentence_when_every_row_agrees() -> None:
    """What is needed, on which GPUs, by how many rows."""
    table = security(matrix("restricted"))
    where = "NVIDIA H100 80GB HBM3, GPU driver 580.159.04"
    assert table.sentence == f"{RULE} ({RESTRICTED} of {RESTRICTED} rows; {where})."
    assert len(table.rows) == RESTRICTED


def test_both_namespaces_make_one_table() -> None:
    """Every row of the matrix, in its order."""
    table = security(matrix("restricted"), matrix("privileged"))
    assert [row[0] for row in table.rows][: len(ROWS)] == [row.name for row in ROWS]
    assert f"({len(ROWS)} of {len(ROWS)} rows" in table.sentence


def test_the_sentence_when_rows_are_contrary() -> None:
    """It names them, and does not state the rule."""
    evidence = matrix("restricted")
    alter(evidence.parts[EQUAL], IMPORTER, transfers=(transfer(),))
    alter(evidence.parts[DIFFERENT], IMPORTER, transfers=(transfer(), not_opened(201, "cross")))
    table = security(evidence)
    assert RULE not in table.sentence
    assert table.sentence == (
        f"NVIDIA H100 80GB HBM3, GPU driver 580.159.04: {RESTRICTED - 2} of {RESTRICTED} rows"
        f" follow the rule that own PIDs alone decide; these do not: {EQUAL}, {DIFFERENT}."
    )


def test_another_error_than_201_is_contrary() -> None:
    """Refused is not enough: CUDA must take the importer for the exporter."""
    evidence = matrix("restricted")
    alter(evidence.parts[EQUAL], IMPORTER, transfers=(not_opened(400),))
    assert f"these do not: {EQUAL}." in security(evidence).sentence


def test_the_sentence_when_no_row_was_run() -> None:
    """There is none, and every row says so."""
    evidence = matrix("restricted")
    for row in evidence.parts.values():
        for container in row.containers.values():
            container.report = lose(container.report, GONE)
    table = security(evidence)
    assert table.sentence == ""
    notes = {row_of(table, str(row[0]))["same GPU"] for row in table.rows[:RESTRICTED]}
    assert notes == {"not run to its end"}


def test_a_matrix_that_did_not_begin_has_no_rows() -> None:
    """And no sentence."""
    evidence = Evidence("matrix-restricted")
    evidence.without(GONE)
    table = security(evidence)
    assert (table.rows, table.sentence) == ((), "")


@pytest.mark.parametrize("role", [EXPORTER, IMPORTER])
def test_a_row_whose_workload_is_at_fault_does_not_count(role: str) -> None:
    """Nor does it end the report."""
    evidence = matrix("restricted")
    alter(evidence.parts[DIFFERENT], role, verdict=Verdict.WORKLOAD_FAULT)
    table = security(evidence)
    assert row_of(table, DIFFERENT)["same GPU"] == "not run to its end"
    assert f"({RESTRICTED - 1} of {RESTRICTED - 1} rows" in table.sentence


def test_simulated_gpus_are_called_so_in_the_sentence() -> None:
    """Nobody may take it for a measurement."""
    evidence = matrix("restricted")
    evidence.simulated = True
    table = security(evidence)
    assert "SIMULATED GPUs: the codes are those that the simulation was given" in table.sentence


def test_rows_show_pids_and_answers() -> None:
    """Equal PIDs, different ones, and a handle that was rewritten."""
    table = security(matrix("restricted"))
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
        "PIDs": "equal",
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
    evidence = matrix("restricted")
    refused = not_opened(217, "cross", can_access_peer=False)
    for row in ROWS:
        if row.name in evidence.parts and set(own_pids(row)) == {1, 300} and not row.rewrite_pid:
            alter(evidence.parts[row.name], IMPORTER, transfers=(transfer(), refused))
    table = security(evidence)
    assert row_of(table, DIFFERENT)["other GPU"] == 217
    assert table.sentence.startswith(RULE)


def test_one_gpu_has_no_other_path() -> None:
    """Nothing stands where nothing was tried."""
    evidence = matrix("restricted")
    alter(evidence.parts[DIFFERENT], IMPORTER, transfers=(transfer(wrong_words=2),))
    row = row_of(security(evidence), DIFFERENT)
    assert (row["same GPU"], row["other GPU"]) == ("2 words wrong", None)


def test_what_was_unsupported_says_why() -> None:
    """In the place of an answer."""
    evidence = matrix("restricted")
    too_large_a_number(evidence.parts[DIFFERENT])
    shown = row_of(security(evidence), DIFFERENT)
    assert shown["same GPU"] == "unsupported: the exporter's PID on the host is 70000"


def test_refusals_are_rows() -> None:
    """What the restricted standard said to each pod; nothing is said of one that was not tried."""
    evidence = restricted_standard()
    taken, lost = evidence.containers["root"], evidence.containers["hostipc"]
    taken.refused = lost.refused = None
    taken.admitted.found({})
    table = security(matrix("restricted"), evidence)
    assert len(table.rows) == RESTRICTED + len(NOT_RESTRICTED)
    assert row_of(table, "restricted/root")["same GPU"] == "taken"
    assert row_of(table, "restricted/hostipc")["same GPU"] == "not run to its end"
    refused = row_of(table, "restricted/hostpid")
    assert refused["same GPU"] == "refused by Pod Security admission"
    assert refused["exporter may"] == "hostPID"


def test_handles_show_every_attempt() -> None:
    """With the driver's version, or that it is unknown."""
    evidence = attempts()
    (table,) = shared_memory({evidence.name: evidence})
    assert [row[0] for row in table.rows] == [a.name for a in evidence.report(IMPORTER).attempts]
    assert row_of(table, "own")["code"] == 201
    assert table.note == "GPU driver 580.159.04; 0: it opened."
    evidence.simulated = True
    alter(evidence, IMPORTER, driver_version=None)
    (table,) = shared_memory({evidence.name: evidence})
    assert table.note.startswith("GPU driver of unknown version; 0: it opened. SIMULATED GPUs:")


def test_speeds_of_simulated_gpus_are_no_statement() -> None:
    """The numbers stand there with what they are worth; on hardware the sentence has the times."""
    evidence = bandwidth()
    real, _ = shared_memory({evidence.name: evidence})
    assert real.sentence == "To open memory takes: ipc 0.200 ms."
    assert "Link between the GPUs: NVLink." in real.note
    assert ("ipc", "same", "read", "kernel", 1 << 30, 1697.0) in real.rows
    evidence.simulated = True
    simulated, _ = shared_memory({evidence.name: evidence})
    assert simulated.sentence == ""
    assert "SIMULATED GPUs: these numbers say nothing" in simulated.note
    alter(evidence, IMPORTER, open=())
    evidence.simulated = False
    assert next(iter(shared_memory({evidence.name: evidence}))).sentence == ""


def test_peers_are_called_by_their_number() -> None:
    """In the order in which the container sees them; one GPU has none."""
    evidence = bandwidth()
    _, peers = shared_memory({evidence.name: evidence})
    assert peers.rows == (("GPU 0", "GPU 1", True, 0, True, "NVLink"),)
    alone = made("bandwidth", importer=report(DEVICES[0]))
    assert [table.name for table in shared_memory({alone.name: alone})] == ["bandwidth"]


def test_ways_to_share_are_told_by_mechanism() -> None:
    """By what importers of each kind were answered; without an importer there is no table."""
    evidence = mechanisms.mechanisms()
    (table,) = shared_memory({"mechanisms": evidence})
    places = ("same GPU", "other GPU", "equal own PIDs", "without the GPU", "exporter gone")
    answers = {
        "ipc": ("ok", "ok", "ok", 1, 400),
        "descriptor": ("ok", "ok", "ok", 101, "ok"),
        "fabric": ("ok", "ok", "ok", 801, 400),
        "pool-descriptor": ("ok", "ok", "ok", 101, 400),
        "pool-fabric": ("ok", "ok", "ok", 801, 400),
    }
    assert table.rows == tuple(
        (mechanism, where, told, None, "none" if told == "ok" else None)
        for mechanism, of_it in answers.items()
        for where, told in zip(places, of_it, strict=True)
    )
    assert "GPU driver 580.159.04." in table.note
    mechanisms.not_made(800, channel=False)(evidence)
    (table,) = shared_memory({"mechanisms": evidence})
    assert {row[2:] for row in table.rows if row[0] == "fabric"} == {(800, None, None)}
    del evidence.containers["importer"]
    assert list(shared_memory({"mechanisms": evidence})) == []


def test_ways_to_share_say_what_they_take() -> None:
    """The privilege that each importer has, and what came of taking a descriptor by itself."""
    evidence = mechanisms.mechanisms()
    attempt = Attempt("pidfd-getfd", "pidfd_getfd", 1, "EPERM", 0.1)
    root = replace(report(DEVICES[0]).process, uid=0, cap_eff="6")
    alter(evidence, IMPORTER, attempts=(attempt,), process=root)
    (table,) = shared_memory({"mechanisms": evidence})
    assert "taken by pidfd_getfd, a descriptor gave EPERM (1)." in table.note
    told = {row[1]: row[4] for row in table.rows if row[2] == "ok"}
    assert (told["same GPU"], told["equal own PIDs"]) == ("root, 2 capabilities", "none")


def test_ways_to_share_have_their_speeds() -> None:
    """Those of copies, of the other scenario; those of simulated GPUs are no statement."""
    both = {"mechanisms": mechanisms.mechanisms(), "bandwidth": bandwidth()}
    table, *_ = shared_memory(both)
    assert table.name == "ways-to-share"
    for where, speed in (("same GPU", 1697.0), ("other GPU", 396.0), ("equal own PIDs", None)):
        assert ("fabric", where, "ok", speed, "none") in table.rows
    for evidence in both.values():
        evidence.simulated = True
    table, *_ = shared_memory(both)
    assert {row[3] for row in table.rows} == {None}
    assert "speeds say nothing" in table.note


def test_pairs_of_gpus_are_a_matrix() -> None:
    """In the order of the GPUs, with the class of their link, and how fast they are."""
    (table,) = pairs({"every-gpu": every_gpu()})
    assert [row[:6] for row in table.rows[:3]] == [
        ("GPU 0", "GPU 0", "X", "X", "ok", 0.2),
        ("GPU 0", "GPU 1", "NV18", "PIX", "ok", 0.2),
        ("GPU 0", "GPU 2", "NV18", "SYS", "ok", 0.2),
    ]
    assert {row[6:] for row in table.rows} == {(400.0, 380.0)}
    assert table.sentence == "16 of 16 pairs of GPUs opened, with every word right."
    drawn = {picture.value: picture for picture in pictures(table)}
    assert list(drawn) == ["link", "answer", "open, ms", "read, GB/s", "write, GB/s"]
    assert [len(squares) for _, squares in drawn["link"].rows] == [4] * 4


def test_speeds_of_simulated_pairs_are_not_told() -> None:
    """They were not measured, and the note says so."""
    evidence = every_gpu()
    evidence.simulated = True
    alter(evidence, IMPORTER, bandwidth=())
    (table,) = pairs({"every-gpu": evidence})
    assert "speed is not measured" in table.note
    values = [picture.value for picture in pictures(table)]
    assert values == ["link", "answer", "open, ms"]
