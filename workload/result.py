"""What the workload reports: the schema of its result, its verdicts and exit codes.

The program writes it and the suite reads it, so it needs the standard library only. What newer
versions of the schema add has a default: then results of an older workload can still be read.
"""

from __future__ import annotations

import enum
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Self

from workload.reading import ReportError, read

SCHEMA = "dra-conformance/workload/v1"

TERMINATION_MESSAGE_LIMIT = 3072
"""Bytes. The kubelet cuts a termination message at 4,096."""

OFFER_MARK = "Producer: offer "
"""How the line of the log begins that has an offer's JSON."""
CONTEXT_BROKEN = "the context is broken since then"
"""In the note of an `Attempt`."""
INVALID_CONTEXT = 201
"""``CUDA_ERROR_INVALID_CONTEXT``: also where CUDA takes an importer for the exporter."""
PEER_ACCESS_UNSUPPORTED = 217
"""``CUDA_ERROR_PEER_ACCESS_UNSUPPORTED``"""


class Mechanism(enum.StrEnum):
    """How memory is shared between processes."""

    IPC = "ipc"
    """``cuIpcGetMemHandle``: 64 bytes, in which the exporter's own PID stands."""
    DESCRIPTOR = "descriptor"
    """``cuMemCreate`` with a POSIX file descriptor, which goes over a Unix socket."""
    FABRIC = "fabric"
    """The same with a fabric handle: 64 bytes; both sides need an IMEX channel."""
    POOL_DESCRIPTOR = "pool-descriptor"
    """A memory pool with a descriptor, and 64 bytes for each of its allocations."""
    POOL_FABRIC = "pool-fabric"
    """The same with a fabric handle."""


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
class NvmlGpu:
    """A visible GPU, as the management library NVML shows it; what it did not tell is None."""

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


def path_between(importer: str, exporter: str) -> str:
    """The path from one GPU to memory of one, by their UUIDs: ``same`` or ``cross``."""
    return "same" if importer == exporter else "cross"


@dataclass(frozen=True)
class Peer:
    """What one visible GPU is to another; what nobody told is None."""

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
    """``NVLink``, ``PCIe`` or ``unknown``, as NVML has it."""
    nvlinks: int | None = None
    """How many NVLinks there are between the two, over switches or directly."""
    meet: str | None = None
    """Where their PCIe paths meet: ``PIX``, ``PXB``, ``PHB``, ``NODE`` or ``SYS``."""

    @property
    def link_class(self) -> str:
        """The link as ``nvidia-smi topo -m`` names it: ``NV18``, ``PIX``, …"""
        return f"NV{self.nvlinks}" if self.nvlinks else self.meet or self.link


@dataclass(frozen=True)
class Extras:
    """More handles of a producer, for `workload.probe`: each 64 bytes in hexadecimal."""

    freed: str
    """Of an allocation that is freed."""
    interior: str
    """Of a pointer into the main allocation."""
    interior_offset: int
    """Where that pointer lies, in bytes."""
    small: tuple[str, ...]
    """Of allocations of 2 MiB; the n-th is filled with pattern(seed + 100 + n)."""
    event: str
    """``CUipcEventHandle``: of an event recorded after the fill."""


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
    extras: Extras | None = None
    others: tuple[Offer, ...] = ()
    """Of the same process: memory on its other GPUs (`workload.every_pair`)."""
    rewritten_pid: int | None = None
    """What the consumer wrote over the PID in the handle before it opened it, if it did."""

    @staticmethod
    def parse(text: str) -> Offer:
        """Read an offer's JSON.

        Raises:
            ReportError: it is none.
        """
        try:
            given = json.loads(text)
        except ValueError as error:
            raise ReportError(f"it is not JSON ({error})") from error
        if not isinstance(given, dict):
            raise ReportError("it is not a JSON object")
        # Only a consumer says that it rewrote the PID, never an offer.
        offer = replace(read(Offer, given), rewritten_pid=None)
        for one in (offer, *offer.others):
            _need_digits("handle", one.handle, 2 * HANDLE_BYTES)
            _need_digits("checksum", one.checksum, 16)
        if (more := offer.extras) is not None:
            handles = {"freed": more.freed, "interior": more.interior, "event": more.event}
            handles |= {f"small[{number}]": handle for number, handle in enumerate(more.small)}
            for name, handle in handles.items():
                _need_digits(f"extras.{name}", handle, 2 * HANDLE_BYTES)
        return offer

    def line(self) -> str:
        """One line of JSON, without what is not there."""
        return json.dumps({key: value for key, value in asdict(self).items() if value is not None})


HANDLE_BYTES = 64
"""Of ``CUipcMemHandle`` and ``CUipcEventHandle``."""
_PID = slice(8, 12)
"""Where the exporter's own PID stands in a memory handle, little endian (measured, 580.159.04)."""


