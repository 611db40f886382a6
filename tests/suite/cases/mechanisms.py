"""Memory shared by descriptors and fabric handles: good evidence, and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from harness.scenario.evidence import Evidence
from harness.scenario.report import Report
from harness.verdict.finding import Blame, UnmetError
from suites.cuda.tables import EQUAL, STAYING, STRANGER
from suites.cuda.transfers import EXPORTER, IMPORTER
from tests.suite.cases import Case
from tests.suite.made import (
    DEVICES,
    NO_GPU,
    WORDS,
    Change,
    alter,
    error,
    lose,
    made,
    not_opened,
    report,
    saw,
    says,
    transfer,
    with_claim,
)
from workload.result import AfterGone, Lent, Mechanism, Seen, Transfer, Verdict

ONE, OTHER = DEVICES[:2]
CHANNEL = "nvidia-caps-imex-channels/channel0"
DESCRIPTOR, POOL = "descriptor", "pool-descriptor"
A_CHANNEL = replace(ONE, driver="channel.example.org", name="channel-0")
REFUSED = {"descriptor": 101, "fabric": 801, "pool-descriptor": 101, "pool-fabric": 801, "ipc": 1}


def _importer(*devices: Any, **parts: Any) -> Report:
    nodes = (*report(*devices).device_nodes, CHANNEL)
    lent = tuple(Lent(one, 1, "", by_descriptor=True) for one in Mechanism)
    return report(*devices, lent=lent, device_nodes=nodes, **parts)


def _of_each(make: Callable[[Mechanism], Transfer]) -> tuple[Transfer, ...]:
    return tuple(replace(make(one), mechanism=one) for one in Mechanism)


def mechanisms() -> Evidence:
    """Two GPUs and an IMEX channel, by claim: every mechanism works."""
    ways = (*_of_each(lambda _: transfer()), *_of_each(lambda _: transfer("cross")))
    kept = transfer(after_gone=AfterGone(WORDS, 0), wrote=False)
    late = (transfer("late") if one == DESCRIPTOR else not_opened(400, "late") for one in Mechanism)
    seen = tuple(
        Seen(path, WORDS, 0, None, one, writer)
        for one in Mechanism
        for path, writer in (("same", IMPORTER), ("cross", IMPORTER), ("same", EQUAL))
    )
    evidence = made(
        "mechanisms",
        exporter=_importer(ONE, OTHER, seen=seen),
        importer=_importer(ONE, OTHER, transfers=ways),
        importer_same_pid=_importer(ONE, OTHER, transfers=_of_each(lambda _: transfer())),
        importer_left=_importer(
            ONE,
            transfers=(
                *_of_each(lambda _: kept),
                *(replace(way, mechanism=one) for way, one in zip(late, Mechanism, strict=True)),
            ),
        ),
        importer_other_gpu=_importer(
            OTHER, transfers=_of_each(lambda one: not_opened(REFUSED[one], "cross"))
        ),
    )
    return with_claim(evidence, "channel", A_CHANNEL)


GOOD: Mapping[str, Callable[[], Evidence]] = {"mechanisms": mechanisms}


def fares(role: str, mechanism: str, path: str, **parts: Any) -> Change:
    """One mechanism fared otherwise over a path."""

    def change(evidence: Evidence) -> None:
        ways = evidence.report(role).transfers
        alter(
            evidence,
            role,
            transfers=tuple(
                replace(way, **parts) if (way.mechanism, way.path) == (mechanism, path) else way
                for way in ways
            ),
        )

    return change


def refused(code: int) -> dict[str, Any]:
    """CUDA did not open it."""
    return {"opened": False, "words": 0, "wrong_words": None, "error": error(code)}


def not_made(code: int, *, channel: bool) -> Change:
    """The exporter could not make what is shared by fabric handle."""

    def change(evidence: Evidence) -> None:
        for role in {IMPORTER, EQUAL, STAYING, STRANGER} & evidence.containers.keys():
            seen = evidence.report(role)
            lent = tuple(
                replace(one, error=error(code)) if one.mechanism == "fabric" else one
                for one in seen.lent
            )
            nodes = tuple(name for name in seen.device_nodes if channel or name != CHANNEL)
            alter(evidence, EXPORTER, device_nodes=nodes)
            alter(evidence, role, lent=lent, device_nodes=nodes, transfers=())

    return change


def no_class(evidence: Evidence) -> None:
    """No class of channels is known, so none is claimed."""
    not_made(800, channel=False)(evidence)
    del evidence.claims["channel"]


def no_class_no_reports(evidence: Evidence) -> None:
    """No class of channels is known, and the containers did not report."""
    del evidence.claims["channel"]
    for container in evidence.containers.values():
        container.report = lose(container.report, UnmetError("no report"))


def of_nvidia(evidence: Evidence) -> None:
    """NVIDIA's driver has prepared a channel on a node that is in no clique."""
    not_made(800, channel=False)(evidence)
    with_claim(evidence, "channel", replace(A_CHANNEL, driver="compute-domain.nvidia.com"))


