"""Two pods share one claim of GPUs and pass GPU memory between each other by CUDA IPC.

The scenario is that of `suites.sharing.test_shared_claim`, in the same forms.
"""

from __future__ import annotations

from harness.checks.check import check
from harness.scenario.evidence import Evidence
from harness.scenario.report import describe
from harness.verdict import causes
from harness.verdict.finding import Blame, UnmetError
from suites.cuda.transfers import answer, judge_opened, judge_read, transfer_of, words_of
from suites.sharing.shared_claim import (
    CONSUMER,
    EQUAL_PIDS_FORM,
    PRODUCER,
    SHARING,
    SHARING_TWO,
    SharedClaim,
    both,
    consumer_opens,
)
from workload.result import INVALID_CONTEXT

PATHS = ("same", "cross")


@check(
    id="IPC-014", level=4, source="IPC-14", forms=SHARING, after=("ISO-003",), judges_driver=False
)
def test_own_pids_of_the_two_processes_differ(evidence: Evidence, form: SharedClaim) -> None:
    """Exporter and importer MUST see different PIDs of themselves, or CUDA takes the one for the
    other; this is for the suite to arrange, not for the driver.
    """
    if not consumer_opens(evidence):
        raise UnmetError("the producer offered nothing, so nothing was imported")
    pids = {one.role: one.report.get().process.own_pid for one in both(evidence)}
    if len(set(pids.values())) != len(pids):
        evidence.fail(
            f"both processes have the PID {pids['producer']} for themselves",
            expected="two different own PIDs",
            observed=", ".join(f"{role} {pid}" for role, pid in pids.items()),
            cause=causes.EQUAL_OWN_PIDS,
        )


@check(id="IPC-001", level=4, source="IPC-1", forms=SHARING, after=("ISO-003", "IPC-014"))
def test_memory_opens_on_the_same_gpu(evidence: Evidence, form: SharedClaim) -> None:
    """A pod MUST be able to open memory that another pod with the same claim exports, on the GPU
    that holds it.
    """
    report = evidence.report(PRODUCER)
    if report.offer is None:
        evidence.fail(
            f"the producer could not export its memory: {report.error_text()}",
            expected="an exported handle",
            observed=report.error_text(),
            cause=causes.of_cuda(report.error),
        )
    judge_opened(evidence, CONSUMER, "same", exporter=PRODUCER)


@check(id="IPC-011", level=4, source="IPC-1", forms=SHARING, after=("IPC-001",))
def test_whole_buffer_arrives_on_the_same_gpu(evidence: Evidence, form: SharedClaim) -> None:
    """Every word that one pod wrote MUST be read by the other on the same GPU."""
    judge_read(evidence, CONSUMER, "same", evidence.report(PRODUCER).offer)


@check(
    id="IPC-004",
    level=4,
    source="IPC-4",
    forms=SHARING_TWO,
    after=("ISO-003", "IPC-014", "IPC-001"),
)
def test_memory_opens_on_the_other_gpu(evidence: Evidence, form: SharedClaim) -> None:
    """A pod MUST be able to open memory that another pod with the same claim exports, on the
    claim's other GPU, if the two GPUs have peer access.
    """
    judge_opened(evidence, CONSUMER, "cross", exporter=PRODUCER)


@check(id="IPC-012", level=4, source="IPC-4", forms=SHARING_TWO, after=("IPC-004", "IPC-011"))
def test_whole_buffer_arrives_on_the_other_gpu(evidence: Evidence, form: SharedClaim) -> None:
    """Every word that one pod wrote on one GPU MUST be read by the other pod on the other GPU."""
    judge_read(evidence, CONSUMER, "cross", evidence.report(PRODUCER).offer)


@check(id="IPC-013", level=4, source="IPC-1, IPC-4", forms=SHARING, after=("IPC-011", "IPC-012"))
def test_producer_sees_what_the_consumer_wrote(evidence: Evidence, form: SharedClaim) -> None:
    """What the importing pod writes into the shared memory MUST be seen by the exporting pod."""
    consumer, producer = evidence.report(CONSUMER), evidence.report(PRODUCER)
    wrote = {transfer.path for transfer in consumer.transfers if transfer.wrote}
    buffer = words_of(producer.offer) if producer.offer else 0
    # With one path (one GPU, or no peer access) the consumer writes half of the buffer.
    least = buffer if len(wrote) == len(PATHS) else buffer // 2
    expected = f"the writes over {' and '.join(sorted(wrote))} in {least} words, none wrong"
    for seen in producer.seen:
        if seen.wrong_words:
            evidence.fail(
                f"producer saw {seen.wrong_words} of {seen.words} words wrong that"
                f" the consumer wrote, the first at {seen.first_wrong}",
                expected=expected,
                observed=describe(seen),
            )
    looked = {seen.path for seen in producer.seen}
    words = sum(seen.words for seen in producer.seen)
    if not wrote or looked != wrote or words < least:
        evidence.fail(
            f"producer did not see the consumer's write: {producer.error_text()}",
            expected=expected,
            observed=f"{words} words over {', '.join(sorted(looked)) or 'no path'};"
            f" producer: {producer.error_text()}; consumer: {consumer.error_text()}",
            cause=causes.of_cuda(producer.error),
        )


@check(id="IPC-002", level=4, source="IPC-2", forms=(EQUAL_PIDS_FORM,), after=("ISO-003",))
def test_equal_own_pids_are_refused_with_201(evidence: Evidence, form: SharedClaim) -> None:
    """A process that has the same PID for itself as the exporting one MUST be refused the memory
    with CUDA error 201, in whatever namespaces the two are: the numbers decide, no privilege does.
    """
    producer, consumer = evidence.report(PRODUCER), evidence.report(CONSUMER)
    offered = producer.offer.own_pid if producer.offer else producer.process.own_pid
    own = consumer.process.own_pid
    if not consumer_opens(evidence):
        evidence.fail(
            f"the producer offered nothing to open: {producer.error_text()}",
            expected="an exported handle",
            observed=producer.error_text(),
            cause=causes.of_cuda(producer.error),
        )
    if offered != own:
        evidence.fail(
            f"the own PIDs are {offered} and {own}, so nothing is shown by this",
            expected="equal own PIDs",
            observed=f"producer {offered}, consumer {own}",
            blame=Blame.SUITE,
        )
    expected = f"opening is refused with CUDA error {INVALID_CONTEXT} (invalid device context)"
    same = consumer.transfer("same")
    if same is not None and same.opened:
        evidence.fail(
            f"memory opened although both processes have the PID {offered} for themselves",
            expected=expected,
            observed="the handle was opened",
        )
    transfer = transfer_of(evidence, CONSUMER, "same")
    error = transfer.error or consumer.error
    if error is None or error.code != INVALID_CONTEXT:
        said = answer(transfer) if transfer.error else consumer.error_text()
        evidence.fail(
            f"opening failed with {said}, not with {INVALID_CONTEXT}",
            expected=expected,
            observed=consumer.error_text(),
            cause=causes.of_cuda(error),
        )
