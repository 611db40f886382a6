"""Accounts of scenarios that were never played: good ones, made here, for tests to alter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from harness.cluster.inventory import Device
from harness.scenario.evidence import Claim, Member, Played
from harness.scenario.observed import Evidence
from harness.scenario.security import Security
from harness.scenario.workload_report import (
    AfterGone,
    Attempt,
    Bandwidth,
    ComputeResult,
    Gpu,
    NvmlGpu,
    OpenTime,
    Peer,
    Process,
    Transfer,
    WorkloadReport,
)
from harness.verdict.finding import JudgementError
from suites.cuda.codes import OPEN, RECORDED, REFUSED, known
from suites.cuda.security_matrix import EXPORTER, IMPORTER, NOT_RESTRICTED, ROWS, Matrix, MatrixRow

PRODUCT = "NVIDIA H100 80GB HBM3"
DRIVER_VERSION = "580.159.04"
MEMORY = 81559 << 20
WORDS = 786432
CHECKSUM = "ab" * 8
EXPORTERS_PID, IMPORTERS_PID = 1, 300
SPEEDS = {"local": 1670.0, "same": 1697.0, "cross": 396.0, "plain": 395.0}
"""GB/s as measured on hardware."""
ERRORS = {
    1: "CUDA_ERROR_INVALID_VALUE",
    201: "CUDA_ERROR_INVALID_CONTEXT",
    217: "CUDA_ERROR_PEER_ACCESS_UNSUPPORTED",
    400: "CUDA_ERROR_INVALID_HANDLE",
}


def device(number: int) -> Device:
    """A GPU as its driver publishes it."""
    return Device(
        "gpu.nvidia.com",
        "node-1",
        f"gpu-{number}",
        "node-1",
        f"GPU-{number + 1}0000000-0000-0000-0000-000000000000",
        PRODUCT,
        pci=f"0000:{0x18 + number:02x}:00.0",
        compute_capability="9.0",
        memory=MEMORY,
    )


DEVICES = tuple(device(number) for number in range(4))


def cuda_gpu(shown: Device) -> Gpu:
    """A GPU as CUDA shows it."""
    return Gpu(
        shown.uuid,
        PRODUCT,
        DEVICES.index(shown),
        pci=shown.pci.upper(),
        memory=MEMORY - (512 << 20),
        compute_capability="9.0",
    )


def nvml_gpu(shown: Device) -> NvmlGpu:
    """A GPU as NVML shows it."""
    number = DEVICES.index(shown)
    return NvmlGpu(
        number,
        shown.uuid,
        PRODUCT,
        minor=number,
        pci=shown.pci.upper(),
        memory=MEMORY,
        compute_capability="9.0",
    )


def error(code: int) -> Mapping[str, Any]:
    """What the workload says of a CUDA error."""
    name = ERRORS.get(code, "CUDA_ERROR_UNKNOWN")
    return {"step": "open", "code": code, "name": name, "text": f"refused with {code}"}


def report(*devices: Device, own_pid: int = 1, **parts: Any) -> WorkloadReport:
    """What a container reports that sees these GPUs and where all went well."""
    names = sorted(f"nvidia{DEVICES.index(shown)}" for shown in devices)
    good = WorkloadReport(
        role="workload",
        verdict="ok",
        exit=0,
        error=None,
        own_pid=own_pid,
        process=process(Security(), "one"),
        gpus=tuple(cuda_gpu(shown) for shown in devices),
        offer=None,
        seen=(),
        transfers=(),
        lines=(),
        sha256="",
        driver_version=DRIVER_VERSION,
        cuda_version=13000,
        device_nodes=(*names, "nvidia-uvm", "nvidiactl"),
        nvml=tuple(nvml_gpu(shown) for shown in devices),
    )
    return replace(good, **parts)


def process(security: Security, pod: str, shared: Mapping[str, bool] | None = None) -> Process:
    """A process that has what it was given; what is not shared is called after its pod."""
    one = {what for what, together in (shared or {}).items() if together}
    root = security.uid == 0
    capabilities = 0
    if root and security.privileged:
        capabilities = (1 << 41) - 1
    elif root and "IPC_LOCK" in security.capabilities:
        capabilities = 1 << 14
    confined = not security.privileged and security.seccomp != "Unconfined"

    def namespace(what: str) -> str:
        return "shared" if what in one else pod

    return Process(
        own_pid=1,
        uid=security.uid,
        uid_map=("0 65536 65536",) if security.user_namespace else ("0 0 4294967295",),
        cap_eff=f"{capabilities:016x}",
        no_new_privs=int(not security.privileged),
        seccomp=2 if confined else 0,
        pid_namespace=namespace("pid"),
        ipc_namespace=namespace("ipc"),
        network_namespace=namespace("network"),
    )


def transfer(path: str = "same", **parts: Any) -> Transfer:
    """A transfer in which every word was right."""
    good = Transfer(
        path=path,
        opened=True,
        can_access_peer=True if path == "cross" else None,
        words=WORDS,
        wrong_words=0,
        first_wrong=None,
        checksum=CHECKSUM,
        expected_checksum=CHECKSUM,
        wrote=True,
        error=None,
        open_ms=0.2,
    )
    return replace(good, **parts)


def not_opened(code: int, path: str = "same", **parts: Any) -> Transfer:
    """A transfer that CUDA refused."""
    refused = transfer(path, opened=False, words=0, wrong_words=None, checksum="")
    return replace(refused, expected_checksum="", wrote=False, error=error(code), **parts)


def attempt(name: str, code: int = 0, **parts: Any) -> Attempt:
    """An attempt with CUDA's answer."""
    event = name == "event"
    opened = not code and not event
    made = Attempt(
        name=name,
        function="cuIpcOpenEventHandle" if event else "cuIpcOpenMemHandle",
        code=code,
        error=ERRORS.get(code, "CUDA_ERROR_UNKNOWN") if code else None,
        ms=0.2,
        words=WORDS if opened else 0,
        wrong_words=0 if opened else None,
        note="",
    )
    return replace(made, **parts)


