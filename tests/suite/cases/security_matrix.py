"""What containers may and still share memory: good evidence, and what can be wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from harness.scenario.evidence import REST, Container, Evidence
from harness.verdict.finding import Blame, Finding, InconclusiveError, UnsupportedError
from suites.cuda.security_matrix import PRIVILEGED_MATRIX, RESTRICTED_MATRIX
from suites.cuda.security_rows import EXPORTER, IMPORTER, NOT_RESTRICTED, ROWS, MatrixRow
from tests.suite.cases import Case
from tests.suite.made import (
    DEVICES,
    NO_GPU,
    WORDS,
    does_not_start,
    error,
    is_process,
    lose,
    made,
    not_opened,
    process,
    report,
    says,
    transfer,
    transfers,
    with_claim,
)
from workload.result import Problem, Verdict

EQUAL, DIFFERENT = "restricted-1-1", "restricted-1-300"
ONE, OTHER = DEVICES[:2]


def own_pids(row: MatrixRow) -> tuple[int, int]:
    """What PIDs the two of a row have for themselves, where it matters equal ones."""
    exporter, importer = row.own_pids
    if row.same_number:
        return 41, 41
    if row.wrapped:
        return 7, 7
    return exporter or 46, importer or 47


def _row(row: MatrixRow) -> Evidence:
    """A row as it was measured: the PID in the handle decides."""
    own, importers = own_pids(row)
    pid = {"": own, "own": importers}.get(row.rewrite_pid) or int(row.rewrite_pid)
    exporter = report(ONE, OTHER, process=process(row.exporter, "one", row.shares, own))
    importer = report(ONE, OTHER, process=process(row.importer, "other", row.shares, importers))
    if pid == importers:
        ways = (not_opened(201), not_opened(201, "cross"))
        importer = replace(importer, verdict=Verdict.NOT_OPENED, error=error(201))
    else:
        ways = (transfer(), transfer("cross"))
    return made(row.name, **{EXPORTER: exporter, IMPORTER: replace(importer, transfers=ways)})


def matrix(standard: str) -> Evidence:
    """Every row that needs a namespace of this standard, as it was measured."""
    evidence = with_claim(made(f"matrix-{standard}"), "gpus", ONE, OTHER)
    evidence.parts = {row.name: _row(row) for row in ROWS if row.standard == standard}
    return evidence


def restricted_standard() -> Evidence:
    """Every pod was refused."""
    evidence = with_claim(made("restricted-standard"), "gpus", ONE)
    said = Finding("the pod is refused", "it is admitted", "violates PodSecurity", Blame.CLUSTER)
    for name in NOT_RESTRICTED:
        container = evidence.containers[name] = Container(name, [REST])
        container.refused = InconclusiveError(said)
        container.admitted.missing(container.refused)
    return evidence


GOOD: Mapping[str, Callable[[], Evidence]] = {
    RESTRICTED_MATRIX.name: lambda: matrix(RESTRICTED_MATRIX.standard),
    PRIVILEGED_MATRIX.name: lambda: matrix(PRIVILEGED_MATRIX.standard),
    "restricted-standard": restricted_standard,
    "user-namespace": lambda: made("user-namespace", inventory=report(ONE)),
}


def two_are_taken(evidence: Evidence) -> None:
    """The restricted namespace takes two kinds of pods."""
    for name in ("hostpid", "root"):
        evidence.containers[name].refused = None


def too_large_a_number(row: Evidence) -> None:
    """The exporter's PID on the host cannot be given to the importer: there is none."""
    del row.containers[IMPORTER]
    row.ended = lose(row.ended, UnsupportedError("the exporter's PID on the host is 70000"))


