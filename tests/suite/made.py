"""Evidence that is made here, never collected from a cluster, and ways to spoil it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.cluster.inventory import Device
from harness.cluster.kinds import Object
from harness.options import USER
from harness.scenario.evidence import Claim, Container, End, Evidence, Observed
from harness.scenario.pod_spec import Security
from harness.scenario.report import Report
from harness.verdict.finding import Blame, Finding, JudgementError, few_devices, judge
from suites.cuda.transfers import CONTROL_PAGE_BYTES, WORD_BYTES
from workload.result import (
    INVALID_CONTEXT,
    PEER_ACCESS_UNSUPPORTED,
    Attempt,
    Computed,
    CudaDriver,
    Gpu,
    NvmlGpu,
    Offer,
    Problem,
    Process,
    Seen,
    Termination,
    Transfer,
    Verdict,
)

NODE = "node-1"
PRODUCT = "NVIDIA H100 80GB HBM3"
DRIVER_VERSION = "580.159.04"
MEMORY = 81559 << 20
WORDS = 786432
CHECKSUM = "ab" * 8
ERRORS = {
    1: "CUDA_ERROR_INVALID_VALUE",
    INVALID_CONTEXT: "CUDA_ERROR_INVALID_CONTEXT",
    PEER_ACCESS_UNSUPPORTED: "CUDA_ERROR_PEER_ACCESS_UNSUPPORTED",
    400: "CUDA_ERROR_INVALID_HANDLE",
}


def device(number: int) -> Device:
    """A GPU as its driver publishes it."""
    uuid = f"GPU-{number + 1}0000000-0000-0000-0000-000000000000"
    attributes = {
        "uuid": {"string": uuid},
        "productName": {"string": PRODUCT},
        "minor": {"int": number},
        "simulated": {"bool": True},
        "driverVersion": {"version": "580.159.4"},
    }
    capacity = {"memory": {"value": f"{MEMORY >> 20}Mi"}}
    return Device(
        "gpu.nvidia.com",
        NODE,
        f"gpu-{number}",
        NODE,
        uuid,
        PRODUCT,
        pci=f"0000:{0x18 + number:02x}:00.0",
        compute_capability="9.0",
        memory=MEMORY,
        entry={"name": f"gpu-{number}", "attributes": attributes, "capacity": capacity},
        version="580.159.4",
        cuda_version="13.0.0",
    )


DEVICES = tuple(device(number) for number in range(4))


def cuda_gpu(shown: Device) -> Gpu:
    """A GPU as CUDA shows it."""
    return Gpu(
        DEVICES.index(shown),
        shown.uuid,
        PRODUCT,
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


def error(code: int) -> Problem:
    """What the workload says of a CUDA error."""
    name = ERRORS.get(code, "CUDA_ERROR_UNKNOWN")
    return Problem("open", f"refused with {code}", code, name)


def offer(own_pid: int = 1) -> Offer:
    """What a process exports."""
    size = WORDS * WORD_BYTES + CONTROL_PAGE_BYTES
    return Offer("n", "00" * 64, size, 1, CHECKSUM, DEVICES[0].uuid, own_pid)


def report(*devices: Device, **parts: Any) -> Report:
    """What a container reports that sees these GPUs and where all went well."""
    names = sorted(f"nvidia{DEVICES.index(shown)}" for shown in devices)
    good = Report(
        role="workload",
        process=process(Security(), "one"),
        gpus=tuple(cuda_gpu(shown) for shown in devices),
        driver_version=DRIVER_VERSION,
        cuda=CudaDriver(13000),
        device_nodes=(*names, "nvidia-uvm", "nvidiactl"),
        nvml=tuple(nvml_gpu(shown) for shown in devices),
    )
    return replace(good, **parts)


def process(
    security: Security, pod: str, shared: Mapping[str, bool] | None = None, own_pid: int = 1
) -> Process:
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
        own_pid=own_pid,
        uid=USER if security.uid is None else security.uid,
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


def saw(path: str, words: int = WORDS, **parts: Any) -> Seen:
    """What an exporter saw of an importer's writes over a path: every word right."""
    return replace(Seen(path, words, 0), **parts)


def computed(on: Device, **parts: Any) -> Computed:
    """Kernels that were right, on fresh memory."""
    good = Computed(on.uuid, WORDS * 8, WORDS, 0, None, 0, 0.1)
    return replace(good, **parts)


def made(name: str, **reports: Report) -> Evidence:
    """Evidence of a scenario that came to its end.

    Args:
        name: the scenario's.
        reports: what each container reported, by its role with ``_`` for ``-``; its claims hold the
            GPUs that it sees.
    """
    evidence = Evidence(name)
    for name_of_role, one in reports.items():
        role = name_of_role.replace("_", "-")
        container = evidence.containers[role] = Container(role)
        seen = {gpu.uuid for gpu in one.gpus}
        container.devices = tuple(shown for shown in DEVICES if shown.uuid in seen)
        container.admitted.found({})
        container.started.found({"spec": {"nodeName": NODE}})
        container.report.found(one)
        container.message.found(Termination(one.verdict, one.sha256))
    evidence.ended.found(True)
    return evidence


def restarted(role: str, evidence: Evidence) -> Evidence:
    """Have a container report the same before a restart as it does after it."""
    container = evidence.containers[role]
    before: Observed[Report] = Observed(f"the {role}'s report before its restart")
    before.found(container.report.get())
    container.earlier.append(before)
    return evidence


