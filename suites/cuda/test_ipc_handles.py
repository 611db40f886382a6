"""CUDA IPC between pods of one claim, beyond the scenario that the project began with.

Nothing here needs a privilege: every pod is admitted under the restricted Pod Security Standard.
Importers have an own PID that differs from the exporter's, or CUDA takes the one for the other.
"""

from __future__ import annotations

from harness.checks.check import Part, check
from harness.scenario.evidence import Evidence
from harness.scenario.pod_spec import FOLDER, ContainerSpec
from harness.scenario.report import describe
from harness.scenario.scenario import CUDA, scenario
from harness.scenario.steps import Steps
from harness.verdict import causes
from harness.verdict.finding import Blame
from suites.cuda.codes import OPEN, RECORDED, REFUSED, known
from suites.cuda.tables import shared_memory
from suites.cuda.transfers import (
    EXPORTER,
    IMPORTER,
    answer,
    attempt_of,
    judge_read,
    judge_seen,
)
from workload.result import Problem, Verdict

IMPORTERS_PID = 300
OPENS_MEMORY = "cuIpcOpenMemHandle"
SMALL = str(8 << 20)
LARGE = 8 << 30
"""Bytes that a buffer must have to be called large."""
CONSUMERS = 3


# One handle, and everything that can be done to it


@scenario(needs=CUDA, tables=shared_memory)
def attempts(steps: Steps) -> None:
    """One pod exports memory in several ways; another tries to open all that it gets of it."""
    claim = steps.claim()
    args = ["produce", "--nonce", steps.nonce, "--bytes", SMALL, "--extras", "--log"]
    exporter = steps.start(EXPORTER, [*args, *steps.patience()], claim)
    offer = steps.offer(exporter)
    importer = steps.start(
        IMPORTER,
        ["probe", "--nonce", steps.nonce, "--offer", offer],
        claim,
        own_pid=IMPORTERS_PID,
    )
    steps.finish(importer, exporter)


@check(
    id="IPC-020",
    level=4,
    source="IPC-20",
    forms=tuple(Part(name, attempts) for name in OPEN),
    after=("ISO-003",),
    judges_driver=False,
)
def test_what_another_pod_exports_can_be_opened(evidence: Evidence, form: Part) -> None:
    """Memory that a pod of the same claim exports MUST open, once, again, twice at the same time
    and many at once, and hold what was written.
    """
    attempt = attempt_of(evidence, IMPORTER, form.name)
    if attempt.code:
        error = Problem(form.name, "", attempt.code, attempt.error)
        evidence.fail(
            f"{form.name}: {attempt.function} gave {answer(attempt)}",
            expected=f"{attempt.function} succeeds",
            observed=f"{answer(attempt)} {attempt.note}".strip(),
            cause=causes.of_cuda(error),
        )
    if attempt.function == OPENS_MEMORY and not attempt.words:
        evidence.fail(
            f"{form.name}: the memory opened and could not be read: {attempt.note}",
            expected="every word as it was written",
            observed=describe(attempt),
        )
    if attempt.wrong_words:
        evidence.fail(
            f"{form.name}: {attempt.wrong_words} of {attempt.words} words are wrong",
            expected="every word as it was written",
            observed=describe(attempt),
        )


@check(
    id="IPC-021",
    level=4,
    source="IPC-21",
    forms=tuple(Part(name, attempts) for name in REFUSED),
    after=("ISO-003",),
    judges_driver=False,
)
def test_what_cannot_be_shared_is_refused(evidence: Evidence, form: Part) -> None:
    """Opening freed memory, garbage, part of a handle, one's own handle, or with other flags than
    lazy peer access MUST be refused with an error, and leave the process usable.
    """
    attempt = attempt_of(evidence, IMPORTER, form.name)
    if attempt.code == 0:
        evidence.fail(
            f"{form.name}: {attempt.function} opened what cannot be shared",
            expected=f"{attempt.function} gives an error",
            observed=describe(attempt),
        )
    if attempt.broke_context:
        evidence.fail(
            f"{form.name}: after {answer(attempt)} no call of CUDA worked any more",
            expected="a refused handle does no harm to the process",
            observed=describe(attempt),
        )


