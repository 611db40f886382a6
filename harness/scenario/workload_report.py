"""What the workload in a container reported: its result, its log, its termination message."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TypeVar

SCHEMA = "dra-conformance/workload/v1"
OFFER_MARK = "Producer: offer "
CONTEXT_BROKEN = "the context is broken since then"
"""In the note of an `Attempt`."""
USAGE = 2
"""The exit code of a program that was called wrongly."""

T = TypeVar("T")


class ReportError(Exception):
    """The workload's report cannot be read; ``str()`` says what is wrong with it."""


@dataclass(frozen=True)
class Gpu:
    """A GPU as CUDA shows it in a container."""

    uuid: str
    name: str
    ordinal: int | None = None
    pci: str = ""
    """``domain:bus:device.function``, in CUDA's capital digits."""
    memory: int | None = None
    """Bytes."""
    compute_capability: str = ""


@dataclass(frozen=True)
class NvmlGpu:
    """A GPU as NVML shows it in a container; what NVML did not tell is None."""

    index: int
    uuid: str
    name: str | None = None
    minor: int | None = None
    """N of ``/dev/nvidiaN``."""
    pci: str | None = None
    """In CUDA's form: ``domain:bus:device.function``, four digits of domain, capitals."""
    memory: int | None = None
    """Bytes."""
    compute_capability: str | None = None


@dataclass(frozen=True)
class Peer:
    """What one GPU is to another; what nobody told is None."""

    importer: str
    """UUID of the GPU that accesses."""
    exporter: str
    """UUID of the GPU that has the memory."""
    can_access_peer: bool | None = None
    performance_rank: int | None = None
    """CUDA's relative rank of the link: smaller is faster."""
    access_supported: bool | None = None
    native_atomics: bool | None = None
    link: str = "unknown"
    """``NVLink``, ``PCIe`` or ``unknown``."""


@dataclass(frozen=True)
class Process:
    """A container's process as it sees itself; what an older workload does not tell is None."""

    own_pid: int
    nspid: tuple[int, ...] = ()
    """Its PIDs from the namespace of its ``/proc`` down to its own."""
    uid: int | None = None
    gid: int | None = None
    uid_map: tuple[str, ...] = ()
    """Lines of ``/proc/self/uid_map``: first uid inside, first outside, how many."""
    pid_namespace: str | None = None
    ipc_namespace: str | None = None
    user_namespace: str | None = None
    network_namespace: str | None = None
    mount_namespace: str | None = None
    cap_eff: str | None = None
    """Effective capabilities; 16 hexadecimal digits."""
    no_new_privs: int | None = None
    seccomp: int | None = None
    """0 none, 1 strict, 2 filter."""


@dataclass(frozen=True)
class AfterGone:
    """A mapping verified once more after its exporter had ended."""

    words: int
    wrong_words: int


@dataclass(frozen=True)
class Transfer:
    """A consumer's way over one of the paths ``same`` or ``cross``."""

    path: str
    opened: bool
    can_access_peer: bool | None
    words: int
    wrong_words: int | None
    first_wrong: int | None
    checksum: str
    expected_checksum: str
    wrote: bool
    error: Mapping[str, Any] | None
    open_ms: float | None = None
    """Milliseconds that ``cuIpcOpenMemHandle`` took, whatever came of it."""
    after_gone: AfterGone | None = None


@dataclass(frozen=True)
class ComputeResult:
    """What kernels did on one GPU's fresh memory."""

    uuid: str
    bytes: int
    words: int
    wrong_words: int
    first_wrong: int | None
    foreign_words: int | None
    """Words of the fresh memory that another run had written; None where nobody looked."""
    seconds: float
    """That the GPU was busy with it."""


