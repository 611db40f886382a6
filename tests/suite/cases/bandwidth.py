"""How fast shared memory is: good evidence, and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from harness.scenario.evidence import Evidence
from suites.cuda.transfers import EXPORTER, IMPORTER
from tests.suite.cases import Case
from tests.suite.made import DEVICES, alter, error, made, report, says, transfer
from workload.result import Bandwidth, Lent, Mechanism, OpenTime, Peer, Rounds, Signal, Verdict

IPC = str(Mechanism.IPC)
SPEEDS = {"local": 1670.0, "same": 1697.0, "cross": 396.0, "plain": 395.0}
"""GB/s as measured on hardware."""


def speeds(**gbps: float) -> tuple[Bandwidth, ...]:
    """Measured speeds of every mechanism, GB/s by path, both ways and by both methods."""
    return tuple(
        Bandwidth(path, way, method, 1 << 30, speed, (speed,) * 7, mechanism=mechanism)
        for mechanism in Mechanism
        for path, speed in gbps.items()
        for way in ("read", "write")
        for method in ("kernel", "copy")
    )


def rounds(**parts: Any) -> tuple[Rounds, ...]:
    """Fifty of each mechanism, after which all is free again."""
    good = (Rounds(one, 8 << 20, 50, 80 << 30, 80 << 30) for one in Mechanism)
    return tuple(replace(one, **parts) for one in good)


def signals(writer: str, **parts: Any) -> tuple[Signal, ...]:
    """One by each mechanism, which came."""
    return tuple(replace(Signal(one, writer, True, 0.1), **parts) for one in Mechanism)


def bandwidth() -> Evidence:
    """Two GPUs with NVLink."""
    one, other = DEVICES[:2]
    lent = tuple(Lent(mechanism, 1) for mechanism in Mechanism)
    ways = (
        replace(transfer(path), mechanism=mechanism)
        for mechanism in Mechanism
        for path in ("same", "cross")
    )
    measured = report(
        one,
        other,
        lent=lent,
        transfers=tuple(ways),
        bandwidth=speeds(**SPEEDS),
        open=(OpenTime("same", 0.2, (0.2,)),),
        peers=(Peer(one.uuid, other.uuid, True, 0, True, True, "NVLink"),),
        signals=signals(EXPORTER),
    )
    exporter = report(one, other, rounds=rounds(), signals=signals(IMPORTER))
    return made("bandwidth", exporter=exporter, importer=measured)


GOOD: Mapping[str, Callable[[], Evidence]] = {"bandwidth": bandwidth}


def no_channel(evidence: Evidence) -> None:
    """Fabric handles cannot be made."""
    lent = (Lent(one, error=error(800) if "fabric" in one else None) for one in Mechanism)
    alter(evidence, IMPORTER, lent=tuple(lent))


CASES = (
    Case(
        "PERF-001",
        "imported memory is slow",
        says(IMPORTER, bandwidth=speeds(**{**SPEEDS, "same": 1500.0})),
        r"read by kernel, same memory: 1500 GB/s, 89.8% of the 1670 GB/s of local memory$",
        form=IPC,
    ),
    Case(
        "PERF-002",
        "a peer's memory is slow",
        says(IMPORTER, bandwidth=speeds(**{**SPEEDS, "cross": 40.0})),
        r"read by kernel, cross memory: 40 GB/s, 10.1% of the 395 GB/s of plain memory$",
        form=IPC,
    ),
    Case(
        "PERF-002",
        "one GPU",
        says(IMPORTER, bandwidth=speeds(local=1670.0, same=1697.0)),
        r"unsupported: cross and plain memory were not both to be had$",
        form=IPC,
        blame=None,
    ),
    Case(
        "PERF-001",
        "nothing was measured",
        says(IMPORTER, bandwidth=(), verdict=Verdict.NOT_OPENED, error=error(1)),
        r"the importer measured nothing: CUDA_ERROR_INVALID_VALUE: refused with 1$",
        form=IPC,
    ),
    Case(
        "PERF-001",
        "there is no channel",
        no_channel,
        r"unsupported: no IMEX channel in the container: no DeviceClass of channels is known: --",
        form=str(Mechanism.FABRIC),
        blame=None,
    ),
    Case(
        "IPC-033",
        "memory is kept",
        says(EXPORTER, rounds=rounds(free_after=(80 << 30) - (400 << 20))),
        r"400 MiB did not come back of 50 times 8 MiB$",
        form=IPC,
    ),
    Case(
        "IPC-033",
        "a round goes wrong",
        says(EXPORTER, rounds=rounds(times=7, error=error(1))),
        r"memory was shared and given back 7 of 50 times: CUDA_ERROR_INVALID_VALUE$",
        form=IPC,
    ),
    Case(
        "IPC-033",
        "there were none",
        says(EXPORTER, rounds=(), verdict=Verdict.CUDA_ERROR),
        r"memory was shared and given back 0 of 50 times: cuda-error$",
        form=IPC,
    ),
    Case(
        "IPC-034",
        "the importer's signals are lost",
        says(EXPORTER, signals=signals(IMPORTER, came=False, ms=None)),
        r"the exporter's stream never saw the importer's signal$",
        form=IPC,
    ),
    Case(
        "IPC-034",
        "the exporter's are refused",
        says(IMPORTER, signals=signals(EXPORTER, came=False, error=error(1))),
        r"the importer's stream never saw the exporter's signal: CUDA_ERROR_INVALID_VALUE$",
        form=IPC,
    ),
    Case(
        "IPC-034",
        "the GPU has none",
        says(IMPORTER, signals=signals(EXPORTER, came=False, error=error(801))),
        r"unsupported: this GPU or its driver has no signals between streams$",
        form=IPC,
        blame=None,
    ),
)
