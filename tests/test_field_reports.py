"""Reports of drivers from the field, each with the check that judges it and what proves that.

What others met in public is tried here: a fault of the reference driver that turns the check red
on a cluster, a fault that is not the driver's, or a test that needs no cluster.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from embedded.drivers.reference.kubelet_plugin.faults import FAULTS
from tests.zoo.blame import ROWS
from tests.zoo.caught import ROWS as CAUGHT

ROOT = Path(__file__).parents[1]
OF_PUBLISHED = "tests/zoo/test_published.py"
"""Where faults of what is published are tried."""
BY_FAULT = (
    ("ROCm/k8s-gpu-dra-driver#77", "SLICE-009", "published-twice"),
    ("ROCm/k8s-gpu-dra-driver#77", "SLICE-009", "pci-of-the-first-gpu"),
    ("ROCm/k8s-gpu-dra-driver#77", "ALLOC-007", "uuid-of-the-next-gpu"),
    ("kubernetes-sigs/dra-driver-nvidia-gpu#1073", "SLICE-026", "no-memory"),
    ("kubernetes-sigs/dranet#193", "ALLOC-017", "one-never-prepares"),
    ("kubernetes-sigs/dranet#99", "SLICE-036", "hides-what-is-used-after-restart"),
    ("kubernetes-sigs/dranet#51", "SLICE-025", "attribute-of-two-types"),
    ("kubernetes-sigs/dranet#51", "CUDA-002", "earlier-version"),
    ("Project-HAMi/k8s-dra-driver#25", "SHARE-012", "four-pods-a-claim"),
    ("kubernetes-sigs/dra-driver-cpu#168", "NODE-004", "refuses-claims-of-before"),
    ("kubernetes-sigs/dra-driver-cpu#169", "NODE-001", "prepares-slowly,refuses-what-was-cut-off"),
    ("kubernetes/kubernetes#140011", "SLICE-015", "ignores-its-slices"),
    ("kubernetes-sigs/dra-driver-nvidia-gpu#1251", "ALLOC-016", "last-parameters-overwrite"),
    ("kubernetes-sigs/dra-driver-nvidia-gpu#1251", "ALLOC-004", "last-device-overwrites"),
    ("kubernetes-sigs/dra-example-driver#263", "NODE-016", "device-in-two-claims"),
)
"""The report, the check that is red of it, and the fault that does the same."""
BY_TEST = (
    ("Project-HAMi/k8s-dra-driver#5", "SLICE-023", "tests/suite/cases/driver_away.py"),
    ("kubernetes-sigs/dranet#99", "SLICE-024", "tests/suite/test_published.py"),
    ("kubernetes/kubernetes#141912", "SLICE-035", "tests/suite/test_published.py"),
    ("kubernetes-sigs/dra-example-driver#126", "DISC-004", "tests/suite/test_published.py"),
    ("kubernetes/kubernetes#131269", "why_not_prepared", "tests/harness/test_pods.py"),
    ("a GPU beside its partitions", "SLICE-008", "tests/suite/test_published.py"),
    ("kubernetes/kubernetes#108678", "rotated or cut the log", "tests/suite/test_hostile.py"),
)
"""The report, the check or the words that answer it, and the test of that."""
NOT_THE_DRIVERS = (
    ("kubernetes/kubernetes#108678", "the kubelet rotates the logs of pods every 3 s"),
    ("kubernetes/kubernetes#108678", "the disk with the logs of the node's pods is full"),
    ("kubernetes-sigs/dranet#250", "the kubelet has another root directory"),
    ("kubernetes/kubernetes#141422", "a DeviceTaintRule without selector taints every device"),
    ("kubernetes/kubernetes#137011", "a device belongs to no one node"),
)
"""The report, and the fault of docs/blame.md that is the same."""


@pytest.mark.parametrize(("report", "check", "fault"), BY_FAULT)
def test_a_fault_is_what_was_reported(report: str, check: str, fault: str) -> None:
    """It is tried on a cluster, and turns that check red."""
    assert report
    assert set(fault.split(",")) <= FAULTS.keys()
    of_published = (ROOT / OF_PUBLISHED).read_text()
    caught = {(name, red) for name, red, _ in CAUGHT}
    assert (fault, check) in caught or f'("{fault}", "{check}"' in of_published


@pytest.mark.parametrize(("report", "words", "test"), BY_TEST)
def test_a_test_is_of_what_was_reported(report: str, words: str, test: str) -> None:
    """It needs no cluster."""
    assert report
    assert words in (ROOT / test).read_text()


@pytest.mark.parametrize(("report", "what"), NOT_THE_DRIVERS)
def test_a_fault_that_is_not_the_drivers_is_what_was_reported(report: str, what: str) -> None:
    """The driver is not blamed for it."""
    assert report
    assert what in {row.what for row in ROWS}