def with_claim(evidence: Evidence, name: str, *devices: Device) -> Evidence:
    """Add a claim that was allocated these devices, used, and released."""
    requests = [f"gpu-{number}" for number in range(1, len(devices) + 1)]
    bare: Object = {"kind": "ResourceClaim", "metadata": {"name": name}}
    claim = evidence.claims[name] = Claim(bare, requests)
    claim.by_request = {name: (one,) for name, one in zip(requests, devices, strict=True)}
    claim.node_devices = DEVICES
    results = [
        {"request": request, "driver": one.driver, "pool": one.pool, "device": one.name}
        for request, of_request in claim.by_request.items()
        for one in of_request
    ]
    claim.allocated.found({**bare, "status": {"allocation": {"devices": {"results": results}}}})
    claim.in_use.found(claim.allocated.get())
    claim.released.found(bare)
    return evidence


def using(evidence: Evidence, role: str, *names: str, args: Sequence[str] = ()) -> Evidence:
    """Have a container use claims of the evidence.

    Args:
        evidence: with the container and the claims.
        role: the container.
        names: the claims.
        args: what the workload was asked to do.
    """
    container = evidence.containers[role]
    container.claims = tuple(evidence.claims[name] for name in names)
    container.devices = tuple(one for claim in container.claims for one in claim.devices)
    container.args = tuple(args)
    return evidence


def gone(piece: Observed[End], seconds: float, asked: float = 0.0) -> None:
    """Note that something went, so long after it was asked to, at this time."""
    piece.found(End(asked, asked + seconds, ()))


# Changes


def alter(evidence: Evidence, role: str, **parts: Any) -> None:
    """Have a container report something else."""
    report = evidence.containers[role].report
    report.found(replace(report.get(), **parts))


def lose(piece: Observed[Any], reason: JudgementError) -> Observed[Any]:
    """The same piece of evidence, which was not found, for a reason."""
    lost: Observed[Any] = Observed(piece.what)
    lost.missing(reason)
    return lost


Change = Callable[[Evidence], None]


def says(role: str, **parts: Any) -> Change:
    """The container reports something else."""
    return lambda evidence: alter(evidence, role, **parts)


def gpus(role: str, *shown: Device) -> Change:
    """The container's CUDA and NVML show these GPUs."""
    return says(
        role,
        gpus=tuple(cuda_gpu(one) for one in shown),
        nvml=tuple(nvml_gpu(one) for one in shown),
    )


def transfers(role: str, *ways: Transfer) -> Change:
    """The container fared so with the memory."""
    return says(role, transfers=ways)


def answered(name: str, role: str, **parts: Any) -> Change:
    """One of the container's attempts ended otherwise."""

    def change(evidence: Evidence) -> None:
        attempts = evidence.report(role).attempts
        alter(
            evidence,
            role,
            attempts=tuple(replace(a, **parts) if a.name == name else a for a in attempts),
        )

    return change


def is_process(role: str, **parts: Any) -> Change:
    """The container's process is another."""
    return lambda evidence: alter(
        evidence, role, process=replace(evidence.report(role).process, **parts)
    )


def does_not_start(role: str, blame: Blame) -> Change:
    """The container did not start, and so there is no report."""

    def change(evidence: Evidence) -> None:
        finding = Finding("the start did not come within 120 s", "a start", "nothing", blame)
        container, reason = evidence.containers[role], judge(finding)
        container.started = lose(container.started, reason)
        container.report = lose(container.report, reason)

    return change


NO_GPU: Mapping[str, Any] = {
    "verdict": Verdict.NO_GPU,
    "error": Problem("look", "", 100, "CUDA_ERROR_NO_DEVICE"),
}
"""What a report says where CUDA finds no GPU."""


def left_out(needed: int, *roles: str) -> Change:
    """The node has one device; these would start if it had as many as are needed."""

    def change(evidence: Evidence) -> None:
        for role in roles:
            del evidence.containers[role]
            evidence.left_out[role] = few_devices(needed, 1)

    return change


def ended(evidence: Evidence, *roles: str) -> Evidence:
    """Have the pods of containers gone as they were asked to."""
    for role in roles:
        gone(evidence.containers[role].gone, 1)
    return evidence


def does_not_go(role: str, blame: Blame) -> Change:
    """The container's pod was deleted and is still there."""

    def change(evidence: Evidence) -> None:
        finding = Finding("the end did not come within 60 s", "an end", "a pod", blame)
        container = evidence.containers[role]
        container.gone = lose(container.gone, judge(finding))

    return change


def both(*changes: Change) -> Change:
    """Several things at once."""

    def change(evidence: Evidence) -> None:
        for one in changes:
            one(evidence)

    return change


def slice_of(node: str, generation: int = 3, name: str = "") -> Object:
    """A ResourceSlice with two devices of a node."""
    devices = [{"name": "gpu-0", "attributes": {"uuid": {"string": "GPU-1"}}}, {"name": "gpu-1"}]
    pool = {"name": node, "generation": generation, "resourceSliceCount": 1}
    return {
        "kind": "ResourceSlice",
        "metadata": {"name": name or node, "resourceVersion": "7"},
        "spec": {"driver": "gpu.nvidia.com", "nodeName": node, "pool": pool, "devices": devices},
    }
