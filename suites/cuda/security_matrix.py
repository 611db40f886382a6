"""The security matrix: what two containers need to share GPU memory by CUDA IPC.

A row is a pair of processes with one claim: how much each may do, which PID each is to see of
itself, how the handle goes from one to the other. All rows of a namespace use one claim, several at
a time; rows whose pods have the same fields have one pod for their exporters and one for their
importers, in which each row has a container of its own. What a row shows is judged by what both
processes report of themselves, never by how they were started.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from harness.checks.check import Part
from harness.options import Impact
from harness.scenario.evidence import Claim, Container, Evidence
from harness.scenario.pod_spec import FOLDER, ContainerSpec
from harness.scenario.report import Report
from harness.scenario.run import PRIVILEGED, RESTRICTED
from harness.scenario.scenario import CUDA, Scenario, scenario
from harness.scenario.steps import Steps
from harness.verdict.finding import JudgementError, UnsupportedError
from harness.verdict.table import Cell, Matrix, Table
from suites.cuda.security_rows import (
    API,
    EXPORTER,
    IMPORTER,
    NOT_RESTRICTED,
    ROWS,
    MatrixRow,
)
from suites.cuda.tables import SIMULATED, answered
from suites.cuda.transfers import code_of
from workload.result import INVALID_CONTEXT, Offer, Verdict

GROUPS_AT_A_TIME = 4
ROWS_OF_A_GROUP = 4
"""A kubelet tells no more than 25 events of a pod: enough to see of so many containers why they do
not start."""
BYTES = 8 << 20
"""Of a row's buffer: enough to be verified, small enough for many rows on one GPU."""
LARGEST_FORKED_PID = 50_000
"""A process gets a number by using up all that come before it."""
WRAPPER = (
    "python3",
    "-c",
    (
        "import signal, subprocess, sys\n"
        "child = subprocess.Popen(sys.argv[1:])\n"
        "signal.signal(signal.SIGTERM, lambda *_: child.terminate())\n"
        "sys.exit(child.wait())"
    ),
)
"""Starts the workload as a child of its own, as an entrypoint script does.

The first process of a PID namespace ignores what it has no handler for: without one, a pod that is
to end would be killed, and its workload would not report.
"""
PROGRAM = ("python3", "-m", "workload")


def _rows(standard: str) -> Scenario:
    """Make the scenario of all rows that need a namespace of this standard, on one claim."""
    rows = [row for row in ROWS if row.standard == standard]

    def script(steps: Steps) -> None:
        claim = steps.claim()
        steps.hold(claim)
        steps.tell_allocation(claim)

        def run_group(group: Sequence[MatrixRow]) -> None:
            scripts = {row.name: partial(_run_row, row=row, claim=claim) for row in group}
            steps.parts_in_common(scripts)

        with ThreadPoolExecutor(GROUPS_AT_A_TIME, thread_name_prefix=f"rows-{standard}") as pool:
            list(pool.map(run_group, groups(rows)))

    privileged = standard == PRIVILEGED
    return Scenario(
        f"matrix-{standard}",
        script,
        frozenset({Impact.PRIVILEGED}) if privileged else frozenset(),
        devices=1,
        most=2,
        needs=CUDA,
        standard=standard,
        tables=security_table,
    )


def groups(rows: Iterable[MatrixRow]) -> list[list[MatrixRow]]:
    """Put rows together whose pods have the same fields: they run in the same two pods.

    To a process it is all the same that its pod has other containers, unless it has a process
    namespace or a folder in common with them: such rows stay alone.
    """
    alike: dict[str, list[MatrixRow]] = {}
    for row in rows:
        pair = (row.exporter, row.importer)
        alone = row.transport != API or any(one.share_process_namespace for one in pair)
        fields = " ".join(str(one.of_pod()) for one in pair)
        alike.setdefault(row.name if alone else fields, []).append(row)
    return [
        every[first : first + ROWS_OF_A_GROUP]
        for every in alike.values()
        for first in range(0, len(every), ROWS_OF_A_GROUP)
    ]


