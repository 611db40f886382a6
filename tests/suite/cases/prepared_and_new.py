"""A prepared claim and a new one in a pod: good evidence, and what can be wrong with it."""

from __future__ import annotations

from harness.scenario.evidence import Evidence
from harness.verdict.finding import Blame
from tests.suite.cases import Case
from tests.suite.made import DEVICES, does_not_start, made, report, says, with_claim

ONE, OTHER = DEVICES[:2]
WITHOUT = {"HOSTNAME": "first"}
VARIABLE = {"HOSTNAME": "both", "GPU": OTHER.uuid}


def _prepared_and_new() -> Evidence:
    evidence = made(
        "prepared-and-new",
        first=report(ONE, environment={**WITHOUT, "GPU": ONE.uuid}),
        other=report(environment=WITHOUT),
        both=report(ONE, OTHER, environment=VARIABLE),
    )
    return with_claim(with_claim(evidence, "prepared", ONE), "new", OTHER)


def _shares_of_one_device(evidence: Evidence) -> None:
    with_claim(evidence, "new", ONE)
    says("both", device_nodes=report(ONE).device_nodes)(evidence)


def _only_variables(evidence: Evidence) -> None:
    says("first", device_nodes=report().device_nodes)(evidence)
    says("both", device_nodes=report().device_nodes)(evidence)


def _first_variable_again(evidence: Evidence) -> None:
    says("first", device_nodes=report().device_nodes)(evidence)
    first = {**WITHOUT, "GPU": ONE.uuid}
    says("both", device_nodes=report().device_nodes, environment=first)(evidence)


GOOD = {"prepared-and-new": _prepared_and_new}

CASES = (
    Case(
        "SHARE-006",
        "the second pod does not run",
        does_not_start("both", Blame.DRIVER),
        r"the start did not come within 120 s$",
    ),
    Case(
        "SHARE-006",
        "the prepared claim's device is missing",
        says("both", device_nodes=report(OTHER).device_nodes),
        r"of its two claims the container has nothing of the first$",
    ),
    Case(
        "SHARE-006",
        "the second claim overwrites the only variable",
        _only_variables,
        r"of its two claims the container has nothing of the first$",
    ),
    Case(
        "SHARE-006",
        "the first claim overwrites the only variable",
        _first_variable_again,
        r"of its two claims the container has nothing of the second$",
    ),
    Case(
        "SHARE-006",
        "both claims have shares of one device",
        _shares_of_one_device,
        r"unsupported: both claims have shares of one device, and it shows once$",
        blame=None,
    ),
)
