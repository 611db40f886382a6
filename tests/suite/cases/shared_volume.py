"""Memory shared between pods with a volume: good evidence, and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.scenario.evidence import Evidence
from suites.cuda.transfers import EXPORTER, IMPORTER
from tests.suite.cases import Case, mechanisms
from tests.suite.cases.mechanisms import DESCRIPTOR, fares, no_class, refused


def two_pods() -> Evidence:
    """Every mechanism works; two containers of the other scenario, each in a pod of its own."""
    evidence = mechanisms.mechanisms()
    evidence.name = "shared-volume"
    every = evidence.containers
    evidence.containers = {role: every[role] for role in (EXPORTER, IMPORTER)}
    return evidence


GOOD: Mapping[str, Callable[[], Evidence]] = {"shared-volume": two_pods}

CASES = (
    Case(
        "IPC-036",
        "it does not open",
        fares(IMPORTER, DESCRIPTOR, "same", **refused(801)),
        r"the importer could not open the memory: CUDA_ERROR_UNKNOWN \(801\)$",
        form=DESCRIPTOR,
    ),
    Case(
        "IPC-036",
        "no class of channels is known",
        no_class,
        r"unsupported: no IMEX channel in the container: no DeviceClass of channels is known: --",
        form="fabric",
        blame=None,
    ),
)