def _run_row(steps: Steps, row: MatrixRow, claim: Claim) -> None:
    if row.transport == API:
        _run_by_api(steps, row, claim)
    elif row.one_pod:
        _run_in_one_pod(steps, row, claim)
    else:
        _run_by_folder(steps, row, claim)


def _run_by_api(steps: Steps, row: MatrixRow, claim: Claim) -> None:
    exporter = steps.start_in_common(
        EXPORTER,
        _process(row, EXPORTER, _produce(steps, "--log"), row.own_pids[0]),
        claim,
        security=row.exporter,
    )
    offer = steps.offer(exporter)
    own_pid = row.own_pids[1]
    if row.same_number:
        own_pid = Offer.parse(offer).own_pid
        if own_pid > LARGEST_FORKED_PID:
            raise UnsupportedError(
                f"the exporter's PID on the host is {own_pid}: too large for the importer to"
                " get the same one"
            )
    way = ["--offer", offer]
    if row.rewrite_pid:
        way += ["--rewrite-pid", row.rewrite_pid]
    importer = steps.start_in_common(
        IMPORTER,
        _process(row, IMPORTER, _consume(steps, *way), own_pid),
        claim,
        security=row.importer,
    )
    _finish(steps, exporter, importer)


def _process(row: MatrixRow, role: str, args: Sequence[str], own_pid: int | None) -> ContainerSpec:
    return ContainerSpec(
        f"{role}-of-{row.name}",
        args,
        own_pid,
        command=(*WRAPPER, *PROGRAM) if row.wrapped else (),
        security=row.exporter if role == EXPORTER else row.importer,
    )


def _run_in_one_pod(steps: Steps, row: MatrixRow, claim: Claim) -> None:
    way = ["--folder", FOLDER]
    exporter, importer = steps.start_pod(
        "pair",
        [
            ContainerSpec(EXPORTER, _produce(steps, *way), row.own_pids[0]),
            ContainerSpec(IMPORTER, _consume(steps, *way), row.own_pids[1]),
        ],
        claim,
        security=row.exporter,
        folder=True,
    )
    steps.finish(exporter, importer)


def _run_by_folder(steps: Steps, row: MatrixRow, claim: Claim) -> None:
    folder, way = steps.node_folder(), ["--folder", FOLDER]
    start = partial(steps.start, host_folder=folder)
    produce, consume = _produce(steps, *way), _consume(steps, *way)
    exporter = start(EXPORTER, produce, claim, own_pid=row.own_pids[0], security=row.exporter)
    importer = start(IMPORTER, consume, claim, own_pid=row.own_pids[1], security=row.importer)
    _finish(steps, exporter, importer)


def _finish(steps: Steps, exporter: Container, importer: Container) -> None:
    """Wait for both; an exporter that was not found never ends by itself."""
    steps.finish(importer)
    report = importer.report.known()
    if report is not None and report.verdict is Verdict.OK:
        steps.finish(exporter)


def _produce(steps: Steps, *way: str) -> list[str]:
    return ["produce", "--nonce", steps.nonce, "--bytes", str(BYTES), *way, *steps.patience()]


def _consume(steps: Steps, *way: str) -> list[str]:
    return ["consume", "--nonce", steps.nonce, *way, *steps.patience()]


