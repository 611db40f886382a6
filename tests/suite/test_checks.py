"""Every check that judges a scenario, on evidence made here: good passes, each fault has its words.

The evidence and the faults are in `tests.suite.cases`.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from harness.checks.check import Check, check_of
from harness.scenario.evidence import Evidence
from harness.verdict.finding import (
    HEAD_CHARACTERS,
    Blame,
    FailedError,
    Finding,
    InconclusiveError,
    JudgementError,
    UnmetError,
    headline,
)
from suites.sharing.shared_claim import CONSUMER, PRODUCER
from tests.forms import form_names
from tests.suite.cases import Case
from tests.suite.cases.security_matrix import EQUAL
from tests.suite.made import DEVICES, WORDS, alter, lose, not_opened, saw, transfer
from workload.result import NvmlGpu, Problem, Verdict

ROOT = Path(__file__).parents[2]
PYTHON = re.compile(r"None|True|False|\w+\(\w+=|[][{}<>]|(?<!\w)'|Traceback|Error\(")
"""What no stranger should have to read."""


def _modules(folder: str, names: str) -> Iterator[ModuleType]:
    for path in sorted((ROOT / folder).rglob(names)):
        yield importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))


def _checks() -> Iterator[tuple[Check, Callable[..., None]]]:
    for module in _modules("suites", "test_*.py"):
        for _, function in inspect.getmembers(module, inspect.isfunction):
            check = check_of(function)
            if check is not None and (check.scenario or check.forms):
                yield check, function


CHECKS = {check.id: (check, function) for check, function in _checks()}
FORMS = tuple((check.id, form) for check, _ in CHECKS.values() for form in form_names(check))
CASE_MODULES = tuple(_modules("tests/suite/cases", "[!_]*.py"))
GOOD: Mapping[str, Callable[[], Evidence]] = {
    name: make for module in CASE_MODULES for name, make in module.GOOD.items()
}
CASES: tuple[Case, ...] = tuple(case for module in CASE_MODULES for case in module.CASES)

NOT_OF_REPORTS = {
    *("SEC-004", "ISO-007", "ALLOC-003", "NODE-028", "SHARE-004", "LIFE-004"),
    *("SLICE-012", "NODE-021", "NEG-008", "NEG-014", "NEG-015", "ALLOC-029"),
    *("LIFE-001", "LIFE-003", "LIFE-007", "LIFE-011", "LIFE-012", "LIFE-014", "NEG-012"),
    *("NODE-009", "NODE-010", "NODE-016", "NODE-017", "NODE-020"),
    *("NODE-006", "SHARE-007", "UPG-001"),
    *("ALLOC-017", "STRESS-002", "STRESS-010", "LIFE-009", "LIFE-020", "LIFE-021"),
    *("NODE-027", "NODE-040", "MET-002", "MET-003", "DISC-017"),
    *("NODE-027", "NODE-040", "MET-002", "MET-003"),
    *("ALLOC-028", "ALLOC-045", "ALLOC-046", "ALLOC-047"),
    *("HLTH-001", "HLTH-002", "HLTH-003", "LIFE-008"),
    *(f"NEG-{number:03}" for number in (*range(1, 8), 10)),
    *("DISC-006", "DISC-007", "DISC-008", "NODE-001", "NODE-011", "NODE-012", "NODE-015"),
    *("NODE-033", "NODE-022", "NODE-031", "NODE-032", "SLICE-013", "SLICE-014", "SLICE-015"),
    *("SLICE-017", "SLICE-023", "SLICE-036", "SLICE-037"),
    *("ALLOC-019", "ALLOC-020", "ALLOC-023"),
    *("ALLOC-019", "ALLOC-020", "ALLOC-053", "SEC-006"),
    *("ALLOC-030", "ALLOC-054", "ALLOC-055"),
}
"""They judge what API server, scheduler, kubelet and driver did, whatever the containers report."""
ARRIVED = "IPC-015"
"""What comes after it is not made where a workload was at fault."""
REASON = FailedError(Finding("the driver did it", "a claim", "nothing", Blame.DRIVER))


def good(check: Check, form: str | None) -> Evidence:
    """Evidence that a check has nothing to say against."""
    scenario = check.scenario_of(form)
    assert scenario is not None
    assert scenario.name in GOOD, f"no module of tests/suite/cases has GOOD[{scenario.name!r}]"
    return GOOD[scenario.name]()


def takes(check_id: str) -> Mapping[str, inspect.Parameter]:
    """What a check asks for."""
    return inspect.signature(CHECKS[check_id][1]).parameters


def part(check_id: str, form: str | None, evidence: Evidence) -> Evidence:
    """What of the evidence a check judges: one row of the matrix, or all of it."""
    return evidence.part(str(form)) if "row" in takes(check_id) else evidence


def with_parts(evidence: Evidence) -> list[Evidence]:
    """It, and that of its scenario's parts."""
    return [evidence, *evidence.parts.values()]


