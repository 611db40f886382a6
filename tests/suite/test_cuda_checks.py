"""Every check of suites/cuda on accounts made here: good ones pass, each fault has its words."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harness.checks.check import Check, Variant, check_of
from harness.scenario.evidence import Played
from harness.scenario.observed import Evidence
from harness.scenario.workload_report import AfterGone, NvmlGpu
from harness.verdict.finding import (
    HEAD_CHARACTERS,
    Blame,
    FailedError,
    Finding,
    JudgementError,
    UndecidedError,
    UnmetError,
    headline,
)
from suites.cuda import (
    test_bandwidth,
    test_compute,
    test_inventory,
    test_ipc,
    test_security_matrix,
)
from suites.cuda.codes import OPEN, REFUSED
from suites.cuda.security_matrix import EXPORTER, IMPORTER, Matrix, MatrixRow
from tests.suite.accounts import (
    DEVICES,
    GOOD,
    MEMORY,
    SPEEDS,
    WORDS,
    alter,
    attempt,
    bandwidth,
    computed,
    cuda_gpu,
    error,
    good_matrix,
    good_row,
    lose,
    not_opened,
    nvml_gpu,
    transfer,
)

MODULES: tuple[ModuleType, ...] = (
    test_inventory,
    test_compute,
    test_ipc,
    test_security_matrix,
    test_bandwidth,
)
PYTHON = re.compile(r"None|True|False|\w+\(\w+=|[][{}<>]|(?<!\w)'|Traceback|Error\(")
"""What no stranger should have to read."""
ONE, OTHER, THIRD, FOURTH = DEVICES


def _checks() -> Iterator[tuple[Check, Callable[..., None]]]:
    for module in MODULES:
        for _, function in inspect.getmembers(module, inspect.isfunction):
            check = check_of(function)
            if check is not None:
                yield check, function


CHECKS = {check.id: (check, function) for check, function in _checks()}
FORMS: tuple[tuple[str, str | None], ...] = tuple(
    (check.id, form) for check, _ in CHECKS.values() for form in check.forms()
)

OF_CONTAINERS = tuple((check_id, form) for check_id, form in FORMS if check_id != "SEC-004")
"""Without the one that judges answers of the API server."""


def variant(check: Check, form: str | None) -> Variant | None:
    """A form by its name."""
    return next((one for one in check.variants if one.name == form), None)


def good(check: Check, form: str | None) -> Any:
    """An account that a check has nothing to say against."""
    one = variant(check, form)
    if isinstance(one, MatrixRow):
        return good_row(one)
    scenario = check.scenario_of(form)
    assert scenario is not None
    if scenario.name.startswith("matrix-"):
        return good_matrix(scenario.name)
    return GOOD[scenario.name]()


def judge(check_id: str, form: str | None, account: Any) -> None:
    """Make a check of an account."""
    check, function = CHECKS[check_id]
    given = {"played": account, "row": account, "matrix": account, "form": variant(check, form)}
    function(**{name: given[name] for name in inspect.signature(function).parameters})


def reports(account: Any) -> list[Evidence[Any]]:
    """What the members reported."""
    rows = account.rows.values() if isinstance(account, Matrix) else [account]
    return [member.report for row in rows for member in row.members.values()]


@dataclass(frozen=True)
class Case:
    """One thing that is wrong, and what a check must say of it."""

    check: str
    what: str
    altered: Callable[[Any], None]
    head: str
    """What the head, or the reason of a skip, must match from its beginning on."""
    form: str | None = None
    """Only in this form; None: in every form."""
    blame: Blame | None = Blame.DRIVER
    """None: it is a skip."""

    def forms(self) -> list[str | None]:
        """In which forms the check is made."""
        return [self.form] if self.form else list(CHECKS[self.check][0].forms())


def gpus(role: str, *shown: Any) -> Callable[[Played], None]:
    """Its CUDA and NVML show these GPUs."""
    return lambda played: alter(
        played,
        role,
        gpus=tuple(cuda_gpu(one) for one in shown),
        nvml=tuple(nvml_gpu(one) for one in shown),
    )


def says(role: str, **parts: Any) -> Callable[[Played], None]:
    """It reports something else."""
    return lambda played: alter(played, role, **parts)


def transfers(role: str, *ways: Any) -> Callable[[Played], None]:
    """It fared so."""
    return says(role, transfers=ways)


def answered(name: str, role: str = IMPORTER, **parts: Any) -> Callable[[Played], None]:
    """One of its attempts ended otherwise."""

    def change(played: Played) -> None:
        made = played.report(role).attempts
        alter(
            played, role, attempts=tuple(replace(a, **parts) if a.name == name else a for a in made)
        )

    return change


def first_gpu(kind: str, **parts: Any) -> Callable[[Played], None]:
    """The first GPU of the inventory is another by CUDA (``gpus``) or by NVML (``nvml``)."""

    def change(played: Played) -> None:
        first, *others = getattr(played.report("inventory"), kind)
        alter(played, "inventory", **{kind: (replace(first, **parts), *others)})

    return change


def first_device(**parts: Any) -> Callable[[Played], None]:
    """The first GPU of the inventory is another by its slice."""

    def change(played: Played) -> None:
        member = played.member("inventory")
        member.devices = (replace(member.devices[0], **parts), *member.devices[1:])

    return change


def one_more(kind: str) -> Callable[[Played], None]:
    """CUDA (``gpus``) or NVML (``nvml``) shows a GPU that is not allocated."""

    def change(played: Played) -> None:
        seen = getattr(played.report("inventory"), kind)
        stranger = replace(seen[0], uuid="GPU-e0000000-0000-0000-0000-000000000000")
        alter(played, "inventory", **{kind: (*seen, stranger)})

    return change


def without_last(kind: str) -> Callable[[Played], None]:
    """CUDA (``gpus``) or NVML (``nvml``) does not show the last one."""
    return lambda played: alter(
        played, "inventory", **{kind: getattr(played.report("inventory"), kind)[:-1]}
    )


def both(*changes: Callable[[Played], None]) -> Callable[[Played], None]:
    """Several things at once."""

    def change(played: Played) -> None:
        for one in changes:
            one(played)

    return change


def not_published(played: Played) -> None:
    """What was allocated is in no slice."""
    played.claims["gpus"].by_request = {}


def start_fails(role: str, blame: Blame) -> Callable[[Played], None]:
    """Its container did not start, and so there is no report."""

    def change(played: Played) -> None:
        finding = Finding("the start did not come within 120 s", "a start", "nothing", blame)
        reason = FailedError(finding) if blame is Blame.DRIVER else UndecidedError(finding)
        member = played.members[role]
        member.started, member.report = lose(member.started, reason), lose(member.report, reason)

    return change


def refusal_missing(matrix: Matrix) -> None:
    """The restricted namespace takes two kinds of pods."""
    matrix.refusals.found({**matrix.refusals.get(), "hostpid": "", "root": ""})


def process(role: str, **parts: Any) -> Callable[[Played], None]:
    """A process of a row is other than it must be."""
    return lambda row: alter(row, role, process=replace(row.report(role).process, **parts))


NO_GPU = {"verdict": "no-gpu", "exit": 10, "error": {"code": 100, "name": "CUDA_ERROR_NO_DEVICE"}}
FAILED_TO_START = r"the start did not come within 120 s$"
DIFFERENT, EQUAL = "restricted-1-300", "restricted-1-1"

CASES = (
    # What a container sees
    Case("CUDA-001", "a GPU too many by CUDA", one_more("gpus"), r"CUDA shows \d GPUs, allocated"),
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
        "CUDA-002",
        "another name by CUDA",
        first_gpu("gpus", name="A100"),
        r"the name of GPU-10000000… differs: slice and NVML NVIDIA H100.*, CUDA A100$",
    ),
    Case(
        "CUDA-002",
        "another name by NVML, none in the slice",
        both(first_device(product=""), first_gpu("nvml", name="A100")),
        r"the name of GPU-10000000… differs: NVML A100, CUDA NVIDIA H100",
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
        r"the stranger never came to the attempt open: CUDA_ERROR_NO_DEVICE",
    ),
    # Kernels
    Case(
        "CUDA-004",
        "a word is wrong",
        says("compute", compute=(computed(ONE, wrong_words=3, first_wrong=7),)),
        rf"3 of {WORDS} words are wrong on GPU-10000000…, the first at 7$",
        form="compute-on-one",
    ),
    Case(
        "CUDA-004",
        "one GPU did nothing",
        says("compute", compute=(computed(ONE),)),
        r"the kernels of the compute ran on 1 of 2 GPUs$",
        form="compute-on-two",
    ),
    Case(
        "CUDA-004",
        "no GPU is there",
        says("compute", compute=(), **NO_GPU),
        r"the kernels of the compute ran on 0 of 4 GPUs: CUDA_ERROR_NO_DEVICE \(100\)$",
        form="compute-on-all",
    ),
    Case(
        "CUDA-004",
        "the GPU is full",
        says("compute", compute=(), verdict="cuda-error", exit=17, error=error(2)),
        r"the kernels of the compute ran on 0 of \d GPUs?: CUDA_ERROR_UNKNOWN: refused with 2$",
        blame=Blame.CLUSTER,
    ),
    Case(
        "CUDA-004",
        "nothing was computed",
        says("compute", compute=(computed(ONE, words=0),)),
        r"the kernels of the compute computed nothing on GPU-10000000…$",
        form="compute-on-one",
    ),
    Case(
        "CUDA-005",
        "the second computes wrong",
        says("second", compute=(computed(ONE, wrong_words=1, first_wrong=0),)),
        rf"1 of {WORDS} words are wrong on GPU-10000000…, the first at 0$",
    ),
    Case(
        "CUDA-005",
        "the first's memory is changed",
        transfers("reader", transfer(wrong_words=5, first_wrong=2, checksum="cd" * 8)),
        rf"the reader read 5 of {WORDS} words wrong \(same\)$",
    ),
    Case(
        "CUDA-005",
        "the first's memory does not open",
        transfers("reader", not_opened(1)),
        r"the reader could not open the memory \(same\): CUDA_ERROR_INVALID_VALUE \(1\)$",
    ),
    Case(
        "ISO-009",
        "words of a pod that runs",
        says("second", compute=(computed(ONE, foreign_words=9),)),
        r"fresh memory of the second held 9 words that another pod had written$",
    ),
    Case(
        "ISO-009",
        "words of a pod that has ended",
        says("third", compute=(computed(ONE, foreign_words=WORDS),)),
        rf"fresh memory of the third held {WORDS} words that another pod had written$",
    ),
    Case(
        "ISO-009",
        "nobody looked",
        says("third", compute=(computed(ONE, foreign_words=None),)),
        r"the third did not look for another pod.s words: ok$",
        blame=Blame.WORKLOAD,
    ),
    # Memory of other pods
    *(
        Case(
            "IPC-020",
            f"{name} is refused",
            answered(name, code=1, error="CUDA_ERROR_INVALID_VALUE", words=0, wrong_words=None),
            rf"{name}: cuIpcOpen(Mem|Event)Handle gave CUDA_ERROR_INVALID_VALUE \(1\)$",
            form=name,
        )
        for name in OPEN
    ),
    Case(
        "IPC-020",
        "the exporter is gone",
        answered("open", code=400, error="CUDA_ERROR_INVALID_HANDLE"),
        r"open: cuIpcOpenMemHandle gave CUDA_ERROR_INVALID_HANDLE \(400\)$",
        form="open",
        blame=Blame.WORKLOAD,
    ),
    Case(
        "IPC-020",
        "a word is wrong",
        answered("many", wrong_words=2),
        rf"many: 2 of {WORDS} words are wrong$",
        form="many",
    ),
    Case(
        "IPC-020",
        "what opened cannot be read",
        answered("open", words=0, wrong_words=None, note="verify: an illegal address"),
        r"open: the memory opened and could not be read: verify: an illegal address$",
        form="open",
    ),
    Case(
        "IPC-020",
        "it was not tried",
        says(IMPORTER, attempts=(), **NO_GPU),
        r"the importer never came to the attempt [a-z-]+: CUDA_ERROR_NO_DEVICE \(100\)$",
    ),
    *(
        Case(
            "IPC-021",
            f"{name} opens",
            answered(name, code=0, error=None, words=WORDS, wrong_words=WORDS),
            rf"{name}: cuIpcOpenMemHandle opened what cannot be shared$",
            form=name,
        )
        for name in REFUSED
    ),
    Case(
        "IPC-021",
        "the process is useless afterwards",
        answered("own", note="the context is broken since then (CUDA_ERROR_ILLEGAL_ADDRESS, 700)"),
        r"own: after CUDA_ERROR_INVALID_CONTEXT \(201\) no call of CUDA worked any more$",
        form="own",
    ),
    Case(
        "IPC-021",
        "it was not tried",
        says(IMPORTER, attempts=()),
        r"the importer never came to the attempt freed: ok$",
        form="freed",
    ),
    Case(
        "IPC-022",
        "an answer that was not seen before",
        answered("flags-2", code=999, error="CUDA_ERROR_UNKNOWN"),
        r"flags-2: CUDA_ERROR_UNKNOWN \(999\), known are 1$",
        form="flags-2",
    ),
    Case(
        "IPC-022",
        "a handle with a changed byte opens",
        answered("flip-24", code=0, error=None),
        r"flip-24: it opened, known are 1$",
        form="flip-24",
    ),
    Case(
        "IPC-022",
        "it was not tried",
        says(IMPORTER, attempts=()),
        r"the importer never came to the attempt [a-z0-9-]+: ok$",
    ),
    *(
        Case(
            "IPC-008",
            f"memory opens after {how}",
            says(f"importer-{how}", attempts=(attempt("open"),)),
            rf"memory of a process that had ended \({how}\) was opened$",
        )
        for how in ("exit", "kill")
    ),
    Case(
        "IPC-008",
        "it was not tried",
        says("importer-kill", attempts=(), **NO_GPU),
        r"the importer-kill never came to the attempt open",
    ),
    Case(
        "IPC-016",
        "it never opened",
        transfers(IMPORTER, not_opened(201)),
        r"the importer could not open the memory \(same\): CUDA_ERROR_INVALID_CONTEXT \(201\)$",
    ),
    Case(
        "IPC-016",
        "it was wrong before",
        transfers(IMPORTER, transfer(wrong_words=1, after_gone=AfterGone(WORDS, 0))),
        rf"the importer read 1 of {WORDS} words wrong \(same\)$",
    ),
    Case(
        "IPC-016",
        "the mapping goes with its exporter",
        transfers(IMPORTER, transfer(error=error(700))),
        r"memory mapped before could not be read after its exporter.s end: CUDA_ERROR_UNKNOWN",
    ),
    Case(
        "IPC-016",
        "it is another's afterwards",
        transfers(IMPORTER, transfer(after_gone=AfterGone(WORDS, 4))),
        rf"4 of {WORDS} words mapped before were wrong after their exporter.s end$",
    ),
    Case(
        "IPC-016",
        "it is empty afterwards",
        transfers(IMPORTER, transfer(after_gone=AfterGone(0, 0))),
        r"0 of 0 words mapped before were wrong after their exporter.s end$",
    ),
    *(
        Case(
            "IPC-017",
            f"importer {index} cannot open",
            transfers(f"importer-{index}", not_opened(1)),
            rf"the importer-{index} could not open the memory \(same\): CUDA_ERROR_INVALID_VALUE",
        )
        for index in range(3)
    ),
    Case(
        "IPC-017",
        "a checksum differs",
        transfers("importer-1", transfer(checksum="cd" * 8)),
        rf"the importer-1 read 0 of {WORDS} words wrong \(same\)$",
    ),
    Case(
        "IPC-018",
        "the large buffer is wrong at its end",
        transfers(IMPORTER, transfer(wrong_words=1, first_wrong=WORDS - 1)),
        rf"the importer read 1 of {WORDS} words wrong \(same\)$",
    ),
    Case(
        "IPC-018",
        "its exporter does not see the write",
        says(EXPORTER, seen=({"path": "same", "words": WORDS, "wrong_words": 6},)),
        rf"the exporter did not see what was written \(same\): 6 of {WORDS} words wrong$",
    ),
    Case(
        "IPC-018",
        "its exporter saw nothing",
        says(EXPORTER, seen=(), verdict="partner-never-came", exit=14),
        r"the exporter did not see what was written \(same\): nothing \(partner-never-came\)$",
    ),
    *(
        Case(
            "IPC-019",
            f"direction {number} does not open",
            transfers(f"importer-{number}", transfer(), not_opened(1, "cross")),
            rf"the importer-{number} could not open the memory \(cross\): CUDA_ERROR_INVALID",
        )
        for number in (1, 2)
    ),
    Case(
        "IPC-019",
        "the exporter does not see the other GPU's write",
        says("exporter-2", seen=({"path": "cross", "words": WORDS, "wrong_words": 1},)),
        rf"the exporter-2 did not see what was written \(cross\): 1 of {WORDS} words wrong$",
    ),
    Case(
        "IPC-019",
        "peer access is refused with another error",
        transfers("importer-1", transfer(), not_opened(400, "cross", can_access_peer=False)),
        r"the importer-1 could not open the memory \(cross\): CUDA_ERROR_INVALID_HANDLE \(400\)$",
        blame=Blame.WORKLOAD,
    ),
    Case(
        "IPC-019",
        "peer access is promised and refused",
        transfers("importer-1", transfer(), not_opened(217, "cross", can_access_peer=True)),
        r"the importer-1 could not open the memory \(cross\): CUDA_ERROR_PEER_ACCESS_UNSUPPORTED",
    ),
    Case(
        "IPC-019",
        "GPUs without peer access",
        transfers("importer-1", transfer(), not_opened(217, "cross", can_access_peer=False)),
        r"unsupported: the two GPUs have no peer access \(CUDA error 217\)$",
        blame=None,
    ),
    Case(
        "IPC-019",
        "one GPU only was tried",
        transfers("importer-1", transfer()),
        r"the importer-1 never came to open the memory \(cross\): ok$",
    ),
    # Privileges
    Case(
        "SEC-005",
        "its hook may not be executed",
        start_fails("inventory", Blame.DRIVER),
        FAILED_TO_START,
    ),
    Case(
        "SEC-005",
        "the node cannot do it",
        start_fails("inventory", Blame.KUBELET),
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
            transfer(opened=False, wrong_words=None, error={"code": None, "text": "no context"}),
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
        "it never came to open it",
        says(IMPORTER, transfers=(), **NO_GPU),
        r"the importer never came to open the memory: CUDA_ERROR_NO_DEVICE \(100\)$",
    ),
    Case(
        "SEC-001",
        "the exporter's number on the host is too large",
        lambda row: row.notes.update(unsupported="the exporter's PID on the host is 70000"),
        r"unsupported: the exporter.s PID on the host is 70000$",
        form="hostpid-of-exporter-same-number",
        blame=None,
    ),
    Case(
        "SEC-001",
        "no user namespaces with claims",
        start_fails(IMPORTER, Blame.DRIVER),
        r"blocked by SEC-005$",
        form="user-namespace-of-importer",
        blame=None,
    ),
    Case(
        "SEC-002",
        "another user",
        process(EXPORTER, uid=7),
        r"the exporter is not as its row says: uid 7, not (0|1000)$",
        blame=Blame.CLUSTER,
    ),
    Case(
        "SEC-002",
        "a privilege that was not given",
        process(IMPORTER, cap_eff=f"{(1 << 41) - 1:016x}"),
        r"the importer is not as its row says: CAP_IPC_LOCK yes, not no$",
        form=DIFFERENT,
        blame=Blame.CLUSTER,
    ),
    Case(
        "SEC-002",
        "IPC_LOCK was not given",
        process(IMPORTER, cap_eff="0" * 16),
        r"the importer is not as its row says: CAP_IPC_LOCK no, not yes$",
        form="ipc-lock-1-300",
        blame=Blame.CLUSTER,
    ),
    Case(
        "SEC-002",
        "no seccomp",
        process(IMPORTER, seccomp=0),
        r"the importer is not as its row says: seccomp mode 0, not 2$",
        form=DIFFERENT,
        blame=Blame.CLUSTER,
    ),
    Case(
        "SEC-002",
        "no user namespace",
        process(IMPORTER, uid_map=("0 0 4294967295",)),
        r"the importer is not as its row says: user namespace of its own no, not yes$",
        form="user-namespace-of-importer",
        blame=Blame.CLUSTER,
    ),
    Case(
        "SEC-002",
        "hostPID was not given",
        process(IMPORTER, pid_namespace="other"),
        r"the two are not as their row says: pid namespaces shared and other$",
        form="hostpid",
        blame=Blame.CLUSTER,
    ),
    Case(
        "SEC-002",
        "they are in one network",
        process(IMPORTER, network_namespace="one"),
        r"the two are not as their row says: network namespaces one and one$",
        form=DIFFERENT,
        blame=Blame.CLUSTER,
    ),
    Case(
        "SEC-002",
        "one of another row's namespaces",
        process(EXPORTER, ipc_namespace="elsewhere"),
        r"the two are not as their row says: ipc namespaces elsewhere and shared$",
        form="hostipc-1-300",
        blame=Blame.CLUSTER,
    ),
    Case(
        "SEC-002",
        "no user namespaces with claims",
        start_fails(EXPORTER, Blame.KUBELET),
        r"blocked by SEC-005$",
        form="user-namespaces-1-300",
        blame=None,
    ),
    Case(
        "SEC-004",
        "pods are taken",
        refusal_missing,
        r"the restricted namespace took pods with hostpid, root$",
        blame=Blame.CLUSTER,
    ),
    # Speed
    Case(
        "PERF-001",
        "imported memory is slow",
        says(IMPORTER, bandwidth=bandwidth(**{**SPEEDS, "same": 1500.0})),
        r"read by kernel, same memory: 1500 GB/s, 89.8% of the 1670 GB/s of local memory$",
    ),
    Case(
        "PERF-002",
        "a peer's memory is slow",
        says(IMPORTER, bandwidth=bandwidth(**{**SPEEDS, "cross": 40.0})),
        r"read by kernel, cross memory: 40 GB/s, 10.1% of the 395 GB/s of plain memory$",
    ),
    Case(
        "PERF-001",
        "simulated GPUs",
        lambda played: played.notes.update(simulated=True),
        r"unsupported: the speed of simulated GPUs says nothing$",
        blame=None,
    ),
    Case(
        "PERF-002",
        "one GPU",
        says(IMPORTER, bandwidth=bandwidth(local=1670.0, same=1697.0)),
        r"unsupported: cross and plain memory were not both to be had$",
        blame=None,
    ),
    Case(
        "PERF-001",
        "nothing was measured",
        says(IMPORTER, bandwidth=(), verdict="not-opened", exit=12, error=error(1)),
        r"the importer measured nothing: CUDA_ERROR_INVALID_VALUE: refused with 1$",
    ),
)


@pytest.mark.parametrize(("check_id", "form"), FORMS)
def test_a_good_account_passes(check_id: str, form: str | None) -> None:
    """In every form."""
    check, _ = CHECKS[check_id]
    judge(check_id, form, good(check, form))


@pytest.mark.parametrize(
    ("case", "form"),
    [
        pytest.param(case, form, id=f"{case.check}-{case.what}-{form}".replace(" ", "-"))
        for case in CASES
        for form in case.forms()
    ],
)
def test_each_fault_has_its_words(case: Case, form: str | None) -> None:
    """The right judgement, one line that is not cut, no Python, and who has to act."""
    check, _ = CHECKS[case.check]
    account = good(check, form)
    case.altered(account)
    with pytest.raises(JudgementError) as raised:
        judge(case.check, form, account)
    error = raised.value
    assert re.match(case.head, str(error)), str(error)
    assert not PYTHON.search(str(error)), str(error)
    if case.blame is None:
        assert isinstance(error, UnmetError)
        return
    kind = FailedError if case.blame is Blame.DRIVER else UndecidedError
    assert type(error) is kind
    assert isinstance(error, FailedError | UndecidedError)
    finding = error.finding
    assert finding.blame is case.blame
    assert len(f"{check.id}[{form}] {finding.head}" if form else f"{check.id} {finding.head}") <= (
        HEAD_CHARACTERS
    ), headline(check.id, form, finding)
    for text in (finding.expected, finding.observed):
        assert text
        assert not PYTHON.search(text), text


def test_every_check_has_a_case_in_which_it_is_red() -> None:
    """Of its own: neither a skip nor a missing report."""
    red = {case.check for case in CASES if case.blame is not None}
    assert red == set(CHECKS)


def test_the_checks_are_those_of_the_area() -> None:
    """None is forgotten here."""
    files = {path.stem for path in (Path(__file__).parents[2] / "suites/cuda").glob("test_*.py")}
    assert files == {module.__name__.rpartition(".")[2] for module in MODULES}


REASONS = (
    FailedError(Finding("the driver did it", "a claim", "nothing", Blame.DRIVER)),
    UndecidedError(Finding("the node is gone", "a node", "none", Blame.CLUSTER)),
    UnmetError("the run was ended before"),
)


@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: type(reason).__name__)
@pytest.mark.parametrize(("check_id", "form"), FORMS)
def test_what_was_not_played_is_not_judged(
    check_id: str, form: str | None, reason: JudgementError
) -> None:
    """Whoever asks is told the reason, and nothing passes for lack of evidence."""
    check, _ = CHECKS[check_id]
    scenario = check.scenario_of(form)
    assert scenario is not None
    unplayed = scenario.unplayed(reason)
    if isinstance(unplayed, Matrix) and isinstance(variant(check, form), MatrixRow):
        with pytest.raises(JudgementError) as raised:
            unplayed.row(str(form))
    else:
        with pytest.raises(JudgementError) as raised:
            judge(check_id, form, unplayed)
    assert raised.value is reason


@pytest.mark.parametrize(("check_id", "form"), OF_CONTAINERS)
def test_missing_reports_are_not_judged(check_id: str, form: str | None) -> None:
    """A container that never started leaves no report, but a reason."""
    check, _ = CHECKS[check_id]
    account, reason = good(check, form), REASONS[0]
    for member in account.members.values():
        member.report = lose(member.report, reason)
    with pytest.raises(JudgementError) as raised:
        judge(check_id, form, account)
    assert raised.value is reason


@pytest.mark.parametrize(("check_id", "form"), OF_CONTAINERS)
def test_a_workload_at_fault_says_nothing_about_the_driver(check_id: str, form: str | None) -> None:
    """It is undecided, and the workload is to blame."""
    check, _ = CHECKS[check_id]
    account = good(check, form)
    usage = {"step": "options", "text": "unknown option", "blame": "workload"}
    for evidence in reports(account):
        evidence.found(replace(evidence.get(), verdict="usage", exit=2, error=usage))
    with pytest.raises(UndecidedError, match="did not come to its task: unknown option") as raised:
        judge(check_id, form, account)
    assert raised.value.finding.blame is Blame.WORKLOAD


def test_a_row_that_was_never_come_to_is_no_row() -> None:
    """The matrix began, and something ended it: no KeyError, and nobody passes."""
    matrix = good_matrix("matrix-restricted")
    del matrix.rows[EQUAL]
    with pytest.raises(UndecidedError, match=f"never came to the row {EQUAL}$"):
        matrix.row(EQUAL)


def test_what_slices_do_not_tell_is_not_compared() -> None:
    """Other drivers publish less."""
    account = GOOD["inventory-of-two"]()
    member = account.member("inventory")
    member.devices = tuple(
        replace(one, product="", pci="", compute_capability="", memory=None)
        for one in member.devices
    )
    judge("CUDA-002", "inventory-of-two", account)


def test_nvml_may_tell_nothing_but_uuids() -> None:
    """Then CUDA and the slice are compared."""
    account = GOOD["inventory-of-two"]()
    bare = tuple(NvmlGpu(number, one.uuid) for number, one in enumerate(DEVICES[:2]))
    alter(account, "inventory", nvml=bare)
    judge("CUDA-002", "inventory-of-two", account)
