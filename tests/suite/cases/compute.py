"""Kernels on GPUs of a claim: good evidence, and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.scenario.evidence import Evidence
from harness.verdict.finding import Blame
from tests.suite.cases import Case
from tests.suite.made import (
    DEVICES,
    NO_GPU,
    WORDS,
    computed,
    error,
    made,
    not_opened,
    report,
    says,
    transfer,
    transfers,
)
from workload.result import Verdict

ONE = DEVICES[0]


def _compute(number: int) -> Callable[[], Evidence]:
    done = tuple(computed(on, foreign_words=None) for on in DEVICES[:number])
    return lambda: made("compute", compute=report(*DEVICES[:number], compute=done))


def _neighbours() -> Evidence:
    return made(
        "neighbours",
        first=report(ONE),
        second=report(ONE, compute=(computed(ONE),)),
        reader=report(ONE, transfers=(transfer(wrote=False),)),
        third=report(ONE, compute=(computed(ONE),)),
    )


GOOD: Mapping[str, Callable[[], Evidence]] = {
    "compute-on-one": _compute(1),
    "compute-on-two": _compute(2),
    "neighbours": _neighbours,
}


CASES = (
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
        says("compute", compute=(), verdict=Verdict.CUDA_ERROR, error=error(2)),
        r"the kernels of the compute ran on 0 of 1 GPU: CUDA_ERROR_UNKNOWN: refused with 2$",
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
        rf"the reader read 5 of {WORDS} words wrong on the same GPU$",
    ),
    Case(
        "CUDA-005",
        "the first's memory does not open",
        transfers("reader", not_opened(1)),
        r"the reader could not open the memory on the same GPU: CUDA_ERROR_INVALID_VALUE \(1\)$",
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
)
