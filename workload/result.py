"""What the workload reports: the schema of its result, its verdicts and exit codes.

Needs the standard library only, so that whoever reads results can import it.
"""

from __future__ import annotations

import enum
import hashlib
import json
import re
from dataclasses import asdict, dataclass, field, replace
from typing import Any

SCHEMA = "dra-conformance/workload/v1"

TERMINATION_MESSAGE_LIMIT = 3072
"""Bytes. The kubelet cuts a termination message at 4,096."""


class Verdict(enum.StrEnum):
    """How a process ended; each has an exit code of its own."""

    OK = "ok"
    USAGE = "usage"
    """An option is wrong: nothing was tried."""
    NO_GPU = "no-gpu"
    """No GPU is visible, or not even the driver's library."""
    WRONG_GPU = "wrong-gpu"
    """An allocated GPU is not visible."""
    NOT_OPENED = "not-opened"
    """The partner's memory could not be opened."""
    CHECKSUM_WRONG = "checksum-wrong"
    """Memory does not hold what it must."""
    PARTNER_NEVER_CAME = "partner-never-came"
    """The other process did not do its part, or reported that it cannot."""
    WORKLOAD_FAULT = "workload-fault"
    """This program or its image is at fault, not the driver."""
    STALE_OFFER = "stale-offer"
    """The offered memory belongs to another run."""
    CUDA_ERROR = "cuda-error"
    """Any other call of CUDA failed."""

    @property
    def exit(self) -> int:
        """The process's exit code."""
        return _EXITS[self]


_EXITS = {
    Verdict.OK: 0,
    Verdict.USAGE: 2,
    Verdict.NO_GPU: 10,
    Verdict.WRONG_GPU: 11,
    Verdict.NOT_OPENED: 12,
    Verdict.CHECKSUM_WRONG: 13,
    Verdict.PARTNER_NEVER_CAME: 14,
    Verdict.WORKLOAD_FAULT: 15,
    Verdict.STALE_OFFER: 16,
    Verdict.CUDA_ERROR: 17,
}


@dataclass(frozen=True)
class Problem:
    """What went wrong."""

    step: str
    """What was being done."""
    text: str
    code: int | None = None
    """CUDA's error number (``CUresult``), where CUDA refused."""
    name: str | None = None
    """Its name, such as ``CUDA_ERROR_INVALID_CONTEXT``."""
    blame: str | None = None
    """``workload`` where this program or its image is at fault."""

    def sentence(self) -> str:
        """The problem as a person reads it."""
        cause = f" ({self.name}, {self.code})" if self.code is not None else ""
        return f"{self.step}: {self.text}{cause}"


class WorkloadError(Exception):
    """Ends the process with a verdict."""

    def __init__(self, verdict: Verdict, problem: Problem) -> None:
        super().__init__(problem.sentence())
        self.verdict = verdict
        self.problem = problem


@dataclass(frozen=True)
class Gpu:
    """A visible GPU, as the CUDA driver API shows it."""

    ordinal: int
    uuid: str
    """``GPU-`` (of a MIG device ``MIG-``) and five groups of hexadecimal digits."""
    name: str
    pci: str
    """``domain:bus:device.function``."""
    memory: int
    """Bytes."""
    compute_capability: str


@dataclass(frozen=True)
class Offer:
    """Exported memory: what a consumer needs to open and to verify it."""

    nonce: str
    """Of the run; an offer of another run is refused."""
    handle: str
    """``CUipcMemHandle``: 64 bytes in hexadecimal."""
    bytes: int
    """Of the allocation; the last 2 MiB are the control page (see `workload.buffer`)."""
    seed: int
    checksum: str
    """Of the data as the producer filled it; 16 hexadecimal digits."""
    exporter: str
    """UUID of the GPU that has the memory."""
    own_pid: int
    """The producer's PID as it sees itself."""

    @staticmethod
    def parse(text: str) -> Offer:
        """Read an offer's JSON.

        Raises:
            ValueError: it is none; ``str()`` says what is missing or wrong.
        """
        try:
            given = json.loads(text)
        except ValueError as error:
            raise ValueError(f"it is not JSON ({error})") from error
        if not isinstance(given, dict):
            raise ValueError("it is not a JSON object")
        values: dict[str, Any] = {}
        for name, kind in _OFFER_FIELDS.items():
            value = given.get(name)
            if not isinstance(value, kind) or isinstance(value, bool):
                raise ValueError(f"{name!r} is {value!r}, not a {kind.__name__}")
            values[name] = value
        offer = Offer(**values)
        for name, digits, length in (
            ("handle", offer.handle, 128),
            ("checksum", offer.checksum, 16),
        ):
            if not re.fullmatch(rf"[0-9a-fA-F]{{{length}}}", digits):
                raise ValueError(f"{name!r} is {digits!r}, not {length} hexadecimal digits")
        return offer

    def line(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))


