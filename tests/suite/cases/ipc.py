"""CUDA IPC between pods of one claim: good evidence, and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.scenario.evidence import Evidence
from harness.scenario.report import Report
from harness.verdict.finding import Blame
from suites.cuda.codes import OPEN, RECORDED, REFUSED, known
from suites.cuda.transfers import EXPORTER, IMPORTER
from tests.suite.cases import Case
from tests.suite.made import (
    DEVICES,
    DRIVER_VERSION,
    NO_GPU,
    WORDS,
    answered,
    attempt,
    error,
    made,
    not_opened,
    report,
    saw,
    says,
    transfer,
    transfers,
)
from workload.result import AfterGone, Verdict

ONE, OTHER = DEVICES[:2]


def attempts() -> Evidence:
    """Every kind of handle, answered as on hardware."""
    codes = {**OPEN, **REFUSED, **RECORDED}
    tried = tuple(attempt(name, min(known(codes[name], DRIVER_VERSION))) for name in codes)
    return made("attempts", exporter=report(ONE), importer=report(ONE, attempts=tried))


def _exporters_end() -> Evidence:
    refused = report(
        ONE, verdict=Verdict.NOT_OPENED, error=error(400), attempts=(attempt("open", 400),)
    )
    return made("exporters-end", importer_exit=refused, importer_kill=refused)


def _exporter_gone() -> Evidence:
    kept = transfer(after_gone=AfterGone(WORDS, 0))
    return made("exporter-gone", importer=report(ONE, transfers=(kept,)))


def _several_importers() -> Evidence:
    importers = {f"importer_{n}": report(ONE, transfers=(transfer(),)) for n in range(3)}
    return made("several-importers", exporter=report(ONE), **importers)


def _large_memory() -> Evidence:
    return made(
        "large-memory",
        exporter=report(ONE, seen=(saw("same"),)),
        importer=report(ONE, transfers=(transfer(),)),
    )


def _both_directions() -> Evidence:
    reports: dict[str, Report] = {}
    for number in (1, 2):
        ways = (transfer(), transfer("cross"))
        reports[f"exporter_{number}"] = report(ONE, OTHER, seen=(saw("same"), saw("cross")))
        reports[f"importer_{number}"] = report(ONE, OTHER, transfers=ways)
    return made("both-directions", **reports)


GOOD: Mapping[str, Callable[[], Evidence]] = {
    "attempts": attempts,
    "exporters-end": _exporters_end,
    "exporter-gone": _exporter_gone,
    "several-importers": _several_importers,
    "large-memory": _large_memory,
    "both-directions": _both_directions,
}


def not_ended(evidence: Evidence) -> None:
    """The suite had to end the importer."""
    evidence.containers[IMPORTER].ended_by_suite = True


CASES = (
    *(
        Case(
            "IPC-020",
            f"{name} is refused",
            answered(
                name, IMPORTER, code=1, error="CUDA_ERROR_INVALID_VALUE", words=0, wrong_words=None
            ),
            rf"{name}: cuIpcOpen(Mem|Event)Handle gave CUDA_ERROR_INVALID_VALUE \(1\)$",
            form=name,
        )
        for name in OPEN
    ),
    Case(
        "IPC-020",
        "the exporter is gone",
        answered("open", IMPORTER, code=400, error="CUDA_ERROR_INVALID_HANDLE"),
        r"open: cuIpcOpenMemHandle gave CUDA_ERROR_INVALID_HANDLE \(400\)$",
        form="open",
        blame=Blame.WORKLOAD,
    ),
    Case(
        "IPC-020",
        "a word is wrong",
        answered("many", IMPORTER, wrong_words=2),
        rf"many: 2 of {WORDS} words are wrong$",
        form="many",
    ),
    Case(
        "IPC-020",
        "what opened cannot be read",
        answered("open", IMPORTER, words=0, wrong_words=None, note="verify: an illegal address"),
        r"open: the memory opened and could not be read: verify: an illegal address$",
        form="open",
    ),
    Case(
        "IPC-020",
        "it was not tried",
        says(IMPORTER, attempts=(), **NO_GPU),
        r"the importer did not make the attempt open: CUDA_ERROR_NO_DEVICE \(100\)$",
    ),
    *(
        Case(
            "IPC-021",
            f"{name} opens",
            answered(name, IMPORTER, code=0, error=None, words=WORDS, wrong_words=WORDS),
            rf"{name}: cuIpcOpenMemHandle opened what cannot be shared$",
            form=name,
        )
        for name in REFUSED
    ),
    Case(
        "IPC-021",
        "the process is useless afterwards",
        answered(
            "own",
            IMPORTER,
            note="the context is broken since then (CUDA_ERROR_ILLEGAL_ADDRESS, 700)",
        ),
        r"own: after CUDA_ERROR_INVALID_CONTEXT \(201\) no call of CUDA worked any more$",
        form="own",
    ),
    Case(
        "IPC-021",
        "it was not tried",
        says(IMPORTER, attempts=()),
        r"the importer did not make the attempt freed: ok$",
        form="freed",
    ),
    Case(
        "IPC-022",
        "an answer that was not seen before",
        answered("flags-2", IMPORTER, code=999, error="CUDA_ERROR_UNKNOWN"),
        r"flags-2: CUDA_ERROR_UNKNOWN \(999\), known are 1$",
        form="flags-2",
    ),
    Case(
        "IPC-022",
        "a handle with a changed byte opens",
        answered("flip-24", IMPORTER, code=0, error=None),
        r"flip-24: it opened, known are 1$",
        form="flip-24",
    ),
    Case(
        "IPC-022",
        "it was not tried",
        says(IMPORTER, attempts=()),
        r"the importer did not make the attempt open: ok$",
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
        r"the importer-kill did not make the attempt open",
    ),
    Case(
        "IPC-016",
        "the suite had to end it",
        not_ended,
        r"the importer did not come to its end in time$",
        blame=Blame.WORKLOAD,
    ),
    Case(
        "IPC-016",
        "it never opened",
        transfers(IMPORTER, not_opened(201)),
        r"the importer could not open the memory on the same GPU: .*_INVALID_CONTEXT \(201\)$",
    ),
    Case(
        "IPC-016",
        "it was wrong before",
        transfers(IMPORTER, transfer(wrong_words=1, after_gone=AfterGone(WORDS, 0))),
        rf"the importer read 1 of {WORDS} words wrong on the same GPU$",
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
            rf"the importer-{index} could not open the memory on the same GPU: .*_INVALID_VALUE",
        )
        for index in range(3)
    ),
    Case(
        "IPC-017",
        "a checksum differs",
        transfers("importer-1", transfer(checksum="cd" * 8)),
        rf"the importer-1 read 0 of {WORDS} words wrong on the same GPU$",
    ),
    Case(
        "IPC-018",
        "the large buffer is wrong at its end",
        transfers(IMPORTER, transfer(wrong_words=1, first_wrong=WORDS - 1)),
        rf"the importer read 1 of {WORDS} words wrong on the same GPU$",
    ),
    Case(
        "IPC-018",
        "its exporter does not see the write",
        says(EXPORTER, seen=(saw("same", wrong_words=6),)),
        rf"the exporter did not see the write from the same GPU: 6 of {WORDS} words wrong$",
    ),
    Case(
        "IPC-018",
        "its exporter saw nothing",
        says(EXPORTER, seen=(), verdict=Verdict.PARTNER_NEVER_CAME),
        r"the exporter did not see the write from the same GPU: nothing \(partner-never-came\)$",
    ),
    *(
        Case(
            "IPC-019",
            f"direction {number} does not open",
            transfers(f"importer-{number}", transfer(), not_opened(1, "cross")),
            rf"the importer-{number} could not open the memory on the other GPU: .*_INVALID",
        )
        for number in (1, 2)
    ),
    Case(
        "IPC-019",
        "the exporter does not see the other GPU's write",
        says("exporter-2", seen=(saw("cross", wrong_words=1),)),
        rf"the exporter-2 did not see the write from the other GPU: 1 of {WORDS} words wrong$",
    ),
    Case(
        "IPC-019",
        "peer access is refused with another error",
        transfers("importer-1", transfer(), not_opened(400, "cross", can_access_peer=False)),
        r"the importer-1 could not open the memory on the other GPU: .*_INVALID_HANDLE \(400\)$",
        blame=Blame.WORKLOAD,
    ),
    Case(
        "IPC-019",
        "peer access is promised and refused",
        transfers("importer-1", transfer(), not_opened(217, "cross", can_access_peer=True)),
        r"the importer-1 could not open the memory on the other GPU: .*_PEER_ACCESS_UNSUPPORTED",
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
        r"the importer-1 did not try to open the memory on the other GPU: ok$",
    ),
)
