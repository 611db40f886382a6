"""All files of a run: one record, four readers."""

from __future__ import annotations

from pathlib import Path

from harness.verdict.outcome import Record
from reports import environment, html, junit, results
from reports.facts import Facts


def write(record: Record, facts: Facts, into: Path | None = None) -> None:
    """Write them. First the one from which the others can be made again.

    Args:
        record: the results.
        facts: the rest; its folder and its JUnit are where the files say that they are.
        into: where they are written to; None: there, too.

    Raises:
        JUnitError: see `reports.junit.write`; the other files are there then.
    """
    place = into or facts.folder
    results.write(place / results.NAME, record, facts)
    environment.write(place / environment.NAME, record, facts)
    html.write(place / html.NAME, record, facts)
    junit.write(into / junit.NAME if into else facts.junit, record, facts)
