"""What a run would do, and why it leaves checks out."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from harness.checks.check import Check, Force, Form, Part
from harness.cluster.profile import Profile, named
from harness.options import Impact, resolve
from harness.scenario.driver import Driver
from harness.scenario.scenario import CUDA, EVERY_DEVICE, Scenario, scenario
from harness.scenario.steps import Steps
from harness.session import plan
from harness.session.permissions import rights, rules
from harness.session.selection import Planned, PlannedChecks, Selection, before
from harness.session.session import Ending, Session
from harness.verdict.finding import Blame, FailedError, Finding
from harness.verdict.outcome import Outcome
from tests.forms import form_names


def profile(visible_by: str) -> Profile:
    """A driver's, that shows devices in this way."""
    nvidia = named("nvidia", Path(__file__).parents[2] / "profiles")
    return replace(nvidia, visible_by=visible_by)


GOOD: dict[str, Any] = {"allowed": set(), "profile": profile("cuda"), "largest": 1}


def no_steps(_: Steps) -> None:
    """A script that is never run."""


@dataclass(frozen=True)
class Detailed(Scenario):
    """One with something in it that has no hash."""

    details: dict[str, int] = field(default_factory=dict)


ONE = Scenario("one", no_steps, devices=1, needs=CUDA)
TWO = Detailed("two", no_steps, devices=2, needs=CUDA, details={"a": 1})
ALL = Scenario("all", no_steps, frozenset({Impact.EXHAUST}), most=EVERY_DEVICE, needs=CUDA)
SEVERAL = Scenario("several", no_steps, devices=1, most=3)
RESTARTS = scenario(uses=(Driver.restart,))(no_steps)
RESTARTS_TOO = replace(RESTARTS, name="restarts-too")
HOST = Scenario("host", no_steps, frozenset({Impact.PRIVILEGED}), devices=1)


def a_check(*forms: Form, **changes: Any) -> Check:
    """A check in some forms."""
    made = Check("AA-001", "test_it", "area", "It MUST be.", Force.MUST, 1, "here", forms=forms)
    return replace(made, **changes)


def test_a_check_builds_on_others_in_its_own_form_or_in_all_of_theirs() -> None:
    """What is made in a form of its own says something of the others, too."""
    two = a_check(ONE, TWO)
    later = a_check(TWO, SEVERAL, id="AA-002", after=("AA-001", "AA-003"))
    other = a_check(ALL, Part("several", HOST), id="AA-003")
    every = [Planned(check, form.name) for check in (two, other, later) for form in check.forms]
    names = {one.name: [earlier.name for earlier in before(one, every)] for one in every}
    assert names == {
        **{name: [] for name in ("AA-001[one]", "AA-001[two]", "AA-003[all]", "AA-003[several]")},
        "AA-002[two]": ["AA-001[two]", "AA-003[all]", "AA-003[several]"],
        "AA-002[several]": ["AA-003[all]", "AA-003[several]"],
    }


def test_a_check_brings_those_that_it_builds_on_where_nothing_more_runs(tmp_path: Path) -> None:
    """A small run stays small, and does nothing that was not asked for."""
    checks = [
        a_check(),
        a_check(ONE, id="AA-002", after=("AA-001",)),
        a_check(RESTARTS, id="AA-003"),
        a_check(ONE, TWO, id="AA-004", after=("AA-002", "AA-003")),
    ]
    options = resolve({"check": "AA-004"}, {}, tmp_path)
    selection = Selection(options, Path(__file__).parents[2])
    assert selection.choose(checks) == {"AA-001", "AA-002", "AA-004"}


def test_a_failure_is_put_down_to_what_it_builds_on(tmp_path: Path) -> None:
    """Of one that judges the same scenario nothing is made; of another all, and a pass stays."""
    first = Planned(a_check(ONE), "one")
    same = Planned(a_check(ONE, id="AA-002", after=("AA-001",)), "one")
    other, last, alone = (
        Planned(a_check(HOST, id=id_, after=after), "host")
        for id_, after in (("AA-003", ("AA-002",)), ("AA-004", ("AA-002",)), ("AA-005", ()))
    )
    session = Session(resolve({}, {}, tmp_path), root=tmp_path, invoked_in=tmp_path, junit=None)
    session.planned = PlannedChecks([first, same, other, last, alone])
    session.planned.learn(allowed=set(Impact))
    failure = Ending(FailedError(Finding("it is not", "it is", "it is not", Blame.DRIVER)))
    assert session.conclude(first, failure).outcome is Outcome.FAIL
    blocked = session.reason_to_skip(same)
    assert session.conclude(same, Ending(blocked, skipped=blocked)).blocked_by == "AA-001"
    assert session.reason_to_skip(other) is session.reason_to_skip(alone) is None
    assert session.conclude(other, failure).blocked_by == "AA-001"
    assert session.conclude(last, Ending()).outcome is Outcome.PASS
    assert session.conclude(alone, failure).outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("form", "changes", "words"),
    [
        ("one", {}, ""),
        ("two", {}, "needs 2 free devices on one node; the most that one has is 1"),
        ("two", {"largest": None}, ""),
        ("one", {"largest": 0}, "needs 1 free device on one node; the most that one has is 0"),
        ("all", {}, "not allowed: takes every free GPU of a node; enable with --dra-allow exhaust"),
        (
            *("one", {"profile": profile("env")}),
            "needs devices visible by cuda; these are by env",
        ),
        ("one", {"profile": profile("unknown")}, "how these are is not known (--dra-visible-by "),
        (
            *("one", {"profile": replace(profile("cuda"), attributes={})}),
            "which attribute is their UUID is not known (--dra-profile=FILE)",
        ),
        ("one", {"profile": None}, ""),
    ],
)
def test_a_check_is_left_out_for_a_reason(form: str, changes: dict[str, Any], words: str) -> None:
    """What is not known yet is none."""
    planned = Planned(a_check(ONE, TWO, ALL), form)
    checks = PlannedChecks([planned])
    checks.learn(**{**GOOD, **changes})
    reason = checks.why_not(planned)
    assert words in str(reason)
    assert bool(words) == (reason is not None)


