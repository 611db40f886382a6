"""CUDA IPC between pods of one claim, beyond the scenario that the project began with.

Nothing here needs a privilege: every pod is admitted under the restricted Pod Security Standard.
Importers have an own PID that differs from the exporter's, or CUDA takes the one for the other.
"""

from __future__ import annotations

from harness.checks.check import Part, check
from harness.scenario.evidence import Played
from harness.scenario.steps import FOLDER, Container, ScriptedPlay, scenario
from harness.scenario.workload_report import told
from harness.verdict import causes
from harness.verdict.finding import Blame, UnsupportedError
from suites.cuda.codes import OPEN, RECORDED, REFUSED, known
from suites.cuda.transfers import answer, attempt_of, judge_read, judge_seen, transfer_of

EXPORTER, IMPORTER = "exporter", "importer"
IMPORTERS_PID = 300
PEER_ACCESS_UNSUPPORTED = 217
OPENS_MEMORY = "cuIpcOpenMemHandle"
SMALL = str(8 << 20)
LARGE = 8 << 30
"""Bytes that a buffer must have to be called large."""
CONSUMERS = 3


# One handle, and everything that can be done to it


@scenario(devices=1)
def attempts(play: ScriptedPlay) -> None:
    """One pod exports memory in several ways; another tries to open all that it gets of it."""
    claim = play.claim()
    args = ["produce", "--nonce", play.nonce, "--bytes", SMALL, "--extras", "--log"]
    exporter = play.start(EXPORTER, [*args, *play.patience()], claim)
    offer = play.offer(exporter)
    importer = play.start(
        IMPORTER,
        ["probe", "--nonce", play.nonce, "--offer", offer],
        claim,
        own_pid=IMPORTERS_PID,
    )
    play.finish(importer, exporter)
    play.run.measured["attempts"] = importer.report.get()


@check(
    id="IPC-020",
    force="MUST",
    level=4,
    source="IPC-20",
    variants=tuple(Part(name, attempts) for name in OPEN),
    needs=("cuda",),
)
def test_what_another_pod_exports_can_be_opened(played: Played, form: Part) -> None:
    """Memory that a pod of the same claim exports MUST open, once, again, twice at the same time
    and many at once, and hold what was written.
    """
    attempt = attempt_of(played, IMPORTER, form.name)
    if attempt.code:
        error = {"code": attempt.code, "name": attempt.error}
        played.refuse(
            f"{form.name}: {attempt.function} gave {answer(attempt)}",
            expected=f"{attempt.function} succeeds",
            observed=f"{answer(attempt)} {attempt.note}".strip(),
            cause=causes.of_cuda(error),
        )
    if attempt.function == OPENS_MEMORY and not attempt.words:
        played.refuse(
            f"{form.name}: the memory opened and could not be read: {attempt.note}",
            expected="every word as it was written",
            observed=told(attempt),
        )
    if attempt.wrong_words:
        played.refuse(
            f"{form.name}: {attempt.wrong_words} of {attempt.words} words are wrong",
            expected="every word as it was written",
            observed=told(attempt),
        )


@check(
    id="IPC-021",
    force="MUST",
    level=4,
    source="IPC-21",
    variants=tuple(Part(name, attempts) for name in REFUSED),
    needs=("cuda",),
)
def test_what_cannot_be_shared_is_refused(played: Played, form: Part) -> None:
    """Opening freed memory, garbage, part of a handle, one's own handle, or with other flags than
    lazy peer access MUST be refused with an error, and leave the process usable.
    """
    attempt = attempt_of(played, IMPORTER, form.name)
    if attempt.code == 0:
        played.refuse(
            f"{form.name}: {attempt.function} opened what cannot be shared",
            expected=f"{attempt.function} gives an error",
            observed=told(attempt),
        )
    if attempt.broke_context:
        played.refuse(
            f"{form.name}: after {answer(attempt)} no call of CUDA worked any more",
            expected="a refused handle does no harm to the process",
            observed=told(attempt),
        )