@check(
    id="IPC-022",
    level=4,
    source="IPC-9, IPC-22",
    forms=tuple(Part(name, attempts) for name in (*OPEN, *REFUSED, *RECORDED)),
    judges_driver=False,
)
def test_answers_are_those_measured_before(evidence: Evidence, form: Part) -> None:
    """CUDA SHOULD answer each kind of handle as it did when it was measured; another answer is news
    about the GPU driver, and no fault of the driver under test.
    """
    attempt = attempt_of(evidence, IMPORTER, form.name)
    version = evidence.report(IMPORTER).driver_version
    codes = known({**OPEN, **REFUSED, **RECORDED}[form.name], version)
    if attempt.code not in codes:
        seen = ", ".join(map(str, sorted(codes)))
        evidence.fail(
            f"{form.name}: {answer(attempt)}, known are {seen}",
            expected=f"one of the codes {seen}",
            observed=f"with GPU driver {version or 'of unknown version'}: {describe(attempt)}",
        )


# The exporter's end


@scenario(needs=CUDA)
def exporters_end(steps: Steps) -> None:
    """Handles of a process that has exited and of one that was killed."""
    claim = steps.claim()
    steps.hold(claim)
    for how in ("exit", "kill"):
        role = f"{EXPORTER}-{how}"
        args = ["produce", "--nonce", steps.nonce, "--bytes", SMALL, "--log", "--end", how]
        exporter = steps.start(role, args, claim)
        offer = steps.offer(exporter)
        steps.await_end(exporter)
        importer = steps.start(
            f"{IMPORTER}-{how}",
            ["probe", "--nonce", steps.nonce, "--offer", offer, "--attempt", "open"],
            claim,
            own_pid=IMPORTERS_PID,
        )
        steps.finish(importer)


@check(
    id="IPC-008", level=4, source="IPC-8", scenario=exporters_end, after=("SHARE-013", "ISO-003")
)
def test_memory_of_an_ended_process_does_not_open(evidence: Evidence) -> None:
    """Opening memory of a process that has exited or was killed MUST be refused with an error."""
    for how in ("exit", "kill"):
        attempt = attempt_of(evidence, f"{IMPORTER}-{how}", "open")
        if attempt.code == 0:
            evidence.fail(
                f"memory of a process that had ended ({how}) was opened",
                expected="cuIpcOpenMemHandle gives an error",
                observed=describe(attempt),
            )


@scenario(needs=CUDA)
def exporter_gone(steps: Steps) -> None:
    """One pod: the importer starts first, and keeps the memory mapped when the exporter is killed.

    The two share a folder and nothing else, each in a PID namespace of its own.
    """
    way = ["--nonce", steps.nonce, "--folder", FOLDER, *steps.patience()]
    importer, exporter = steps.start_pod(
        "pair",
        [
            ContainerSpec(IMPORTER, ["consume", "--until-gone", *way], IMPORTERS_PID),
            ContainerSpec(
                EXPORTER, ["produce", "--bytes", SMALL, "--end", "kill-when-rung", *way], own_pid=1
            ),
        ],
        steps.claim(),
        folder=True,
    )
    steps.finish(importer)
    steps.await_end(exporter)


@check(
    id="IPC-016", level=4, source="IPC-16", scenario=exporter_gone, after=("ISO-003", "SHARE-001")
)
def test_mapped_memory_outlives_the_exporter(evidence: Evidence) -> None:
    """Memory that is mapped when its exporter is killed MUST still be there and unchanged, and the
    importer MUST NOT need to have started later than the exporter.
    """
    if evidence.container(IMPORTER).ended_by_suite:
        evidence.fail(
            "the importer did not come to its end in time",
            expected="memory read before and after the exporter's end",
            observed=evidence.report(IMPORTER).error_text(),
            blame=Blame.WORKLOAD,
        )
    transfer = judge_read(evidence, IMPORTER, "same")
    after = transfer.after_gone
    if after is None:
        evidence.fail(
            f"memory mapped before could not be read after its exporter's end: {answer(transfer)}",
            expected="every word right, before and after",
            observed=describe(transfer),
            cause=causes.of_cuda(transfer.error),
        )
    if after.wrong_words or not after.words:
        evidence.fail(
            f"{after.wrong_words} of {after.words} words mapped before were wrong after their"
            " exporter's end",
            expected="every word right, before and after",
            observed=describe(transfer),
        )


