"""``results.json``: everything that a run found out, for programs, and the way back from it.

The schema's name carries a version: fields are added within it, never renamed or removed. Who
reads it can read what a newer suite wrote, too: fields that it does not know are ignored.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cluster import journal
from harness.options import Given
from harness.verdict.outcome import RULES, Outcome, Record, Result, Verdict
from harness.verdict.table import Table
from harness.verdict.timeline import Life
from reports.facts import Facts
from reports.words import as_text

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

SCHEMA = "dra-conformance/results/v1"
NAME = "results.json"


class ResultsError(Exception):
    """A file is not the results of a run; ``str()`` names it and says what is wrong."""


def dumped(content: Mapping[str, Any]) -> str:
    """Write a document as JSON; lone surrogates, which no file takes, are replaced."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return as_text(text.encode("utf-8", "replace").decode("utf-8"))


@dataclass(frozen=True, kw_only=True)
class RunPart:
    """The run itself."""

    id: str
    started: datetime
    """In UTC."""
    seconds: float
    """From its start to its reports, the embedded cluster's coming up included."""
    suite: str
    """The suite's version."""
    host: str
    """The machine that the run was started on."""
    options: dict[str, str] = field(default_factory=dict)
    """The options, each as ``value (where it comes from)``; ``given`` says the same in parts."""
    given: list[Given]
    narrowed: str
    """Why not every check was selected; empty when all were."""
    interrupted: str
    """What ended the run before its end; empty: nothing."""


@dataclass(frozen=True, kw_only=True)
class ClusterPart:
    """The cluster's API."""

    server: str
    """Its address; empty where there was no cluster."""
    kubernetes: str
    """Its version."""
    dra_api: str
    """The version of resource.k8s.io that the run used."""
    features: dict[str, str] = field(default_factory=dict)
    """Feature gates of the API server with their state, as far as they could be read."""


@dataclass(frozen=True, kw_only=True)
class DriverPart:
    """The driver under test; empty texts where none was found."""

    name: str
    profile: str
    """The profile that tells the suite how to read the driver's devices."""
    product: str
    """The products of the devices that it publishes."""


@dataclass(frozen=True, kw_only=True)
class FilesPart:
    """Where the run's other files were written to."""

    junit: str
    events: str


@dataclass(frozen=True, kw_only=True)
class Document:
    """What a run of the DRA conformance suite found out."""

    schema: str
    place: str
    """The first line of every report: which cluster, which driver, which hardware."""
    hardware: str
    """``simulated``, ``real``, ``the cluster's`` where the suite cannot know, or ``none``."""
    verdict: Verdict
    rules: int = 1
    """The version of the rules by which the verdict was reached."""
    exit_code: int
    run: RunPart
    cluster: ClusterPart
    driver: DriverPart
    counts: dict[str, int]
    """How many cases of checks ended in each of the outcomes."""
    results: list[Result]
    """Every case: checks in their forms, preflight, invariants, hygiene and baseline."""
    tables: list[Table] = field(default_factory=list)
    timeline: list[Life] = field(default_factory=list)
    """The claims and pods of the scenarios, in the order of their creation."""
    environment: dict[str, Any] = field(default_factory=dict)
    """What is known about cluster, nodes, devices and workloads besides; its form may change."""
    leftovers: list[str]
    """What the run could not remove from the cluster."""
    kept: str
    """The command that deletes what was kept on request; empty: nothing was."""
    properties: dict[str, str] = field(default_factory=dict)
    """What dashboards are told of the run besides."""
    files: FilesPart = FilesPart(junit="", events="")


@cache
def _typed() -> TypeAdapter[Document]:
    # Who only writes needs none of it, and it is slow to load.
    from pydantic import ConfigDict, TypeAdapter, with_config  # noqa: PLC0415

    return TypeAdapter(with_config(ConfigDict(use_attribute_docstrings=True))(Document))


def render(record: Record, facts: Facts) -> str:
    """Make the file."""
    return dumped(document(record, facts))


