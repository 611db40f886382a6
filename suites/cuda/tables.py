"""The tables of a report: what the scenarios measured, row by row, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterator

from harness.scenario.run import Run
from harness.scenario.workload_report import Transfer, WorkloadReport
from harness.verdict.table import Cell, Table
from suites.cuda.security_matrix import (
    EXPORTER,
    IMPORTER,
    NOT_RESTRICTED,
    PRIVILEGED_MATRIX,
    RESTRICTED_MATRIX,
    ROWS,
    Matrix,
    MatrixRow,
)

INVALID_CONTEXT = 201
SIMULATED = "SIMULATED GPUs: the codes are those that the simulation was given"


def tables(run: Run) -> Iterator[Table]:
    """Every table that this run has something for."""
    parts = [run.measured.get(part.name) for part in (RESTRICTED_MATRIX, PRIVILEGED_MATRIX)]
    known = [part for part in parts if isinstance(part, Matrix)]
    if known:
        yield security_matrix(run, known)
    attempts = run.measured.get("attempts")
    if isinstance(attempts, WorkloadReport):
        yield handles(run, attempts)
    bandwidth = run.measured.get("bandwidth")
    if isinstance(bandwidth, WorkloadReport):
        yield speeds(run, bandwidth)
        if bandwidth.peers:
            yield peers(bandwidth)


def security_matrix(run: Run, parts: list[Matrix]) -> Table:
    """What two processes needed to share memory, and the sentence that follows."""
    played = {name: row for part in parts for name, row in part.rows.items()}
    rows: list[tuple[Cell, ...]] = []
    reports: list[WorkloadReport] = []
    agreeing, contrary = 0, []
    for row in ROWS:
        if row.name not in played:
            continue
        members = played[row.name].members
        exporter, importer = (
            members[role].report.known() if role in members else None
            for role in (EXPORTER, IMPORTER)
        )
        if (
            exporter is None
            or importer is None
            or exporter.at_fault
            or importer.at_fault
            or not importer.transfers
        ):
            note = row.unsupported(played[row.name]) or "not played to its end"
            rows.append((*_about(row), None, None, None, note, None))
            continue
        reports.append(importer)
        pid = row.pid_in_handle(played[row.name])
        same, cross = importer.transfer("same"), importer.transfer("cross")
        if _follows_the_rule(pid, importer):
            agreeing += 1
        else:
            contrary.append(row.name)
        rows.append(
            (*_about(row), exporter.own_pid, importer.own_pid, pid, _answer(same), _answer(cross))
        )
    for part in parts:
        for name, said in (part.refusals.known() or {}).items():
            answer = "refused by Pod Security admission" if said else "taken"
            what = str(NOT_RESTRICTED[name])
            rows.append((f"restricted/{name}", what, what, "", None, None, None, answer, None))
    return Table(
        name="security-matrix",
        title="What two containers need to share GPU memory by CUDA IPC",
        columns=(
            *("row", "exporter may", "importer may", "handle goes by"),
            *("exporter's own PID", "importer's own PID", "PID in the handle"),
            *("same GPU", "other GPU"),
        ),
        rows=tuple(rows),
        sentence=_statement(run, reports, agreeing, contrary),
        note=(
            "Own PIDs are what each process reports of itself (getpid). 201:"
            " CUDA_ERROR_INVALID_CONTEXT, CUDA takes the importer for the exporter."
        ),
    )


def _about(row: MatrixRow) -> tuple[str, str, str, str]:
    where = "one pod: " if row.one_pod else ""
    return (row.name, f"{where}{row.exporter}", f"{where}{row.importer}", row.transport)


def _follows_the_rule(pid_in_handle: int, importer: WorkloadReport) -> bool:
    equal = pid_in_handle == importer.own_pid
    return all(
        _code(transfer) == INVALID_CONTEXT if equal else transfer.opened
        for transfer in importer.transfers
        if transfer.opened or transfer.can_access_peer is not False
    )


def _statement(run: Run, reports: list[WorkloadReport], agreeing: int, contrary: list[str]) -> str:
    if not reports:
        return ""
    gpus = sorted({gpu.name for report in reports for gpu in report.gpus})
    versions = sorted({report.driver_version or "unknown" for report in reports})
    where = f"{', '.join(gpus)}, GPU driver {', '.join(versions)}"
    if run.place.hardware == "simulated":
        where += f" ({SIMULATED})"
    if contrary:
        return (
            f"{where}: {agreeing} of {len(reports)} rows follow the rule that own PIDs alone"
            f" decide; these do not: {', '.join(contrary)}."
        )
    return (
        "The exporting process's own PID must differ from the importing process's own PID; no"
        f" privilege is needed ({agreeing} of {len(reports)} rows; {where})."
    )


def _code(transfer: Transfer) -> int | None:
    return None if transfer.opened else (transfer.error or {}).get("code")


def _answer(transfer: Transfer | None) -> Cell:
    if transfer is None:
        return None
    if not transfer.opened:
        return (transfer.error or {}).get("code")
    return "ok" if transfer.wrong_words == 0 else f"{transfer.wrong_words} words wrong"


def handles(run: Run, report: WorkloadReport) -> Table:
    """What CUDA said to handles of every kind."""
    simulated = run.place.hardware == "simulated"
    return Table(
        name="handles",
        title="What CUDA says to handles of every kind",
        columns=("attempt", "call", "code", "error", "words wrong", "note"),
        rows=tuple(
            (a.name, a.function, a.code, a.error, a.wrong_words, a.note) for a in report.attempts
        ),
        note=f"GPU driver {report.driver_version or 'of unknown version'}; 0: it opened."
        + (f" {SIMULATED}." if simulated else ""),
    )


def speeds(run: Run, report: WorkloadReport) -> Table:
    """How fast memory was over each path."""
    simulated = run.place.hardware == "simulated"
    links = {peer.link for peer in report.peers}
    opened = "; ".join(
        f"opening the handle ({entry.path}): {entry.ms_median:.3f} ms"
        for entry in report.open_times
    )
    return Table(
        name="bandwidth",
        title="How fast memory is read and written",
        columns=("path", "direction", "method", "bytes", "GB/s"),
        rows=tuple(
            (b.path, b.direction, b.method, b.bytes, round(b.gbps, 1)) for b in report.bandwidth
        ),
        sentence=f"{opened}." if opened and not simulated else "",
        note="CUDA events, warm-up, median. local: own memory; same: imported, on the GPU that"
        " holds it; cross: imported, from the other GPU; plain: two GPUs of one process."
        + (f" Link between the GPUs: {', '.join(sorted(links))}." if links else "")
        + (" SIMULATED GPUs: these numbers say nothing about any GPU." if simulated else ""),
    )


def peers(report: WorkloadReport) -> Table:
    """What the GPUs of one claim are to each other."""
    names = {gpu.uuid: f"GPU {number}" for number, gpu in enumerate(report.gpus)}
    return Table(
        name="peers",
        title="What GPUs are to each other",
        columns=("importer", "exporter", "peer access", "rank", "native atomics", "link"),
        rows=tuple(
            (
                names.get(peer.importer, peer.importer),
                names.get(peer.exporter, peer.exporter),
                peer.can_access_peer,
                peer.performance_rank,
                peer.native_atomics,
                peer.link,
            )
            for peer in report.peers
        ),
    )