@check(
    id="IPC-022",
    force="SHOULD",
    level=4,
    source="IPC-9, IPC-22",
    variants=tuple(Part(name, attempts) for name in (*OPEN, *REFUSED, *RECORDED)),
    needs=("cuda",),
)
def test_answers_are_those_measured_before(played: Played, form: Part) -> None:
    """CUDA SHOULD answer each kind of handle as it did when it was measured; another answer is news
    about the GPU driver, and no fault of the driver under test.
    """
    attempt = attempt_of(played, IMPORTER, form.name)
    version = played.report(IMPORTER).driver_version
    codes = known({**OPEN, **REFUSED, **RECORDED}[form.name], version)
    if attempt.code not in codes:
        seen = ", ".join(map(str, sorted(codes)))
        played.refuse(
            f"{form.name}: {answer(attempt)}, known are {seen}",
            expected=f"one of the codes {seen}",
            observed=f"with GPU driver {version or 'of unknown version'}: {told(attempt)}",
        )


# The exporter's end


@scenario(devices=1)
def exporters_end(play: ScriptedPlay) -> None:
    """Handles of a process that has exited and of one that was killed."""
    claim = play.claim()
    play.hold(claim)
    for how in ("exit", "kill"):
        role = f"{EXPORTER}-{how}"
        args = ["produce", "--nonce", play.nonce, "--bytes", SMALL, "--log", "--end", how]
        exporter = play.start(role, args, claim)
        offer = play.offer(exporter)
        play.await_end(exporter)
        importer = play.start(
            f"{IMPORTER}-{how}",
            ["probe", "--nonce", play.nonce, "--offer", offer, "--attempt", "open"],
            claim,
            own_pid=IMPORTERS_PID,
        )
        play.finish(importer)


@check(
    id="IPC-008",
    force="MUST",
    level=4,
    source="IPC-8",
    scenario=exporters_end,
    needs=("cuda",),
)
def test_memory_of_an_ended_process_does_not_open(played: Played) -> None:
    """Opening memory of a process that has exited or was killed MUST be refused with an error."""
    for how in ("exit", "kill"):
        attempt = attempt_of(played, f"{IMPORTER}-{how}", "open")
        if attempt.code == 0:
            played.refuse(
                f"memory of a process that had ended ({how}) was opened",
                expected="cuIpcOpenMemHandle gives an error",
                observed=told(attempt),
            )


@scenario(devices=1)
def exporter_gone(play: ScriptedPlay) -> None:
    """One pod: the importer starts first, and keeps the memory mapped when the exporter is killed.

    The two share a folder and nothing else, each in a PID namespace of its own.
    """
    way = ["--nonce", play.nonce, "--folder", FOLDER, *play.patience()]
    importer, exporter = play.start_pod(
        "pair",
        [
            Container(IMPORTER, ["consume", "--until-gone", *way], IMPORTERS_PID),
            Container(
                EXPORTER, ["produce", "--bytes", SMALL, "--end", "kill-when-rung", *way], own_pid=1
            ),
        ],
        play.claim(),
        folder=True,
    )
    play.finish(importer)
    play.await_end(exporter)


@check(
    id="IPC-016",
    force="MUST",
    level=4,
    source="IPC-16",
    scenario=exporter_gone,
    needs=("cuda",),
)
def test_mapped_memory_outlives_the_exporter(played: Played) -> None:
    """Memory that is mapped when its exporter is killed MUST still be there and unchanged, and the
    importer MUST NOT need to have started later than the exporter.
    """
    if played.member(IMPORTER).ended_by_suite:
        played.refuse(
            "the importer did not come to its end in time",
            expected="memory read before and after the exporter's end",
            observed=played.report(IMPORTER).error_text(),
            blame=Blame.WORKLOAD,
        )
    transfer = judge_read(played, IMPORTER, "same")
    after = transfer.after_gone
    if after is None:
        played.refuse(
            f"memory mapped before could not be read after its exporter's end: {answer(transfer)}",
            expected="every word right, before and after",
            observed=told(transfer),
            cause=causes.of_cuda(transfer.error),
        )
    if after.wrong_words or not after.words:
        played.refuse(
            f"{after.wrong_words} of {after.words} words mapped before were wrong after their"
            " exporter's end",
            expected="every word right, before and after",
            observed=told(transfer),
        )


# Several importers, several GPUs, much memory


