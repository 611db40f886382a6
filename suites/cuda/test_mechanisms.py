"""GPU memory shared by descriptors and fabric handles, between containers of one claim.

One pod that the restricted Pod Security Standard admits; each container has a PID namespace of its
own. Descriptors go over a Unix socket in a folder of the pod. Legacy IPC, which goes by the same
folder here, is judged elsewhere: of it there are only the table's cells.
"""

from __future__ import annotations

from harness.checks.check import Part, check
from harness.cluster.inventory import results
from harness.scenario.evidence import CHANNEL, Evidence
from harness.scenario.pod_spec import FOLDER, ContainerSpec
from harness.scenario.report import describe
from harness.scenario.scenario import CUDA, scenario
from harness.scenario.steps import Steps
from harness.verdict import causes
from harness.verdict.finding import UnsupportedError
from suites.cuda.mechanisms import (
    ENDING,
    NO_CLASS,
    ONLY_IN_CLIQUES,
    channels_of,
    judge_right,
    tried,
)
from suites.cuda.tables import EQUAL, STAYING, STRANGER, shared_memory
from suites.cuda.transfers import EXPORTER, IMPORTER, answer
from workload.result import Mechanism

IMPORTERS_PID, ENDING_PID = 300, 301
BYTES = str(4 << 20)
KNOWN = {Mechanism.DESCRIPTOR: 101, Mechanism.FABRIC: 801}
"""What CUDA said where the exporter's GPU was missing (580.159.04, H200); at pools it crashes."""


@scenario(needs=CUDA, most=2, uses=(Steps.channels,), tables=shared_memory)
def mechanisms(steps: Steps) -> None:
    """One exporter, and importers: of another own PID, of the same, without the exporter's GPU.

    Beside them is an exporter that is killed when its importer has opened all that it can.
    """
    claim = steps.claim()
    way = ["--folder", FOLDER, *steps.patience()]
    first, second = ([*way, "--nonce", steps.nonce + suffix] for suffix in ("", "-end"))
    strangers = [
        ContainerSpec(
            *(STRANGER, ["borrow", "--role", STRANGER, *first], IMPORTERS_PID),
            requests=claim.requests[1:],
            waits=False,  # it does not have all GPUs of the claim
        )
    ][: len(claim.requests) - 1]
    consumers = ["--consumers", str(2 + len(strangers))]
    exporter, ending, *importers = steps.start_pod(
        "pod",
        [
            ContainerSpec(EXPORTER, ["lend", "--bytes", BYTES, *consumers, *first], own_pid=1),
            ContainerSpec(
                *(ENDING, ["lend", "--bytes", BYTES, "--end", "kill", *second], ENDING_PID)
            ),
            ContainerSpec(IMPORTER, ["borrow", "--role", IMPORTER, *first], IMPORTERS_PID),
            ContainerSpec(EQUAL, ["borrow", "--role", EQUAL, *first], own_pid=1),
            ContainerSpec(
                *(STAYING, ["borrow", "--role", STAYING, "--until-gone", *second], IMPORTERS_PID)
            ),
            *strangers,
        ],
        claim,
        *steps.channels(),
        folder=True,
    )
    steps.finish(*importers, exporter)
    steps.await_end(ending)


FORMS = tuple(Part(one, mechanisms) for one in Mechanism if one is not Mechanism.IPC)
REFUSED = tuple(form for form in FORMS if form.name in KNOWN)
LATE = tuple(form for form in FORMS if form.name != Mechanism.POOL_FABRIC)
"""Those that an importer opens after the exporter's end: at a pool's fabric handle CUDA crashes."""


@check(id="IPC-035", level=4, source="IPC-7", scenario=mechanisms, judges_driver=False)
def test_a_claim_brings_its_channels_and_no_other(evidence: Evidence) -> None:
    """A container MUST have the device nodes of as many IMEX channels as its claim has."""
    evidence.container(EXPORTER)  # else nothing has come as far as to claim a channel
    if CHANNEL not in evidence.claims:
        raise UnsupportedError(NO_CLASS)
    found = {role: channels_of(evidence.report(role)) for role in (EXPORTER, IMPORTER)}
    given = results(evidence.claim(CHANNEL).allocated.get())
    for role, channels in found.items():
        if not channels and {one["driver"] for one in given} == {ONLY_IN_CLIQUES}:
            raise UnsupportedError(
                f"{ONLY_IN_CLIQUES} brings channels on nodes of an NVLink clique only"
            )
        if len(channels) != len(given):
            devices = ", ".join(f"{one['device']} of {one['driver']}" for one in given)
            evidence.fail(
                f"the {role} has {len(channels)} IMEX channels, its claim {len(given)}",
                expected=f"device nodes of {devices}",
                observed=", ".join(channels) or "none",
            )


@check(
    id="IPC-023",
    level=4,
    source="IPC-6, IPC-7, IPC-9",
    forms=FORMS,
    after=("SHARE-001", "ISO-003"),
    judges_driver=False,
)
def test_shared_memory_opens_in_another_container(evidence: Evidence, form: Part) -> None:
    """Memory shared by descriptor or fabric handle MUST open in another container of the claim on
    the same GPU, without any privilege, and hold what was written.
    """
    judge_right(evidence, IMPORTER, "same", form)


