"""How fast shared memory is: good evidence, and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.scenario.evidence import Evidence
from suites.cuda.transfers import IMPORTER
from tests.suite.cases import Case
from tests.suite.made import DEVICES, error, made, report, says
from workload.result import Bandwidth, OpenTime, Peer, Verdict

SPEEDS = {"local": 1670.0, "same": 1697.0, "cross": 396.0, "plain": 395.0}
"""GB/s as measured on hardware."""


def speeds(**gbps: float) -> tuple[Bandwidth, ...]:
    """Measured speeds, GB/s by path, both ways and by both methods."""
    return tuple(
        Bandwidth(path, way, method, 1 << 30, speed, (speed,) * 7)
        for path, speed in gbps.items()
        for way in ("read", "write")
        for method in ("kernel", "copy")
    )


def bandwidth() -> Evidence:
    """Two GPUs with NVLink."""
    one, other = DEVICES[:2]
    measured = report(
        one,
        other,
        bandwidth=speeds(**SPEEDS),
        open=(OpenTime("same", 0.2, (0.2,)),),
        peers=(Peer(one.uuid, other.uuid, True, 0, True, True, "NVLink"),),
    )
    return made("bandwidth", exporter=report(one, other), importer=measured)


GOOD: Mapping[str, Callable[[], Evidence]] = {"bandwidth": bandwidth}


def simulated(evidence: Evidence) -> None:
    """The GPUs are."""
    evidence.simulated = True


CASES = (
    Case(
        "PERF-001",
        "imported memory is slow",
        says(IMPORTER, bandwidth=speeds(**{**SPEEDS, "same": 1500.0})),
        r"read by kernel, same memory: 1500 GB/s, 89.8% of the 1670 GB/s of local memory$",
    ),
    Case(
        "PERF-002",
        "a peer's memory is slow",
        says(IMPORTER, bandwidth=speeds(**{**SPEEDS, "cross": 40.0})),
        r"read by kernel, cross memory: 40 GB/s, 10.1% of the 395 GB/s of plain memory$",
    ),
    Case(
        "PERF-001",
        "simulated GPUs",
        simulated,
        r"unsupported: bandwidth is not measured on simulated GPUs$",
        blame=None,
    ),
    Case(
        "PERF-002",
        "one GPU",
        says(IMPORTER, bandwidth=speeds(local=1670.0, same=1697.0)),
        r"unsupported: cross and plain memory were not both to be had$",
        blame=None,
    ),
    Case(
        "PERF-001",
        "nothing was measured",
        says(IMPORTER, bandwidth=(), verdict=Verdict.NOT_OPENED, error=error(1)),
        r"the importer measured nothing: CUDA_ERROR_INVALID_VALUE: refused with 1$",
    ),
)
