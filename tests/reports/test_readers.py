"""The JUnit file as three readers that are not ours have it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import junitparser
import pytest
import xunitparser
from junit2htmlreport.parser import Junit

from harness.verdict.outcome import Outcome
from reports import junit
from tests.reports import samples

COMMITTED = sorted((Path(__file__).parents[2] / "docs" / "results").glob("*/junit.xml"))
Read = Iterator[tuple[str, str, str, str]]
"""Class, name, how it ended, and why, of each case."""


def by_junitparser(path: Path) -> Read:
    """As the library that most tools of Python use."""
    kinds = {
        junitparser.Failure: Outcome.FAIL,
        junitparser.Error: Outcome.ERROR,
        junitparser.Skipped: Outcome.SKIP,
    }
    for suite in junitparser.JUnitXml.fromfile(str(path)):
        for case in suite:
            (ended,) = case.result or (None,)
            why = ended.message if ended is not None else ""
            yield case.classname, case.name, kinds.get(type(ended), Outcome.PASS), why


def by_junit2html(path: Path) -> Read:
    """As a page of it has it."""
    kinds = {"passed": Outcome.PASS, "skipped": Outcome.SKIP, "failed": Outcome.FAIL}
    for suite in Junit(str(path)).suites:
        for case in suite.all():
            why = case.failure_msg or case.skipped_msg or ""
            yield case.testclass.name, case.name, kinds[str(case.outcome())], why


def by_xunitparser(path: Path) -> Read:
    """As test cases of Python that end as they are told."""
    kinds = {
        "success": Outcome.PASS,
        "failure": Outcome.FAIL,
        "error": Outcome.ERROR,
        "skipped": Outcome.SKIP,
    }
    with path.open(encoding="utf-8") as file:
        cases, _ = xunitparser.parse(file)
    for case in cases:
        yield case.classname, case.methodname, kinds[case.result], case.message or ""


READERS = (by_junitparser, by_junit2html, by_xunitparser)


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_sees_what_the_record_says(
    reader: Callable[[Path], Read], tmp_path: Path
) -> None:
    """Each case once, how it ended and why; one of them knows no difference of fail and error."""
    hostile = "\x1b[31m<b>&amp;]]> \ud800"
    record = samples.full_record()
    record.add(samples.result("ISO-007_g", Outcome.FAIL, headline=hostile, finding=samples.FULL))
    path = tmp_path / "junit.xml"
    path.write_text(junit.render(record, samples.facts(tmp_path)), encoding="utf-8")
    found = list(reader(path))
    same = {Outcome.ERROR: Outcome.FAIL} if reader is by_junit2html else {}
    told = {Outcome.FAIL, Outcome.ERROR, Outcome.SKIP}
    assert [(*one[:3], one[3] if one[2] in told else "") for one in found] == [
        (
            f"dra.{one.area}",
            one.case,
            same.get(one.outcome, one.outcome),
            ""
            if one.outcome not in told
            else one.headline
            if one.headline != hostile
            else r"\u001b[31m<b>&amp;]]> \ud800",
        )
        for one in record.results
    ]


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.parent.name)
def test_the_readers_agree_on_published_runs(path: Path) -> None:
    """Those of earlier suites, too; one of them knows no difference of fail and error."""
    first, second, third = (
        sorted(
            (suite, name, Outcome.FAIL if ended is Outcome.ERROR else ended, why)
            for suite, name, ended, why in reader(path)
        )
        for reader in READERS
    )
    assert first == second == third
    assert len(first) == len(json.loads(path.with_name("results.json").read_text())["results"]) > 0
