"""Kernels on GPUs of a claim: right results, and nobody else's memory."""

from __future__ import annotations

from fixtures.account import Played
from fixtures.scripted import ScriptedPlay, scenario
from harness.check import EVERY_DEVICE, check
from harness.finding import short_uuid
from harness.workload_report import WorkloadReport

SIMULATED_BYTES = str(64 << 20)
SHARE_OF_FREE_MEMORY = "25%"


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
    source="behaviours ISO-3; CUDA: kernels on several devices of one process",
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
        played.refuse(
            f"the {role} computed on {len(done)} of {len(wanted)} GPUs: {report.error_text()}",
            expected=", ".join(sorted(wanted)),
            observed=f"{', '.join(sorted(done)) or 'no GPU'}; {report.error_text()}",
        )
    for result in report.compute:
        if result.wrong_words or not result.words:
            played.refuse(
                f"{result.wrong_words} of {result.words} words are wrong on"
                f" {short_uuid(result.uuid)}, the first at {result.first_wrong}",
                expected="every word right",
                observed=str(result),
            )


@scenario(devices=1)
def neighbours(play: ScriptedPlay) -> None:
    """Two pods on one GPU at once: the second looks for the first's words in memory of its own."""
    claim = play.claim()
    first = play.start("first", ["produce", "--nonce", play.nonce, "--log"], claim)
    offer = play.offer(first)
    second = play.start(
        "second",
        ["compute", "--nonce", f"not-{play.nonce}", "--foreign", play.nonce, *buffer(play)],
        claim,
    )
    play.finish(second)
    reader = play.start(
        "reader", ["consume", "--nonce", play.nonce, "--offer", offer], claim, own_pid=300
    )
    play.finish(reader, first)


@check(
    id="CUDA-005",
    force="MUST",
    level=4,
    source="behaviours SHARE-4; CUDA: processes have address spaces of their own",
    scenario=neighbours,
    needs=("cuda",),
)
def test_two_pods_compute_on_one_gpu_at_once(played: Played) -> None:
    """Two pods that share a GPU MUST both compute right at the same time, each in memory of its
    own.
    """
    second = played.report("second")
    judge_words(played, "second", second, {d.uuid for d in played.member("second").devices})
    reader = played.report("reader").transfer("same")
    if reader is None or reader.wrong_words != 0:
        played.refuse(
            "the first pod's memory was not as it had left it after another pod computed",
            expected="every word as the first pod wrote it",
            observed=str(reader),
        )


@check(
    id="ISO-009",
    force="MUST",
    level=4,
    source="behaviours ISO-4: no residue of another process's memory",
    scenario=neighbours,
    after=("CUDA-005",),
    needs=("cuda",),
)
def test_fresh_memory_holds_nothing_of_another_pod(played: Played) -> None:
    """Memory that a pod allocates MUST NOT hold words that another pod wrote on the same GPU."""
    for result in played.report("second").compute:
        if result.foreign_words is None or result.foreign_words:
            played.refuse(
                f"fresh memory held {result.foreign_words} words that another pod had written",
                expected="no word of another pod",
                observed=str(result),
            )