def without_channel(evidence: Evidence) -> None:
    """The importer without the exporter's GPU has no IMEX channel either."""
    fares(STRANGER, "fabric", "cross", error=error(800))(evidence)
    says(STRANGER, device_nodes=report(OTHER).device_nodes)(evidence)


def one_gpu(evidence: Evidence) -> None:
    """The claim has one GPU only."""
    del evidence.containers[STRANGER]
    ways = evidence.report(IMPORTER).transfers
    same = tuple(way for way in ways if way.path == "same")
    alter(evidence, IMPORTER, transfers=same, gpus=report(ONE).gpus)


CASES = (
    Case(
        "IPC-023",
        "it does not open",
        fares(IMPORTER, POOL, "same", **refused(801)),
        r"the importer could not open the memory: CUDA_ERROR_UNKNOWN \(801\)$",
        form=POOL,
    ),
    Case(
        "IPC-023",
        "no answer",
        fares(IMPORTER, POOL, "same", **{**refused(1), "error": replace(error(1), code=None)}),
        r"the importer could not open the memory: ",
        form=POOL,
    ),
    Case(
        "IPC-023",
        "a page is another one",
        fares(IMPORTER, DESCRIPTOR, "same", wrong_words=512),
        rf"the importer opened the memory, of {WORDS} words: 512 wrong$",
        form=DESCRIPTOR,
    ),
    Case(
        "IPC-023",
        "it was not tried",
        says(IMPORTER, transfers=(), **NO_GPU),
        r"the importer did not try to open the memory: CUDA_ERROR_NO_DEVICE \(100\)$",
        form=DESCRIPTOR,
    ),
    Case(
        "IPC-029",
        "the exporter never came",
        says(STAYING, transfers=(), verdict=Verdict.PARTNER_NEVER_CAME),
        r"the importer-left did not try to open the memory: partner-never-came$",
        form=DESCRIPTOR,
        blame=Blame.WORKLOAD,
    ),
    Case(
        "IPC-023",
        "there is no channel",
        no_class,
        r"unsupported: no IMEX channel in the container: no DeviceClass of channels is known: --",
        form="fabric",
        blame=None,
    ),
    Case(
        "IPC-023",
        "there is a channel, and it is refused",
        not_made(800, channel=True),
        r"the exporter could not share memory: CUDA_ERROR_UNKNOWN \(800\)$",
        form="fabric",
    ),
    Case(
        "IPC-023",
        "the GPU cannot",
        not_made(801, channel=True),
        r"unsupported: this GPU or its driver does not share memory by fabric$",
        form="fabric",
        blame=None,
    ),
    Case(
        "IPC-035",
        "no class of channels is known",
        no_class,
        r"unsupported: no DeviceClass of channels is known: --dra-channel-class$",
        blame=None,
    ),
    Case(
        "IPC-035",
        "no class of channels is known, and nothing was reported",
        no_class_no_reports,
        r"unsupported: no DeviceClass of channels is known: --dra-channel-class$",
        blame=None,
    ),
    Case(
        "IPC-035",
        "the claim brings none",
        not_made(800, channel=False),
        r"the exporter has 0 IMEX channels, its claim 1$",
    ),
    Case(
        "IPC-035",
        "the claim brings one too many",
        says(
            IMPORTER, device_nodes=(*report(ONE, OTHER).device_nodes, CHANNEL, f"{CHANNEL[:-1]}1")
        ),
        r"the importer has 2 IMEX channels, its claim 1$",
    ),
    Case(
        "IPC-035",
        "a node that is in no clique",
        of_nvidia,
        r"unsupported: compute-domain.nvidia.com brings channels on nodes of an NVLink cli",
        blame=None,
    ),
    Case(
        "IPC-024",
        "it does not open on the other GPU",
        fares(IMPORTER, DESCRIPTOR, "cross", **refused(217)),
        r"the importer could not open the memory: CUDA_ERROR_PEER_ACCESS_UNSUPPORTED",
        form=DESCRIPTOR,
    ),
    Case(
        "IPC-024",
        "GPUs without peer access",
        fares(IMPORTER, DESCRIPTOR, "cross", **refused(217), can_access_peer=False),
        r"unsupported: the two GPUs have no peer access \(CUDA error 217\)$",
        form=DESCRIPTOR,
        blame=None,
    ),
    *(
        Case(
            check,
            "one GPU",
            one_gpu,
            r"unsupported: needs a claim of two GPUs$",
            form=DESCRIPTOR,
            blame=None,
        )
        for check in ("IPC-024", "IPC-027", "IPC-028")
    ),
    Case(
        "IPC-025",
        "writes stay with the importer",
        says(EXPORTER, seen=(replace(saw("same", wrong_words=9), mechanism=Mechanism.DESCRIPTOR),)),
        r"the exporter saw nothing of what the importer wrote$",
        form=DESCRIPTOR,
    ),
    Case(
        "IPC-025",
        "a page of them stays with the importer",
        says(EXPORTER, seen=(Seen("same", WORDS, 512, 0, Mechanism.DESCRIPTOR, IMPORTER),)),
        rf"the exporter saw 512 of {WORDS} words wrong that the importer wrote$",
        form=DESCRIPTOR,
    ),
    Case(
        "IPC-026",
        "own PIDs matter",
        fares(EQUAL, DESCRIPTOR, "same", **refused(201)),
        r"the importer-same-pid could not open the memory: CUDA_ERROR_INVALID_CONTEXT \(201\)$",
        form=DESCRIPTOR,
    ),
    Case(
        "IPC-026",
        "own PIDs are not equal",
        says(EQUAL, process=replace(report(ONE).process, own_pid=7)),
        r"unsupported: the two processes have different own PIDs, 1 and 7$",
        form=DESCRIPTOR,
        blame=None,
    ),
    Case(
        "IPC-027",
        "it opens",
        fares(STRANGER, DESCRIPTOR, "cross", opened=True, words=WORDS, wrong_words=0, error=None),
        r"memory opened in a container that was not given its GPU$",
        form=DESCRIPTOR,
    ),
    Case(
        "IPC-027",
        "the importer has no channel",
        without_channel,
        r"unsupported: no IMEX channel in the container: its claim has channel-0, which br",
        form="fabric",
        blame=None,
    ),
    Case(
        "IPC-028",
        "another answer",
        fares(STRANGER, DESCRIPTOR, "cross", error=error(1)),
        r"CUDA_ERROR_INVALID_VALUE \(1\), known is 101$",
        form=DESCRIPTOR,
    ),
    Case(
        "IPC-029",
        "it goes with its exporter",
        fares(STAYING, DESCRIPTOR, "same", after_gone=None, error=error(700)),
        r"memory that was open did not outlive its exporter: CUDA_ERROR_UNKNOWN",
        form=DESCRIPTOR,
    ),
    Case(
        "IPC-029",
        "it is another's afterwards",
        fares(STAYING, DESCRIPTOR, "same", after_gone=AfterGone(WORDS, 3)),
        rf"memory that was open did not outlive its exporter: 3 of {WORDS} words wrong$",
        form=DESCRIPTOR,
    ),
    Case(
        "IPC-030",
        "it is empty",
        fares(STAYING, DESCRIPTOR, "late", wrong_words=WORDS),
        rf"memory opened after its exporter's end: {WORDS} of {WORDS} words wrong$",
        form=DESCRIPTOR,
    ),
)
