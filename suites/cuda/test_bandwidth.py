"""How fast shared memory is, by CUDA events: recorded everywhere, judged on hardware only.

Simulated GPUs have no memory but the machine's, so nothing is judged there. No number is a floor
unless it is a ratio of two measured in one process at the same time.
"""

from __future__ import annotations

from harness.checks.check import check
from harness.scenario.evidence import Evidence
from harness.scenario.report import Report, describe
from harness.scenario.scenario import CUDA, scenario
from harness.scenario.steps import Steps
from harness.verdict import causes
from harness.verdict.finding import UnsupportedError
from suites.cuda.tables import speeds

BYTES = 1 << 30
SIMULATED_BYTES = 16 << 20
LEAST_OF_LOCAL = 0.95
LEAST_OF_PLAIN = 0.90


@scenario(needs=CUDA, most=2, tables=speeds)
def bandwidth(steps: Steps) -> None:
    """One pod exports, another measures own memory, imported memory and, with two GPUs, peers'."""
    claim = steps.claim()
    size = str(SIMULATED_BYTES if steps.simulated else BYTES)
    args = ["produce", "--nonce", steps.nonce, "--bytes", size, "--log", *steps.patience()]
    exporter = steps.start("exporter", args, claim)
    offer = steps.offer(exporter)
    measuring = ["measure", "--nonce", steps.nonce, "--offer", offer]
    importer = steps.start("importer", measuring, claim, own_pid=300)
    steps.finish(importer, exporter)


def judge_ratio(evidence: Evidence, path: str, base: str, least: float) -> None:
    """Each way and method of a path in relation to the same on another path."""
    report = evidence.report("importer")
    if evidence.simulated:
        raise UnsupportedError("bandwidth is not measured on simulated GPUs")
    if not report.bandwidth:
        evidence.fail(
            f"the importer measured nothing: {report.error_text()}",
            expected="speeds of memory",
            observed=report.error_text(),
            cause=causes.of_cuda(report.error),
        )
    compared = 0
    for way, method, gbps, other in pairs(report, path, base):
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


def pairs(report: Report, path: str, base: str) -> list[tuple[str, str, float, float]]:
    """Direction, method, and the speeds of two paths, as far as both were measured."""
    speeds = {(b.path, b.direction, b.method): b.gbps for b in report.bandwidth}
    return [
        (way, method, gbps, speeds[(base, way, method)])
        for (where, way, method), gbps in speeds.items()
        if where == path and (base, way, method) in speeds
    ]


@check(id="PERF-001", level=4, source="PERF-1", scenario=bandwidth)
def test_imported_memory_is_as_fast_as_own_memory(evidence: Evidence) -> None:
    """Reading and writing imported memory on the GPU that holds it SHOULD be at least 95 % as fast
    as memory of one's own.
    """
    judge_ratio(evidence, "same", "local", LEAST_OF_LOCAL)


@check(id="PERF-002", level=4, source="PERF-2", scenario=bandwidth)
def test_imported_memory_of_a_peer_is_as_fast_as_a_peer_copy(evidence: Evidence) -> None:
    """Reading and writing imported memory of another GPU SHOULD be at least 90 % as fast as copies
    between two GPUs of one process.
    """
    judge_ratio(evidence, "cross", "plain", LEAST_OF_PLAIN)
