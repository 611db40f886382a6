"""Every version of every driver on every release of Kubernetes: few each time, all on demand."""

from __future__ import annotations

import json
import subprocess
from itertools import product
from pathlib import Path

import pytest

from building.binaries import KUBERNETES, RELEASES
from embedded.drivers import DRIVERS, version_of
from harness.verdict.known import load
from tests.admin import ROOT, command
from tests.known_findings import surprises
from tests.test_main_job import CALM
from tests.zoo.matrix.rows import Made, Tell, Tried, row

VERSIONS = [*(name for name in DRIVERS if "@" in name), "reference"]
"""The drivers by their full names, one for each version."""
VARIANTS = [name for name in DRIVERS if "+" in name]
"""Those that are installed otherwise: on the default release, on demand."""
EACH_TIME = {(name, "1.37") for name in ("nvidia@0.5.0", "example@0.4.0", "reference")}
"""The pairs that the tests of CI run, most of them in the main job and in the zoo."""
PAGE = Path(__file__).parents[2] / "docs" / "embedded-cluster.md"


def test_the_defaults_are_tried_each_time() -> None:
    """And nothing else is: no other version or release is built in CI."""
    defaults = (DRIVERS[name] for name in DRIVERS if name.isalpha() and name != "channels")
    assert {(DRIVERS[name], minor) for name, minor in EACH_TIME} == {
        (driver, KUBERNETES.minor) for driver in defaults
    }


def test_the_page_says_which_pairs_are_tried_when() -> None:
    """All of them, in a table: a version is a row, a release a column."""
    when = {True: "each time", False: "on demand"}
    tried = [[name, *(when[(name, minor) in EACH_TIME] for minor in RELEASES)] for name in VERSIONS]
    rows = [["driver", *RELEASES], ["---"] * (1 + len(RELEASES)), *tried]
    assert "\n".join(f"| {' | '.join(row)} |" for row in rows) in PAGE.read_text()


def test_the_page_has_every_variant() -> None:
    """In a table: a row for each."""
    text = PAGE.read_text()
    assert [name for name in VARIANTS if f"\n| {name} | `" not in text] == []


def as_row(name: str, minor: str) -> pytest.MarkDecorator:
    """A pair as the matrix has it."""
    driver = DRIVERS[name].name
    known = {one.check for one in load() if one.is_of(driver, version_of(name))}
    what = "every check" if minor == KUBERNETES.minor else "checks that leave the node alone"
    return row(name, Tried(what, Made.NOTHING, tuple(sorted(known))), kubernetes=minor)


@pytest.mark.embedded
@pytest.mark.matrix
@pytest.mark.timeout(1800)  # it is a whole run, in which each check has limits of its own
@pytest.mark.parametrize(
    ("name", "minor"),
    [
        pytest.param(*pair, marks=as_row(*pair))
        for pair in (*product(VERSIONS, RELEASES), *product(VARIANTS, [KUBERNETES.minor]))
    ],
)
def test_a_pair_has_no_failures_but_those_known(
    name: str, minor: str, tmp_path: Path, tell: Tell
) -> None:
    """On the default release every check, on the others those that leave the node alone."""
    options = ["--embedded-driver", name, "--embedded-kubernetes", minor]
    if minor != KUBERNETES.minor:
        options += ["--embedded-nodes", "1", "--dra-check", CALM]
    done = subprocess.run(
        command(tmp_path / "out", "--dra-cluster", "embedded", *options, ROOT / "suites"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    (path,) = tmp_path.glob("out/*/results.json")
    results = json.loads(path.read_text())
    no_cluster = [one["headline"] for one in results["results"] if one["id"] == "PF-01"]
    assert no_cluster == [""], done.stdout[-5000:]
    tell(results["results"])
    assert surprises(results, version_of(name)) == []
    assert done.returncode == 0, done.stdout[-5000:]