@dataclass(frozen=True)
class Attempt:
    """One try to open something, and what CUDA said."""

    name: str
    function: str
    """The call that ``code`` is of."""
    code: int
    """``CUresult``; 0: it opened."""
    error: str | None
    """The code's name, such as ``CUDA_ERROR_INVALID_VALUE``."""
    ms: float
    words: int
    """Verified by a kernel, of what opened."""
    wrong_words: int | None
    note: str
    """What else is to be said; empty: nothing."""

    @property
    def broke_context(self) -> bool:
        """Whether every call of CUDA failed after it, so that the process had to begin anew."""
        return CONTEXT_BROKEN in self.note


@dataclass(frozen=True)
class Bandwidth:
    """How fast memory was read or written over one path."""

    path: str
    """``local``, ``same``, ``cross`` or ``plain``: see docs/workload.md."""
    direction: str
    """``read`` or ``write``."""
    method: str
    """``kernel`` or ``copy``."""
    bytes: int
    gbps: float
    """The samples' median; 10^9 bytes a second."""
    samples: tuple[float, ...]


@dataclass(frozen=True)
class OpenTime:
    """How long opening the handle took over one path."""

    path: str
    ms_median: float
    samples: tuple[float, ...]
    """Milliseconds in their order: the first is the first open of the process."""


@dataclass(frozen=True)
class WorkloadReport:
    """One container's result."""

    role: str
    verdict: str
    exit: int
    error: Mapping[str, Any] | None
    own_pid: int
    process: Process
    gpus: tuple[Gpu, ...]
    offer: Mapping[str, Any] | None
    seen: tuple[Mapping[str, Any], ...]
    transfers: tuple[Transfer, ...]
    lines: tuple[str, ...]
    """The whole log."""
    sha256: str
    """Of the result's line."""
    driver_version: str | None = None
    """The GPU driver's, as NVML has it: ``580.159.04``."""
    cuda_version: int | None = None
    """The newest CUDA that the driver supports: 13000 for 13.0."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """The variables that the process found when it started."""
    device_nodes: tuple[str, ...] = ()
    """Names below ``/dev`` that begin with ``nvidia``, sorted."""
    nvml: tuple[NvmlGpu, ...] | None = None
    nvml_error: str | None = None
    """Why ``nvml`` is None."""
    peers: tuple[Peer, ...] = ()
    compute: tuple[ComputeResult, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    bandwidth: tuple[Bandwidth, ...] = ()
    open_times: tuple[OpenTime, ...] = ()

    @property
    def at_fault(self) -> bool:
        """Whether the workload did not come to its task: then nothing tells of the driver."""
        return self.exit == USAGE or self.verdict in ("usage", "workload-fault")

    def transfer(self, path: str) -> Transfer | None:
        """The way over one path, if the consumer came to it."""
        return next((t for t in self.transfers if t.path == path), None)

    def attempt(self, name: str) -> Attempt | None:
        """What came of the attempt of this name, if it was made."""
        return next((a for a in self.attempts if a.name == name), None)

    def peer(self, importer: str, exporter: str) -> Peer | None:
        """What is known of one GPU's access to another, both by UUID."""
        pair = (importer, exporter)
        return next((p for p in self.peers if (p.importer, p.exporter) == pair), None)

    def error_text(self) -> str:
        """The error as a person reads it."""
        if not self.error:
            return self.verdict
        parts = [str(self.error.get("name") or ""), str(self.error.get("text") or "")]
        code = self.error.get("code")
        text = ": ".join(part for part in parts if part) or self.verdict
        return f"{text} ({code})" if code is not None and str(code) not in text else text


def describe(entry: object) -> str:
    """A part of a report as a person reads it: each field that is known, by its name."""
    values = {field.name: getattr(entry, field.name) for field in fields(entry)}  # type: ignore[arg-type]
    return ", ".join(
        f"{name.replace('_', ' ')} {_value(value)}"
        for name, value in values.items()
        if value is not None and value not in ("", ())
    )


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return " ".join(_value(one) for one in value)
    if isinstance(value, Mapping):
        return "; ".join(f"{key} {_value(one)}" for key, one in value.items() if one is not None)
    return f"({describe(value)})" if is_dataclass(value) else str(value)