def handle_of(offer: Offer) -> bytes:
    """The handle as it is to be opened."""
    handle = bytes.fromhex(offer.handle)
    return handle if offer.rewritten_pid is None else with_pid(handle, offer.rewritten_pid)


def with_pid(handle: bytes, pid: int) -> bytes:
    """A memory handle that claims to be of another process."""
    changed = bytearray(handle)
    changed[_PID] = pid.to_bytes(4, "little")
    return bytes(changed)


def _need_digits(name: str, text: str, length: int) -> None:
    if not re.fullmatch(rf"[0-9a-fA-F]{{{length}}}", text):
        raise ReportError(f"{name!r} is {text!r}, not {length} hexadecimal digits")


@dataclass(frozen=True)
class Process:
    """The process that did it, as the kernel shows it to itself; what nobody told is None."""

    own_pid: int
    nspid: tuple[int, ...] = ()
    """Its PIDs from the namespace of ``/proc`` down to its own."""
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
class Seen:
    """What the producer found of the consumer's write over one path."""

    path: str
    words: int
    wrong_words: int
    first_wrong: int | None = None
    mechanism: Mechanism = Mechanism.IPC
    writer: str = ""
    """The consumer's role, where there are several."""
    importer: str = ""
    exporter: str = ""
    """UUIDs of the GPU that wrote and of the one that has the memory, where there are several."""


@dataclass(frozen=True)
class AfterGone:
    """A mapping verified once more after its exporter had ended."""

    words: int
    wrong_words: int


@dataclass(frozen=True)
class Transfer:
    """The consumer's work over one path: opening, verifying, writing back."""

    path: str
    """``same``: the importing GPU is the exporting one; ``cross``: it is another.

    ``late`` (of `workload.borrowing`): the exporting GPU, opened when the exporter was gone.
    """
    importer: str = ""
    exporter: str = ""
    """Both GPUs' UUIDs."""
    can_access_peer: bool | None = None
    """CUDA's answer before opening; None where there is nothing to ask."""
    opened: bool = False
    open_ms: float | None = None
    """Milliseconds that opening took, whatever came of it; None where it was not tried."""
    words: int = 0
    """Verified by a kernel on the importing GPU: every word of the data, or none."""
    wrong_words: int | None = None
    first_wrong: int | None = None
    """Index of the first wrong word."""
    checksum: str | None = None
    expected_checksum: str | None = None
    wrote: bool = False
    error: Problem | None = None
    after_gone: AfterGone | None = None
    mechanism: Mechanism = Mechanism.IPC

    @property
    def lacks_peer_access(self) -> bool:
        """Whether it was not opened because these two GPUs cannot: no fault of anyone."""
        return (
            self.path == "cross"
            and self.can_access_peer is False
            and self.error is not None
            and self.error.code == PEER_ACCESS_UNSUPPORTED
        )


def transfer_between(importer: str, exporter: str, peers: Iterable[Peer]) -> Transfer:
    """Begin the record of a GPU's way to memory of one, with what CUDA says of the two."""
    pair = importer, exporter
    asked = (one.can_access_peer for one in peers if (one.importer, one.exporter) == pair)
    return Transfer(
        path_between(*pair), importer=importer, exporter=exporter, can_access_peer=next(asked, None)
    )


@dataclass(frozen=True)
class Lent:
    """Memory that a process offered by one mechanism, or why it could not."""

    mechanism: Mechanism
    seed: int = 0
    """Every word of it is pattern(seed)."""
    handle: str = ""
    """What was handed over as bytes, in hexadecimal."""
    by_descriptor: bool = False
    """Whether an open file was handed over."""
    error: Problem | None = None


@dataclass(frozen=True)
class Computed:
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
    """``CUresult``, of a system call ``errno``; 0: it opened."""
    error: str | None
    """The code's name, such as ``CUDA_ERROR_INVALID_VALUE``."""
    ms: float
    """That the call took."""
    words: int = 0
    """Verified by a kernel, of what opened."""
    wrong_words: int | None = None
    note: str = ""
    """What else is to be said."""

    @property
    def broke_context(self) -> bool:
        """Whether every call of CUDA failed after it, so that the process had to begin anew."""
        return CONTEXT_BROKEN in self.note


@dataclass(frozen=True)
class Bandwidth:
    """How fast memory was read or written over one path."""

    path: str
    """``local``, ``same``, ``cross`` or ``plain``: see `workload.measure`."""
    direction: str
    """``read`` or ``write``."""
    method: str
    """``kernel`` or ``copy``."""
    bytes: int
    gbps: float
    """The samples' median; 10^9 bytes a second."""
    samples: tuple[float, ...]
    importer: str = ""
    exporter: str = ""
    """UUIDs of the GPU that accesses and of the one that has the memory, where there are
    several."""
    mechanism: Mechanism = Mechanism.IPC


