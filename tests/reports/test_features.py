"""Which features work with which driver, from runs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from harness.verdict.finding import SkipKind
from harness.verdict.outcome import Outcome, Record
from reports import __main__, features, folder
from reports.features import Support
from suites.__main__ import checks
from suites.requirements import load, sources
from tests.reports import samples

LISTS = "Prioritised lists"
KNOWN = features.load()


def run(place: Path, name: str, *results: tuple[str, Outcome, SkipKind | None]) -> Path:
    """Write a run whose checks judge requirements, each with how it ended."""
    made = Record(environment={"driver_containers": [{"image": f"example.org/{name}:v1"}]})
    for number, (source, outcome, skip) in enumerate(results):
        case = f"ALLO-{number:02}_case"
        made.add(samples.result(case, outcome, source=source, skip=skip))
    facts = dataclasses.replace(samples.facts(place / name), driver=name)
    folder.write(made, facts)
    return facts.folder


@pytest.mark.parametrize(
    ("outcome", "skip", "support"),
    [
        (Outcome.PASS, None, Support.WORKS),
        (Outcome.FAIL, None, Support.BROKEN),
        (Outcome.ERROR, None, Support.NOT_TRIED),
        (Outcome.SKIP, SkipKind.REFUSED, Support.REFUSED),
        (Outcome.SKIP, SkipKind.UNSUPPORTED, Support.NOT_OFFERED),
        (Outcome.SKIP, SkipKind.NOT_ALLOWED, Support.NOT_TRIED),
    ],
)
def test_how_its_checks_ended_tells_what_becomes_of_a_feature(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    outcome: Outcome,
    skip: SkipKind | None,
    support: Support,
) -> None:
    """A failure outweighs what works, and that outweighs the rest."""
    one = run(tmp_path, "one", ("ALLOC-13", outcome, skip), ("ALLOC-11", Outcome.PASS, None))
    assert __main__.main(["features", str(one), "--json"]) == 0
    (driver,) = json.loads(capsys.readouterr().out)["drivers"]
    assert driver["driver"] == "one one:v1"
    (lists,) = (each for each in driver["features"] if each["name"] == LISTS)
    assert lists["support"] == support
    assert bool(lists["why"]) is (support in (Support.REFUSED, Support.NOT_OFFERED))


def test_the_table_has_a_column_a_driver(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two runs of one driver are one column; what is broken names its check, a skip its reason."""
    unsupported = ("ALLOC-13", Outcome.SKIP, SkipKind.UNSUPPORTED)
    runs = [
        run(tmp_path / "1", "one", unsupported),
        run(tmp_path / "2", "one", ("ALLOC-14, LIFE-2", Outcome.FAIL, None)),
        run(tmp_path, "two", unsupported),
    ]
    assert __main__.main(["features", *map(str, runs)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| DRA feature | one one:v1 | two two:v1 |"
    (row,) = (line for line in lines if line.startswith(f"| {LISTS}"))
    assert row == f"| {LISTS} (`DRAPrioritizedList`) | broken (ALLO-00) | not offered |"
    assert lines[-1] == f"- two two:v1, {LISTS}: ALLO-00_case is so"


def test_each_check_behind_a_gate_tells_of_a_feature() -> None:
    """And each requirement of a feature is one."""
    told = {source for feature in KNOWN for source in feature.sources}
    assert told <= {requirement.id for requirement in load().requirements}
    assert not [
        c.id for c in checks() if c.level == 3 and c.judges_driver and told.isdisjoint(sources(c))
    ]
