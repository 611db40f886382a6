"""The rows of the security matrix: pairs of containers, and how much each may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.options import USER
from harness.scenario.evidence import Evidence
from harness.scenario.pod_spec import EXAMPLE, Security
from harness.scenario.run import PRIVILEGED, RESTRICTED

EXPORTER, IMPORTER = "exporter", "importer"
API, FOLDER_OF_NODE, FOLDER_OF_POD = "the API", "a hostPath folder", "an emptyDir folder"


@dataclass(frozen=True)
class MatrixRow:
    """One pair of processes."""

    name: str
    exporter: Security = field(default_factory=Security)
    importer: Security = field(default_factory=Security)
    own_pids: tuple[int | None, int | None] = (None, None)
    """What PIDs the two are to see of themselves; None: as it comes."""
    transport: str = API
    one_pod: bool = False
    rewrite_pid: str = ""
    """What the importer writes over the PID in the handle: a number, or ``own``."""
    wrapped: bool = False
    """Both start as a child of the same wrapper."""
    same_number: bool = False
    """The importer takes the number that the exporter has in the host's PID namespace."""
    standard: str = RESTRICTED
    """The Pod Security Standard of the namespace that it needs."""

    @property
    def shares(self) -> Mapping[str, bool]:
        """Which namespaces the two have in common: ``pid``, ``ipc``, ``network``."""
        pair = (self.exporter, self.importer)
        return {
            "pid": (self.one_pod and self.exporter.share_process_namespace)
            or all(security.host_pid for security in pair),
            "ipc": self.one_pod or all(security.host_ipc for security in pair),
            "network": self.one_pod or all(security.host_network for security in pair),
        }

    def pid_in_handle(self, row: Evidence) -> int:
        """Find the PID that the handle had when the importer opened it.

        Raises:
            JudgementError: a report is missing.
        """
        importer = row.report(IMPORTER)
        if self.rewrite_pid:
            return importer.process.own_pid if self.rewrite_pid == "own" else int(self.rewrite_pid)
        return row.report(EXPORTER).process.own_pid


_PLAIN = Security()
_SHARING = Security(share_process_namespace=True)
_USERNS = Security(user_namespace=True)
_ONE_UID, _OTHER_UID = Security(uid=USER), Security(uid=USER + 1)
"""Two users whoever the run's own is."""
_WRITABLE = Security(read_only_root=False)
_HOST_PID = Security(host_pid=True)
_HOST_IPC = Security(host_ipc=True)
_HOST_NETWORK = Security(host_network=True)
_PRIVILEGED = Security(privileged=True, uid=0, read_only_root=False)
_IPC_LOCK = Security(capabilities=("IPC_LOCK",), uid=0)
_ROOT = Security(uid=0)
_UNCONFINED = Security(seccomp="Unconfined")
_ALL_BUT_HOST_PID = Security(
    host_ipc=True, privileged=True, capabilities=("IPC_LOCK",), uid=0, read_only_root=False
)
_EQUAL, _DIFFERENT = (1, 1), (1, 300)

NOT_RESTRICTED: Mapping[str, Security] = {
    "hostpid": _HOST_PID,
    "hostipc": _HOST_IPC,
    "hostnetwork": _HOST_NETWORK,
    "privileged": _PRIVILEGED,
    "ipc-lock": _IPC_LOCK,
    "root": _ROOT,
    "seccomp-unconfined": _UNCONFINED,
    "original-example": EXAMPLE,
}
"""What a namespace that enforces the restricted standard must refuse."""


def _both(name: str, security: Security, standard: str = PRIVILEGED) -> tuple[MatrixRow, ...]:
    """Both sides alike, once with equal and once with different own PIDs."""
    return tuple(
        MatrixRow(f"{name}-{pids[0]}-{pids[1]}", security, security, pids, standard=standard)
        for pids in (_EQUAL, _DIFFERENT)
    )


ROWS: tuple[MatrixRow, ...] = (
    # Own PIDs, and nothing else: separate namespaces, no privilege.
    *_both("restricted", _PLAIN, RESTRICTED),
    MatrixRow("restricted-300-1", own_pids=(300, 1)),
    MatrixRow("restricted-300-300", own_pids=(300, 300)),
    MatrixRow("restricted-300-301", own_pids=(300, 301)),
    # The cause: the number in the handle.
    MatrixRow("handle-rewritten-to-nobodys-pid", own_pids=_EQUAL, rewrite_pid="99"),
    MatrixRow("handle-rewritten-to-importers-pid", own_pids=_DIFFERENT, rewrite_pid="own"),
    # Ways to start processes.
    MatrixRow("same-wrapper", wrapped=True),
    MatrixRow("sharing-process-namespace-alike", _SHARING, _SHARING),
    MatrixRow("two-containers", transport=FOLDER_OF_POD, one_pod=True),
    MatrixRow("two-containers-1-300", own_pids=_DIFFERENT, transport=FOLDER_OF_POD, one_pod=True),
    MatrixRow(
        "two-containers-sharing-process-namespace",
        _SHARING,
        _SHARING,
        transport=FOLDER_OF_POD,
        one_pod=True,
    ),
    # Users and user namespaces.
    MatrixRow("other-uid-1-1", _ONE_UID, _OTHER_UID, _EQUAL),
    MatrixRow("other-uid-1-300", _ONE_UID, _OTHER_UID, _DIFFERENT),
    MatrixRow("user-namespace-of-exporter", _USERNS, _PLAIN, _DIFFERENT),
    MatrixRow("user-namespace-of-importer", _PLAIN, _USERNS, _DIFFERENT),
    *_both("user-namespaces", _USERNS, RESTRICTED),
    MatrixRow("writable-root-1-300", _WRITABLE, _WRITABLE, _DIFFERENT),
    # What the field believes to be needed, one at a time and together.
    MatrixRow("hostpid", _HOST_PID, _HOST_PID, standard=PRIVILEGED),
    MatrixRow("hostpid-of-exporter", _HOST_PID, _PLAIN, (None, 1), standard=PRIVILEGED),
    MatrixRow("hostpid-of-importer", _PLAIN, _HOST_PID, (1, None), standard=PRIVILEGED),
    MatrixRow(
        "hostpid-of-exporter-same-number",
        _HOST_PID,
        _PLAIN,
        same_number=True,
        standard=PRIVILEGED,
    ),
    *_both("hostipc", _HOST_IPC),
    *_both("hostnetwork", _HOST_NETWORK),
    *_both("privileged", _PRIVILEGED),
    *_both("ipc-lock", _IPC_LOCK),
    *_both("root", _ROOT),
    *_both("seccomp-unconfined", _UNCONFINED),
    *_both("hostipc-privileged-ipc-lock", _ALL_BUT_HOST_PID),
    MatrixRow("original-example", EXAMPLE, EXAMPLE, standard=PRIVILEGED, transport=FOLDER_OF_NODE),
)
