"""A device that is tainted: good evidence, and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness.scenario.evidence import Container, End, Evidence
from harness.verdict.finding import Blame, Finding, judge
from suites.features.offers import TAKEN
from suites.features.test_taints import BARRED, EVICTED, TOLERANT
from tests.suite.cases import Case
from tests.suite.made import DEVICES, Change, does_not_go, does_not_start, lose, with_claim


def _end(reason: str) -> End:
    condition = {"type": "DisruptionTarget", "status": "True", "reason": reason}
    pod: dict[str, Any] = {"kind": "Pod", "status": {"conditions": [condition] if reason else []}}
    return End(1.0, 3.0, (pod,))


def _tainted_device() -> Evidence:
    evidence = with_claim(Evidence("tainted-device"), "held", DEVICES[0])
    for role in (BARRED, TOLERANT):
        container = evidence.containers[role] = Container(role)
        container.started.found({})
        container.devices = DEVICES[:1]
    evidence.containers[BARRED].told.found(f"0/1 nodes are available: 1 {TAKEN}.")
    evidence.containers[BARRED].waits.found("")
    evidence.containers[TOLERANT].gone.found(_end(EVICTED))
    evidence.ended.found(True)
    return evidence


def _told(words: str) -> Change:
    return lambda evidence: _note(evidence, words)


def _note(evidence: Evidence, words: str) -> None:
    evidence.containers[BARRED].told.found(words)


def _waits(got: str) -> Change:
    def change(evidence: Evidence) -> None:
        evidence.containers[BARRED].waits.found(got)

    return change


def _another_device(evidence: Evidence) -> None:
    evidence.containers[TOLERANT].devices = DEVICES[1:2]


def _ended_by(reason: str) -> Change:
    def change(evidence: Evidence) -> None:
        evidence.containers[TOLERANT].gone.found(_end(reason))

    return change


def _says_nothing(evidence: Evidence) -> None:
    finding = Finding("no event within 60 s", "an event", "none", Blame.SCHEDULER)
    barred = evidence.containers[BARRED]
    barred.told = lose(barred.told, judge(finding))


GOOD: Mapping[str, Callable[[], Evidence]] = {"tainted-device": _tainted_device}

CASES = (
    Case(
        *("ALLOC-028", "it runs", _told("")),
        r"a claim that tolerates no taint does not wait: it runs$",
        blame=Blame.SCHEDULER,
    ),
    Case(
        *("ALLOC-028", "it has the device in the end", _waits("barred-tainted-device")),
        r"a claim that tolerates no taint does not wait: barred-tainted-device$",
        blame=Blame.SCHEDULER,
    ),
    Case(
        *("ALLOC-028", "another reason", _told("Insufficient memory.")),
        r"a claim that tolerates no taint does not wait: Insufficient memory.$",
        blame=Blame.SCHEDULER,
    ),
    Case(
        *("ALLOC-028", "nobody says why", _says_nothing),
        r"no event within 60 s$",
        blame=Blame.SCHEDULER,
    ),
    Case(
        *("ALLOC-045", "it does not start", does_not_start(TOLERANT, Blame.DRIVER)),
        r"the start did not come within 120 s$",
    ),
    Case(
        *("ALLOC-045", "another device", _another_device),
        r"the pod that tolerates the taint of gpu-0 has another device$",
        blame=Blame.SCHEDULER,
    ),
    Case(
        *("ALLOC-046", "it stays", does_not_go(TOLERANT, Blame.DRIVER)),
        r"the end did not come within 60 s$",
    ),
    Case(
        *("ALLOC-046", "somebody else ended it", _ended_by("")),
        r"the pod is gone, but not because of the taint: no such condition$",
        blame=Blame.CLUSTER,
    ),
    Case(
        *("ALLOC-047", "it waits on", does_not_start(BARRED, Blame.DRIVER)),
        r"the start did not come within 120 s$",
    ),
)