def computed(on: Device, **parts: Any) -> ComputeResult:
    """Kernels that were right, on fresh memory."""
    good = ComputeResult(on.uuid, WORDS * 8, WORDS, 0, None, 0, 0.1)
    return replace(good, **parts)


def account(name: str, **reports: WorkloadReport) -> Played:
    """What came of a scenario with these members, to its end; their claim has what they see."""
    played = Played(name)
    for name_of_role, told in reports.items():
        role = name_of_role.replace("_", "-")
        member = Member(role)
        seen = {gpu.uuid for gpu in told.gpus}
        member.devices = tuple(shown for shown in DEVICES if shown.uuid in seen)
        member.started.found({})
        member.report.found(told)
        played.members[role] = member
    played.ended.found(True)
    played.released.found(True)
    return played


def with_claim(played: Played, name: str, *devices: Device) -> Played:
    """The same, with a claim that was allocated these."""
    requests = [f"gpu-{number}" for number in range(1, len(devices) + 1)]
    claim = Claim({"kind": "ResourceClaim", "metadata": {"name": name}}, requests)
    claim.by_request = dict(zip(requests, devices, strict=True))
    played.claims[name] = claim
    return played


def alter(played: Played, role: str, **parts: Any) -> None:
    """Have a member report something else."""
    evidence = played.members[role].report
    evidence.found(replace(evidence.get(), **parts))


def lose(evidence: Evidence[Any], reason: JudgementError) -> Evidence[Any]:
    """The same piece of evidence, which was not found, for a reason."""
    lost: Evidence[Any] = Evidence(evidence.what)
    lost.missing(reason)
    return lost


# The scenarios of suites/cuda, all gone well


def _inventory(number: int) -> Callable[[], Played]:
    return lambda: account("inventory", inventory=report(*DEVICES[:number]))


def _compute(number: int) -> Callable[[], Played]:
    def made() -> Played:
        used = DEVICES[:number]
        done = tuple(computed(on, foreign_words=None) for on in used)
        return account("compute", compute=report(*used, compute=done))

    return made


def _neighbours() -> Played:
    (only,) = DEVICES[:1]
    return account(
        "neighbours",
        first=report(only),
        second=report(only, compute=(computed(only),)),
        reader=report(only, transfers=(transfer(wrote=False),)),
        third=report(only, compute=(computed(only),)),
    )


def _requests_of_their_own() -> Played:
    one, other = DEVICES[:2]
    played = account("requests", container_1=report(one), container_2=report(other))
    return with_claim(played, "gpus", one, other)


def _claims_of_their_own() -> Played:
    one, other = DEVICES[:2]
    refused = report(
        other, verdict="not-opened", exit=12, error=error(1), attempts=(attempt("open", 1),)
    )
    played = account("claims", exporter=report(one), stranger=refused)
    return with_claim(with_claim(played, "ours", one), "theirs", other)


def _attempts() -> Played:
    codes = {**OPEN, **REFUSED, **RECORDED}
    made = tuple(attempt(name, min(known(codes[name], DRIVER_VERSION))) for name in codes)
    (only,) = DEVICES[:1]
    return account("attempts", exporter=report(only), importer=report(only, attempts=made))


