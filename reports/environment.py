"""``environment.json``: what the run ran on, so that a result can be placed and repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.verdict.outcome import Record
from reports.facts import Facts
from reports.files import write_whole
from reports.results import dumped

SCHEMA = "dra-conformance/environment/v1"
NAME = "environment.json"


def write(path: Path, record: Record, facts: Facts) -> None:
    """Write the file."""
    write_whole(path, dumped(document(record, facts)))


def document(record: Record, facts: Facts) -> dict[str, Any]:
    """Make the file's content: what every run knows, and what this one found out."""
    return {
        "schema": SCHEMA,
        "place": facts.cluster,
        "hardware": facts.hardware,
        "run": facts.run_id,
        "kubernetes": {"version": facts.kubernetes, "dra_api": facts.dra_api},
        "driver": {"name": facts.driver, "profile": facts.profile, "product": facts.product},
        "options": {
            option.name: {"value": option.value, "origin": option.origin}
            for option in facts.given()
        },
        **record.environment,
    }
