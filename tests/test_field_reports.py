"""Reports of drivers from the field, each with the check that judges it and what proves that.

What others met in public is tried here: a fault of the reference driver that turns the check red
on a cluster, a fault that is not the driver's, or a test that needs no cluster.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from embedded.drivers.reference.kubelet_plugin.faults import FAULTS
from suites.__main__ import checks
from tests.zoo import test_published
from tests.zoo.blame import ROWS
from tests.zoo.caught import ROWS as ROWS_OF_AREAS

ROOT = Path(__file__).parents[1]
BY_FAULT = (
    ("ROCm/k8s-gpu-dra-driver#77", "SLICE-009", "published-twice"),
    ("ROCm/k8s-gpu-dra-driver#77", "SLICE-009", "pci-of-the-first-gpu"),
    ("ROCm/k8s-gpu-dra-driver#77", "ALLOC-007", "uuid-of-the-next-gpu"),
    ("ROCm/k8s-gpu-dra-driver#77", "ALLOC-008", "another-product-name"),
    ("ROCm/k8s-gpu-dra-driver#77", "ALLOC-010", "twice-the-memory"),
    ("kubernetes-sigs/dra-driver-nvidia-gpu#1073", "SLICE-026", "no-memory"),
    ("kubernetes-sigs/dranet#193", "ALLOC-017", "one-never-prepares"),
    ("kubernetes-sigs/dranet#99", "SLICE-036", "hides-what-is-used-after-restart"),
    ("kubernetes-sigs/dranet#51", "SLICE-025", "attribute-of-two-types"),
    ("kubernetes-sigs/dranet#51", "CUDA-002", "earlier-version"),
    ("Project-HAMi/k8s-dra-driver#25", "SHARE-012", "four-pods-a-claim"),
    ("kubernetes-sigs/dra-driver-cpu#168", "NODE-004", "refuses-claims-of-before"),
    ("kubernetes-sigs/dra-driver-cpu#169", "NODE-001", "prepares-slowly,refuses-what-was-cut-off"),
    ("kubernetes-sigs/dra-driver-cpu#169", "MET-003", "fails-now-and-then"),
    ("kubernetes-sigs/dra-driver-cpu#246", "ALLOC-020", "shares-a-gpu,whole-gpu-for-a-share"),
    ("kubernetes-sigs/dra-driver-cpu#271", "ALLOC-026", "nothing-by-admin-access"),
    ("kubernetes/kubernetes#140011", "SLICE-015", "ignores-its-slices"),
    ("kubernetes-sigs/dra-driver-nvidia-gpu#1251", "ALLOC-016", "last-parameters-overwrite"),
    ("kubernetes-sigs/dra-driver-nvidia-gpu#1251", "ALLOC-004", "last-device-overwrites"),
    ("kubernetes-sigs/dra-example-driver#263", "NODE-016", "device-in-two-claims"),
)
"""The report, the check that is red of it, and the fault that does the same."""
BY_CASES = (
    ("Project-HAMi/k8s-dra-driver#5", "SLICE-023", "driver_away"),
    ("kubernetes/kubernetes#128696", "SLICE-013", "driver_away"),
    ("a profile says visible-by: devnode or env", "ISO-012", "isolation"),
)
"""The report, the check that is red of it, and the scenario in whose evidence it is found."""
_PUBLISHED, _PODS = "tests/suite/test_published.py", "tests/harness/test_pods.py"
BY_TEST = (
    (
        "kubernetes-sigs/dranet#99",
        "SLICE-024",
        f"{_PUBLISHED}::test_a_break_of_what_few_publish_turns_its_check_red",
    ),
    (
        "a GPU beside its partitions",
        "SLICE-008",
        f"{_PUBLISHED}::test_a_break_of_what_few_publish_turns_its_check_red",
    ),
    (
        "kubernetes/kubernetes#141912",
        "SLICE-035",
        f"{_PUBLISHED}::test_slices_that_outlive_their_driver_are_the_kubelets_fault",
    ),
    (
        "kubernetes/kubernetes#141912",
        "NOT_REGISTERED",
        "tests/harness/test_causes.py::test_what_a_later_try_said_is_the_cause",
    ),
    (
        "kubernetes-sigs/dra-example-driver#126",
        "DISC-004",
        f"{_PUBLISHED}::test_a_break_turns_its_check_red",
    ),
    (
        "kubernetes/kubernetes#131269",
        "why_not_prepared",
        f"{_PODS}::test_what_a_driver_said_last_is_told_without_the_kubelets_words",
    ),
    (
        "kubernetes/kubernetes#108678",
        "rotated or cut the log",
        "tests/suite/test_hostile.py::test_a_log_of_binary_bytes_is_no_result",
    ),
    (
        "two runs differ in PIDs and in the speed of simulated GPUs",
        "simulated",
        "tests/reports/test_diff.py::test_what_is_another_in_each_run_has_not_changed",
    ),
    (
        "a driver that ends again and again only publishes nothing",
        "end_again_and_again",
        "tests/suite/test_preflight.py::test_what_is_not_so_ends_the_run",
    ),
)
"""The report, the check or the words that answer it, and the test of that."""
NOT_THE_DRIVERS = (
    ("kubernetes/kubernetes#108678", "the kubelet rotates the logs of pods every 3 s"),
    ("kubernetes/kubernetes#108678", "the disk with the logs of the node's pods is full"),
    ("kubernetes-sigs/dranet#250", "the kubelet has another root directory"),
    ("kubernetes/kubernetes#141422", "a DeviceTaintRule without selector taints every device"),
    ("a runtime that is older than CDI", "the container runtime takes no notice of CDI devices"),
    ("kubernetes/kubernetes#137011", "a device belongs to no one node"),
)
"""The report, and the fault of docs/blame.md that is the same."""


LEFT = (
    (
        "ROCm/k8s-gpu-dra-driver#77: two devices have one minor number or index",
        (
            "No standard says what these attributes mean, and no profile names them; a container"
            " that gets another device for it is found by ISO-003 and ALLOC-007."
        ),
    ),
    (
        "kubernetes/kubernetes#131269: a run waits its whole time for what cannot change",
        (
            "A driver may refuse a claim for now, as while another has the device, and the kubelet"
            " asks again: that it was refused three times does not say what comes of the fourth."
        ),
    ),
    (
        "the seconds of the verdict are also those in which parts were built",
        "They are those of the command; how long each part took to build is said before it.",
    ),
)
"""What is as it was, and why."""
IDS = {check.id for check in checks()}


def tried(module: ModuleType) -> Iterator[tuple[str, str]]:
    """The faults that the tests of a module declare, each with its checks."""
    marks = (mark for test in vars(module).values() for mark in getattr(test, "pytestmark", ()))
    for mark in marks:
        cases = mark.args[1] if mark.name == "parametrize" else ()
        inner = (one for case in cases for one in getattr(case, "marks", ()))
        for one in (mark, *inner):
            if one.name == "row":
                yield from ((made.fault, check) for made in one.args[1:] for check in made.checks)


CAUGHT = {(fault, check) for fault, check, _ in ROWS_OF_AREAS} | set(tried(test_published))


@pytest.mark.parametrize(("report", "check", "fault"), BY_FAULT)
def test_a_fault_is_what_was_reported(report: str, check: str, fault: str) -> None:
    """It is tried on a cluster, and turns that check red."""
    assert report
    assert check in IDS
    assert set(fault.split(",")) <= FAULTS.keys()
    assert (fault, check) in CAUGHT


@pytest.mark.parametrize(("report", "check", "scenario"), BY_CASES)
def test_evidence_is_as_was_reported(report: str, check: str, scenario: str) -> None:
    """It needs no cluster to see that the check is red of it."""
    assert report
    cases = import_module(f"tests.suite.cases.{scenario}").CASES
    assert check in IDS & {case.check for case in cases}


@pytest.mark.parametrize(("report", "words", "test"), BY_TEST)
def test_a_test_is_of_what_was_reported(report: str, words: str, test: str) -> None:
    """It is there, needs no cluster, and is about that."""
    assert report
    assert words in IDS or not re.fullmatch(r"[A-Z]+-\d+", words)
    path, _, name = test.partition("::")
    text = (ROOT / path).read_text()
    (function,) = (
        node
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef) and node.name == name
    )
    begin = min([function.lineno, *(one.lineno for one in function.decorator_list)])
    assert words in "\n".join(text.splitlines()[begin - 1 : function.end_lineno])


@pytest.mark.parametrize(("report", "why"), LEFT)
def test_what_is_left_has_a_reason(report: str, why: str) -> None:
    """What else finds it is there."""
    assert report
    assert why.endswith(".")
    assert set(re.findall(r"\b[A-Z]+-\d+\b", why)) <= IDS


@pytest.mark.parametrize(("report", "what"), NOT_THE_DRIVERS)
def test_a_fault_that_is_not_the_drivers_is_what_was_reported(report: str, what: str) -> None:
    """The driver is not blamed for it."""
    assert report
    assert what in {row.what for row in ROWS}