def result_line(lines: list[str]) -> str | None:
    """The line that holds the result: the last one, if it is one."""
    for line in reversed(lines):
        if line.strip():
            return line if line.startswith("{") and SCHEMA in line else None
    return None


def parse(log: str) -> WorkloadReport:
    """Read a finished container's log.

    Raises:
        ReportError: its last line is not a result.
    """
    lines = log.splitlines()
    line = result_line(lines)
    if line is None:
        last = next((line for line in reversed(lines) if line.strip()), "(nothing)")
        raise ReportError(f"the log's last line is no result: {last[:200]}")
    try:
        document = json.loads(line)
        return WorkloadReport(
            role=str(document["role"]),
            verdict=str(document["verdict"]),
            exit=int(document["exit"]),
            error=document.get("error"),
            own_pid=int(document["process"]["own_pid"]),
            process=_made(Process, document["process"]),
            gpus=_all(Gpu, document.get("gpus")),
            offer=document.get("offer"),
            seen=tuple(document.get("seen") or []),
            transfers=tuple(_transfer(entry) for entry in document.get("transfers") or []),
            lines=tuple(lines),
            sha256=hashlib.sha256(line.encode()).hexdigest(),
            driver_version=document.get("driver_version"),
            cuda_version=(document.get("cuda") or {}).get("driver_version"),
            environment=document.get("environment") or {},
            device_nodes=tuple(document.get("device_nodes") or []),
            nvml=_all(NvmlGpu, nvml) if (nvml := document.get("nvml")) is not None else None,
            nvml_error=document.get("nvml_error"),
            peers=_all(Peer, document.get("peers")),
            compute=_all(ComputeResult, document.get("compute")),
            attempts=_all(Attempt, document.get("attempts")),
            bandwidth=_all(Bandwidth, document.get("bandwidth")),
            open_times=_all(OpenTime, document.get("open")),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ReportError(f"the log's last line is no complete result: {error!r}") from error


def _made(kind: type[T], entry: Mapping[str, Any]) -> T:
    """A dataclass out of the entries that have its fields' names; others are not ours to read."""
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]  # T is a dataclass
    return kind(
        **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in entry.items()
            if name in names
        }
    )


def _all(kind: type[T], entries: list[Mapping[str, Any]] | None) -> tuple[T, ...]:
    return tuple(_made(kind, entry) for entry in entries or [])


def _transfer(entry: Mapping[str, Any]) -> Transfer:
    after_gone = entry.get("after_gone")
    return Transfer(
        path=str(entry["path"]),
        opened=bool(entry["opened"]),
        can_access_peer=entry.get("can_access_peer"),
        words=int(entry.get("words") or 0),
        wrong_words=entry.get("wrong_words"),
        first_wrong=entry.get("first_wrong"),
        checksum=str(entry.get("checksum") or ""),
        expected_checksum=str(entry.get("expected_checksum") or ""),
        wrote=bool(entry.get("wrote")),
        error=entry.get("error"),
        open_ms=entry.get("open_ms"),
        after_gone=_made(AfterGone, after_gone) if after_gone else None,
    )


def parse_termination(message: str | None) -> Mapping[str, Any]:
    """The termination message as the kubelet kept it.

    Raises:
        ReportError: it is missing or not the workload's.
    """
    if not message:
        raise ReportError("the container has no termination message")
    try:
        document = json.loads(message)
        return {"verdict": str(document["verdict"]), "sha256": str(document["sha256"])}
    except (KeyError, TypeError, ValueError) as error:
        raise ReportError(f"the termination message is not the workload's: {error!r}") from error


def offer_of(line: str) -> str | None:
    """The offer in a line of the producer's log, as the JSON text to hand on."""
    if not line.startswith(OFFER_MARK):
        return None
    text = line.removeprefix(OFFER_MARK).strip()
    try:
        document = json.loads(text)
    except ValueError:
        return None
    return text if isinstance(document, dict) and "handle" in document else None