def judge(check_id: str, form: str | None, evidence: Evidence) -> None:
    """Make a check."""
    check, function = CHECKS[check_id]
    judged = part(check_id, form, evidence)
    given = {
        "evidence": judged,
        "row": judged,
        "form": next((one for one in check.forms if one.name == form), None),
    }
    function(**{name: given[name] for name in takes(check_id)})


def first_form(check_id: str) -> str | None:
    """The form for what is the same in every form."""
    return form_names(CHECKS[check_id][0])[0]


def comes_after(check_id: str, earlier: str) -> bool:
    """Whether a check is made only where another one passed."""
    check, _ = CHECKS[check_id]
    after = [one for one in check.after if check.goes_with(CHECKS[one][0])]
    return earlier in after or any(comes_after(one, earlier) for one in after)


OF_REPORTS = sorted(CHECKS.keys() - NOT_OF_REPORTS)


def judgement(case: Case) -> tuple[JudgementError, str | None]:
    """What a check says of a fault, and in which form."""
    check, _ = CHECKS[case.check]
    form = case.form or first_form(case.check)
    evidence = good(check, form)
    case.change(part(case.check, form, evidence))
    with pytest.raises(JudgementError) as raised:
        judge(case.check, form, evidence)
    return raised.value, form


@pytest.mark.parametrize(("check_id", "form"), FORMS)
def test_good_evidence_passes(check_id: str, form: str | None) -> None:
    """In every form."""
    judge(check_id, form, good(CHECKS[check_id][0], form))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.check}-{case.what}-{case.form}")
def test_each_fault_has_its_words(case: Case) -> None:
    """The right judgement, one line that is not cut, no Python, and who has to act."""
    error, form = judgement(case)
    assert re.match(case.head, str(error)), str(error)
    assert not PYTHON.search(str(error)), str(error)
    if case.blame is None:
        assert isinstance(error, UnmetError)
        return
    assert isinstance(error, FailedError if case.blame is Blame.DRIVER else InconclusiveError)
    finding = error.finding
    assert finding.blame is case.blame
    name = f"{case.check}[{form}]" if form else case.check
    assert len(f"{name} {finding.head}") <= HEAD_CHARACTERS, headline(case.check, form, finding)
    for text in (finding.expected, finding.observed):
        assert text
        assert not PYTHON.search(text), text


def test_every_check_has_a_case_in_which_it_is_red() -> None:
    """Of its own: neither a skip nor a missing report."""
    red = {case.check for case in CASES if case.blame is not None}
    assert not CHECKS.keys() - red, "no module of tests/suite/cases has a Case of them"
    assert not red - CHECKS.keys(), "no such check judges a scenario"


@pytest.mark.parametrize("check_id", sorted(CHECKS))
def test_what_was_not_run_is_not_judged(check_id: str) -> None:
    """Whoever asks is told the reason, and nothing passes for lack of evidence."""
    form = first_form(check_id)
    scenario = CHECKS[check_id][0].scenario_of(form)
    assert scenario is not None
    with pytest.raises(JudgementError) as raised:
        judge(check_id, form, scenario.not_run(REASON))
    assert raised.value is REASON


