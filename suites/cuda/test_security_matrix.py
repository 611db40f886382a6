"""Which privileges CUDA IPC between containers really takes: none, as long as own PIDs differ.

The field's lore asks for hostPID, or for hostIPC, privileged and IPC_LOCK. Each row of the matrix
(`suites.cuda.security_matrix`) is a pair of processes; a check of its own for each row lets
dashboards tell when one of them begins to behave differently.
"""

from __future__ import annotations

from dataclasses import replace

from harness.checks.check import Part, check
from harness.scenario.evidence import Evidence
from harness.scenario.pod_spec import Security
from harness.scenario.report import describe
from harness.scenario.scenario import CUDA, scenario
from harness.scenario.steps import Steps
from harness.verdict import causes
from harness.verdict.finding import (
    Blame,
    FailedError,
    FindingError,
    InconclusiveError,
    SkipKind,
    UnmetError,
    UnsupportedError,
    counted,
)
from suites.cuda.security_matrix import FORMS, ROW, restricted_standard
from suites.cuda.security_rows import EXPORTER, IMPORTER, MatrixRow
from suites.cuda.transfers import answer, code_of
from workload.result import INVALID_CONTEXT, Process, Transfer


@scenario(needs=CUDA)
def user_namespace(steps: Steps) -> None:
    """A pod with a claim and a user namespace of its own."""
    security = Security(user_namespace=True)
    steps.finish(steps.start("inventory", ["inventory"], steps.claim(), security=security))


@check(id="SEC-005", level=4, source="SEC-9", scenario=user_namespace)
def test_pods_with_a_user_namespace_start_with_a_claim(evidence: Evidence) -> None:
    """Where a node starts pods with a user namespace of their own (hostUsers: false), one with a
    claim SHOULD start and see its GPUs as any other pod does.
    """
    container = evidence.container("inventory")
    try:
        container.started.get()
    except InconclusiveError as error:
        raise UnsupportedError(f"the node starts no pod with hostUsers: false ({error})") from error
    except FailedError as error:
        head = f"with hostUsers: false {error}"
        raise FailedError(replace(error.finding, head=head)) from error
    report = evidence.report("inventory")
    wanted = {device.uuid for device in container.devices}
    if {gpu.uuid for gpu in report.gpus} != wanted:
        evidence.fail(
            f"with a user namespace the pod saw {counted(len(report.gpus), 'GPU')},"
            f" {len(wanted)} allocated",
            expected=", ".join(sorted(wanted)),
            observed=report.error_text(),
            cause=causes.of_cuda(report.error),
        )


@check(
    id="SEC-001",
    level=4,
    source="SEC-1, SEC-5, IPC-2, IPC-3",
    forms=FORMS,
    after=("SHARE-013", "ISO-003", "SHARE-001"),
    judges_driver=False,
)
def test_own_pids_alone_decide_whether_memory_opens(row: Evidence, form: Part) -> None:
    """Memory MUST open if the PID in the handle is not the importing process's own, and MUST be
    refused with CUDA error 201 if it is, whatever namespaces and privileges the two have.
    """
    spec = ROW[form.name]
    need_user_namespaces(row, spec)
    exporter, importer = row.report(EXPORTER), row.report(IMPORTER)
    pid, own = spec.pid_in_handle(row), importer.process.own_pid
    for transfer in transfers(row):
        where = "" if transfer.path == "same" else " on the other GPU"
        if pid == own and code_of(transfer) != INVALID_CONTEXT:
            row.fail(
                f"PID {pid} in the handle, own {own}: {answer(transfer)}{where},"
                f" not {INVALID_CONTEXT}",
                expected=f"CUDA error {INVALID_CONTEXT}",
                observed=describe(transfer),
            )
        if pid != own and not transfer.opened:
            row.fail(
                f"PID {pid} in the handle, own {own}: {answer(transfer)}{where}",
                expected="cuIpcOpenMemHandle succeeds",
                observed=f"{describe(transfer)}\nexporter: {describe(exporter.process)}\nimporter:"
                f" {describe(importer.process)}",
                cause=causes.of_cuda(transfer.error),
            )
        if transfer.opened and transfer.wrong_words != 0:
            wrong = "all" if transfer.wrong_words is None else transfer.wrong_words
            row.fail(
                f"{wrong} of {transfer.words} words were wrong{where}",
                expected="every word right",
                observed=describe(transfer),
            )


