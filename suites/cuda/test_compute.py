"""Kernels on GPUs of a claim: right results, and nobody else's memory."""

from __future__ import annotations

from harness.checks.check import EVERY_DEVICE, check
from harness.scenario.evidence import Played
from harness.scenario.steps import ScriptedPlay, scenario
from harness.scenario.workload_report import WorkloadReport, told
from harness.verdict import causes
from harness.verdict.finding import Blame, counted, short_uuid
from suites.cuda.transfers import judge_read

SIMULATED_BYTES = str(64 << 20)
SHARE_OF_FREE_MEMORY = "25%"
LEFT_BEHIND = str(32 << 20)
"""Bytes that a pod leaves behind for another one to find, if memory is not cleared."""


def buffer(play: ScriptedPlay) -> list[str]:
    """How much memory to compute on: simulated GPUs have no memory but the machine's."""
    simulated = play.run.place.hardware == "simulated"
    return ["--bytes", SIMULATED_BYTES if simulated else SHARE_OF_FREE_MEMORY]


def compute(play: ScriptedPlay) -> None:
    """One pod that computes on all of its GPUs at once."""
    args = ["compute", "--nonce", play.nonce, *buffer(play)]
    play.finish(play.start("compute", args, play.claim()))


@scenario(devices=1)
def compute_on_one(play: ScriptedPlay) -> None:
    """A claim of one GPU."""
    compute(play)


@scenario(devices=2)
def compute_on_two(play: ScriptedPlay) -> None:
    """A claim of two GPUs."""
    compute(play)


@scenario(devices=1, most=EVERY_DEVICE, impact="exhaust")
def compute_on_all(play: ScriptedPlay) -> None:
    """A claim of every GPU of a node."""
    compute(play)


@check(
    id="CUDA-004",
    force="MUST",
    level=4,
    source="CUDA-4",
    variants=(compute_on_one, compute_on_two, compute_on_all),
    needs=("cuda",),
)
def test_kernels_compute_right_on_every_gpu_at_once(played: Played) -> None:
    """Kernels on all GPUs of a claim at once MUST write and read every word of large buffers
    right.
    """
    report = played.report("compute")
    wanted = {device.uuid for device in played.member("compute").devices}
    judge_words(played, "compute", report, wanted)


def judge_words(played: Played, role: str, report: WorkloadReport, wanted: set[str]) -> None:
    """Each GPU computed on words of its own, all of them right."""
    done = {result.uuid for result in report.compute}
    if done != wanted:
        why = "" if report.verdict == "ok" else f": {report.error_text()}"
        played.refuse(
            f"the kernels of the {role} ran on {len(done)} of {counted(len(wanted), 'GPU')}{why}",
            expected=", ".join(sorted(wanted)),
            observed=f"{', '.join(sorted(done)) or 'no GPU'}{why}",
            cause=causes.of_cuda(report.error),
        )
    for result in report.compute:
        if not result.words:
            played.refuse(
                f"the kernels of the {role} computed nothing on {short_uuid(result.uuid)}",
                expected="a buffer of words",
                observed=told(result),
            )
        if result.wrong_words:
            first = "" if result.first_wrong is None else f", the first at {result.first_wrong}"
            played.refuse(
                f"{result.wrong_words} of {result.words} words are wrong on"
                f" {short_uuid(result.uuid)}{first}",
                expected="every word right",
                observed=told(result),
            )


@scenario(devices=1)
def neighbours(play: ScriptedPlay) -> None:
    """Two pods on one GPU at once, and a third one after the first's end.

    The second and the third look for the first's words in memory of their own.
    """
    claim = play.claim()
    play.hold(claim)
    # As much as the third one takes, which may get the same memory.
    args = ["produce", "--nonce", play.nonce, "--log", "--bytes", LEFT_BEHIND]
    first = play.start("first", [*args, *play.patience()], claim)
    offer = play.offer(first)
    look = ["compute", "--nonce", f"not-{play.nonce}", "--foreign", play.nonce]
    second = play.start("second", [*look, *buffer(play)], claim)
    play.finish(second)
    read = ["consume", "--nonce", play.nonce, "--offer", offer, "--read-only"]
    reader = play.start("reader", read, claim, own_pid=300)
    play.finish(reader, first)
    play.finish(play.start("third", [*look, "--bytes", LEFT_BEHIND], claim))


@check(
    id="CUDA-005",
    force="MUST",
    level=4,
    source="CUDA-5, SHARE-4",
    scenario=neighbours,
    needs=("cuda",),
)
def test_two_pods_compute_on_one_gpu_at_once(played: Played) -> None:
    """Two pods that share a GPU MUST both compute right at the same time, each in memory of its
    own.
    """
    second = played.report("second")
    judge_words(played, "second", second, {d.uuid for d in played.member("second").devices})
    judge_read(played, "reader", "same")


@check(
    id="ISO-009",
    force="MUST",
    level=4,
    source="ISO-9",
    scenario=neighbours,
    after=("CUDA-005",),
    needs=("cuda",),
)
def test_fresh_memory_holds_nothing_of_another_pod(played: Played) -> None:
    """Memory that a pod allocates MUST NOT hold words that another pod wrote on the same GPU."""
    for role in ("second", "third"):
        report = played.report(role)
        if not report.compute or any(found.foreign_words is None for found in report.compute):
            played.refuse(
                f"the {role} did not look for another pod's words: {report.error_text()}",
                expected="a count of words of another pod",
                observed="; ".join(told(found) for found in report.compute) or "nothing computed",
                blame=Blame.WORKLOAD,
            )
        for result in report.compute:
            if result.foreign_words:
                played.refuse(
                    f"fresh memory of the {role} held {result.foreign_words} words that another"
                    " pod had written",
                    expected="no word of another pod",
                    observed=told(result),
                )