@pytest.mark.parametrize("check_id", OF_REPORTS)
def test_missing_reports_are_not_judged(check_id: str) -> None:
    """A container that never started leaves no report, but a reason."""
    form = first_form(check_id)
    evidence = good(CHECKS[check_id][0], form)
    for one in with_parts(part(check_id, form, evidence)):
        for container in one.containers.values():
            container.report = lose(container.report, REASON)
    with pytest.raises(JudgementError) as raised:
        judge(check_id, form, evidence)
    assert raised.value is REASON


@pytest.mark.parametrize("check_id", [one for one in OF_REPORTS if not comes_after(one, ARRIVED)])
def test_a_workload_at_fault_says_nothing_about_the_driver(check_id: str) -> None:
    """It is inconclusive, and the workload is to blame."""
    form = first_form(check_id)
    evidence = good(CHECKS[check_id][0], form)
    usage = Problem("options", "unknown option", blame="workload")
    for one in with_parts(part(check_id, form, evidence)):
        for role in one.containers:
            alter(one, role, verdict=Verdict.USAGE, error=usage)
    with pytest.raises(InconclusiveError, match="failed before its task: unknown option") as raised:
        judge(check_id, form, evidence)
    assert raised.value.finding.blame is Blame.WORKLOAD


def test_a_row_that_was_not_reached_is_not_judged() -> None:
    """The matrix ended early: who asks is told why."""
    evidence = good(CHECKS["SEC-001"][0], EQUAL)
    del evidence.parts[EQUAL]
    evidence.ended = lose(evidence.ended, REASON)
    with pytest.raises(JudgementError) as raised:
        judge("SEC-001", EQUAL, evidence)
    assert raised.value is REASON


# What is no fault


def test_what_slices_do_not_tell_is_not_compared() -> None:
    """Other drivers publish less, and their profiles say so."""
    evidence = GOOD["inventory-of-two"]()
    evidence.known = frozenset({"uuid"})
    container = evidence.container("inventory")
    container.devices = tuple(
        replace(one, product="", pci="", compute_capability="", memory=None)
        for one in container.devices
    )
    judge("CUDA-002", "inventory-of-two", evidence)


def test_nvml_may_tell_nothing_but_uuids() -> None:
    """Then CUDA and the slice are compared, and what is not compared is said."""
    evidence = GOOD["inventory-of-two"]()
    bare = tuple(NvmlGpu(number, one.uuid) for number, one in enumerate(DEVICES[:2]))
    alter(evidence, "inventory", nvml=bare)
    with pytest.raises(UnmetError, match="the same, but NVML does not tell the name of GPU-1"):
        judge("CUDA-002", "inventory-of-two", evidence)


def test_a_privileged_container_may_see_more() -> None:
    """What it sees is no isolation of the driver's."""
    evidence = GOOD["privileged"]()
    assert len(evidence.report(CONSUMER).gpus) > len(evidence.container(CONSUMER).devices)
    judge("ISO-003", "privileged", evidence)


def test_a_container_that_sees_no_gpu_names_none() -> None:
    """Another check judges that it sees none."""
    evidence = GOOD["restricted"]()
    alter(evidence, CONSUMER, gpus=(), lines=())
    judge("SLICE-007", "restricted", evidence)


def test_a_container_that_the_suite_ended_may_have_no_last_words() -> None:
    """Its pod is gone before the kubelet could tell them."""
    evidence = GOOD["restricted"]()
    container = evidence.container(CONSUMER)
    container.ended_by_suite = True
    container.message = lose(container.message, REASON)
    judge("IPC-015", "restricted", evidence)


def test_gpus_without_peer_access_share_on_one_path() -> None:
    """The consumer then writes half of the buffer, and the producer sees that half."""
    evidence = GOOD["restricted"]()
    refused = not_opened(217, "cross", can_access_peer=False)
    alter(evidence, CONSUMER, transfers=(transfer(), refused))
    alter(evidence, PRODUCER, seen=(saw("same", WORDS // 2),))
    judge("IPC-013", "restricted", evidence)