def document(record: Record, facts: Facts) -> dict[str, Any]:
    """Make the file's content."""
    made = Document(
        schema=SCHEMA,
        place=facts.cluster,
        hardware=facts.hardware,
        verdict=record.verdict(),
        rules=record.rules,
        exit_code=facts.exit_code,
        run=RunPart(
            id=facts.run_id,
            started=facts.started,
            seconds=round(facts.seconds, 3),
            suite=facts.suite,
            host=facts.host,
            options={one.name: f"{one.value} ({one.origin})" for one in facts.options},
            given=list(facts.options),
            narrowed=record.narrowed,
            interrupted=record.interrupted,
        ),
        cluster=ClusterPart(
            server=facts.server,
            kubernetes=facts.kubernetes,
            dra_api=facts.dra_api,
            features={
                name.removeprefix("feature."): state
                for name, state in facts.properties.items()
                if name.startswith("feature.")
            },
        ),
        driver=DriverPart(name=facts.driver, profile=facts.profile, product=facts.product),
        counts=_counts(record),
        results=[replace(result, seconds=round(result.seconds, 3)) for result in record.results],
        tables=record.tables,
        timeline=record.timeline,
        environment=record.environment,
        leftovers=record.leftovers,
        kept=facts.kept,
        properties=dict(facts.properties),
        files=FilesPart(junit=str(facts.junit), events=str(facts.folder / journal.NAME)),
    )
    content = dataclasses.asdict(made)
    content["run"]["started"] = facts.started.isoformat(timespec="milliseconds")
    for entry, result in zip(content["results"], record.results, strict=True):
        entry["body"] = result.body
    return content


def _counts(record: Record) -> dict[str, int]:
    counts = record.counts()
    return {outcome.value: counts[outcome] for outcome in Outcome}


def json_schema() -> dict[str, Any]:
    """Make the JSON Schema of the file, from the types that it is written from and read into.

    It allows fields that it does not name: a newer suite may say more.
    """
    made = _typed().json_schema()
    made["properties"]["schema"] = {"const": SCHEMA, "description": "Which document this is."}
    made["$defs"]["Result"]["properties"]["body"] = {
        "description": "The finding below its first line, as the terminal shows it.",
        "type": "string",
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:{SCHEMA.replace('/', ':')}",
        **made,
        "title": SCHEMA,
    }


# Reading


def path_of(place: Path) -> Path:
    """Find the file itself, or the one in a run's folder.

    Raises:
        ResultsError: there is none.
    """
    path = place / NAME if place.is_dir() else place
    if path.is_file():
        return path
    if place.is_dir() and (place / journal.NAME).exists():
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


def parse(content: object, folder: Path) -> tuple[Record, Facts]:
    """Answer the record and the facts of a document.

    Args:
        content: what `document` answered, perhaps by way of a file.
        folder: where the run's files are.

    Raises:
        ResultsError: it is no such document, or it contradicts itself.
    """
    from pydantic import ValidationError  # noqa: PLC0415 - as above

    if not isinstance(content, dict) or "schema" not in content:
        raise ResultsError(f"these are no results of a run: there is no schema {SCHEMA!r}")
    if content["schema"] != SCHEMA:
        raise ResultsError(f"schema is {content['schema']!r}; this suite reads {SCHEMA!r}")
    try:
        found = _typed().validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        raise ResultsError(_said(error, content)) from error
    run, cluster, driver = found.run, found.cluster, found.driver
    record = Record(
        results=found.results,
        narrowed=run.narrowed,
        leftovers=found.leftovers,
        interrupted=run.interrupted,
        tables=found.tables,
        timeline=found.timeline,
        environment=found.environment,
        rules=found.rules,
        verdict_then=found.verdict if found.rules != RULES else None,
    )
    facts = Facts(
        run_id=run.id,
        cluster=found.place,
        hardware=found.hardware,
        kubernetes=cluster.kubernetes,
        server=cluster.server,
        driver=driver.name,
        profile=driver.profile,
        product=driver.product,
        started=run.started,
        seconds=run.seconds,
        exit_code=found.exit_code,
        options=tuple(run.given),
        folder=folder,
        junit=folder / "junit.xml",
        host=run.host,
        suite=run.suite,
        dra_api=cluster.dra_api,
        kept=found.kept,
        properties=found.properties,
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
