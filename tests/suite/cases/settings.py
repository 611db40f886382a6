"""Settings of a device: good evidence, and what can be wrong with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.cluster.profile import OPTIONAL, PREPARED, Configuration
from harness.scenario.evidence import Evidence
from tests.suite.cases import Case
from tests.suite.made import Change, made

WANTED = Configuration(
    *("long", {"kind": "K"}, PREPARED),
    shows=("*Timeslice*Long*",),
    asks=("nvidia-smi", "compute-policy", "-l"),
)
DEFAULT, LONG = (
    ["| GPU     Name           Value        |", f"|   0   Timeslice       {value:13} |"]
    for value in ("Default", "Long")
)


def settings() -> Evidence:
    """The time slice of a GPU is longer as long as the claim is there."""
    evidence = made("settings-of-a-device")
    evidence.noted = {"wanted": WANTED, "before": DEFAULT, "during": LONG, "after": DEFAULT}
    return evidence


def noted(**parts: Any) -> Change:
    """Something else was noted."""
    return lambda evidence: evidence.noted.update(parts)


GOOD = {"settings-of-a-device": settings}

CASES = (
    Case(
        "ALLOC-029",
        "not in force",
        noted(during=DEFAULT),
        r"parameters long are not in force: nvidia-smi compute-policy -l does not show them$",
    ),
    Case(
        "ALLOC-029",
        "not taken back",
        noted(after=LONG),
        r"parameters long stay when their claim is gone: \| 0 Timeslice Long \|$",
    ),
    Case(
        "ALLOC-029",
        "refused",
        noted(refusal="not enabled"),
        r"a claim with parameters long was refused$",
    ),
    Case(
        "ALLOC-029",
        "switched off",
        noted(refusal="not enabled", wanted=replace(WANTED, expect=OPTIONAL)),
        r"refused: the driver, as it is installed, does not take parameters long$",
        blame=None,
    ),
    Case(
        "ALLOC-029",
        "in force anyway",
        noted(before=LONG),
        r"unsupported: what parameters long ask for is in force anyway$",
        blame=None,
    ),
)
