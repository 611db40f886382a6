"""What a test of the zoo declares of its rows, and what it tells of them.

A test with the mark that `row` makes is a row of the matrix, one for each thing that is wrong in
it. It tells what the suite said by the fixture ``tell``; whether that is as declared, it asserts.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

Tell = Callable[[list[dict[str, Any]]], None]
"""Takes the results of a run."""
API = "resource.k8s.io/v1"
"""What tests speak that are made for no release of their own: to the API server, and, as the relay
does, in the kubelet's protocol of the same version."""
SAID = "said"
"""The property of a test's report that has what the suite said."""


class Made(enum.StrEnum):
    """Where a fault was made."""

    REFERENCE = "reference driver"
    RELAY = "relay"
    """Between the kubelet and an unmodified driver."""
    HARDWARE = "hardware"
    """The simulated GPUs."""
    WORKLOAD = "workload"
    OTHERS = "not the driver's"
    """In the cluster, on the node or in the run."""
    NOTHING = "nothing"
    """No fault: whatever is said is a false alarm."""


@dataclass(frozen=True)
class Tried:
    """One thing that is wrong, or that nothing is."""

    fault: str
    """What is wrong, in a few words; where nothing is, what is run."""
    made: Made
    checks: tuple[str, ...] = ()
    """The IDs of the checks that have to notice it; of a driver without a fault, those that are
    known to be red. None where a fault has to do no harm."""
    what: str = ""
    """A sentence on the fault, where its name does not say it all."""


def row(driver: str, *tried: Tried, kubernetes: str = "") -> pytest.MarkDecorator:
    """Make the mark of a test that is a row of the matrix.

    Args:
        driver: what ``--embedded-driver`` takes, without a version where the test runs with any.
        tried: what is wrong; all of it at once.
        kubernetes: the release, where the test does not run with any.
    """
    return pytest.mark.row(driver, *tried, kubernetes=kubernetes)


def said(results: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Pick from the results of a run what the matrix shows: the first case of each red check, and
    of each that has advice."""
    found: dict[str, dict[str, str]] = {}
    for one in results:
        if one["outcome"] in ("fail", "error") or one["advice"]:
            word = "advice" if one["outcome"] == "pass" else str(one["outcome"])
            told = {"check": one["id"], "outcome": word, "headline": one["headline"]}
            found.setdefault(one["id"], told | {"blame": (one["finding"] or {}).get("blame", "")})
    return list(found.values())
