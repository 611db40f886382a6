"""The published schema of ``results.json``, asked by a validator that is not ours."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest

from reports import folder, results
from tests.reports import samples

DOCS = Path(__file__).parents[2] / "docs"
PUBLISHED = DOCS / "results.schema.json"
COMMITTED = sorted((DOCS / "results").glob("*/results.json"))


@pytest.fixture(scope="module")
def validate() -> Callable[[Any], Any]:
    """The published schema as a function that raises."""
    # Of what is new in the drafts since the seventh, only the name of "$defs" is in it.
    schema = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    made: Callable[[Any], Any] = fastjsonschema.compile(schema)
    return made


@pytest.fixture
def made(tmp_path: Path) -> Any:
    """A run's file as it is written."""
    folder.write(samples.full_record(), samples.facts(tmp_path))
    return json.loads((tmp_path / results.NAME).read_text(encoding="utf-8"))


def test_the_published_schema_is_of_this_suite() -> None:
    """It is made by ``./run report schema > docs/results.schema.json``."""
    assert PUBLISHED.read_text(encoding="utf-8") == results.dumped(results.json_schema())


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.parent.name)
def test_published_runs_are_as_it_says(path: Path, validate: Callable[[Any], Any]) -> None:
    """Those of earlier suites, too."""
    validate(json.loads(path.read_text(encoding="utf-8")))


def test_a_made_run_is_as_it_says(made: Any, validate: Callable[[Any], Any]) -> None:
    """And has no field that the schema does not name."""
    validate(made)
    schema = results.json_schema()
    assert list(unnamed(made, schema, schema["$defs"])) == []


def unnamed(value: Any, schema: Any, known: Any) -> Iterator[str]:
    """Name the fields of objects that a schema says nothing about."""
    for one in schema.get("anyOf", [schema]):
        schema = known[one["$ref"].rpartition("/")[2]] if "$ref" in one else one
        if isinstance(value, list) and "items" in schema:
            for item in value:
                yield from unnamed(item, schema["items"], known)
        elif isinstance(value, dict) and "properties" in schema:
            for name, inner in value.items():
                if name in schema["properties"]:
                    yield from unnamed(inner, schema["properties"][name], known)
                else:
                    yield name


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("schema",), "other/v2"),
        (("verdict",), "perfect"),
        (("run", "seconds"), "12"),
        (("results", 0, "outcome"), "passed"),
        (("results", 1, "finding", "blame"), "nobody"),
        (("results", 3, "skip"), "why"),
        (("tables", 0, "rows", 0, 0), {}),
        (("driver", "name"), None),
    ],
)
def test_what_is_wrong_is_refused(
    place: tuple[str | int, ...], value: object, made: Any, validate: Callable[[Any], Any]
) -> None:
    """As it is by the suite itself."""
    inner = made
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(fastjsonschema.JsonSchemaException):
        validate(made)


def test_what_is_missing_is_refused(made: Any, validate: Callable[[Any], Any]) -> None:
    """And a field that a newer suite adds is not."""
    validate({**made, "new": 1})
    del made["run"]["id"]
    with pytest.raises(fastjsonschema.JsonSchemaException, match="id"):
        validate(made)