@dataclass(frozen=True)
class OpenTime:
    """How long opening shared memory took over one path, in each of many rounds."""

    path: str
    ms_median: float
    samples: tuple[float, ...]
    """Milliseconds in their order."""
    mechanism: Mechanism = Mechanism.IPC


@dataclass(frozen=True)
class Rounds:
    """Memory that was made, shared, opened, closed and freed again and again."""

    mechanism: Mechanism
    bytes: int
    """Of the memory of each round."""
    times: int = 0
    """How many rounds there were after the first."""
    free_before: int = 0
    """Bytes of the GPU that were free after the first."""
    free_after: int = 0
    """The same after the last."""
    error: Problem | None = None
    """Why there were no more."""

    @property
    def kept(self) -> int:
        """Bytes that did not come back."""
        return self.free_before - self.free_after


@dataclass(frozen=True)
class Signal:
    """A stream of one process that waits for what a stream of another writes to shared memory."""

    mechanism: Mechanism
    writer: str
    """``exporter`` or ``importer``."""
    came: bool
    ms: float | None = None
    """Milliseconds until it was seen; None where it never came."""
    error: Problem | None = None


@dataclass(frozen=True)
class CudaDriver:
    """The library ``libcuda.so.1``."""

    driver_version: int | None = None
    """As ``cuDriverGetVersion`` has it: 13000 for CUDA 13.0."""


@dataclass(frozen=True)
class Termination:
    """A result's short form: the container's termination message."""

    verdict: Verdict
    sha256: str
    """Of the result's line."""
    role: str = ""
    error: Problem | None = None


@dataclass
class Result:
    """What one process did and found; grows while it runs."""

    role: str
    process: Process
    environment: Mapping[str, str] = field(default_factory=dict)
    """The variables that the process found when it started."""
    nonce: str | None = None
    verdict: Verdict = Verdict.OK
    error: Problem | None = None
    cuda: CudaDriver = CudaDriver()
    driver_version: str | None = None
    """The GPU driver's, as NVML has it: ``580.159.04``."""
    device_nodes: tuple[str, ...] = ()
    """Below ``/dev``, sorted, without those that every container has: ``nvidia0``."""
    forbidden_nodes: tuple[str, ...] = ()
    """Those of NVIDIA's that may not be opened to read and write."""
    metadata: Mapping[str, str] | None = None
    """What drivers tell of the container's devices in files (KEP-5304), by their paths below the
    folder for them; empty where one may not be read. None: not looked for."""
    nvml: tuple[NvmlGpu, ...] | None = None
    nvml_error: str | None = None
    """Why ``nvml`` is None."""
    gpus: tuple[Gpu, ...] = ()
    peers: tuple[Peer, ...] = ()
    """Each ordered pair of visible GPUs."""
    offer: Offer | None = None
    seen: tuple[Seen, ...] = ()
    lent: tuple[Lent, ...] = ()
    transfers: tuple[Transfer, ...] = ()
    compute: tuple[Computed, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    bandwidth: tuple[Bandwidth, ...] = ()
    open: tuple[OpenTime, ...] = ()
    rounds: tuple[Rounds, ...] = ()
    signals: tuple[Signal, ...] = ()

    @classmethod
    def read(cls, document: Mapping[str, object]) -> Self:
        """Read a result's JSON object.

        Raises:
            ReportError: it is none.
        """
        result = read(cls, document)
        said = (document.get("verdict"), document.get("exit"))
        if said != (result.verdict, result.verdict.exit):
            raise ReportError("'verdict' is {!r} and 'exit' {!r}".format(*said))
        return result

    def end(self, reason: WorkloadError) -> None:
        """Note why the process ends early."""
        self.verdict, self.error = reason.verdict, reason.problem

    def line(self) -> str:
        """The result as the last line of the log."""
        return _line(self)

    def termination_message(self) -> str:
        """The result's short form, at most `TERMINATION_MESSAGE_LIMIT` bytes."""
        digest = hashlib.sha256(self.line().encode()).hexdigest()
        short = Termination(self.verdict, digest, self.role, self.error)
        text = _line(short)
        if self.error and len(text) > TERMINATION_MESSAGE_LIMIT:
            # JSON writes a character as six bytes at most.
            bare = _line(replace(short, error=replace(self.error, text="")))
            keep = (TERMINATION_MESSAGE_LIMIT - len(bare)) // 6
            cut = replace(self.error, text=self.error.text[: keep - 1] + "…")
            text = _line(replace(short, error=cut))
        return text


def _line(told: Result | Termination) -> str:
    return json.dumps({"schema": SCHEMA, "exit": told.verdict.exit, **asdict(told)})
