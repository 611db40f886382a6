"""The security matrix: what two containers need to share GPU memory by CUDA IPC.

A row is a pair of processes with one claim: how much each may do, which PID each is to have for
itself, how the handle goes from one to the other. All rows of a namespace use one claim, several at
a time. What a row shows is judged by what both processes report of themselves, never by how they
were started.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from harness.checks.check import Impact, Scenario
from harness.cluster.kube import ApiError
from harness.scenario.evidence import Claim, Played
from harness.scenario.launcher import Turn
from harness.scenario.node_folder import NodeFolder
from harness.scenario.observed import Evidence
from harness.scenario.run import PRIVILEGED, RESTRICTED, Run
from harness.scenario.security import EXAMPLE, Security
from harness.scenario.steps import FOLDER, Container, ScriptedPlay
from harness.verdict.finding import Blame, Finding, JudgementError, UndecidedError

EXPORTER, IMPORTER = "exporter", "importer"
ROWS_AT_A_TIME = 6
BYTES = 8 << 20
"""Of a row's buffer: enough to be verified, small enough for many rows on one GPU."""
LARGEST_FORKED_PID = 50_000
"""A process gets a number by using up all that come before it."""
PID_ON_HOST = "the exporter's PID on the host is"
"""How the reason of a skip begins on a machine that has started more processes than that."""
WRAPPER = (
    "python",
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
PROGRAM = ("python", "-m", "workload")

API, FOLDER_OF_NODE, FOLDER_OF_POD = "the API", "a hostPath folder", "an emptyDir folder"


@dataclass(frozen=True)
class MatrixRow:
    """One pair of processes."""

    name: str
    exporter: Security = field(default_factory=Security)
    importer: Security = field(default_factory=Security)
    own_pids: tuple[int | None, int | None] = (None, None)
    """What PIDs the two are to have for themselves; None: as it comes."""
    transport: str = API
    one_pod: bool = False
    rewrite_pid: str = ""
    """What the importer writes over the PID in the handle: a number, or ``own``."""
    wrapped: bool = False
    """Both start as a child of the same wrapper."""
    same_number: bool = False
    """The importer takes the number that the exporter has in the host's PID namespace."""
    standard: str = RESTRICTED

    @property
    def impact(self) -> Impact:
        """That of the namespace it is played in."""
        return Impact.NONE if self.standard == RESTRICTED else Impact.PRIVILEGED

    @property
    def scenario(self) -> Scenario:
        """The part of the matrix that it is in."""
        return RESTRICTED_MATRIX if self.standard == RESTRICTED else PRIVILEGED_MATRIX

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

    def unsupported(self, row: Played) -> str:
        """Why the row could not be played where it was; empty when it was played."""
        return str(row.notes.get("unsupported", ""))

    def pid_in_handle(self, row: Played) -> int:
        """The PID that the handle had when the importer opened it.

        Raises:
            JudgementError: a report is missing.
        """
        importer = row.report(IMPORTER)
        if self.rewrite_pid:
            return importer.own_pid if self.rewrite_pid == "own" else int(self.rewrite_pid)
        return row.report(EXPORTER).own_pid


class Matrix(Played):
    """What came of a part of the matrix: each row by its name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.rows: dict[str, Played] = {}
        self.begun: Evidence[Claim] = Evidence("the claim of all rows")
        self.refusals: Evidence[Mapping[str, str]] = Evidence("what the restricted standard says")
        """What the API server said to each pod of `NOT_RESTRICTED`; empty: it took it."""

    def evidence(self) -> list[Evidence[Any]]:
        """All of it."""
        pieces = [*super().evidence(), self.begun, self.refusals]
        return pieces + [piece for row in self.rows.values() for piece in row.evidence()]

    def row(self, name: str) -> Played:
        """A row, or the reason why the matrix did not come to it."""
        if name not in self.rows:
            self.begun.get()
            head = f"the matrix {self.name} never came to the row {name}"
            raise UndecidedError(Finding(head, name, ", ".join(self.rows), Blame.SUITE))
        return self.rows[name]


@dataclass(frozen=True)
class MatrixScenario(Scenario):
    """Plays all rows of one namespace."""

    standard: str = RESTRICTED

    def play(self, run: Run, turn: Turn) -> Matrix:
        """Play them, several at a time, all with one claim."""
        matrix = Matrix(self.name)
        rows = [row for row in ROWS if row.standard == self.standard]

        def script(play: ScriptedPlay) -> None:
            claim = play.claim()
            play.hold(claim)
            matrix.begun.found(claim)
            with ThreadPoolExecutor(ROWS_AT_A_TIME, thread_name_prefix=self.name) as pool:
                for played in pool.map(lambda row: _play_row(run, self, row, claim), rows):
                    matrix.rows[played.name] = played
            if self.standard == RESTRICTED:
                matrix.refusals.found(_refusals(play, claim))

        ScriptedPlay(run, matrix, turn, self.standard).perform(script)
        run.measured[self.name] = matrix
        return matrix

    def unplayed(self, reason: JudgementError) -> Matrix:
        """What came of it when it could not be played."""
        matrix = Matrix(self.name)
        matrix.without(reason)
        return matrix


def _refusals(play: ScriptedPlay, claim: Claim) -> dict[str, str]:
    """What the API server says to pods that the restricted standard forbids."""
    said = {}
    for name, security in NOT_RESTRICTED.items():
        values = play.pod_values(f"not-{name}", [Container("refused", [])], [claim], security)
        try:
            play.run.kube.delete(play.create("pod.yaml.j2", values))
        except ApiError as error:
            if error.status != 403:
                raise
            said[name] = str(error)
        else:
            said[name] = ""
    return said


def _play_row(run: Run, scenario: MatrixScenario, row: MatrixRow, claim: Claim) -> Played:
    play = ScriptedPlay(run, Played(row.name), None, row.standard, scenario=scenario.name)
    folder = NodeFolder(play) if row.transport == FOLDER_OF_NODE else None

    def script(play: ScriptedPlay) -> None:
        if row.one_pod:
            _two_containers(play, row, claim)
        else:
            _two_pods(play, row, claim, folder)

    played = play.perform(script)
    if folder is not None:
        play.attempt(folder.remove, played.released.missing)
    return played


def _two_containers(play: ScriptedPlay, row: MatrixRow, claim: Claim) -> None:
    way = ["--folder", FOLDER]
    exporter, importer = play.start_pod(
        "pair",
        [
            Container(EXPORTER, _produce(play, way), row.own_pids[0]),
            Container(IMPORTER, _consume(play, way), row.own_pids[1]),
        ],
        claim,
        security=row.exporter,
        folder=True,
    )
    play.finish(exporter, importer)


def _two_pods(play: ScriptedPlay, row: MatrixRow, claim: Claim, folder: NodeFolder | None) -> None:
    path = folder.path if folder is not None else None
    way = ["--folder", FOLDER] if path else ["--log"]
    exporter, *_ = play.start_pod(
        EXPORTER,
        [_process(row, EXPORTER, _produce(play, way), row.own_pids[0])],
        claim,
        security=row.exporter,
        folder=path is not None,
        host_folder=path,
    )
    if folder is not None and exporter.pod is not None:
        folder.used_by(exporter.pod)
    own_pid = row.own_pids[1]
    if path is None:
        offer = play.offer(exporter)
        way = ["--offer", offer]
        if row.same_number:
            own_pid = _number_in(offer)
            if own_pid > LARGEST_FORKED_PID:
                play.played.notes["unsupported"] = (
                    f"{PID_ON_HOST} {own_pid}: too large for the importer to get the same one"
                )
                return
    if row.rewrite_pid:
        way += ["--rewrite-pid", row.rewrite_pid]
    importer, *_ = play.start_pod(
        IMPORTER,
        [_process(row, IMPORTER, _consume(play, way), own_pid)],
        claim,
        security=row.importer,
        folder=path is not None,
        host_folder=path,
    )
    if folder is not None and importer.pod is not None:
        folder.used_by(importer.pod)
    play.finish(importer)
    report = importer.report.known()
    if report is not None and report.verdict == "ok":
        play.finish(exporter)


def _number_in(offer: str) -> int:
    return int(json.loads(offer)["own_pid"])


def _process(row: MatrixRow, role: str, args: Sequence[str], own_pid: int | None) -> Container:
    command = (*WRAPPER, *PROGRAM) if row.wrapped else ()
    return Container(role, args, own_pid, command=command)


def _produce(play: ScriptedPlay, way: Sequence[str]) -> list[str]:
    return ["produce", "--nonce", play.nonce, "--bytes", str(BYTES), *way, *play.patience()]


def _consume(play: ScriptedPlay, way: Sequence[str]) -> list[str]:
    return ["consume", "--nonce", play.nonce, *way, *play.patience()]


RESTRICTED_MATRIX = MatrixScenario("matrix-restricted", devices=1, most=2)
PRIVILEGED_MATRIX = MatrixScenario(
    "matrix-privileged", Impact.PRIVILEGED, devices=1, most=2, standard=PRIVILEGED
)

_PLAIN = Security()
_SHARING = Security(share_process_namespace=True)
_USERNS = Security(user_namespace=True)
_OTHER_UID = Security(uid=1001)
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
    MatrixRow("other-uid-1-1", _PLAIN, _OTHER_UID, _EQUAL),
    MatrixRow("other-uid-1-300", _PLAIN, _OTHER_UID, _DIFFERENT),
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