_OFFER_FIELDS: dict[str, type] = {
    "nonce": str,
    "handle": str,
    "bytes": int,
    "seed": int,
    "checksum": str,
    "exporter": str,
    "own_pid": int,
}


@dataclass(frozen=True)
class Process:
    """The process that did it, as the kernel shows it to itself."""

    own_pid: int
    nspid: list[int]
    """Its PIDs from the namespace of ``/proc`` down to its own."""
    uid: int
    pid_namespace: str
    ipc_namespace: str
    cap_eff: str
    """Effective capabilities; 16 hexadecimal digits."""
    no_new_privs: int
    seccomp: int
    """0 none, 1 strict, 2 filter."""


@dataclass(frozen=True)
class Seen:
    """What the producer found of the consumer's write over one path."""

    path: str
    words: int
    wrong_words: int
    first_wrong: int | None


@dataclass(frozen=True)
class Transfer:
    """The consumer's work over one path: opening, verifying, writing back."""

    path: str
    """``same``: the importing GPU is the exporting one; ``cross``: it is another."""
    importer: str
    exporter: str
    can_access_peer: bool | None = None
    """CUDA's answer before opening; None where there is nothing to ask."""
    opened: bool = False
    open_ms: float | None = None
    words: int = 0
    """Verified by a kernel on the importing GPU: every word of the data, or none."""
    wrong_words: int | None = None
    first_wrong: int | None = None
    """Index of the first wrong word."""
    checksum: str | None = None
    expected_checksum: str | None = None
    wrote: bool = False
    error: Problem | None = None

    @property
    def lacks_peer_access(self) -> bool:
        """Whether it was not opened because these two GPUs cannot: no fault of anyone."""
        peer_access_unsupported = 217
        return (
            self.path == "cross"
            and self.can_access_peer is False
            and self.error is not None
            and self.error.code == peer_access_unsupported
        )


@dataclass
class Result:
    """What one process did and found; grows while it runs."""

    role: str
    process: Process
    nonce: str | None = None
    verdict: Verdict = Verdict.OK
    error: Problem | None = None
    cuda_driver_version: int | None = None
    """As ``cuDriverGetVersion`` has it: 13000 for CUDA 13.0."""
    gpus: list[Gpu] = field(default_factory=list)
    offer: Offer | None = None
    seen: list[Seen] = field(default_factory=list)
    transfers: list[Transfer] = field(default_factory=list)

    def end(self, reason: WorkloadError) -> None:
        """Note why the process ends early."""
        self.verdict, self.error = reason.verdict, reason.problem

    def document(self) -> dict[str, Any]:
        """The result in the schema's form."""
        return {
            "schema": SCHEMA,
            "role": self.role,
            "nonce": self.nonce,
            "verdict": str(self.verdict),
            "exit": self.verdict.exit,
            "error": asdict(self.error) if self.error else None,
            "process": asdict(self.process),
            "cuda": {"driver_version": self.cuda_driver_version},
            "gpus": [asdict(gpu) for gpu in self.gpus],
            "offer": asdict(self.offer) if self.offer else None,
            "seen": [asdict(item) for item in self.seen],
            "transfers": [asdict(item) for item in self.transfers],
        }

    def line(self) -> str:
        """The result as the last line of the log."""
        return json.dumps(self.document())

    def termination_message(self) -> str:
        """The result's short form, at most `TERMINATION_MESSAGE_LIMIT` bytes."""
        digest = hashlib.sha256(self.line().encode()).hexdigest()

        def message(error: Problem | None) -> str:
            return json.dumps(
                {
                    "schema": SCHEMA,
                    "role": self.role,
                    "verdict": str(self.verdict),
                    "exit": self.verdict.exit,
                    "error": asdict(error) if error else None,
                    "sha256": digest,
                }
            )

        text = message(self.error)
        if self.error and len(text) > TERMINATION_MESSAGE_LIMIT:
            # JSON writes a character as six bytes at most.
            keep = (TERMINATION_MESSAGE_LIMIT - len(message(replace(self.error, text="")))) // 6
            text = message(replace(self.error, text=self.error.text[: keep - 1] + "…"))
        return text
