"""Memory of every GPU on every GPU: good evidence, and what can be wrong with it."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from harness.cluster.inventory import Device
from harness.cluster.profile import ATTRIBUTES
from harness.scenario.evidence import Evidence
from suites.cuda.test_every_pair import CLOSEST
from suites.cuda.transfers import EXPORTER, IMPORTER
from tests.suite.cases import Case
from tests.suite.made import (
    DEVICES,
    Change,
    alter,
    computed,
    error,
    made,
    not_opened,
    report,
    saw,
    transfer,
)
from workload.result import Bandwidth, Peer, Transfer, Verdict

ROOT, NUMA = (f"resource.kubernetes.io/{name}" for name in ("pcieRoot", "numaNode"))
PAIRS = [(one, other) for other, one in product(DEVICES, DEVICES)]
"""Importer and exporter."""


def _meet(one: Device, other: Device) -> str:
    """Two GPUs are at each PCIe root, and each root at a CPU of its own."""
    same = DEVICES.index(one) // 2 == DEVICES.index(other) // 2
    return CLOSEST[0] if same else "SYS"


def _placed(number: int, device: Device) -> Device:
    """With the standard attributes."""
    where = {ROOT: {"string": f"pci0000:{number // 2:02x}"}, NUMA: {"int": number // 2}}
    attributes = {**device.entry["attributes"], **where}
    return replace(device, entry={**device.entry, "attributes": attributes})


def every_gpu() -> Evidence:
    """Four GPUs with NVLink."""
    ways = {(one, other): "same" if one is other else "cross" for one, other in PAIRS}
    ends = {pair: {"importer": pair[0].uuid, "exporter": pair[1].uuid} for pair in PAIRS}
    importer = report(
        *DEVICES,
        transfers=tuple(transfer(ways[pair], **ends[pair]) for pair in PAIRS),
        bandwidth=tuple(
            Bandwidth(ways[pair], way, "copy", 1 << 20, gbps, (gbps,), pair[0].uuid, pair[1].uuid)
            for pair in PAIRS
            for way, gbps in (("read", 400.0), ("write", 380.0))
        ),
        peers=tuple(
            Peer(one.uuid, other.uuid, True, 0, True, True, "NVLink", 18, _meet(one, other))
            for one, other in PAIRS
            if one is not other
        ),
    )
    exporter = report(*DEVICES, seen=tuple(saw(ways[pair], 8, **ends[pair]) for pair in PAIRS))
    evidence = made(
        "every-gpu",
        exporter=exporter,
        importer=importer,
        inventory=report(*DEVICES),
        compute=report(*DEVICES, compute=tuple(computed(on, foreign_words=None) for on in DEVICES)),
    )
    evidence.known = frozenset(ATTRIBUTES)
    container = evidence.containers[IMPORTER]
    container.devices = tuple(_placed(number, one) for number, one in enumerate(DEVICES))
    return evidence


GOOD = {"every-gpu": every_gpu}


def pairs(*which: tuple[int, int], way: Transfer) -> Change:
    """Pairs of importer and exporter went this way instead."""

    def change(evidence: Evidence) -> None:
        chosen = {(DEVICES[one].uuid, DEVICES[other].uuid) for one, other in which}
        ways = evidence.report(IMPORTER).transfers
        alter(
            evidence,
            IMPORTER,
            transfers=tuple(
                replace(way, importer=one.importer, exporter=one.exporter)
                if (one.importer, one.exporter) in chosen
                else one
                for one in ways
            ),
        )

    return change


def peers(**parts: object) -> Change:
    """The first pair of peers is another."""

    def change(evidence: Evidence) -> None:
        first, *others = evidence.report(IMPORTER).peers
        changed = replace(first, **parts)  # type: ignore[arg-type]
        alter(evidence, IMPORTER, peers=(changed, *others))

    return change


def without_peers(evidence: Evidence) -> None:
    """No GPU has peer access."""
    crossed = [(one, other) for one, other in product(range(4), range(4)) if one != other]
    pairs(*crossed, way=not_opened(217, "cross", can_access_peer=False))(evidence)


def nobody_wrote(evidence: Evidence) -> None:
    """The exporter saw nothing of one pair."""
    _, *seen = evidence.report(EXPORTER).seen
    alter(evidence, EXPORTER, seen=tuple(seen))


def a_word_is_lost(evidence: Evidence) -> None:
    """The exporter saw a wrong word of one pair."""
    first, *others = evidence.report(EXPORTER).seen
    alter(evidence, EXPORTER, seen=(replace(first, wrong_words=1), *others))


def placed(name: str, value: dict[str, object]) -> Change:
    """The last GPU is said to be elsewhere."""

    def change(evidence: Evidence) -> None:
        container = evidence.containers[IMPORTER]
        *others, last = container.devices
        attributes = {**last.entry["attributes"], name: value}
        moved = replace(last, entry={**last.entry, "attributes": attributes})
        container.devices = (*others, moved)

    return change


def not_placed(evidence: Evidence) -> None:
    """The driver says nothing of where GPUs are."""
    evidence.containers[IMPORTER].devices = DEVICES


def nothing_tried(evidence: Evidence) -> None:
    """The importer failed before it came to it."""
    alter(evidence, IMPORTER, transfers=(), verdict=Verdict.CUDA_ERROR, error=error(1))


def one_gpu(evidence: Evidence) -> None:
    """The node has no more than one."""
    container = evidence.containers[IMPORTER]
    container.devices = container.devices[:1]
    first = evidence.report(IMPORTER)
    alter(evidence, IMPORTER, gpus=first.gpus[:1], peers=(), transfers=first.transfers[:1])


CASES = (
    *(
        Case(check, "one GPU", one_gpu, r"unsupported: needs a claim of two GPUs$", blame=None)
        for check in ("IPC-031", "IPC-032", "CUDA-007", "SLICE-038")
    ),
    Case(
        "IPC-031",
        "a pair is refused",
        pairs((1, 0), way=not_opened(217, "cross", can_access_peer=True)),
        r"gpu-0's memory on gpu-1: CUDA_ERROR_PEER_ACCESS_UNSUPPORTED \(217\)$",
    ),
    Case(
        "IPC-031",
        "words of two pairs are wrong",
        pairs((1, 0), (2, 3), way=transfer("cross", wrong_words=5)),
        r"gpu-0's memory on gpu-1: 5 of \d+ words are wrong \(and 1 other pair\)$",
    ),
    Case(
        "IPC-031",
        "nothing was tried",
        nothing_tried,
        r"the importer tried 0 of 16 pairs of GPUs: CUDA_ERROR_INVALID_VALUE: .*$",
    ),
    Case(
        "IPC-031",
        "no peer access",
        without_peers,
        r"unsupported: no two GPUs have peer access \(CUDA error 217\)$",
        blame=None,
    ),
    Case(
        "IPC-032",
        "a word is lost",
        a_word_is_lost,
        r"what gpu-0 wrote to gpu-0's memory did not arrive: 1 of 8 words wrong$",
    ),
    Case(
        "IPC-032",
        "nothing arrived",
        nobody_wrote,
        r"what gpu-0 wrote to gpu-0's memory did not arrive: nothing seen$",
    ),
    Case(
        "CUDA-007",
        "a pair with NVLink has no peer access",
        peers(can_access_peer=False),
        r"gpu-1 has no peer access to gpu-0, with NV18 between them$",
    ),
    Case(
        "CUDA-007",
        "no NVLink",
        lambda evidence: alter(evidence, IMPORTER, peers=()),
        r"unsupported: NVML shows no NVLink between two GPUs$",
        blame=None,
    ),
    Case(
        "SLICE-038",
        "another PCIe root than its neighbour",
        placed(ROOT, {"string": "pci0000:77"}),
        r"by their slice gpu-2 and gpu-3 have different pcieRoot, by NVML they meet at PIX$",
    ),
    Case(
        "SLICE-038",
        "the NUMA node of others",
        placed(NUMA, {"int": 0}),
        r"by their slice gpu-0 and gpu-3 have one numaNode, by NVML they meet at SYS$",
    ),
    Case(
        "SLICE-038",
        "not published",
        not_placed,
        r"unsupported: the driver publishes no PCIe root and no NUMA node, or NVML does not tell",
        blame=None,
    ),
)
