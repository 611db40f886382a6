"""Containers with devices of their own: good evidence, and what can be wrong with it."""

from __future__ import annotations

from harness.scenario.evidence import Evidence
from tests.suite.cases import Case
from tests.suite.made import DEVICES, made, report, says, with_claim

ROLES = ("one", "other")


def _two_claims() -> Evidence:
    evidence = made("two-claims", one=report(DEVICES[0]), other=report(DEVICES[1]))
    for role, device in zip(ROLES, DEVICES, strict=False):
        with_claim(evidence, role, device)
        evidence.containers[role].claims = (evidence.claims[role],)
    return evidence


def _two_requests() -> Evidence:
    evidence = made("two-requests", one=report(DEVICES[0]), other=report(DEVICES[1]))
    with_claim(evidence, "gpus", *DEVICES[:2])
    for role in ROLES:
        evidence.containers[role].claims = (evidence.claims["gpus"],)
    return evidence


GOOD = {"two-claims": _two_claims, "two-requests": _two_requests}


def seen_by_cuda(evidence: Evidence) -> None:
    """The driver is one whose devices CUDA shows."""
    evidence.visible_by = "cuda"


def nothing_shown(evidence: Evidence) -> None:
    """Nothing that is known shows devices."""
    says("one", device_nodes=("gadget0",), gpus=())(evidence)


def both_named(evidence: Evidence) -> None:
    """Variables of both name one device."""
    for role in ROLES:
        says(role, environment={"GPU": DEVICES[1].name})(evidence)


CASES = (
    Case(
        "ISO-013",
        "both devices in one pod",
        says("other", device_nodes=("nvidia0", "nvidia1")),
        r"two pods with claims of their own both have /dev/nvidia0$",
    ),
    Case(
        "ISO-013",
        "a variable of the other's device",
        both_named,
        r"two pods with claims of their own both have GPU=gpu-1$",
    ),
    Case("ISO-013", "CUDA", seen_by_cuda, r"unsupported: CUDA shows devices", blame=None),
    Case("ISO-013", "nothing known", nothing_shown, r"unsupported: nothing that is", blame=None),
    Case(
        "ISO-014",
        "both devices in one container",
        says("one", device_nodes=("nvidia0", "nvidia1")),
        r"two containers with requests of their own both have /dev/nvidia1$",
    ),
)