CASES = (
    Case(
        "SEC-005",
        "its hook may not be executed",
        does_not_start("inventory", Blame.DRIVER),
        r"with hostUsers: false the start did not come within 120 s$",
    ),
    Case(
        "SEC-005",
        "the node cannot do it",
        does_not_start("inventory", Blame.KUBELET),
        r"unsupported: the node starts no pod with hostUsers: false \(the start did not come",
        blame=None,
    ),
    Case(
        "SEC-005",
        "it sees no GPU",
        says("inventory", gpus=(), **NO_GPU),
        r"with a user namespace the pod saw 0 GPUs, 1 allocated$",
    ),
    Case(
        "SEC-001",
        "equal PIDs and it opens",
        transfers(IMPORTER, transfer()),
        r"PID 1 in the handle, own 1: it opened, not 201$",
        form=EQUAL,
    ),
    Case(
        "SEC-001",
        "equal PIDs and another error",
        transfers(IMPORTER, not_opened(201), not_opened(400, "cross")),
        r"PID 1 in the handle, own 1: CUDA_ERROR_INVALID_HANDLE .400. on the other GPU, not 201$",
        form=EQUAL,
    ),
    Case(
        "SEC-001",
        "different PIDs and refused",
        transfers(IMPORTER, not_opened(201)),
        r"PID 1 in the handle, own 300: CUDA_ERROR_INVALID_CONTEXT \(201\)$",
        form=DIFFERENT,
    ),
    Case(
        "SEC-001",
        "refused without a code",
        transfers(
            IMPORTER,
            transfer(opened=False, wrong_words=None, error=Problem("open", "no context")),
        ),
        r"PID 1 in the handle, own 300: no context$",
        form=DIFFERENT,
    ),
    Case(
        "SEC-001",
        "words are wrong",
        transfers(IMPORTER, transfer(), transfer("cross", wrong_words=8)),
        rf"8 of {WORDS} words were wrong on the other GPU$",
        form=DIFFERENT,
    ),
    Case(
        "SEC-001",
        "words could not be read",
        transfers(IMPORTER, transfer(wrong_words=None, error=error(700))),
        rf"all of {WORDS} words were wrong$",
        form=DIFFERENT,
    ),
    Case(
        "SEC-001",
        "a handle rewritten to the importer's PID opens",
        transfers(IMPORTER, transfer()),
        r"PID 300 in the handle, own 300: it opened, not 201$",
        form="handle-rewritten-to-importers-pid",
    ),
    Case(
        "SEC-001",
        "a handle rewritten to nobody's PID is refused",
        transfers(IMPORTER, not_opened(201)),
        r"PID 99 in the handle, own 1: CUDA_ERROR_INVALID_CONTEXT \(201\)$",
        form="handle-rewritten-to-nobodys-pid",
    ),
    Case(
        "SEC-001",
        "it was not tried",
        says(IMPORTER, transfers=(), **NO_GPU),
        r"the importer did not try to open the memory: CUDA_ERROR_NO_DEVICE \(100\)$",
    ),
    Case(
        "SEC-001",
        "the exporter's number on the host is too large",
        too_large_a_number,
        r"unsupported: the exporter.s PID on the host is 70000$",
        form="hostpid-of-exporter-same-number",
        blame=None,
    ),
    Case(
        "SEC-001",
        "no user namespaces with claims",
        does_not_start(IMPORTER, Blame.DRIVER),
        r"blocked by SEC-005$",
        form="user-namespace-of-importer",
        blame=None,
    ),
    Case(
        "SEC-002",
        "another user",
        is_process(EXPORTER, uid=7),
        r"the exporter is not as its row says: uid 7, not 1000$",
        blame=Blame.CLUSTER,
    ),
    Case(
        "SEC-002",
        "a privilege that was not given",
        is_process(IMPORTER, cap_eff=f"{(1 << 41) - 1:016x}"),
        r"the importer is not as its row says: CAP_IPC_LOCK yes, not no$",
        form=DIFFERENT,
        blame=Blame.CLUSTER,
    ),
    Case(
        "SEC-002",
        "IPC_LOCK was not given",
        is_process(IMPORTER, cap_eff="0" * 16),
        r"the importer is not as its row says: CAP_IPC_LOCK no, not yes$",
        form="ipc-lock-1-300",
        blame=Blame.CLUSTER,
    ),
    Case(
        "SEC-002",
        "no seccomp",
        is_process(IMPORTER, seccomp=0),
        r"the importer is not as its row says: seccomp mode 0, not 2$",
        form=DIFFERENT,
        blame=Blame.CLUSTER,
    ),
    Case(
        "SEC-002",
        "no user namespace",
        is_process(IMPORTER, uid_map=("0 0 4294967295",)),
        r"the importer is not as its row says: user namespace of its own no, not yes$",
        form="user-namespace-of-importer",
        blame=Blame.CLUSTER,
    ),
    Case(
        "SEC-002",
        "hostPID was not given",
        is_process(IMPORTER, pid_namespace="other"),
        r"the two are not as their row says: pid namespaces shared and other$",
        form="hostpid",
        blame=Blame.CLUSTER,
    ),
    Case(
        "SEC-002",
        "they are in one network",
        is_process(IMPORTER, network_namespace="one"),
        r"the two are not as their row says: network namespaces one and one$",
        form=DIFFERENT,
        blame=Blame.CLUSTER,
    ),
    Case(
        "SEC-002",
        "one of another row's namespaces",
        is_process(EXPORTER, ipc_namespace="elsewhere"),
        r"the two are not as their row says: ipc namespaces elsewhere and shared$",
        form="hostipc-1-300",
        blame=Blame.CLUSTER,
    ),
    Case(
        "SEC-002",
        "no user namespaces with claims",
        does_not_start(EXPORTER, Blame.KUBELET),
        r"blocked by SEC-005$",
        form="user-namespaces-1-300",
        blame=None,
    ),
    Case(
        "SEC-004",
        "pods are taken",
        two_are_taken,
        r"the restricted namespace took pods with hostpid, root$",
        blame=Blame.CLUSTER,
    ),
)
