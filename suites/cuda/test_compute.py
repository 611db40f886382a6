"""Kernels on GPUs of a claim: right results, and nobody else's memory."""

from __future__ import annotations

from harness.checks.check import Part, check
from harness.scenario.evidence import Evidence
from harness.scenario.report import Report, describe
from harness.scenario.scenario import CUDA, scenario
from harness.scenario.steps import Steps
from harness.verdict import causes
from harness.verdict.finding import Blame, counted, short_uuid
from suites.cuda.every_gpu import buffer, every_gpu
from suites.cuda.transfers import judge_read
from workload.result import Verdict

LEFT_BEHIND = str(32 << 20)
"""Bytes that a pod leaves behind for another one to find, if memory is not cleared."""


def compute(steps: Steps) -> None:
    """One pod that computes on all of its GPUs at once."""
    args = ["compute", "--nonce", steps.nonce, *buffer(steps)]
    steps.finish(steps.start("compute", args, steps.claim()))


@scenario(needs=CUDA)
def compute_on_one(steps: Steps) -> None:
    """A claim of one GPU."""
    compute(steps)


@scenario(needs=CUDA, devices=2)
def compute_on_two(steps: Steps) -> None:
    """A claim of two GPUs."""
    compute(steps)


@check(
    id="CUDA-004",
    level=4,
    source="CUDA-4",
    forms=(compute_on_one, compute_on_two, Part("compute-on-all", every_gpu)),
    after=("ALLOC-007", "ALLOC-004", "ALLOC-006"),
)
def test_kernels_compute_right_on_every_gpu_at_once(evidence: Evidence) -> None:
    """Kernels on all GPUs of a claim at once MUST write and read every word of large buffers
    right.
    """
    report = evidence.report("compute")
    wanted = {device.uuid for device in evidence.container("compute").devices}
    judge_words(evidence, "compute", report, wanted)


def judge_words(evidence: Evidence, role: str, report: Report, wanted: set[str]) -> None:
    """Each GPU computed on words of its own, all of them right."""
    done = {result.uuid for result in report.compute}
    if done != wanted:
        why = "" if report.verdict is Verdict.OK else f": {report.error_text()}"
        evidence.fail(
            f"the kernels of the {role} ran on {len(done)} of {counted(len(wanted), 'GPU')}{why}",
            expected=", ".join(sorted(wanted)),
            observed=f"{', '.join(sorted(done)) or 'no GPU'}{why}",
            cause=causes.of_cuda(report.error),
        )
    for result in report.compute:
        if not result.words:
            evidence.fail(
                f"the kernels of the {role} computed nothing on {short_uuid(result.uuid)}",
                expected="a buffer of words",
                observed=describe(result),
            )
        if result.wrong_words:
            first = "" if result.first_wrong is None else f", the first at {result.first_wrong}"
            evidence.fail(
                f"{result.wrong_words} of {result.words} words are wrong on"
                f" {short_uuid(result.uuid)}{first}",
                expected="every word right",
                observed=describe(result),
            )


@scenario(needs=CUDA)
def neighbours(steps: Steps) -> None:
    """Two pods on one GPU at once, and a third one after the first's end.

    The second and the third look for the first's words in memory of their own.
    """
    claim = steps.claim()
    steps.hold(claim)
    # As much as the third one takes, which may get the same memory.
    args = ["produce", "--nonce", steps.nonce, "--log", "--bytes", LEFT_BEHIND]
    first = steps.start("first", [*args, *steps.patience()], claim)
    offer = steps.offer(first)
    look = ["compute", "--nonce", f"not-{steps.nonce}", "--foreign", steps.nonce]
    second = steps.start("second", [*look, *buffer(steps)], claim)
    steps.finish(second)
    read = ["consume", "--nonce", steps.nonce, "--offer", offer, "--read-only"]
    reader = steps.start("reader", read, claim, own_pid=300)
    steps.finish(reader, first)
    steps.finish(steps.start("third", [*look, "--bytes", LEFT_BEHIND], claim))


@check(
    id="CUDA-005",
    level=4,
    source="CUDA-5, SHARE-4",
    scenario=neighbours,
    after=("SHARE-013", "ISO-003"),
)
def test_two_pods_compute_on_one_gpu_at_once(evidence: Evidence) -> None:
    """Two pods that share a GPU MUST both compute right at the same time, each in memory of its
    own.
    """
    second = evidence.report("second")
    judge_words(evidence, "second", second, {d.uuid for d in evidence.container("second").devices})
    judge_read(evidence, "reader", "same")


@check(id="ISO-009", level=4, source="ISO-9", scenario=neighbours, after=("CUDA-005",))
def test_fresh_memory_holds_nothing_of_another_pod(evidence: Evidence) -> None:
    """Memory that a pod allocates MUST NOT hold words that another pod wrote on the same GPU."""
    for role in ("second", "third"):
        report = evidence.report(role)
        if not report.compute or any(found.foreign_words is None for found in report.compute):
            evidence.fail(
                f"the {role} did not look for another pod's words: {report.error_text()}",
                expected="a count of words of another pod",
                observed="; ".join(describe(found) for found in report.compute)
                or "nothing computed",
                blame=Blame.WORKLOAD,
            )
        for result in report.compute:
            if result.foreign_words:
                evidence.fail(
                    f"fresh memory of the {role} held {result.foreign_words} words that another"
                    " pod had written",
                    expected="no word of another pod",
                    observed=describe(result),
                )