# Several importers, several GPUs, much memory


@scenario(needs=CUDA)
def several_importers(steps: Steps) -> None:
    """One exporter, several importers at once, each reads everything."""
    claim = steps.claim()
    exporter = steps.start(
        EXPORTER,
        [
            *("produce", "--nonce", steps.nonce, "--bytes", SMALL, "--log"),
            *("--consumers", str(CONSUMERS), *steps.patience()),
        ],
        claim,
    )
    offer = steps.offer(exporter)
    args = ["consume", "--nonce", steps.nonce, "--offer", offer, "--read-only"]
    importers = [
        container
        for index in range(CONSUMERS)
        for container in steps.create_pod(
            f"{IMPORTER}-{index}",
            [ContainerSpec(f"{IMPORTER}-{index}", [*args, "--index", str(index)], IMPORTERS_PID)],
            claim,
        )
    ]
    steps.await_start(*importers)
    steps.finish(*importers, exporter)


@check(
    id="IPC-017", level=4, source="IPC-1, SHARE-4", scenario=several_importers, after=("ISO-003",)
)
def test_several_pods_open_the_same_memory(evidence: Evidence) -> None:
    """Several pods that use one claim MUST be able to open the same memory at the same time, each
    with every word right.
    """
    for index in range(CONSUMERS):
        judge_read(evidence, f"{IMPORTER}-{index}", "same")


@scenario(needs=CUDA)
def large_memory(steps: Steps) -> None:
    """A buffer of 8 GiB, on GPUs that have memory of their own."""
    claim = steps.claim()
    args = ["produce", "--nonce", steps.nonce, "--log", "--bytes", str(LARGE)]
    exporter = steps.start(EXPORTER, [*args, *steps.patience()], claim)
    offer = steps.offer(exporter)
    importer = steps.start(
        IMPORTER,
        ["consume", "--nonce", steps.nonce, "--offer", offer],
        claim,
        own_pid=IMPORTERS_PID,
    )
    steps.finish(importer, exporter)


@check(
    id="IPC-018",
    level=4,
    source="IPC-1",
    scenario=large_memory,
    after=("ISO-003",),
    hardware_only=True,
)
def test_large_memory_is_shared_whole(evidence: Evidence) -> None:
    """A buffer of 8 GiB MUST be shared whole: every word of it right on both sides."""
    judge_read(evidence, IMPORTER, "same")
    judge_seen(evidence, EXPORTER, "same")


@scenario(needs=CUDA, devices=2)
def both_directions(steps: Steps) -> None:
    """Each of two GPUs exports once, and the other one imports."""
    claim = steps.claim()
    steps.hold(claim)
    for number, devices in enumerate((claim.devices, claim.devices[::-1]), 1):
        gpus = ["--gpus", ",".join(device.uuid for device in devices)]
        exporter = steps.start(
            f"{EXPORTER}-{number}",
            [
                "produce",
                "--nonce",
                steps.nonce,
                "--bytes",
                SMALL,
                "--log",
                *gpus,
                *steps.patience(),
            ],
            claim,
        )
        offer = steps.offer(exporter)
        importer = steps.start(
            f"{IMPORTER}-{number}",
            ["consume", "--nonce", steps.nonce, "--offer", offer, *gpus],
            claim,
            own_pid=IMPORTERS_PID,
        )
        steps.finish(importer)
        if importer.report.get().verdict is Verdict.OK:
            steps.finish(exporter)


@check(
    id="IPC-019", level=4, source="IPC-4", scenario=both_directions, after=("SHARE-013", "ISO-003")
)
def test_memory_is_shared_between_gpus_in_both_directions(evidence: Evidence) -> None:
    """Where two GPUs of a claim have peer access, memory on either MUST be readable and writable
    through the other.
    """
    for number in (1, 2):
        judge_read(evidence, f"{IMPORTER}-{number}", "cross")
        judge_seen(evidence, f"{EXPORTER}-{number}", "cross")