def security_table(scenarios: Mapping[str, Evidence]) -> Iterator[Table]:
    """Tell what two processes needed to share memory, and the sentence that follows."""
    found = {name: row for one in scenarios.values() for name, row in one.parts.items()}
    refused = [c for one in scenarios.values() for c in one.containers.values() if c.rests]
    simulated = any(one.simulated for one in scenarios.values())
    rows: list[tuple[Cell, ...]] = []
    reports: list[Report] = []
    agreeing, contrary = 0, []
    for row in ROWS:
        if row.name not in found:
            continue
        containers = found[row.name].containers
        exporter, importer = (
            containers[role].report.known() if role in containers else None
            for role in (EXPORTER, IMPORTER)
        )
        if (
            exporter is None
            or importer is None
            or exporter.at_fault
            or importer.at_fault
            or not importer.transfers
        ):
            note = _why_not(found[row.name])
            rows.append((*_about(row), None, None, None, note, None, None))
            continue
        reports.append(importer)
        pid = row.pid_in_handle(found[row.name])
        same, cross = importer.transfer("same"), importer.transfer("cross")
        if _follows_the_rule(pid, importer):
            agreeing += 1
        else:
            contrary.append(row.name)
        pids = (exporter.process.own_pid, importer.process.own_pid, pid)
        alike = "equal" if pid == importer.process.own_pid else "different"
        rows.append((*_about(row), *pids, answered(same), answered(cross), alike))
    for container in refused:
        if container.role in NOT_RESTRICTED:
            taken = "taken" if container.admitted.known() is not None else "not run to its end"
            answer = "refused by Pod Security admission" if container.refused else taken
            what = str(NOT_RESTRICTED[container.role])
            row_name = f"restricted/{container.role}"
            rows.append((row_name, what, what, "", None, None, None, answer, None, None))
    if not rows and not scenarios:
        return
    yield Table(
        name="security-matrix",
        title="What two containers need to share GPU memory by CUDA IPC",
        columns=(
            *("row", "exporter may", "importer may", "handle goes by"),
            *("exporter's own PID", "importer's own PID", "PID in the handle"),
            *("same GPU", "other GPU", "PIDs"),
        ),
        rows=tuple(rows),
        sentence=_statement(reports, agreeing, contrary, simulated=simulated),
        note=(
            "Own PIDs are what each process reports of itself (getpid). 201:"
            " CUDA_ERROR_INVALID_CONTEXT, CUDA takes the importer for the exporter. PIDs: whether"
            " the one in the handle is the importer's own."
        ),
        matrix=Matrix(("exporter may", "importer may"), ("PIDs",), ("same GPU", "other GPU")),
    )


def _about(row: MatrixRow) -> tuple[str, str, str, str]:
    where = "one pod: " if row.one_pod else ""
    return (row.name, f"{where}{row.exporter}", f"{where}{row.importer}", row.transport)


def _follows_the_rule(pid_in_handle: int, importer: Report) -> bool:
    equal = pid_in_handle == importer.process.own_pid
    return all(
        code_of(transfer) == INVALID_CONTEXT if equal else transfer.opened
        for transfer in importer.transfers
        if transfer.opened or transfer.can_access_peer is not False
    )


def _statement(
    reports: list[Report], agreeing: int, contrary: list[str], *, simulated: bool
) -> str:
    if not reports:
        return ""
    gpus = sorted({gpu.name for report in reports for gpu in report.gpus})
    versions = sorted({report.driver_version or "unknown" for report in reports})
    where = f"{', '.join(gpus)}, GPU driver {', '.join(versions)}"
    if simulated:
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


def _why_not(row: Evidence) -> str:
    """Say why a row has no answer."""
    try:
        row.ended.get()
    except UnsupportedError as error:
        return str(error)
    except JudgementError:
        pass
    return "not run to its end"


@scenario(devices=0, tables=security_table)
def restricted_standard(steps: Steps) -> None:
    """Pods that the restricted Pod Security Standard forbids, with a claim."""
    claim = steps.claim(1)
    for name, security in NOT_RESTRICTED.items():
        steps.try_pod(name, claim, security=security)


RESTRICTED_MATRIX = _rows(RESTRICTED)
PRIVILEGED_MATRIX = _rows(PRIVILEGED)
FORMS = tuple(
    Part(row.name, RESTRICTED_MATRIX if row.standard == RESTRICTED else PRIVILEGED_MATRIX)
    for row in ROWS
)
ROW = {row.name: row for row in ROWS}