@check(
    id="IPC-024",
    level=4,
    source="IPC-6, IPC-7, IPC-9",
    forms=FORMS,
    after=("IPC-023",),
    judges_driver=False,
)
def test_shared_memory_opens_on_the_other_gpu(evidence: Evidence, form: Part) -> None:
    """Memory shared by descriptor or fabric handle MUST open on another GPU of the claim that has
    peer access to it, and hold what was written.
    """
    judge_right(evidence, IMPORTER, "cross", form)


@check(
    id="IPC-025",
    level=4,
    source="IPC-6, IPC-7, IPC-9",
    forms=FORMS,
    after=("IPC-023",),
    judges_driver=False,
)
def test_the_exporter_sees_what_importers_write(evidence: Evidence, form: Part) -> None:
    """Every word that importers write to memory shared by descriptor or fabric handle MUST reach
    the exporter.
    """
    transfer = tried(evidence, IMPORTER, "same", form)
    seen = [one for one in evidence.report(EXPORTER).seen if one.mechanism == form.name]
    mine = [one for one in seen if one.writer == IMPORTER]
    if transfer.wrote and not sum(one.words for one in mine):
        evidence.fail(
            "the exporter saw nothing of what the importer wrote",
            expected="every word as it was written",
            observed="\n".join(map(describe, seen)) or "nothing",
        )
    for one in seen:
        if one.wrong_words:
            evidence.fail(
                f"the exporter saw {one.wrong_words} of {one.words} words wrong that the"
                f" {one.writer} wrote",
                expected="every word as it was written",
                observed=describe(one),
            )


@check(
    id="IPC-026",
    level=4,
    source="IPC-6, IPC-7, IPC-9",
    forms=FORMS,
    after=("IPC-023",),
    judges_driver=False,
)
def test_equal_own_pids_are_no_obstacle(evidence: Evidence, form: Part) -> None:
    """Memory shared by descriptor or fabric handle MUST open where exporter and importer have the
    same own PID, unlike that of legacy IPC.
    """
    one, other = (evidence.report(role).process.own_pid for role in (EXPORTER, EQUAL))
    if one != other:
        raise UnsupportedError(f"the two processes have different own PIDs, {one} and {other}")
    judge_right(evidence, EQUAL, "same", form)


@check(
    id="IPC-027",
    level=4,
    source="IPC-10",
    forms=REFUSED,
    after=("IPC-023",),
    judges_driver=False,
)
def test_memory_of_a_gpu_that_is_not_given_does_not_open(evidence: Evidence, form: Part) -> None:
    """Memory shared by descriptor or fabric handle MUST NOT open in a container that was not given
    the GPU that it is on.
    """
    transfer = tried(evidence, STRANGER, "cross", form)
    if transfer.opened:
        evidence.fail(
            "memory opened in a container that was not given its GPU",
            expected="CUDA gives an error",
            observed=describe(transfer),
        )


@check(
    id="IPC-028",
    level=4,
    source="IPC-9, IPC-10",
    forms=REFUSED,
    after=("IPC-027",),
    judges_driver=False,
)
def test_refusals_are_those_measured_before(evidence: Evidence, form: Part) -> None:
    """CUDA SHOULD refuse memory of a GPU that the importer does not have as it did when it was
    measured; another answer is news about the GPU driver.
    """
    transfer = tried(evidence, STRANGER, "cross", form)
    code = transfer.error.code if transfer.error else None
    if code != KNOWN[Mechanism(form.name)]:
        evidence.fail(
            f"{answer(transfer)}, known is {KNOWN[Mechanism(form.name)]}",
            expected=f"code {KNOWN[Mechanism(form.name)]}",
            observed=describe(transfer),
        )


@check(
    id="IPC-029",
    level=4,
    source="IPC-16",
    forms=FORMS,
    after=("IPC-023",),
    judges_driver=False,
)
def test_open_memory_outlives_its_killed_exporter(evidence: Evidence, form: Part) -> None:
    """Memory shared by descriptor or fabric handle that is open when its exporter is killed MUST
    stay, unchanged.
    """
    transfer = judge_right(evidence, STAYING, "same", form)
    after = transfer.after_gone
    if after is None or after.wrong_words or not after.words:
        found = f"{after.wrong_words} of {after.words} words wrong" if after else answer(transfer)
        evidence.fail(
            f"memory that was open did not outlive its exporter: {found}",
            expected="every word right, before and after",
            observed=describe(transfer),
            cause=causes.of_cuda(transfer.error),
        )


@check(
    id="IPC-030",
    level=4,
    source="IPC-23",
    forms=LATE,
    after=("IPC-029",),
    judges_driver=False,
)
def test_what_opens_after_the_exporters_end_is_intact(evidence: Evidence, form: Part) -> None:
    """Memory that is opened when its exporter was killed MUST hold what was written, or be refused
    with an error.
    """
    transfer = tried(evidence, STAYING, "late", form)
    if transfer.opened and (transfer.wrong_words != 0 or not transfer.words):
        evidence.fail(
            f"memory opened after its exporter's end: {transfer.wrong_words} of"
            f" {transfer.words} words wrong",
            expected="every word right, or an error",
            observed=describe(transfer),
            cause=causes.of_cuda(transfer.error),
        )