def _exporters_end() -> Played:
    (only,) = DEVICES[:1]
    refused = report(
        only, verdict="not-opened", exit=12, error=error(400), attempts=(attempt("open", 400),)
    )
    return account("exporters-end", importer_exit=refused, importer_kill=refused)


def _exporter_gone() -> Played:
    (only,) = DEVICES[:1]
    kept = transfer(after_gone=AfterGone(WORDS, 0))
    return account("exporter-gone", importer=report(only, transfers=(kept,)))


def _several_importers() -> Played:
    (only,) = DEVICES[:1]
    importers = {f"importer_{n}": report(only, transfers=(transfer(),)) for n in range(3)}
    return account("several-importers", exporter=report(only), **importers)


def _seen(path: str) -> Mapping[str, Any]:
    return {"path": path, "words": WORDS, "wrong_words": 0, "first_wrong": None}


def _large_memory() -> Played:
    (only,) = DEVICES[:1]
    return account(
        "large-memory",
        exporter=report(only, seen=(_seen("same"),)),
        importer=report(only, transfers=(transfer(),)),
    )


def _both_directions() -> Played:
    two = DEVICES[:2]
    reports: dict[str, WorkloadReport] = {}
    for number in (1, 2):
        ways = (transfer(), transfer("cross"))
        reports[f"exporter_{number}"] = report(*two, seen=(_seen("same"), _seen("cross")))
        reports[f"importer_{number}"] = report(*two, transfers=ways)
    return account("both-directions", **reports)


def bandwidth(**speeds: float) -> tuple[Bandwidth, ...]:
    """Measured speeds, GB/s by path, both ways and by both methods."""
    return tuple(
        Bandwidth(path, way, method, 1 << 30, gbps, (gbps,) * 7)
        for path, gbps in speeds.items()
        for way in ("read", "write")
        for method in ("kernel", "copy")
    )


def _bandwidth() -> Played:
    one, other = DEVICES[:2]
    measured = report(
        one,
        other,
        bandwidth=bandwidth(**SPEEDS),
        open_times=(OpenTime("same", 0.2, (0.2,)),),
        peers=(Peer(one.uuid, other.uuid, True, 0, True, True, "NVLink"),),
    )
    return account("bandwidth", exporter=report(one, other), importer=measured)


def _user_namespace() -> Played:
    return account("user-namespace", inventory=report(DEVICES[0]))


GOOD: Mapping[str, Callable[[], Played]] = {
    "inventory-of-one": _inventory(1),
    "inventory-of-two": _inventory(2),
    "inventory-of-all": _inventory(4),
    "compute-on-one": _compute(1),
    "compute-on-two": _compute(2),
    "compute-on-all": _compute(4),
    "neighbours": _neighbours,
    "requests-of-their-own": _requests_of_their_own,
    "claims-of-their-own": _claims_of_their_own,
    "attempts": _attempts,
    "exporters-end": _exporters_end,
    "exporter-gone": _exporter_gone,
    "several-importers": _several_importers,
    "large-memory": _large_memory,
    "both-directions": _both_directions,
    "bandwidth": _bandwidth,
    "user-namespace": _user_namespace,
}
"""By the scenario's name."""


def own_pids(row: MatrixRow) -> tuple[int, int]:
    """What PIDs the two of a row have for themselves, where it matters equal ones."""
    exporter, importer = row.own_pids
    if row.same_number:
        return 41, 41
    if row.wrapped:
        return 7, 7
    return exporter or 46, importer or 47


def good_row(row: MatrixRow) -> Played:
    """A row as it was measured: the PID in the handle decides."""
    one, other = DEVICES[:2]
    own, importers = own_pids(row)
    pid = {"": own, "own": importers}.get(row.rewrite_pid) or int(row.rewrite_pid)
    exporter = report(one, other, own_pid=own, process=process(row.exporter, "one", row.shares))
    importer = report(
        one, other, own_pid=importers, process=process(row.importer, "other", row.shares)
    )
    if pid == importers:
        ways = (not_opened(201), not_opened(201, "cross"))
        importer = replace(importer, verdict="not-opened", exit=12, error=error(201))
    else:
        ways = (transfer(), transfer("cross"))
    return account(row.name, **{EXPORTER: exporter, IMPORTER: replace(importer, transfers=ways)})


def good_matrix(name: str) -> Matrix:
    """A part of the matrix in which every row is as it was measured."""
    matrix = Matrix(name)
    matrix.rows = {row.name: good_row(row) for row in ROWS if row.scenario.name == name}
    matrix.begun.found(Claim({"kind": "ResourceClaim", "metadata": {"name": "gpus"}}, ["gpu-1"]))
    matrix.refusals.found(dict.fromkeys(NOT_RESTRICTED, "violates PodSecurity"))
    return matrix
