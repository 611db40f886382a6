"""Which privileges CUDA IPC between containers really takes: none, as long as own PIDs differ.

The field's lore asks for hostPID, or for hostIPC, privileged and IPC_LOCK. Each row of the matrix
(fixtures/matrix.py) is a pair of processes; a check of its own for each row lets dashboards tell
when one of them begins to behave differently.
"""

from __future__ import annotations

from fixtures.account import Played
from fixtures.matrix import EXPORTER, IMPORTER, RESTRICTED_MATRIX, ROWS, Matrix, MatrixRow
from fixtures.scripted import ScriptedPlay, scenario
from fixtures.security import Security
from harness import causes
from harness.check import check
from harness.finding import Blame, FailedError, UndecidedError, UnmetError
from harness.workload_report import Transfer

INVALID_CONTEXT = 201


@scenario(devices=1)
def user_namespace(play: ScriptedPlay) -> None:
    """A pod with a claim and a user namespace of its own."""
    security = Security(user_namespace=True)
    play.finish(play.start("inventory", ["inventory"], play.claim(), security=security))


@check(
    id="SEC-005",
    force="SHOULD",
    level=4,
    source="KEP-127 user namespaces; NVIDIA's driver 0.4.1 cannot: docs/findings.md",
    scenario=user_namespace,
    needs=("cuda",),
)
def test_pods_with_a_user_namespace_start_with_a_claim(played: Played) -> None:
    """A pod with a user namespace of its own (hostUsers: false) SHOULD start and see its GPUs as
    any other pod with a claim does.
    """
    member = played.member("inventory")
    try:
        member.started.get()
    except UndecidedError as error:
        raise UnmetError(
            f"unsupported: the node starts no pod with hostUsers: false ({error})"
        ) from error
    report = played.report("inventory")
    wanted = {device.uuid for device in member.devices}
    if {gpu.uuid for gpu in report.gpus} != wanted:
        played.refuse(
            f"with a user namespace the pod saw {len(report.gpus)} of {len(wanted)} GPUs",
            expected=", ".join(sorted(wanted)),
            observed=report.error_text(),
            cause=causes.of_cuda(report.error),
        )


@check(
    id="SEC-001",
    force="MUST",
    level=4,
    source="behaviours SEC-1, IPC-2; measured: own PIDs decide (580.159.04, H100 and H200)",
    variants=ROWS,
    needs=("cuda",),
)
def test_own_pids_alone_decide_whether_memory_opens(row: Played, form: MatrixRow) -> None:
    """Memory MUST open if the PID in the handle is not the importing process's own, and MUST be
    refused with CUDA error 201 if it is, whatever namespaces and privileges the two have.
    """
    need_row(row, form)
    exporter, importer = row.report(EXPORTER), row.report(IMPORTER)
    pid, own = form.pid_in_handle(row), importer.own_pid
    for transfer in transfers(row):
        code = None if transfer.opened else (transfer.error or {}).get("code")
        where = "" if transfer.path == "same" else " on the other GPU"
        if pid == own and code != INVALID_CONTEXT:
            row.refuse(
                f"PID {own} in the handle and as own PID, and yet"
                f" {'it opened' if transfer.opened else f'the error was {code}'}{where}",
                expected=f"CUDA error {INVALID_CONTEXT}",
                observed=str(transfer),
            )
        if pid != own and not transfer.opened:
            row.refuse(
                f"PID {pid} in the handle, own PID {own}: not opened{where} (CUDA error {code})",
                expected="cuIpcOpenMemHandle succeeds",
                observed=f"{transfer.error}; exporter {exporter.process}; importer"
                f" {importer.process}",
                cause=causes.of_cuda(transfer.error, equal_own_pids=pid == own),
            )
        if transfer.opened and transfer.wrong_words != 0:
            row.refuse(
                f"{transfer.wrong_words} of {transfer.words} words were wrong{where}",
                expected="every word right",
                observed=str(transfer),
            )


@check(
    id="SEC-002",
    force="MUST",
    level=4,
    source="behaviours SEC-2, SEC-5; Kubernetes Pod Security Standards",
    variants=ROWS,
    after=("SEC-001",),
    needs=("cuda",),
)
def test_containers_are_as_privileged_as_their_row_says(row: Played, form: MatrixRow) -> None:
    """Both processes MUST have the user, capabilities and namespaces that their row says, or the
    row shows nothing.
    """
    need_row(row, form)
    for role, wanted in ((EXPORTER, form.exporter), (IMPORTER, form.importer)):
        process = row.report(role).process
        told = {
            "uid": (process.uid, wanted.uid),
            "privileged": (int(process.cap_eff or "0", 16) > _IPC_LOCK, wanted.privileged),
        }
        for what, (seen, expected) in told.items():
            if seen != expected:
                row.refuse(
                    f"the {role} is not as its row says: {what} is {seen}",
                    expected=f"{what} {expected}",
                    observed=str(process),
                    blame=Blame.CLUSTER,
                )


@check(
    id="SEC-004",
    force="MUST",
    level=2,
    source="behaviours SEC-4; Kubernetes Pod Security Standards: restricted",
    scenario=RESTRICTED_MATRIX,
    needs=("cuda",),
)
def test_restricted_namespace_refuses_what_is_not_needed(matrix: Matrix) -> None:
    """A namespace that enforces the restricted Pod Security Standard MUST refuse pods with host
    namespaces, privileges, added capabilities, root or without seccomp, claim or not.
    """
    taken = [name for name, said in matrix.refusals.get().items() if not said]
    if taken:
        matrix.refuse(
            f"the restricted namespace took pods with {', '.join(taken)}",
            expected="each is refused by Pod Security admission",
            observed=str(dict(matrix.refusals.get())),
            blame=Blame.CLUSTER,
        )


_IPC_LOCK = 1 << 14
"""``CAP_IPC_LOCK`` alone (linux/capability.h)."""


def need_row(row: Played, form: MatrixRow) -> None:
    """Skip a row that could not be played here.

    Raises:
        UnmetError: it could not.
    """
    if form.unsupported(row):
        raise UnmetError(form.unsupported(row))
    for role, security in ((EXPORTER, form.exporter), (IMPORTER, form.importer)):
        if security.user_namespace and role in row.members:
            try:
                row.members[role].started.get()
            except (FailedError, UndecidedError) as error:
                raise UnmetError("blocked by SEC-005") from error


def transfers(row: Played) -> tuple[Transfer, ...]:
    """The importer's ways, those that GPUs without peer access cannot go left out."""
    report = row.report(IMPORTER)
    if not report.transfers:
        row.refuse(
            f"the importer never came to open the memory: {report.error_text()}",
            expected="a try to open the handle",
            observed=report.error_text(),
            cause=causes.of_cuda(report.error),
        )
    return tuple(
        transfer
        for transfer in report.transfers
        if transfer.opened or transfer.can_access_peer is not False
    )
