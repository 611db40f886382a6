"""``results.json``: everything that a run found out, for programs.

The schema's name carries a version: fields are added within it, never renamed or removed.
"""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.outcome import Outcome, Record, Result
from reports.facts import Facts
from reports.files import write_whole

SCHEMA = "dra-conformance/results/v1"


def write(path: Path, record: Record, facts: Facts) -> None:
    """Write the file."""
    write_whole(path, json.dumps(document(record, facts), indent=1, ensure_ascii=False) + "\n")


def document(record: Record, facts: Facts) -> dict[str, Any]:
    """The file's content."""
    return {
        "schema": SCHEMA,
        "place": facts.place,
        "hardware": facts.hardware,
        "verdict": record.verdict().value,
        "exit_code": facts.exit_code,
        "run": {
            "id": facts.run_id,
            "started": datetime.fromtimestamp(facts.started, UTC).isoformat(timespec="seconds"),
            "seconds": round(facts.seconds, 3),
            "suite": facts.suite,
            "host": facts.host,
            "options": dict(facts.options),
            "narrowed": record.narrowed,
            "interrupted": record.interrupted,
        },
        "cluster": {
            "server": facts.server,
            "kubernetes": facts.kubernetes,
            "dra_api": facts.dra_api,
            "features": {
                name.removeprefix("feature."): state
                for name, state in facts.properties.items()
                if name.startswith("feature.")
            },
        },
        "driver": {"name": facts.driver, "profile": facts.profile, "product": facts.product},
        "counts": {outcome.value: record.count(outcome) for outcome in Outcome},
        "results": [_result(result) for result in record.results],
        "leftovers": list(record.leftovers),
        "kept": facts.kept,
        "files": {"junit": str(facts.junit), "events": str(facts.folder / "events.jsonl")},
    }


def _result(result: Result) -> dict[str, Any]:
    entry = dataclasses.asdict(result)
    entry["outcome"] = result.outcome.value
    entry["seconds"] = round(result.seconds, 3)
    if result.finding is not None:
        entry["finding"] = {
            **dataclasses.asdict(result.finding),
            "blame": result.finding.blame.value,
        }
    return entry
