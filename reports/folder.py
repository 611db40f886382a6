"""All files of a run: one record, four readers."""

from __future__ import annotations

from harness.outcome import Record
from reports import environment, html, junit, results
from reports.facts import Facts


def write(record: Record, facts: Facts) -> None:
    """Write them. First the one from which the others can be made again.

    Raises:
        JUnitError: see `reports.junit.write`; the other files are there then.
    """
    results.write(facts.folder / results.NAME, record, facts)
    environment.write(facts.folder / environment.NAME, record, facts)
    html.write(facts.folder / html.NAME, record, facts)
    junit.write(facts.junit, record, facts)
