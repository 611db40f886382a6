"""``results.json``: everything that a run found out, for programs, and the way back from it.

The schema's name carries a version: fields are added within it, never renamed or removed. Who
reads it can read what a newer suite wrote, too: fields that it does not know are ignored.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from harness.verdict.outcome import RULES, Outcome, Record, Result, Verdict
from harness.verdict.table import Table
from reports.facts import Facts
from reports.words import as_text

SCHEMA = "dra-conformance/results/v1"
NAME = "results.json"


class ResultsError(Exception):
    """A file is not the results of a run; ``str()`` names it and says what is wrong."""


def dumped(content: Mapping[str, Any]) -> str:
    """Write a document as JSON; lone surrogates, which no file takes, are replaced."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return as_text(text.encode("utf-8", "replace").decode("utf-8"))


def document(record: Record, facts: Facts) -> dict[str, Any]:
    """Make the file's content."""
    return {
        "schema": SCHEMA,
        "place": facts.cluster,
        "hardware": facts.hardware,
        "verdict": record.verdict().value,
        "rules": record.rules,
        "exit_code": facts.exit_code,
        "run": {
            "id": facts.run_id,
            "started": facts.started.isoformat(timespec="milliseconds"),
            "seconds": round(facts.seconds, 3),
            "suite": facts.suite,
            "host": facts.host,
            "options": {one.name: f"{one.value} ({one.origin})" for one in facts.options},
            "given": list(map(dataclasses.asdict, facts.options)),
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
        "counts": _counts(record),
        "results": list(map(_result, record.results)),
        "tables": list(map(dataclasses.asdict, record.tables)),
        "environment": dict(record.environment),
        "leftovers": list(record.leftovers),
        "kept": facts.kept,
        "properties": dict(facts.properties),
        "files": {"junit": str(facts.junit), "events": str(facts.folder / "events.jsonl")},
    }


def _counts(record: Record) -> dict[str, int]:
    counts = record.counts()
    return {outcome.value: counts[outcome] for outcome in Outcome}


def _result(result: Result) -> dict[str, Any]:
    entry = dataclasses.asdict(result)
    entry["body"] = result.body
    entry["seconds"] = round(result.seconds, 3)
    return entry


# Reading


def path_of(place: Path) -> Path:
    """Find the file itself, or the one in a run's folder.

    Raises:
        ResultsError: there is none.
    """
    path = place / NAME if place.is_dir() else place
    if path.is_file():
        return path
    if place.is_dir() and (place / "events.jsonl").exists():
        raise ResultsError(
            f"{path}: there is no such file; the run of this folder was killed before it could"
            " write its results"
        )
    raise ResultsError(
        f"{path}: there is no such file; expected the folder of a run, such as"
        " reports/out/20261123-205654-daa8, or its results.json"
    )


def read(place: Path) -> tuple[Record, Facts]:
    """Read the record and the facts of a run from its folder or its ``results.json``.

    Raises:
        ResultsError: there are none, or they are not what this suite writes.
    """
    path = path_of(place)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path}: cannot be read: {error}") from error
    try:
        return parse(content, path.parent)
    except ResultsError as error:
        raise ResultsError(f"{path}: {error}") from error


@dataclass(frozen=True)
class _Run:
    narrowed: str
    interrupted: str


@dataclass(frozen=True)
class _Document:
    """What is read of a file besides its facts; the rest follows from it."""

    verdict: Verdict
    run: _Run
    cluster: dict[str, Any]
    driver: dict[str, Any]
    counts: dict[str, int]
    results: list[Result]
    leftovers: list[str]
    rules: int = 1
    tables: list[Table] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)


def parse(content: object, folder: Path) -> tuple[Record, Facts]:
    """Answer the record and the facts of a document.

    Args:
        content: what `document` answered, perhaps by way of a file.
        folder: where the run's files are.

    Raises:
        ResultsError: it is no such document, or it contradicts itself.
    """
    if not isinstance(content, dict) or "schema" not in content:
        raise ResultsError(f"these are no results of a run: there is no schema {SCHEMA!r}")
    if content["schema"] != SCHEMA:
        raise ResultsError(f"schema is {content['schema']!r}; this suite reads {SCHEMA!r}")
    try:
        found = TypeAdapter(_Document).validate_json(json.dumps(content), strict=True)
        files = {"folder": str(folder), "junit": str(folder / "junit.xml")}
        facts = TypeAdapter(Facts).validate_json(json.dumps({**content, **files}), strict=True)
    except ValidationError as error:
        raise ResultsError(_said(error, content)) from error
    record = Record(
        results=found.results,
        narrowed=found.run.narrowed,
        leftovers=found.leftovers,
        interrupted=found.run.interrupted,
        tables=found.tables,
        environment=found.environment,
        rules=found.rules,
        verdict_then=found.verdict if found.rules != RULES else None,
    )
    said = {"verdict": found.verdict.value, "counts": found.counts}
    for name, amounts in (("verdict", record.verdict().value), ("counts", _counts(record))):
        if said[name] != amounts:
            raise ResultsError(
                f"{name} is {said[name]!r}, but its results amount to {amounts!r}: it was edited"
            )
    return record, facts


def _said(error: ValidationError, content: Mapping[str, Any]) -> str:
    """Name the first thing that is wrong in a document, with its place in it."""
    first = error.errors()[0]
    place = "".join(f"[{at}]" if isinstance(at, int) else f".{at}" for at in first["loc"])
    where = place.removeprefix(".")
    match first["loc"]:
        case ("results", int(number), *_) if isinstance(content["results"][number], dict):
            where += f" (case {content['results'][number].get('case')})"
    if first["type"] == "missing":
        return f"{where} is missing"
    if first["type"] == "value_error":
        return f"{where}: {first['ctx']['error']}"
    return f"{where} is {first['input']!r:.80}: {first['msg']}"
