"""Settings of a device, and daemons: good evidence, and what can be wrong with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.cluster.profile import OPTIONAL, PREPARED, Configuration, Daemon
from harness.scenario.evidence import Evidence
from tests.suite.cases import Case
from tests.suite.made import Change, made

WANTED = Configuration(
    *("long", {"kind": "K"}, PREPARED),
    shows=("*Timeslice*Long*",),
    asks=("nvidia-smi", "compute-policy", "-l"),
)
WITHOUT = "Cannot find MPS control daemon process"
MPS = Configuration(
    *("mps", {"kind": "K"}, PREPARED),
    shows=("Exclusive_Process",),
    asks=("nvidia-smi", "--query-gpu=compute_mode"),
    daemon=Daemon("mps-control-daemon-*", ("nvidia-cuda-mps-control",), WITHOUT),
)
POD = "mps-control-daemon-1"
DEFAULT, LONG = (
    ["| GPU     Name           Value        |", f"|   0   Timeslice       {value:13} |"]
    for value in ("Default", "Long")
)


def settings() -> Evidence:
    """The time slice of a GPU is longer as long as the claim is there."""
    evidence = made("settings-of-a-device")
    evidence.noted = {"wanted": WANTED, "before": DEFAULT, "during": LONG, "after": DEFAULT}
    return evidence


def daemon() -> Evidence:
    """The daemon is there as long as the claim is, and so is the compute mode."""
    evidence = made("daemon-of-a-claim")
    evidence.noted = {
        "wanted": MPS,
        "before": ["Default"],
        "during": ["Exclusive_Process"],
        "after": ["Default"],
        "during-client": [],
        "after-client": [WITHOUT],
        "pods": [POD],
        "left": [],
    }
    return evidence


def noted(**parts: Any) -> Change:
    """Something else was noted."""
    return lambda evidence: evidence.noted.update(parts)


def of_client(role: str, *lines: str) -> Change:
    """Something else was said where the daemon is asked."""
    return lambda evidence: evidence.noted.update({f"{role}-client": list(lines)})


GOOD = {"settings-of-a-device": settings, "daemon-of-a-claim": daemon}

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
    Case(
        "ALLOC-054",
        "no daemon",
        of_client("during", WITHOUT),
        r"the daemon of parameters mps does not serve its claim's containers$",
    ),
    Case(
        "ALLOC-054",
        "another claim's daemon",
        of_client("after"),
        r"the daemon of parameters mps serves another claim$",
    ),
    Case(
        "ALLOC-054",
        "switched off",
        noted(refusal="MPSSupport", wanted=replace(MPS, expect=OPTIONAL)),
        r"refused: the driver, as it is installed, does not take parameters mps$",
        blame=None,
    ),
    Case(
        "ALLOC-055",
        "it stays",
        noted(left=[POD]),
        r"the daemon of parameters mps stays when their claim is gone$",
    ),
    Case(
        "ALLOC-055",
        "no pod",
        noted(pods=[]),
        r"unsupported: no pod is seen of the daemon of parameters mps$",
        blame=None,
    ),
    Case(
        "ALLOC-030",
        "not in force",
        noted(during=["Default"]),
        r"parameters mps are not in force: nvidia-smi --query-gpu=compute_mode does not show them$",
    ),
    Case(
        "ALLOC-030",
        "not taken back",
        noted(after=["Exclusive_Process"]),
        r"parameters mps stay when their claim is gone: Exclusive_Process$",
    ),
)
