"""How fast shared memory is, whether it comes back, and whether streams signal through it.

One pod that the restricted Pod Security Standard admits; nothing else uses its GPUs, so what is
free of their memory tells of it alone. Speeds are by CUDA events and judged on hardware only:
simulated GPUs have no memory but the machine's. No number is a floor unless it is a ratio of two
measured in one process at the same time.
"""

from __future__ import annotations

from harness.checks.check import Part, check
from harness.scenario.evidence import Evidence
from harness.scenario.pod_spec import FOLDER, ContainerSpec
from harness.scenario.report import Report, describe
from harness.scenario.scenario import CUDA, scenario
from harness.scenario.steps import Steps
from harness.verdict import causes
from harness.verdict.finding import Blame, UnsupportedError
from suites.cuda.mechanisms import NOT_SUPPORTED, tried
from suites.cuda.tables import shared_memory
from suites.cuda.transfers import EXPORTER, IMPORTER
from workload.result import Mechanism

BYTES = 512 << 20
SIMULATED_BYTES = 4 << 20
ROUNDS = 50
LEAST_OF_LOCAL = 0.95
LEAST_OF_PLAIN = 0.90


@scenario(needs=CUDA, most=2, uses=(Steps.channels,), tables=shared_memory)
def bandwidth(steps: Steps) -> None:
    """One container shares memory by every mechanism, another measures each beside its own."""
    size = str(SIMULATED_BYTES if steps.simulated else BYTES)
    way = ["--folder", FOLDER, "--nonce", steps.nonce, *steps.patience()]
    measuring = ["borrow", "--role", IMPORTER, "--measure", "--rounds", str(ROUNDS), *way]
    exporter, importer = steps.start_pod(
        "pod",
        [
            ContainerSpec(EXPORTER, ["lend", "--bytes", size, *way], own_pid=1),
            ContainerSpec(IMPORTER, measuring, own_pid=300),
        ],
        steps.claim(),
        *steps.channels(),
        folder=True,
    )
    steps.finish(importer, exporter)


FORMS = tuple(Part(one, bandwidth) for one in Mechanism)
SIGNALLING = tuple(one for one in FORMS if not one.name.startswith("pool"))
"""CUDA does not write values to memory of a pool, not even its exporter's own: error 1."""


def judge_ratio(evidence: Evidence, form: Part, path: str, base: str, least: float) -> None:
    """Each way and method of a path in relation to the same on another path."""
    tried(evidence, IMPORTER, path, form)
    report = evidence.report(IMPORTER)
    if not [one for one in report.bandwidth if one.mechanism == form.name]:
        evidence.fail(
            f"the importer measured nothing: {report.error_text()}",
            expected="speeds of memory",
            observed=report.error_text(),
            blame=Blame.WORKLOAD,
            cause=causes.of_cuda(report.error),
        )
    compared = 0
    for way, method, gbps, other in pairs(report, form.name, path, base):
        compared += 1
        if gbps < least * other:
            evidence.fail(
                f"{way} by {method}, {path} memory: {gbps:.0f} GB/s, {gbps / other:.1%} of the"
                f" {other:.0f} GB/s of {base} memory",
                expected=f"at least {least:.0%}",
                observed="\n".join(describe(entry) for entry in report.bandwidth),
            )
    if not compared:
        raise UnsupportedError(f"{path} and {base} memory were not both to be had")


def pairs(
    report: Report, mechanism: str, path: str, base: str
) -> list[tuple[str, str, float, float]]:
    """Direction, method, and the speeds of two paths, as far as both were measured."""
    speeds = {
        (b.path, b.direction, b.method): b.gbps
        for b in report.bandwidth
        if b.mechanism == mechanism
    }
    return [
        (way, method, gbps, speeds[(base, way, method)])
        for (where, way, method), gbps in speeds.items()
        if where == path and (base, way, method) in speeds
    ]


@check(
    id="PERF-001",
    level=4,
    source="PERF-1",
    forms=FORMS,
    after=("IPC-023", "ISO-003"),
    hardware_only=True,
)
def test_imported_memory_is_as_fast_as_own_memory(evidence: Evidence, form: Part) -> None:
    """Reading and writing imported memory on the GPU that holds it SHOULD be at least 95 % as fast
    as memory of one's own.
    """
    judge_ratio(evidence, form, "same", "local", LEAST_OF_LOCAL)


@check(
    id="PERF-002",
    level=4,
    source="PERF-2",
    forms=FORMS,
    after=("IPC-024", "ISO-003"),
    hardware_only=True,
)
def test_imported_memory_of_a_peer_is_as_fast_as_a_peer_copy(
    evidence: Evidence, form: Part
) -> None:
    """Reading and writing imported memory of another GPU SHOULD be at least 90 % as fast as copies
    between two GPUs of one process.
    """
    judge_ratio(evidence, form, "cross", "plain", LEAST_OF_PLAIN)


@check(id="IPC-033", level=4, source="IPC-24", forms=FORMS, after=("IPC-023",), judges_driver=False)
def test_memory_comes_back_when_both_ends_let_go(evidence: Evidence, form: Part) -> None:
    """Memory that was shared MUST be free again once exporter and importer have let go of it: after
    50 rounds no more is missing than one round takes.
    """
    tried(evidence, IMPORTER, "same", form)
    devices = evidence.container(EXPORTER).devices
    if any(one.is_shareable for one in devices):
        raise UnsupportedError("claims share this GPU, and others change how much of it is free")
    report = evidence.report(EXPORTER)
    done = next((one for one in report.rounds if one.mechanism == form.name), None)
    if done is None or done.times < ROUNDS:
        problem = (done.error if done is not None else None) or report.error
        evidence.fail(
            f"memory was shared and given back {done.times if done else 0} of {ROUNDS} times:"
            f" {problem.name or problem.text if problem else report.verdict}",
            expected=f"{ROUNDS} rounds",
            observed=problem.sentence() if problem else report.error_text(),
            cause=causes.of_cuda(problem),
        )
    if done.kept > done.bytes:
        evidence.fail(
            f"{done.kept >> 20} MiB did not come back of {ROUNDS} times {done.bytes >> 20} MiB",
            expected=f"{done.free_before} bytes free, as before",
            observed=describe(done),
        )


@check(
    id="IPC-034",
    level=4,
    source="IPC-25",
    forms=SIGNALLING,
    after=("IPC-033",),
    judges_driver=False,
)
def test_streams_signal_through_shared_memory(evidence: Evidence, form: Part) -> None:
    """What a stream of one process writes to shared memory by cuStreamWriteValue32 MUST let go on
    a stream of the other that waits for it by cuStreamWaitValue32.
    """
    tried(evidence, IMPORTER, "same", form)
    for waiter, writer in ((EXPORTER, IMPORTER), (IMPORTER, EXPORTER)):
        report = evidence.report(waiter)
        signal = next((one for one in report.signals if one.mechanism == form.name), None)
        error = signal.error if signal is not None else report.error
        if error is not None and error.code == NOT_SUPPORTED:
            raise UnsupportedError("this GPU or its driver has no signals between streams")
        if signal is None or not signal.came:
            why = f": {error.name or error.text}" if error is not None else ""
            evidence.fail(
                f"the {waiter}'s stream never saw the {writer}'s signal{why}",
                expected="the stream goes on",
                observed="\n".join(map(describe, report.signals)) or report.error_text(),
                cause=causes.of_cuda(error),
            )
