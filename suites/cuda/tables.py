"""Tables of the report: what CUDA said to handles, how fast memory was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from harness.scenario.evidence import Evidence
from harness.scenario.report import Report
from harness.verdict.table import Cell, Matrix, Table
from suites.cuda.transfers import IMPORTER, code_of, way
from workload.result import Attempt, Bandwidth, Transfer

EQUAL, STRANGER, STAYING = "importer-same-pid", "importer-other-gpu", "importer-left"
"""Importers beside the usual one: with the exporter's own PID, without its GPU, left by it."""
OTHER_POD = "importer-other-pod"
"""The usual importer, where it is in another pod than the exporter."""
SIMULATED = "SIMULATED GPUs: the codes are those that the simulation was given"


def answered(transfer: Transfer | None) -> Cell:
    """Tell how a transfer went, in one cell: ``ok``, CUDA's error code, or what was wrong."""
    if transfer is None:
        return None
    if not transfer.opened:
        code, error = code_of(transfer), transfer.error
        return error.text if code is None and error is not None else code
    return "ok" if transfer.wrong_words == 0 else f"{transfer.wrong_words} words wrong"


_SCENARIOS = ("mechanisms", "shared-volume", "bandwidth", "attempts")


def _reports(left: Iterable[Evidence]) -> Iterator[tuple[Report, bool]]:
    """The importers' reports, and whether they are of simulated GPUs."""
    for evidence in left:
        importer = evidence.containers.get(IMPORTER)
        report = importer.report.known() if importer is not None else None
        if report is not None:
            yield report, evidence.simulated


def _handles(report: Report, *, simulated: bool) -> Table:
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


def shared_memory(scenarios: Mapping[str, Evidence]) -> Iterator[Table]:
    """Tell how containers can share memory, first in short, then how fast, then by which handles.

    Args:
        scenarios: some of ``mechanisms``, ``shared-volume``, ``bandwidth`` and ``attempts``.
    """
    left = {name: [one] if (one := scenarios.get(name)) else [] for name in _SCENARIOS}
    measured = list(_reports(left["bandwidth"]))
    speeds = [one for report, simulated in measured if not simulated for one in report.bandwidth]
    for evidence in left["mechanisms"]:
        yield from _ways(evidence, speeds, left["shared-volume"])
    for report, simulated in measured:
        yield _speeds(report, simulated=simulated)
        if report.peers:
            yield _peers(report)
    for report, simulated in _reports(left["attempts"]):
        yield _handles(report, simulated=simulated)


def _speeds(report: Report, *, simulated: bool) -> Table:
    links = {peer.link for peer in report.peers}
    opened = ", ".join(f"{entry.mechanism} {entry.ms_median:.3f} ms" for entry in report.open)
    return Table(
        name="bandwidth",
        title="How fast memory is read and written",
        columns=("mechanism", "path", "direction", "method", "bytes", "GB/s"),
        rows=tuple(
            (b.mechanism, b.path, b.direction, b.method, b.bytes, round(b.gbps, 1))
            for b in report.bandwidth
        ),
        sentence=f"To open memory takes: {opened}." if opened and not simulated else "",
        note="CUDA events, warm-up, median. local: own memory; same: imported, on the GPU that"
        " holds it; cross: imported, from the other GPU; plain: two GPUs of one process."
        + (f" Link between the GPUs: {', '.join(sorted(links))}." if links else "")
        + (" SIMULATED GPUs: these numbers say nothing about any GPU." if simulated else ""),
        matrix=Matrix(("mechanism", "path"), ("direction", "method"), ("GB/s",)),
    )


def _peers(report: Report) -> Table:
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
        matrix=Matrix(("importer",), ("exporter",), ("peer access", "rank", "link")),
    )


def pairs(scenarios: Mapping[str, Evidence]) -> Iterator[Table]:
    """Tell how memory of each GPU opened on each GPU, and how fast it was there."""
    for report, simulated in _reports(scenarios.values()):
        yield _pairs(report, simulated=simulated)


