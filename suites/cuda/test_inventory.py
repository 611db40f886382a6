"""What a container sees of its GPUs: the same by the claim, by CUDA, by NVML and below ``/dev``."""

from __future__ import annotations

import re
from collections.abc import Mapping

from harness.checks.check import Part, check
from harness.cluster.inventory import Device
from harness.scenario.evidence import Evidence
from harness.scenario.pod_spec import ContainerSpec
from harness.scenario.report import Report, describe
from harness.scenario.scenario import CUDA, scenario
from harness.scenario.steps import Steps
from harness.verdict.finding import UnsupportedError, counted, short_uuid
from suites.cuda.every_gpu import every_gpu
from suites.cuda.transfers import attempt_of
from workload.result import Gpu, NvmlGpu

LEAST_MEMORY_FOR_CUDA = 0.95
"""CUDA's total is what the driver leaves of the GPU's memory: 98 to 99.6 % on H100 and H200."""


def show(steps: Steps) -> None:
    """One pod that shows what its claim brought it."""
    steps.finish(steps.start("inventory", ["inventory"], steps.claim()))


@scenario(needs=CUDA, admin=True)
def inventory_of_one(steps: Steps) -> None:
    """A claim of one GPU."""
    show(steps)


@scenario(needs=CUDA, devices=2, admin=True)
def inventory_of_two(steps: Steps) -> None:
    """A claim of two GPUs."""
    show(steps)


SIZES = (inventory_of_one, inventory_of_two, Part("inventory-of-all", every_gpu))


@check(
    id="CUDA-001",
    level=4,
    source="ISO-3, SLICE-7",
    forms=SIZES,
    after=("ALLOC-007", "ALLOC-004", "ALLOC-006"),
)
def test_cuda_and_nvml_show_exactly_the_allocated_gpus(evidence: Evidence) -> None:
    """In a container, CUDA and NVML MUST each show every GPU that its claim was allocated, and no
    other.
    """
    report = evidence.report("inventory")
    wanted = {device.uuid for device in evidence.container("inventory").devices}
    _see_exactly(evidence, wanted, "CUDA", [gpu.uuid for gpu in report.gpus])
    _see_exactly(evidence, wanted, "NVML", [gpu.uuid for gpu in nvml(report)])


def _see_exactly(evidence: Evidence, wanted: set[str], view: str, seen: list[str]) -> None:
    """End a check with a finding where a view shows other GPUs than were allocated."""
    missing, surplus = sorted(wanted - set(seen)), sorted(set(seen) - wanted)
    if missing or surplus or len(seen) != len(set(seen)):
        what = [*_some(missing, "missing"), *_some(surplus, "not allocated")] or ["one twice"]
        evidence.fail(
            f"{view} shows {counted(len(seen), 'GPU')}, allocated: {len(wanted)};"
            f" {', '.join(what)}",
            expected=", ".join(sorted(wanted)),
            observed=", ".join(seen) or "no GPU",
        )


def _some(uuids: list[str], what: str) -> list[str]:
    """One GPU by its name, several by their number: ``2 GPUs missing``."""
    if len(uuids) > 1:
        return [f"{counted(len(uuids), 'GPU')} {what}"]
    return [f"{short_uuid(uuid)} {what}" for uuid in uuids]


@check(
    id="CUDA-002",
    level=4,
    source="SLICE-7, SLICE-18",
    forms=SIZES,
    after=("CUDA-001", "ALLOC-008", "ALLOC-009", "ALLOC-010", "SLICE-007"),
)
def test_gpus_are_what_their_slice_says(evidence: Evidence) -> None:
    """A GPU's name, memory, compute capability, PCI address and the versions of its driver MUST be
    the same in its ResourceSlice, in NVML and in CUDA, as far as the slice is to tell them.
    """
    report = evidence.report("inventory")
    by_nvml = {gpu.uuid: gpu for gpu in nvml(report)}
    by_cuda = {gpu.uuid: gpu for gpu in report.gpus}
    silent: list[str] = []
    for device in evidence.container("inventory").devices:
        views = _views(device, by_nvml[device.uuid], by_cuda[device.uuid], report)
        of_slice = {what: views[what] for what in views if what in evidence.known}
        silent += compare(evidence, device, of_slice)
        _compare_memory(evidence, device, by_nvml[device.uuid], by_cuda[device.uuid])
    if silent:
        raise UnsupportedError(f"all that can be compared is the same, but {silent[0]}")


View = Mapping[str, str | None]
"""Who says what: ``slice``, ``NVML``, ``CUDA``; None: nothing."""


