"""What a container sees of its GPUs: good evidence, and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from harness.cluster.profile import ATTRIBUTES
from harness.scenario.evidence import Evidence
from tests.suite.cases import Case
from tests.suite.made import (
    DEVICES,
    MEMORY,
    NO_GPU,
    WORDS,
    Change,
    alter,
    answered,
    attempt,
    error,
    gpus,
    made,
    report,
    says,
    with_claim,
)
from workload.result import CudaDriver, Verdict

ONE, OTHER, THIRD, FOURTH = DEVICES


def _inventory(number: int) -> Callable[[], Evidence]:
    def inventory() -> Evidence:
        evidence = made("inventory", inventory=report(*DEVICES[:number]))
        evidence.known = frozenset(ATTRIBUTES)
        return evidence

    return inventory


def _requests_of_their_own() -> Evidence:
    evidence = made("requests", container_1=report(ONE), container_2=report(OTHER))
    return with_claim(evidence, "gpus", ONE, OTHER)


def _claims_of_their_own() -> Evidence:
    refused = report(
        OTHER, verdict=Verdict.NOT_OPENED, error=error(1), attempts=(attempt("open", 1),)
    )
    evidence = made("claims", exporter=report(ONE), stranger=refused)
    return with_claim(with_claim(evidence, "ours", ONE), "theirs", OTHER)


GOOD: Mapping[str, Callable[[], Evidence]] = {
    "inventory-of-one": _inventory(1),
    "inventory-of-two": _inventory(2),
    "requests-of-their-own": _requests_of_their_own,
    "claims-of-their-own": _claims_of_their_own,
}


def first_gpu(kind: str, **parts: Any) -> Change:
    """The first GPU of the inventory is another by CUDA (``gpus``) or by NVML (``nvml``)."""

    def change(evidence: Evidence) -> None:
        first, *others = getattr(evidence.report("inventory"), kind)
        alter(evidence, "inventory", **{kind: (replace(first, **parts), *others)})

    return change


def first_device(**parts: Any) -> Change:
    """The first GPU of the inventory is another by its slice."""

    def change(evidence: Evidence) -> None:
        container = evidence.container("inventory")
        container.devices = (replace(container.devices[0], **parts), *container.devices[1:])

    return change


def one_more(kind: str) -> Change:
    """CUDA (``gpus``) or NVML (``nvml``) shows a GPU that is not allocated."""

    def change(evidence: Evidence) -> None:
        seen = getattr(evidence.report("inventory"), kind)
        stranger = replace(seen[0], uuid="GPU-e0000000-0000-0000-0000-000000000000")
        alter(evidence, "inventory", **{kind: (*seen, stranger)})

    return change


def without_last(kind: str) -> Change:
    """CUDA (``gpus``) or NVML (``nvml``) does not show the last one."""
    return lambda evidence: alter(
        evidence, "inventory", **{kind: getattr(evidence.report("inventory"), kind)[:-1]}
    )


def both(*changes: Change) -> Change:
    """Several things at once."""

    def change(evidence: Evidence) -> None:
        for one in changes:
            one(evidence)

    return change


def not_published(evidence: Evidence) -> None:
    """What was allocated is in no slice."""
    evidence.claims["gpus"].by_request = {}


CASES = (
    Case(
        "CUDA-001",
        "a GPU too many by CUDA",
        one_more("gpus"),
        r"CUDA shows 2 GPUs, allocated: 1; GPU-e0000000… not allocated$",
    ),
    Case(
        "CUDA-001",
        "a GPU too many by NVML",
        one_more("nvml"),
        r"NVML shows 2 GPUs, allocated: 1; GPU-e0000000… not allocated$",
        form="inventory-of-one",
    ),
    Case(
        "CUDA-001",
        "a GPU too few",
        without_last("gpus"),
        r"CUDA shows 1 GPU, allocated: 2; GPU-20000000… missing$",
        form="inventory-of-two",
    ),
    Case(
        "CUDA-001",
        "no GPU",
        gpus("inventory"),
        r"CUDA shows 0 GPUs, allocated: 4; 4 GPUs missing$",
        form="inventory-of-all",
    ),
    Case(
        "CUDA-001",
        "other GPUs",
        gpus("inventory", THIRD, FOURTH),
        r"CUDA shows 2 GPUs, allocated: 2; 2 GPUs missing, 2 GPUs not allocated$",
        form="inventory-of-two",
    ),
    Case(
        "CUDA-001",
        "one twice",
        gpus("inventory", ONE, ONE),
        r"CUDA shows 2 GPUs, allocated: 1; one twice$",
        form="inventory-of-one",
    ),
    Case(
        "CUDA-001",
        "no NVML",
        says("inventory", nvml=None, nvml_error="libnvidia-ml.so.1 is missing"),
        r"unsupported: NVML is not usable in the container: libnvidia-ml.so.1 is missing$",
        blame=None,
    ),
    Case(
        "CUDA-001",
        "no GPU, and no NVML",
        both(gpus("inventory"), says("inventory", nvml=None, nvml_error="it is missing")),
        r"CUDA shows 0 GPUs, allocated: 1; GPU-\w+… missing$",
        form="inventory-of-one",
    ),
    Case(
        "CUDA-002",
        "another name by CUDA",
        first_gpu("gpus", name="A100"),
        r"the name of GPU-10000000… differs: slice and NVML NVIDIA H100.*, CUDA A100$",
    ),
    Case(
        "CUDA-002",
        "another name by NVML, none in the slice",
        both(first_device(product=""), first_gpu("nvml", name="A100")),
        r"the name of GPU-10000000… differs: slice nothing, NVML A100, CUDA NVIDIA H100",
    ),
    Case(
        "CUDA-002",
        "no memory in the slice",
        first_device(memory=None),
        r"the memory of GPU-10000000… differs: slice nothing, NVML 81559 MiB$",
    ),
    Case(
        "CUDA-002",
        "no byte of memory in the slice",
        first_device(memory=0),
        r"the memory of GPU-10000000… differs: slice 0 MiB, NVML 81559 MiB$",
    ),
    Case(
        "CUDA-002",
        "no byte of memory in the slice, and NVML does not tell it",
        both(first_device(memory=0), first_gpu("nvml", memory=None)),
        r"CUDA has \d+ of the 0 bytes of GPU-10000000…$",
    ),
    Case(
        "CUDA-002",
        "a name that NVML does not tell",
        first_gpu("nvml", name=None),
        r"unsupported: all that can be compared is the same, but NVML does not tell the name of",
        blame=None,
    ),
    Case(
        "CUDA-002",
        "another driver version in the slice",
        first_device(version="570.0.1"),
        r"the driver version of GPU-10000000… differs: slice 570.0.1, NVML 580.159.4$",
    ),
    Case(
        "CUDA-002",
        "another CUDA version in the slice",
        first_device(cuda_version="12.8.0"),
        r"the CUDA version of GPU-10000000… differs: slice 12.8, CUDA 13.0$",
    ),
    Case(
        "CUDA-002",
        "a CUDA version of 0 by CUDA",
        says("inventory", cuda=CudaDriver(0)),
        r"unsupported: all that can be compared is the same, but CUDA does not tell the CUDA ver",
        blame=None,
    ),
    Case(
        "CUDA-002",
        "another compute capability in the slice",
        first_device(compute_capability="8.0"),
        r"the compute capability of GPU-10000000… differs: slice 8.0, NVML and CUDA 9.0$",
    ),
    Case(
        "CUDA-002",
        "another PCI address by NVML",
        first_gpu("nvml", pci="0000:99:00.0"),
        r"the PCI address of GPU-1.*… differs: slice and CUDA 0000:18:00.0, NVML 0000:99:00.0$",
    ),
    Case(
        "CUDA-002",
        "another memory in the slice",
        first_device(memory=MEMORY >> 1),
        r"the memory of GPU-10000000… differs: slice 40779 MiB, NVML 81559 MiB$",
    ),
    Case(
        "CUDA-002",
        "too little memory by CUDA",
        first_gpu("gpus", memory=MEMORY // 2),
        r"CUDA has \d+ of the \d+ bytes of GPU-10000000…$",
    ),
    Case(
        "CUDA-002",
        "too much memory by CUDA",
        first_gpu("gpus", memory=MEMORY + 1),
        r"CUDA has \d+ of the \d+ bytes of GPU-10000000…$",
    ),
    Case("CUDA-002", "no memory", first_gpu("gpus", memory=None), r"CUDA has 0 of the \d+ bytes"),
    Case(
        "CUDA-002",
        "no NVML",
        says("inventory", nvml=None, nvml_error="gone"),
        r"unsupported: NVML is not usable",
        blame=None,
    ),
    Case(
        "CUDA-003",
        "a device node too many",
        says("inventory", device_nodes=("nvidia0", "nvidia3", "nvidiactl")),
        r"the container has nvidia0, nvidia3 below /dev, its GPUs are nvidia0$",
        form="inventory-of-one",
    ),
    Case(
        "CUDA-003",
        "no device node of a GPU",
        says("inventory", device_nodes=("nvidia-uvm", "nvidiactl")),
        r"the container has no GPU node below /dev, its GPUs are nvidia0",
    ),
    Case(
        "CUDA-003",
        "no minor numbers",
        first_gpu("nvml", minor=None),
        r"unsupported: NVML does not tell the GPUs. minor numbers$",
        blame=None,
    ),
    Case(
        "CUDA-006",
        "a node that the device cgroup forbids",
        says("inventory", forbidden_nodes=("nvidia0",)),
        r"the container may not open /dev/nvidia0, which it was given$",
    ),
    Case(
        "SHARE-008",
        "the other request's GPU",
        gpus("container-2", ONE),
        r"container 2 saw GPU-10000000…; its request gpu-2 was allocated GPU-20000000…$",
    ),
    Case(
        "SHARE-008",
        "both requests' GPUs",
        gpus("container-1", ONE, OTHER),
        r"container 1 saw 2 GPUs; its request gpu-1 was allocated GPU-10000000…$",
    ),
    Case(
        "SHARE-008",
        "no GPU",
        gpus("container-1"),
        r"container 1 saw no GPU; its request gpu-1 was allocated GPU-10000000…$",
    ),
    Case(
        "SHARE-008",
        "an allocation that no slice publishes",
        not_published,
        r"container 1 saw GPU-10000000…; its request gpu-1 was allocated no GPU$",
    ),
    Case(
        "ISO-004",
        "the other's GPU",
        gpus("stranger", ONE),
        r"the stranger saw GPU-10000000…; its claim holds GPU-20000000…$",
    ),
    Case(
        "ISO-004",
        "both GPUs",
        gpus("exporter", ONE, OTHER),
        r"the exporter saw 2 GPUs; its claim holds GPU-10000000…$",
    ),
    Case("ISO-004", "no GPU", gpus("exporter"), r"the exporter saw no GPU; its claim holds GPU-1"),
    Case(
        "IPC-010",
        "the other's memory opens",
        answered("open", "stranger", code=0, error=None, words=WORDS, wrong_words=0),
        r"memory on a GPU of another pod.s claim was opened$",
    ),
    Case(
        "IPC-010",
        "it was not tried",
        says("stranger", attempts=(), **NO_GPU),
        r"the stranger did not make the attempt open: CUDA_ERROR_NO_DEVICE",
    ),
)