def test_what_real_gpus_show_is_not_made_on_simulated_ones(tmp_path: Path) -> None:
    """Known from the start of a cluster of the run's own, and of another when it was looked at."""
    planned = Planned(a_check(hardware_only=True), None)
    checks = PlannedChecks([planned, Planned(a_check(), None)])
    assert len(checks.possible()) == 2
    checks.learn(simulated=True)
    assert str(checks.why_not(planned)) == "unsupported: needs real GPUs, and these are simulated"
    assert len(checks.possible()) == 1
    # Real GPUs would not help a driver whose devices are not seen by CUDA.
    checks.learn(profile=profile("env"))
    of_cuda = checks.why_not(Planned(a_check(ONE, hardware_only=True), "one"))
    assert str(of_cuda) == "unsupported: needs devices visible by cuda; these are by env"
    for hardware, number in (("simulated", 0), ("real", 1)):
        given = {"cluster": "embedded", "embedded_hardware": hardware}
        selection = Selection(resolve(given, {}, tmp_path), Path(__file__).parents[2])
        assert len(selection.settle([planned]).possible()) == number


def lines(check: Check, folder: Path, **given: str) -> list[str]:
    """A plan of all forms of a check."""
    checks = PlannedChecks(Planned(check, form) for form in form_names(check))
    checks.learn(allowed=list(Impact))
    return list(plan.lines(resolve(given, {}, folder), "here", "driver", checks))


def test_the_plan_tells_what_is_run(tmp_path: Path) -> None:
    """Each scenario once, with its impact and its devices; and the namespaces for them."""
    told = lines(a_check(ONE, TWO, ALL, SEVERAL, HOST), tmp_path)
    assert "         two: impact none, 2 devices of one node" in told
    assert "         several: impact none, 1 to 3 devices of one node" in told
    (every,) = [line for line in told if line.startswith("         all: ")]
    assert every.endswith(
        "every free device of one node, 1 at least, nothing else at the same time"
    )
    assert [line.split()[0] for line in told if "dra-conformance-RUN" in line] == [
        *("dra-conformance-RUN", "dra-conformance-RUN-restricted", "dra-conformance-RUN-privileged")
    ]
    harmless = "\n".join(lines(a_check(ONE), tmp_path))
    assert "privileged" not in harmless


def test_the_plan_tells_that_the_workload_is_brought(tmp_path: Path) -> None:
    """A config map, where the image is without it."""
    brought = "         a config map with the workload's program"
    told = lines(a_check(ONE), tmp_path, python_image="python:3")
    assert brought in told
    assert "IMAGE    python:3" in told
    assert brought not in lines(a_check(ONE), tmp_path, image="ours")


def test_the_plan_tells_what_is_changed_and_the_rights_for_it(tmp_path: Path) -> None:
    """Only when a check that is made takes it."""
    told = lines(a_check(RESTARTS, RESTARTS_TOO), tmp_path, namespace="team")
    (start,) = [number for number, line in enumerate(told) if line.startswith("CHANGE   ")]
    assert (
        told[start + 1].strip().startswith("the driver of a node is restarted: its pod is deleted")
    )
    (why,) = [line for line in told if "the driver's pod of a node, to restart it" in line]
    assert told[told.index(why) + 2 : told.index(why) + 4] == [
        "    resources: [pods]",
        "    verbs: [delete]",
    ]
    harmless = "\n".join(lines(a_check(ONE), tmp_path, namespace="team"))
    assert "CHANGE" not in harmless
    assert "to restart it" not in harmless
    assert "daemonsets" not in "\n".join(told)


def test_a_plan_that_only_reads_creates_nothing(tmp_path: Path) -> None:
    """And has no right to."""
    told = lines(a_check(), tmp_path)
    assert "CREATE   nothing: these checks only read" in told
    allowed = [
        what
        for what, verbs in itertools.pairwise(told)
        if verbs.startswith("    verbs:") and "create" in verbs
    ]
    assert allowed == ["    resources: [subjectaccessreviews]"]  # answered, not stored


@pytest.mark.parametrize("namespace", ["", "team"])
@pytest.mark.parametrize("creates", [False, True])
def test_a_right_is_asked_for_once_and_as_needed(creates: bool, namespace: str) -> None:
    """Whatever else would only be good to have."""
    wanted = list(rights(rules(creates=creates, namespace=namespace), namespace))
    assert len({str(right) for right in wanted}) == len(wanted)
    optional = {str(right) for right in wanted if not right.rule.needed}
    watched = "watch resourceclaims"
    assert (watched in optional) == (not creates or bool(namespace))
    assert {"list nodes", "watch nodes"} <= optional
    chosen = rights(rules(creates=creates, namespace=namespace, selects_nodes=True), namespace)
    assert "list nodes" in {str(right) for right in chosen if right.rule.needed}
