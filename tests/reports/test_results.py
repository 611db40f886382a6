"""``results.json``: what was written is what is read, and what is wrong is named."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.options import Given
from harness.verdict.outcome import Verdict
from reports import folder, results
from reports.results import ResultsError
from tests.reports import samples

GIVEN = (Given("--x", "1 (2)", "command line"), Given("--y", "", "default"))

TABLE = {"name": "x", "title": "X", "columns": "a", "rows": [[1, 2]]}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """Every field of record and facts."""
    record = samples.full_record()
    facts = replace(samples.facts(tmp_path), kept="kubectl …", properties={"a": "b"}, options=GIVEN)
    folder.write(record, facts)
    read, read_facts = results.read(tmp_path)
    assert {**dataclasses.asdict(read), "results": []} == {
        **dataclasses.asdict(record),
        "results": [],
    }
    assert read.results == record.results
    assert read_facts == facts


def test_the_other_files_can_be_made_again(tmp_path: Path) -> None:
    """The same to the byte."""
    folder.write(samples.full_record(), samples.facts(tmp_path))
    names = ("junit.xml", "report.html", "environment.json", "results.json")
    first = [(tmp_path / name).read_bytes() for name in names]
    for name in names[:-1]:
        (tmp_path / name).unlink()
    folder.write(*results.read(tmp_path))
    assert [(tmp_path / name).read_bytes() for name in names] == first


def test_a_newer_suite_may_say_more(tmp_path: Path) -> None:
    """Fields are added within a schema."""
    document = results.document(samples.record(), samples.facts(tmp_path))
    document["new"] = document["results"][1]["new"] = document["results"][1]["finding"]["new"] = 1
    record, _ = results.parse(document, tmp_path)
    assert record.results == samples.record().results


def test_a_verdict_by_other_rules_stands(tmp_path: Path) -> None:
    """The run of an earlier suite stays what it was, and is still compared and written anew."""
    document = results.document(samples.record(), samples.facts(tmp_path))
    assert document["verdict"] == "nonconformant"
    del document["rules"]
    document["verdict"] = "inconclusive"
    record, facts = results.parse(document, tmp_path)
    assert record.verdict() is Verdict.INCONCLUSIVE
    assert results.document(record, facts) == {**document, "rules": 1}


def _without(*path: Any) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        *above, last = path
        for key in above:
            document = document[key]
        del document[last]

    return change


def _with(value: object, *path: Any) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        *above, last = path
        for key in above:
            document = document[key]
        document[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("schema"), "there is no schema 'dra-conformance/results/v1'"),
        (_with("other/v2", "schema"), "schema is 'other/v2'; this suite reads"),
        (_without("run", "id"), "run.id is missing"),
        (
            _with("then", "run", "started"),
            "run.started is 'then': Input should be a valid datetime",
        ),
        (_with([], "run"), "run is \\[\\]: Input should be an object"),
        (_with(True, "exit_code"), "exit_code is True: Input should be a valid integer"),
        (_with("conformant", "verdict"), "verdict is 'conformant', but its results amount to"),
        (_with("1", "rules"), "rules is '1': Input should be a valid integer"),
        (_with("fail", "results", 2, "outcome"), "counts is .*, but its results amount to"),
        (
            _with("passed", "results", 0, "outcome"),
            r"results\[0\].outcome \(case ISO-001_a\[x\]\) is 'passed': Input",
        ),
        (_without("results", 0, "sentence"), r"results\[0\].sentence .* is missing"),
        (_with("soon", "results", 0, "line"), "line .* is 'soon': Input should be a valid integer"),
        (_with("", "results", 3, "headline"), "outcome skip without a reason"),
        (_with("why", "results", 3, "skip"), "skip .* is 'why': Input should be 'not-allowed', "),
        (_with(None, "results", 3, "skip"), "outcome skip, kind of its skip none"),
        (
            _with("nobody", "results", 1, "finding", "blame"),
            "finding.blame .* is 'nobody': Input should be",
        ),
        (
            _with([1], "results", 1, "finding", "steps"),
            r"finding.steps\[0\] .* is 1: Input should be a valid string",
        ),
        (_with(1, "results", 0), r"results\[0\] is 1: Input should be an object"),
        (_with([TABLE], "tables"), r"tables\[0\].columns is 'a': Input should be a valid array"),
        (_with([{**TABLE, "columns": ["b"]}], "tables"), "table x: row 1 has 2 cells, there are 1"),
        (
            _with([{**TABLE, "columns": ["b"], "rows": [[{}]]}], "tables"),
            r"tables\[0\].rows\[0\]\[0\]",
        ),
        (_with([{**TABLE, "name": None}], "tables"), r"tables\[0\].name is None: Input should"),
    ],
)
def test_what_is_wrong_is_named(
    change: Callable[[Any], None], message: str, tmp_path: Path
) -> None:
    """With its place in the document."""
    folder.write(samples.record(), samples.facts(tmp_path))
    path = tmp_path / "results.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(ResultsError, match=message) as caught:
        results.read(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    """A folder without results, one of a killed run, no JSON, no object."""
    with pytest.raises(ResultsError, match="no such file; expected the folder of a run"):
        results.read(tmp_path)
    (tmp_path / "events.jsonl").touch()
    with pytest.raises(ResultsError, match="was killed before"):
        results.read(tmp_path)
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(ResultsError, match="cannot be read: Expecting"):
        results.read(tmp_path)
    (tmp_path / "results.json").write_text("[]")
    with pytest.raises(ResultsError, match="no results of a run"):
        results.read(tmp_path)
