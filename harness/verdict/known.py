"""Failures of real drivers that are known: a run reports them, and may end well all the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from harness.cluster.yaml_file import Field, read
from harness.verdict.outcome import Outcome, Record

FILE = Path(__file__).parents[2] / "docs" / "known-findings.yaml"
SCHEMA = "dra-conformance/known-findings/v1"


@dataclass(frozen=True)
class KnownFinding:
    """A check that fails on one version of a driver, by the driver's own fault."""

    driver: str
    version: str
    """With ``+VARIANT`` behind it where it fails only as it is installed for that."""
    check: str
    link: str
    evidence: str

    def is_of(self, driver: str, version: str) -> bool:
        """Whether it is known of a driver.

        Args:
            driver: its name.
            version: with its variant, if it has one, which has what the version has, too.
        """
        return self.driver == driver and self.version in (version, version.partition("+")[0])


def load(path: Path = FILE) -> tuple[KnownFinding, ...]:
    """Read the file.

    Raises:
        YamlFileError: it cannot be read, lacks something, or lists a finding twice.
    """
    return read("known findings", path, _findings)


def _findings(document: Field) -> tuple[KnownFinding, ...]:
    fields = document.table(("schema", "findings"))
    fields["schema"].one_of([SCHEMA])
    found: list[KnownFinding] = []
    for item in fields["findings"].items():
        names = ("driver", "version", "check", "link", "evidence")
        one = KnownFinding(**{name: field.text() for name, field in item.table(names).items()})
        if not one.link.startswith("https://"):
            item.wrong(f"{one.link} is no address")
        if any(
            (one.driver, one.version, one.check) == (o.driver, o.version, o.check) for o in found
        ):
            item.wrong(f"{one.check} of {one.driver} {one.version} stands here a second time")
        found.append(one)
    return tuple(found)


def failed(
    findings: Iterable[KnownFinding], driver: str, version: str, record: Record
) -> list[KnownFinding]:
    """Answer the findings for which a check of a run failed.

    Args:
        findings: what is listed.
        driver: the one under test.
        version: its version, as `KnownFinding.is_of` takes it; empty: not known, then what is
            listed of any version counts.
        record: the run's results.
    """
    red = {result.id for result in record.results if result.outcome is Outcome.FAIL}
    there = {
        one.check: one
        for one in findings
        if one.is_of(driver, version or one.version) and one.check in red
    }
    return list(there.values())


def without(findings: Iterable[KnownFinding], record: Record) -> Record:
    """Answer the record as it would be if the listed checks had not failed."""
    listed = {one.check for one in findings}
    return replace(
        record,
        results=[
            replace(result, outcome=Outcome.PASS, advice=True)
            if result.id in listed and result.outcome is Outcome.FAIL
            else result
            for result in record.results
        ],
    )