def _views(device: Device, by_nvml: NvmlGpu, by_cuda: Gpu, report: Report) -> dict[str, View]:
    """Who says what of one GPU, by what the profile calls it."""
    cuda_version = report.cuda.driver_version
    return {
        "product": {"slice": device.product, "NVML": by_nvml.name, "CUDA": by_cuda.name},
        "compute-capability": {
            "slice": device.compute_capability,
            "NVML": by_nvml.compute_capability,
            "CUDA": by_cuda.compute_capability,
        },
        "pci": {
            "slice": _pci(device.pci),
            "NVML": _pci(by_nvml.pci),
            "CUDA": _pci(by_cuda.pci),
        },
        # Slices have it in whole MiB; what CUDA has is judged apart.
        "memory": {"slice": _mib(device.memory), "NVML": _mib(by_nvml.memory)},
        "version": {
            "slice": _version(device.version),
            "NVML": _version(report.driver_version),
        },
        "cuda-version": {
            "slice": _version(device.cuda_version),
            "CUDA": _version(f"{cuda_version // 1000}.{cuda_version % 1000 // 10}.0")
            if cuda_version
            else None,
        },
    }


_CALLED = {
    "product": "name",
    "compute-capability": "compute capability",
    "pci": "PCI address",
    "version": "driver version",
    "cuda-version": "CUDA version",
}


def compare(evidence: Evidence, device: Device, views: Mapping[str, View]) -> list[str]:
    """Compare what is said of one GPU.

    A slice that says nothing of what others say differs from them.

    Returns:
        A sentence for each other view that says nothing.
    """
    silent = []
    gpu = short_uuid(device.uuid)
    for what, view in views.items():
        called = _CALLED.get(what, what)
        who_says: dict[str, list[str]] = {}
        for who, value in view.items():
            if value or who == "slice":
                who_says.setdefault(value or "nothing", []).append(who)
            else:
                silent.append(f"{who} does not tell the {called} of {gpu}")
        if len(who_says) > 1:
            differing = ", ".join(f"{' and '.join(who)} {value}" for value, who in who_says.items())
            evidence.fail(
                f"the {called} of {gpu} differs: {differing}",
                expected=f"{device.uuid} with one {called}",
                observed=differing,
            )
    return silent


def _compare_memory(evidence: Evidence, device: Device, by_nvml: NvmlGpu, by_cuda: Gpu) -> None:
    """See that CUDA has nearly all of a GPU's memory."""
    most, has = by_nvml.memory or device.memory, by_cuda.memory or 0
    if most is not None and not most * LEAST_MEMORY_FOR_CUDA <= has <= most:
        evidence.fail(
            f"CUDA has {has} of the {most} bytes of {short_uuid(device.uuid)}",
            expected=f"{LEAST_MEMORY_FOR_CUDA:.0%} to all of {most} bytes",
            observed=f"{has} bytes",
        )


def _mib(memory: int | None) -> str | None:
    return None if memory is None else f"{memory >> 20} MiB"


def _version(text: str | None) -> str | None:
    """A version as numbers, without zeros that say nothing: 580.159.04 as 580.159.4."""
    if not text or not re.fullmatch(r"\d+(\.\d+)*", text):
        return text
    return re.sub(r"(\.0)?$", "", ".".join(str(int(part)) for part in text.split(".")), count=1)


def _pci(address: str | None) -> str | None:
    """An address in one form: domain of four digits, small letters."""
    if not address:
        return None
    domain, rest = address.lower().split(":", 1)
    return f"{int(domain, 16):04x}:{rest}"


@check(id="CUDA-003", level=4, source="ISO-3, NODE-27", forms=SIZES, after=("CUDA-001",))
def test_device_nodes_are_those_of_the_allocated_gpus(evidence: Evidence) -> None:
    """Of the device nodes /dev/nvidiaN, a container MUST have those of its GPUs and no other."""
    report = evidence.report("inventory")
    minors = [gpu.minor for gpu in nvml(report)]
    if None in minors:
        raise UnsupportedError("NVML does not tell the GPUs' minor numbers")
    wanted = {f"nvidia{minor}" for minor in minors}
    seen = {name for name in report.device_nodes if name.removeprefix("nvidia").isdigit()}
    if seen != wanted:
        evidence.fail(
            f"the container has {', '.join(sorted(seen)) or 'no GPU node'} below /dev, its GPUs are"
            f" {', '.join(sorted(wanted))}",
            expected=", ".join(sorted(wanted)),
            observed=", ".join(report.device_nodes),
        )