@scenario(devices=1)
def several_importers(play: ScriptedPlay) -> None:
    """One exporter, several importers at once, each reads everything."""
    claim = play.claim()
    exporter = play.start(
        EXPORTER,
        [
            *("produce", "--nonce", play.nonce, "--bytes", SMALL, "--log"),
            *("--consumers", str(CONSUMERS), *play.patience()),
        ],
        claim,
    )
    offer = play.offer(exporter)
    args = ["consume", "--nonce", play.nonce, "--offer", offer, "--read-only"]
    importers = [
        member
        for index in range(CONSUMERS)
        for member in play.create_pod(
            f"{IMPORTER}-{index}",
            [Container(f"{IMPORTER}-{index}", [*args, "--index", str(index)], IMPORTERS_PID)],
            claim,
        )
    ]
    for importer in importers:
        play.await_start(importer, [claim])
    play.finish(*importers, exporter)


@check(
    id="IPC-017",
    force="MUST",
    level=4,
    source="IPC-1, SHARE-4",
    scenario=several_importers,
    needs=("cuda",),
)
def test_several_pods_open_the_same_memory(played: Played) -> None:
    """Several pods that use one claim MUST be able to open the same memory at the same time, each
    with every word right.
    """
    for index in range(CONSUMERS):
        judge_read(played, f"{IMPORTER}-{index}", "same")


@scenario(devices=1)
def large_memory(play: ScriptedPlay) -> None:
    """A buffer of 8 GiB, on GPUs that have memory of their own."""
    if play.run.place.hardware == "simulated":
        raise UnsupportedError("simulated GPUs have no memory but the machine's")
    claim = play.claim()
    args = ["produce", "--nonce", play.nonce, "--log", "--bytes", str(LARGE)]
    exporter = play.start(EXPORTER, [*args, *play.patience()], claim)
    offer = play.offer(exporter)
    importer = play.start(
        IMPORTER,
        ["consume", "--nonce", play.nonce, "--offer", offer],
        claim,
        own_pid=IMPORTERS_PID,
    )
    play.finish(importer, exporter)


@check(
    id="IPC-018",
    force="MUST",
    level=4,
    source="IPC-1",
    scenario=large_memory,
    needs=("cuda",),
)
def test_large_memory_is_shared_whole(played: Played) -> None:
    """A buffer of 8 GiB MUST be shared whole: every word of it right on both sides."""
    judge_read(played, IMPORTER, "same")
    judge_seen(played, EXPORTER, "same")


@scenario(devices=2)
def both_directions(play: ScriptedPlay) -> None:
    """Each of two GPUs exports once, and the other one imports."""
    claim = play.claim()
    play.hold(claim)
    for number, devices in enumerate((claim.devices, claim.devices[::-1]), 1):
        gpus = ["--gpus", ",".join(device.uuid for device in devices)]
        exporter = play.start(
            f"{EXPORTER}-{number}",
            ["produce", "--nonce", play.nonce, "--bytes", SMALL, "--log", *gpus, *play.patience()],
            claim,
        )
        offer = play.offer(exporter)
        importer = play.start(
            f"{IMPORTER}-{number}",
            ["consume", "--nonce", play.nonce, "--offer", offer, *gpus],
            claim,
            own_pid=IMPORTERS_PID,
        )
        play.finish(importer)
        if importer.report.get().verdict == "ok":
            play.finish(exporter)


@check(
    id="IPC-019",
    force="MUST",
    level=4,
    source="IPC-4",
    scenario=both_directions,
    needs=("cuda",),
)
def test_memory_is_shared_between_gpus_in_both_directions(played: Played) -> None:
    """Where two GPUs of a claim have peer access, memory on either MUST be readable and writable
    through the other.
    """
    for number in (1, 2):
        transfer = transfer_of(played, f"{IMPORTER}-{number}", "cross")
        refused = (transfer.error or {}).get("code") == PEER_ACCESS_UNSUPPORTED
        if transfer.can_access_peer is False and refused:
            raise UnsupportedError("the two GPUs have no peer access (CUDA error 217)")
        judge_read(played, f"{IMPORTER}-{number}", "cross")
        judge_seen(played, f"{EXPORTER}-{number}", "cross")