@check(id="SEC-002", level=4, source="SEC-2", forms=FORMS, after=("SEC-001",), judges_driver=False)
def test_containers_are_as_privileged_as_their_row_says(row: Evidence, form: Part) -> None:
    """Both processes MUST have the user, capabilities and namespaces that their row says, or the
    row shows nothing.
    """
    spec = ROW[form.name]
    need_user_namespaces(row, spec)
    exporter, importer = row.report(EXPORTER).process, row.report(IMPORTER).process
    for role, process, wanted in (
        (EXPORTER, exporter, spec.exporter),
        (IMPORTER, importer, spec.importer),
    ):
        for what, (seen, expected) in privileges(process, wanted, row.user).items():
            if seen != expected:
                row.fail(
                    f"the {role} is not as its row says: {what} {seen}, not {expected}",
                    expected=f"{what} {expected}",
                    observed=describe(process),
                    blame=Blame.CLUSTER,
                )
    for what, together in spec.shares.items():
        ours, theirs = (getattr(process, f"{what}_namespace") for process in (exporter, importer))
        if ours is None or (ours == theirs) != together:
            row.fail(
                f"the two are not as their row says: {what} namespaces {ours} and {theirs}",
                expected=f"{'one and the same' if together else 'two different'}",
                observed=f"exporter: {describe(exporter)}\nimporter: {describe(importer)}",
                blame=Blame.CLUSTER,
            )


def privileges(
    process: Process, wanted: Security, user: int | None
) -> dict[str, tuple[object, object]]:
    """What a process may do by what it reports, and by what it was given.

    Args:
        process: as it reports itself.
        wanted: what was asked for.
        user: of those that ask for no certain one; None: anybody but root.
    """
    capabilities = int(process.cap_eff or "0", 16)
    can = {
        "CAP_IPC_LOCK": bool(capabilities & _CAP_IPC_LOCK),
        "CAP_SYS_ADMIN": bool(capabilities & _CAP_SYS_ADMIN),
    }
    uid = user if wanted.uid is None else wanted.uid
    # Only root gets what is added: others would have to find it in a file.
    root = wanted.uid == 0
    may = {
        "CAP_IPC_LOCK": root and (wanted.privileged or "IPC_LOCK" in wanted.capabilities),
        "CAP_SYS_ADMIN": root and wanted.privileged,
    }
    confined = not wanted.privileged and wanted.seccomp != "Unconfined"
    return {
        "uid": (process.uid, uid if uid is not None else process.uid or "not 0"),
        **{name: (_yes(can[name]), _yes(may[name])) for name in can},
        "seccomp mode": (process.seccomp, _FILTER if confined else 0),
        "user namespace of its own": (
            _yes(process.uid_map != _EVERY_UID),
            # Where the node itself is in a user namespace, every process has a mapping.
            _yes(wanted.user_namespace or process.uid_map != _EVERY_UID),
        ),
    }


def _yes(on: bool) -> str:
    return "yes" if on else "no"


@check(id="SEC-004", level=2, source="SEC-4", scenario=restricted_standard, judges_driver=False)
def test_restricted_namespace_refuses_what_is_not_needed(evidence: Evidence) -> None:
    """A namespace that enforces the restricted Pod Security Standard MUST refuse pods with host
    namespaces, privileges, added capabilities, root or without seccomp, claim or not.
    """
    evidence.ended.get()
    tried = evidence.containers.values()
    taken = [container.role for container in tried if container.refused is None]
    if taken:
        evidence.fail(
            f"the restricted namespace took pods with {', '.join(taken)}",
            expected="each is refused by Pod Security admission",
            observed="\n".join(f"{one.role}: {one.refused or 'admitted'}" for one in tried),
            blame=Blame.CLUSTER,
        )


_CAP_IPC_LOCK, _CAP_SYS_ADMIN = 1 << 14, 1 << 21
"""linux/capability.h"""
_FILTER = 2
"""``SECCOMP_MODE_FILTER`` (linux/seccomp.h)."""
_EVERY_UID = ("0 0 4294967295",)
"""``/proc/self/uid_map`` of the host's user namespace (user_namespaces(7))."""


def need_user_namespaces(row: Evidence, spec: MatrixRow) -> None:
    """Skip a row whose pods with a user namespace do not start: another check judges that.

    Raises:
        UnmetError: a pod did not start.
    """
    for role, security in ((EXPORTER, spec.exporter), (IMPORTER, spec.importer)):
        if security.user_namespace and role in row.containers:
            try:
                row.containers[role].started.get()
            except FindingError as error:
                raise UnmetError("SEC-005", SkipKind.BLOCKED) from error


def transfers(row: Evidence) -> tuple[Transfer, ...]:
    """The importer's ways, those that GPUs without peer access cannot go left out."""
    report = row.report(IMPORTER)
    if not report.transfers:
        row.fail(
            f"the importer did not try to open the memory: {report.error_text()}",
            expected="a try to open the handle",
            observed=report.error_text(),
            cause=causes.of_cuda(report.error),
        )
    return tuple(
        transfer
        for transfer in report.transfers
        if transfer.opened or transfer.can_access_peer is not False
    )