@check(id="CUDA-006", level=4, source="ISO-3", forms=SIZES, after=("CUDA-003",))
def test_device_nodes_can_be_opened(evidence: Evidence) -> None:
    """A container MUST be allowed to read and write the device nodes that it was given: its device
    cgroup agrees with what is below /dev.
    """
    report = evidence.report("inventory")
    if report.forbidden_nodes:
        evidence.fail(
            f"the container may not open /dev/{report.forbidden_nodes[0]}, which it was given",
            expected="the device cgroup allows to read and write each device node of the container",
            observed=f"forbidden: {', '.join(report.forbidden_nodes)}",
        )


@scenario(needs=CUDA, devices=2)
def requests_of_their_own(steps: Steps) -> None:
    """One claim of two requests, two containers with one of them each."""
    claim = steps.claim()
    containers = steps.start_pod(
        "pod",
        [
            ContainerSpec(f"container-{number}", ["inventory"], requests=[request], waits=False)
            for number, request in enumerate(claim.requests, 1)
        ],
        claim,
    )
    steps.finish(*containers)


@check(
    id="SHARE-008",
    level=4,
    source="SHARE-8",
    scenario=requests_of_their_own,
    after=("ALLOC-007", "ALLOC-004", "SHARE-001"),
)
def test_a_container_sees_the_gpu_of_its_request_only(evidence: Evidence) -> None:
    """A container that names one request of a claim MUST see that request's GPU and no other."""
    reports = {number: evidence.report(f"container-{number}") for number in (1, 2)}
    claim = evidence.claim("gpus")
    for number, request in enumerate(claim.requests, 1):
        seen = [gpu.uuid for gpu in reports[number].gpus]
        wanted = [device.uuid for device in claim.by_request.get(request, ())]
        if seen != wanted:
            evidence.fail(
                f"container {number} saw {_names(seen)}; its request {request} was allocated"
                f" {_names(wanted)}",
                expected=", ".join(wanted) or "a published GPU",
                observed=", ".join(seen) or "no GPU",
            )


def _names(uuids: list[str]) -> str:
    """GPUs in a sentence: one by its name, several by their number."""
    if len(uuids) == 1:
        return short_uuid(uuids[0])
    return counted(len(uuids), "GPU") if uuids else "no GPU"


@scenario(needs=CUDA, devices=2)
def claims_of_their_own(steps: Steps) -> None:
    """Two claims of one GPU each, a pod for each, both at once; one tries the other's memory."""
    ours, theirs = steps.claim(1, "ours"), steps.claim(1, "theirs")
    exporter = steps.start("exporter", ["produce", "--nonce", steps.nonce, "--log"], ours)
    offer = steps.offer(exporter)
    stranger = steps.start("stranger", ["probe", "--offer", offer, "--attempt", "open"], theirs)
    steps.finish(stranger)


@check(
    id="ISO-004",
    level=4,
    source="ALLOC-2, ISO-4",
    scenario=claims_of_their_own,
    after=("ALLOC-007",),
)
def test_pods_with_claims_of_their_own_see_different_gpus(evidence: Evidence) -> None:
    """Two pods with a claim of one GPU each MUST each see their own claim's GPU and not the
    other's.
    """
    for role, name in (("exporter", "ours"), ("stranger", "theirs")):
        seen = [gpu.uuid for gpu in evidence.report(role).gpus]
        wanted = [device.uuid for device in evidence.claim(name).devices]
        if seen != wanted:
            evidence.fail(
                f"the {role} saw {_names(seen)}; its claim holds {_names(wanted)}",
                expected=", ".join(wanted) or "a published GPU",
                observed=", ".join(seen) or "no GPU",
            )


@check(
    id="IPC-010",
    level=4,
    source="IPC-5, IPC-10, ISO-4",
    scenario=claims_of_their_own,
    after=("ISO-004",),
)
def test_memory_of_a_gpu_that_is_not_injected_does_not_open(evidence: Evidence) -> None:
    """A pod MUST NOT be able to open memory on a GPU that its own claim does not hold."""
    attempt = attempt_of(evidence, "stranger", "open")
    if attempt.code == 0:
        evidence.fail(
            "memory on a GPU of another pod's claim was opened",
            expected="cuIpcOpenMemHandle is refused",
            observed=describe(attempt),
        )


def nvml(report: Report) -> tuple[NvmlGpu, ...]:
    """The GPUs by NVML.

    Raises:
        UnmetError: NVML is not in the container, which is no breach of anything.
    """
    if report.nvml is None:
        raise UnsupportedError(f"NVML is not usable in the container: {report.nvml_error}")
    return report.nvml
