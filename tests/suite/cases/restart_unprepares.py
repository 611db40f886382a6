"""A claim over a restart of the driver: good evidence, and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.scenario.evidence import Evidence
from harness.scenario.node_files import File
from harness.verdict.finding import Blame
from tests.suite.cases import Case
from tests.suite.made import DEVICES, does_not_start, made, report, with_claim

UID = "cc587667-b5ed-4310-bf1c-91317e891b7a"
FOLDER = File("/run/cdi", "folder", 60)
OTHER = File("/run/cdi/base.yaml", "file", 3, "00", "all")
BY_NAME = File(f"/run/cdi/vendor-claim_{UID}.json", "file", 2, "01", "{}")
BY_CONTENT = File("/run/cdi/vendor.json", "file", 60, "02", f'{{"name": "{UID}-gpu-0"}}')


def _restart_while_prepared() -> Evidence:
    evidence = made("restart-while-prepared", user=report(), again=report())
    with_claim(evidence, "gpus", DEVICES[0]).claims["gpus"].obj["metadata"]["uid"] = UID
    evidence.looks = {"prepared": (FOLDER, OTHER, BY_NAME), "unprepared": (FOLDER, OTHER)}
    return evidence


def _in_one_file_with_others(evidence: Evidence) -> None:
    evidence.looks = {"prepared": (FOLDER, BY_CONTENT), "unprepared": (FOLDER, BY_CONTENT)}


def _left(evidence: Evidence) -> None:
    evidence.looks["unprepared"] = evidence.looks["prepared"]


def _never_named(evidence: Evidence) -> None:
    evidence.looks["prepared"] = (FOLDER, OTHER)


GOOD: Mapping[str, Callable[[], Evidence]] = {"restart-while-prepared": _restart_while_prepared}

CASES = (
    Case(
        "NODE-021",
        "the file is left",
        _left,
        r"after its restart the driver keeps the CDI file of a claim that it prepared before$",
    ),
    Case(
        "NODE-021",
        "a file of all claims still names it",
        _in_one_file_with_others,
        r"after its restart the driver keeps the CDI file of a claim that it prepared before$",
    ),
    Case(
        "NODE-021",
        "its device cannot be prepared again",
        does_not_start("again", Blame.DRIVER),
        r"the start did not come within 120 s$",
    ),
    Case(
        "NODE-021",
        "a driver that calls its files otherwise",
        _never_named,
        r"unsupported: no CDI file of the node names the claim by its UID$",
        blame=None,
    ),
)
