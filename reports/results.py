"""``results.json``: everything that a run found out, for programs, and the way back from it.

The schema's name carries a version: fields are added within it, never renamed or removed. Who
reads it finds what was written by a newer suite, too: fields that it does not know are passed over.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from harness.verdict.finding import Blame, Finding
from harness.verdict.outcome import RULES, Outcome, Record, Result, Verdict
from harness.verdict.table import Table, TableError
from reports.facts import Facts
from reports.files import write_whole

SCHEMA = "dra-conformance/results/v1"
NAME = "results.json"
T = TypeVar("T")


class ResultsError(Exception):
    """A file is not the results of a run; ``str()`` names it and says what is wrong."""


def write(path: Path, record: Record, facts: Facts) -> None:
    """Write the file."""
    write_whole(path, dumped(document(record, facts)))


def dumped(content: Mapping[str, Any]) -> str:
    """A document as the run's JSON files have it; lone surrogates, which no file takes, go."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8", "replace").decode("utf-8")


def document(record: Record, facts: Facts) -> dict[str, Any]:
    """The file's content."""
    return {
        "schema": SCHEMA,
        "place": facts.place,
        "hardware": facts.hardware,
        "verdict": record.verdict().value,
        "rules": record.rules,
        "exit_code": facts.exit_code,
        "run": {
            "id": facts.run_id,
            "started": datetime.fromtimestamp(facts.started, UTC).isoformat(
                timespec="milliseconds"
            ),
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
        "tables": [table.document() for table in record.tables],
        "environment": dict(record.environment),
        "leftovers": list(record.leftovers),
        "kept": facts.kept,
        "properties": dict(facts.properties),
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


# Reading


def path_of(place: Path) -> Path:
    """The file itself, or the one in a run's folder.

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
    """The record and the facts of a run, from its folder or its ``results.json``.

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
    """The record and the facts of a document.

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
    run, cluster, driver = (_object(content, name) for name in ("run", "cluster", "driver"))
    record = Record(
        results=[_result_of(item, n) for n, item in enumerate(_list(content, "results"))],
        narrowed=_get(run, "narrowed", str, "run."),
        leftovers=[str(left) for left in _list(content, "leftovers")],
        interrupted=_get(run, "interrupted", str, "run."),
        tables=[_table_of(item) for item in content.get("tables") or []],
        environment=dict(content.get("environment") or {}),
        rules=_as(int, content.get("rules", 1), "rules"),
    )
    if record.rules != RULES:
        record.verdict_then = _member(Verdict, content.get("verdict"), "verdict")
    _compare(content, record)
    try:
        started = datetime.fromisoformat(_get(run, "started", str, "run.")).timestamp()
    except ValueError as error:
        raise ResultsError(f"run.started: {error}") from error
    facts = Facts(
        run_id=_get(run, "id", str, "run."),
        place=_get(content, "place", str),
        hardware=_get(content, "hardware", str),
        kubernetes=_get(cluster, "kubernetes", str, "cluster."),
        server=_get(cluster, "server", str, "cluster."),
        driver=_get(driver, "name", str, "driver."),
        profile=_get(driver, "profile", str, "driver."),
        product=_get(driver, "product", str, "driver."),
        started=started,
        seconds=_get(run, "seconds", float, "run."),
        exit_code=_get(content, "exit_code", int),
        options={name: str(value) for name, value in _object(run, "options", "run.").items()},
        folder=folder,
        junit=folder / "junit.xml",
        host=_get(run, "host", str, "run."),
        suite=_get(run, "suite", str, "run."),
        dra_api=_get(cluster, "dra_api", str, "cluster."),
        kept=_get(content, "kept", str),
        properties={str(k): str(v) for k, v in (content.get("properties") or {}).items()},
    )
    return record, facts


def _compare(content: Mapping[str, Any], record: Record) -> None:
    """What is said of all results must follow from them."""
    counts = {outcome.value: record.count(outcome) for outcome in Outcome}
    for name, found in (("verdict", record.verdict().value), ("counts", counts)):
        if content.get(name) != found:
            raise ResultsError(
                f"{name} is {content.get(name)!r}, but its results amount to {found!r}: it was"
                " edited"
            )


def _result_of(item: object, number: int) -> Result:
    where = f"results[{number}]"
    if not isinstance(item, dict):
        raise ResultsError(f"{where} is not an object")
    where = f"{where} ({item.get('case', 'without a case')})"
    values = dict(item)
    if (finding := values.get("finding")) is not None:
        if not isinstance(finding, dict):
            raise ResultsError(f"{where}: finding is not an object")
        blame = _member(Blame, finding.get("blame"), f"{where}: finding.blame")
        values["finding"] = _built(Finding, {**finding, "blame": blame}, f"{where}: finding.")
    values["outcome"] = _member(Outcome, values.get("outcome"), f"{where}: outcome")
    try:
        return _built(Result, values, f"{where}: ")
    except ValueError as error:
        raise ResultsError(f"{where}: {error}") from error


def _table_of(item: object) -> Table:
    if not isinstance(item, dict):
        raise ResultsError(f"tables: {item!r:.80} is not an object")
    try:
        return Table.from_document(item)
    except TableError as error:
        raise ResultsError(str(error)) from error


E = TypeVar("E", Blame, Outcome, Verdict)


def _member(kind: type[E], value: Any, where: str) -> E:
    try:
        return kind(value)
    except ValueError:
        allowed = ", ".join(container.value for container in kind)
        raise ResultsError(f"{where} is {value!r}; expected one of {allowed}") from None


def _built(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """A dataclass from a JSON object that holds at least its fields that have no default."""
    hints = get_type_hints(kind)
    given: dict[str, Any] = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if field.name in values:
            given[field.name] = _as(hints[field.name], values[field.name], where + field.name)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ResultsError(f"{where}{field.name} is missing")
    return kind(**given)


def _as(hint: Any, value: Any, where: str) -> Any:
    """A value of a field's type."""
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(_as(get_args(hint)[0], item, where) for item in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    kinds = get_args(hint) if get_origin(hint) is types.UnionType else (hint,)
    for kind in kinds:
        plain = get_origin(kind) or kind
        # True is an int for Python, not for JSON.
        if isinstance(value, plain) and (plain is bool or not isinstance(value, bool)):
            return value
    names = " or ".join(getattr(kind, "__name__", str(kind)) for kind in kinds)
    raise ResultsError(f"{where} is {value!r:.80}; expected {names}")


def _get(content: Mapping[str, Any], name: str, kind: type[T], where: str = "") -> T:
    if name not in content:
        raise ResultsError(f"{where}{name} is missing")
    found: T = _as(kind, content[name], where + name)
    return found


def _object(content: Mapping[str, Any], name: str, where: str = "") -> Mapping[str, Any]:
    found: Mapping[str, Any] = _get(content, name, dict, where)
    return found


def _list(content: Mapping[str, Any], name: str) -> list[Any]:
    found: list[Any] = _get(content, name, list)
    return found
