"""Whether a run had exactly the failures that are known of its driver."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from harness.verdict.known import FILE, KnownFinding, load


def differences(
    known: Iterable[KnownFinding],
    driver: str,
    version: str,
    *,
    failed: Collection[str],
    made: Collection[str],
) -> Iterator[str]:
    """Say where a run has other failures than the known ones, a line each.

    Args:
        known: what is listed.
        driver: the one under test.
        version: its version, as `KnownFinding.is_of` takes it.
        failed: IDs of the checks that failed by the driver's fault.
        made: IDs of all checks that were made.
    """
    listed = {one.check for one in known if one.is_of(driver, version)}
    for check in sorted(set(failed) - listed):
        yield f"{check} fails on {driver} {version}, and {FILE.name} does not list it"
    for check in sorted((listed & set(made)) - set(failed)):
        yield f"{check} passes on {driver} {version}, and {FILE.name} lists it"


def surprises(results: Mapping[str, Any], version: str) -> list[str]:
    """Say what in a run is not known of its driver, a line each: errors, and other failures.

    Args:
        results: the run's ``results.json``.
        version: of the driver, likewise.
    """
    ended = {
        outcome: {case["id"] for case in results["results"] if case["outcome"] == outcome}
        for outcome in ("pass", "fail", "error")
    }
    made, failed = ended["pass"] | ended["fail"], ended["fail"]
    name = results["driver"]["name"]
    return [
        *(f"{check} ended as an error" for check in sorted(ended["error"])),
        *differences(load(), name, version, failed=failed, made=made),
    ]
