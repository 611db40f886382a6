"""How long a level takes is told by the runs that are there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.options import SPECS, resolve
from reports import folder
from reports.times import of_levels
from tests.reports import samples


def ran(tmp_path: Path, name: str, seconds: float, **given: str) -> None:
    """Leave a run's files."""
    options = resolve({**{spec.name: None for spec in SPECS}, **given}, {}, tmp_path)
    facts = replace(samples.facts(tmp_path / name), seconds=seconds, options=options.given())
    folder.write(samples.record(), facts)


def test_the_newest_whole_run_of_each_level_counts(tmp_path: Path) -> None:
    """Not one of some checks, nor what is no run."""
    ran(tmp_path, "20261101-000000-aaaa", 150.0)
    ran(tmp_path, "20261102-000000-aaaa", 120.0)
    ran(tmp_path, "20261103-000000-aaaa", 4.0, level="0")
    ran(tmp_path, "20261104-000000-aaaa", 9.0, check="ISO-003")
    (tmp_path / "20261105-000000-aaaa").mkdir()
    (tmp_path / "20261105-000000-aaaa" / "results.json").write_text("{")
    assert of_levels(tmp_path) == {0: 4.0, 4: 120.0}


def test_where_nothing_ran_nothing_is_told(tmp_path: Path) -> None:
    """The folder need not be there."""
    assert of_levels(tmp_path / "none") == {}
