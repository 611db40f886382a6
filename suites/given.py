"""What claims gave to containers, compared: for drivers of which nothing else is known."""

from __future__ import annotations

from harness.scenario.evidence import Evidence
from harness.verdict.finding import UnsupportedError, one_line

WITHOUT = "other"
"""The container that uses no claim: what it has, too, no claim gave."""
OF_EACH_POD = "HOSTNAME="
"""The variable that differs from pod to pod."""


def given(evidence: Evidence, role: str, start: int = -1) -> set[str]:
    """Name what a container was given by its claims: variables and device nodes.

    Args:
        evidence: of a scenario with a container `WITHOUT`.
        role: the container.
        start: at which of its starts, from 0 on; -1: the last one.

    Raises:
        JudgementError: one of the two left no report.
    """
    found = evidence.report(role, start).given() - evidence.report(WITHOUT).given()
    return {one for one in found if not one.startswith(OF_EACH_POD)}


def must_be_shown(*found: set[str]) -> None:
    """End a check where nothing that containers were given shows which devices they have.

    Raises:
        UnsupportedError: there is nothing.
    """
    if not any(found):
        raise UnsupportedError("the driver shows devices by no variable and no device node")


def see_same(evidence: Evidence, who: str, wanted: set[str], found: set[str]) -> None:
    """End a check with a finding where a container was not given the devices that it must have.

    Args:
        evidence: of the scenario.
        who: with which words the finding begins: ``after its restart the sidecar``.
        wanted: what shows the devices that it must have.
        found: what it was given.

    Raises:
        JudgementError: they differ, or nothing shows devices.
    """
    must_be_shown(wanted, found)
    if wanted != found:
        surplus, missing = sorted(found - wanted), sorted(wanted - found)
        evidence.fail(
            f"{who} has {one_line((surplus or ['nothing'])[0], 28)} instead of"
            f" {one_line((missing or ['nothing'])[0], 28)}",
            expected=", ".join(sorted(wanted)) or "nothing",
            observed=", ".join(sorted(found)) or "nothing",
        )