def _pairs(report: Report, *, simulated: bool) -> Table:
    names = {gpu.uuid: f"GPU {number}" for number, gpu in enumerate(report.gpus)}
    order = {uuid: number for number, uuid in enumerate(names)}
    transfers = sorted(
        report.transfers,
        key=lambda one: (order.get(one.importer, -1), order.get(one.exporter, -1)),
    )
    links = {(peer.importer, peer.exporter): peer for peer in report.peers}
    speeds = {(b.importer, b.exporter, b.direction): round(b.gbps, 1) for b in report.bandwidth}
    rows = []
    for one in transfers:
        pair = (one.importer, one.exporter)
        peer = links.get(pair)
        rows.append(
            (
                names.get(one.importer, one.importer),
                names.get(one.exporter, one.exporter),
                peer.link_class if peer else "X",
                peer.meet if peer else "X",
                answered(one),
                one.open_ms,
                speeds.get((*pair, "read")),
                speeds.get((*pair, "write")),
            )
        )
    right = sum(answered(one) == "ok" for one in transfers)
    return Table(
        name="pairs",
        title="Memory of every GPU, opened on every GPU",
        columns=(
            *("importer", "exporter", "link", "PCIe paths meet", "answer"),
            *("open, ms", "read, GB/s", "write, GB/s"),
        ),
        rows=tuple(rows),
        sentence=f"{right} of {len(rows)} pairs of GPUs opened, with every word right.",
        note="Exporter and importer are pods of one claim. Link as nvidia-smi topo names it, by"
        " NVML: NV and the number of NVLinks, else where the PCIe paths meet. Answer: ok, CUDA's"
        " error code, or wrong words. GB/s: copies to and from the importing GPU by CUDA events,"
        f" median. GPU driver {report.driver_version or 'of unknown version'}."
        + (f" {SIMULATED}; times say nothing, speed is not measured." if simulated else ""),
        matrix=Matrix(
            ("importer",),
            ("exporter",),
            ("link", "answer", "open, ms", "read, GB/s", "write, GB/s"),
        ),
    )


_WHERE = {
    "same GPU": (IMPORTER, "same"),
    "another pod": (OTHER_POD, "same"),
    "other GPU": (IMPORTER, "cross"),
    "equal own PIDs": (EQUAL, "same"),
    "without the GPU": (STRANGER, "cross"),
    "exporter gone": (STAYING, "late"),
}
"""Importers, by where they are: role and path."""


def _ways(
    evidence: Evidence, speeds: Sequence[Bandwidth], between_pods: Iterable[Evidence]
) -> Iterator[Table]:
    """Tell by which mechanisms containers could share memory."""
    reports = {role: container.report.known() for role, container in evidence.containers.items()}
    for report, _ in _reports(between_pods):
        reports[OTHER_POD] = report
    if (importer := reports.get(IMPORTER)) is None:
        return

    def cell(mechanism: str, role: str, path: str) -> Cell:
        report = reports.get(role)
        return answered(way(report, mechanism, path)) if report is not None else None

    def copied(mechanism: str, path: str) -> Cell:
        wanted = (mechanism, path, "read", "copy")
        found = (b for b in speeds if (b.mechanism, b.path, b.direction, b.method) == wanted)
        return next((round(one.gbps, 1) for one in found), None)

    lent = {one.mechanism: one.error for one in importer.lent}
    version = importer.driver_version or "of unknown version"
    taken = next((a for a in importer.attempts if a.function == "pidfd_getfd"), None)
    yield Table(
        name="ways-to-share",
        title="By which mechanisms containers of one claim share GPU memory",
        columns=("mechanism", "where", "answer", "GB/s", "privilege"),
        rows=tuple(
            (
                mechanism,
                where,
                told,
                copied(mechanism, path) if role == IMPORTER else None,
                _privilege(reports.get(role)) if told == "ok" else None,
            )
            for mechanism, error in lent.items()
            for where, (role, path) in _WHERE.items()
            if (told := cell(mechanism, role, path) if error is None else error.code) is not None
        ),
        note="ok: every word was right; a number: CUDA's error code; GB/s: read by a copy."
        " To be refused without the GPU is right. Exporter gone: opened when its killed process"
        " has just closed its end; of its memory, something may be there a moment longer."
        + (f" Not sent but taken by pidfd_getfd, a descriptor gave {_of(taken)}." if taken else "")
        + f" GPU driver {version}."
        + (f" {SIMULATED}, and speeds say nothing." if evidence.simulated else ""),
        matrix=Matrix(("mechanism",), ("where",), ("answer", "GB/s")),
    )


def _privilege(report: Report | None) -> str | None:
    """What the process may do beyond any other; None where it left no report."""
    if report is None:
        return None
    process = report.process
    if process.cap_eff is None or process.uid is None:
        return "unknown"
    capabilities = int(process.cap_eff, 16).bit_count()
    extra = [f"{capabilities} capabilities"] if capabilities else []
    return ", ".join(([] if process.uid else ["root"]) + extra) or "none"


def _of(attempt: Attempt) -> str:
    return f"{attempt.error} ({attempt.code})" if attempt.code else "the file"
