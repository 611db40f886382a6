"""Memory of every GPU of a node, opened on every GPU of it: in pods of one claim."""

from __future__ import annotations

from itertools import combinations

from harness.checks.check import check
from harness.scenario.evidence import Evidence
from harness.scenario.report import Report, describe
from harness.verdict import causes
from harness.verdict.finding import UnsupportedError, counted
from suites.allocation.test_constraints import told
from suites.cuda.every_gpu import every_gpu
from suites.cuda.transfers import EXPORTER, IMPORTER, answer
from workload.result import PEER_ACCESS_UNSUPPORTED, Transfer

STANDARD = "resource.kubernetes.io"
TOO_MANY_PEERS = 711
"""CUDA's answer where a GPU is connected with eight others already, without NVSwitch."""


def tried(evidence: Evidence) -> list[Transfer]:
    """Every pair that is able to share memory.

    Raises:
        UnsupportedError: there is one GPU, or no two have peer access.
        JudgementError: a pair was not tried.
    """
    report = evidence.report(IMPORTER)
    expected = len(evidence.container(IMPORTER).devices) ** 2
    if expected == 1:
        raise UnsupportedError("needs a claim of two GPUs")
    if len(report.transfers) != expected:
        evidence.fail(
            f"the importer tried {len(report.transfers)} of {expected} pairs of GPUs:"
            f" {report.error_text()}",
            expected="every GPU's memory opened on every GPU",
            observed=report.error_text(),
            cause=causes.of_cuda(report.error),
        )
    able = [
        one
        for one in report.transfers
        if not one.lacks_peer_access and (one.error is None or one.error.code != TOO_MANY_PEERS)
    ]
    if all(one.path == "same" and one.opened and one.wrong_words == 0 for one in able):
        raise UnsupportedError(
            f"the two GPUs have no peer access (CUDA error {PEER_ACCESS_UNSUPPORTED})"
            if len(report.gpus) == 2
            else f"no two GPUs have peer access (CUDA error {PEER_ACCESS_UNSUPPORTED})"
        )
    return able


def named(evidence: Evidence, uuid: str) -> str:
    """A GPU by its name in the slice."""
    devices = evidence.container(IMPORTER).devices
    return next((device.name for device in devices if device.uuid == uuid), uuid)


def others(wrong: int) -> str:
    """Say that there are more."""
    return f" (and {counted(wrong - 1, 'other pair')})" if wrong > 1 else ""


@check(
    id="IPC-031",
    level=4,
    source="IPC-1, IPC-4",
    scenario=every_gpu,
    after=("CUDA-001", "SHARE-001"),
)
def test_memory_of_every_gpu_opens_on_every_gpu(evidence: Evidence) -> None:
    """Memory that a pod exports on any GPU of its claim MUST open in another pod on every GPU of it
    that has peer access, and hold what was written.
    """
    wrong = [one for one in tried(evidence) if not one.opened or one.wrong_words != 0]
    for one in wrong:
        words = f"{one.wrong_words} of {one.words} words are wrong"
        evidence.fail(
            f"{named(evidence, one.exporter)}'s memory on {named(evidence, one.importer)}:"
            f" {words if one.wrong_words else answer(one)}{others(len(wrong))}",
            expected="it opens, and every word is as it was written",
            observed="\n".join(map(describe, wrong)),
            cause=causes.of_cuda(one.error),
        )


@check(id="IPC-032", level=4, source="IPC-1, IPC-4", scenario=every_gpu, after=("IPC-031",))
def test_every_exporter_sees_what_every_gpu_writes(evidence: Evidence) -> None:
    """Every word that any GPU of a claim writes to memory which a pod exports on any GPU of it MUST
    reach that pod.
    """
    seen = {(one.importer, one.exporter): one for one in evidence.report(EXPORTER).seen}
    for pair in tried(evidence):
        found = seen.get((pair.importer, pair.exporter))
        if found is None or found.wrong_words or not found.words:
            how = f"{found.wrong_words} of {found.words} words wrong" if found else "nothing seen"
            evidence.fail(
                f"what {named(evidence, pair.importer)} wrote to"
                f" {named(evidence, pair.exporter)}'s memory did not arrive: {how}",
                expected="every word as the importer wrote it",
                observed=describe(found) if found else describe(pair),
            )


CLOSEST = ("PIX", "PXB", "PHB")
"""Where paths meet below one PCIe root."""


@check(
    id="SLICE-038", level=4, source="SLICE-18, ALLOC-11", scenario=every_gpu, after=("CUDA-001",)
)
def test_slices_tell_which_gpus_are_close(evidence: Evidence) -> None:
    """GPUs MUST have the same PCIe root, or NUMA node, in their slices exactly where NVML shows it:
    claims choose GPUs that are close to each other by it.
    """
    report = evidence.report(IMPORTER)
    meet = {(peer.importer, peer.exporter): peer.meet for peer in report.peers}
    devices, compared = evidence.container(IMPORTER).devices, 0
    if len(devices) == 1:
        raise UnsupportedError("needs a claim of two GPUs")
    for one, other in combinations(devices, 2):
        where = meet.get((one.uuid, other.uuid))
        alike = {"pcieRoot": where in CLOSEST, "numaNode": where != "SYS"}
        for name, close in alike.items():
            said = [told(device).get(f"{STANDARD}/{name}") for device in (one, other)]
            if where is None or None in said:
                continue
            compared += 1
            if (said[0] == said[1]) is not close:
                evidence.fail(
                    f"by their slice {one.name} and {other.name} have"
                    f" {'different' if close else 'one'} {name}, by NVML they meet at {where}",
                    expected=f"{'the same' if close else 'another'} {name}",
                    observed=f"{said[0]} and {said[1]}",
                )
    if not compared:
        raise UnsupportedError(
            "the driver publishes no PCIe root and no NUMA node, or NVML does not tell them"
        )


@check(
    id="CUDA-007",
    level=4,
    source="CUDA-7",
    scenario=every_gpu,
    after=("CUDA-001",),
    judges_driver=False,
)
def test_gpus_with_nvlink_have_peer_access(evidence: Evidence) -> None:
    """GPUs of a claim between which NVML shows NVLink MUST have peer access in a container."""
    report: Report = evidence.report(IMPORTER)
    if len(report.gpus) == 1:
        raise UnsupportedError("needs a claim of two GPUs")
    linked = [peer for peer in report.peers if peer.link == "NVLink"]
    if not linked:
        raise UnsupportedError("NVML shows no NVLink between two GPUs")
    denied = [peer for peer in linked if not peer.can_access_peer]
    for peer in denied:
        evidence.fail(
            f"{named(evidence, peer.importer)} has no peer access to"
            f" {named(evidence, peer.exporter)}, with {peer.link_class} between"
            f" them{others(len(denied))}",
            expected="peer access by CUDA",
            observed="\n".join(map(describe, denied)),
        )
