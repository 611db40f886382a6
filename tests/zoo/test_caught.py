"""The reference driver misbehaves in each way that it knows, and the checks find it.

A sample of each area is tried each time; `./run matrix` tries every fault, and with `--every-check`
has every check of some levels look at it: a fault has to turn its checks red, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from embedded.drivers.reference.image import NEXT_IMAGE_NAME
from embedded.drivers.reference.kubelet_plugin.faults import FAULTS
from harness.verdict.finding import SkipKind
from suites.__main__ import checks as catalogue
from tests.admin import ROOT, run_suite
from tests.drivers.cluster import DriverCluster, running
from tests.zoo.caught import AREAS, OPTIONS, ROWS
from tests.zoo.matrix.rows import Made, Tell, Tried, row

pytestmark = pytest.mark.embedded

NODES = 2
SAMPLE = {
    (rows[0][0], OPTIONS[area])
    for area, rows in AREAS.items()
    if OPTIONS[area] in ((), ("--dra-admin",))
}
"""The faults that are tried each time, with options of the run: the first of each area in which
the checks stand, and one with admin access."""
OFFERED = {name for fault, _, _ in ROWS for name in fault.split(",") if FAULTS[name].benign}
"""What not every driver has and some checks need, so that the reference driver has to offer it."""
ATTACHES = "attaches-a-gpu"
"""The one of them that costs each pod with that GPU 5 s: the scheduler looks no more often."""
BENIGN = [name for name, one in FAULTS.items() if one.benign]
"""What the contract permits, each at points where it is not in the way of the others."""


@pytest.fixture(scope="module")
def driver(kubernetes: str) -> Iterator[DriverCluster]:
    """A cluster with the reference driver."""
    with running("reference", NODES, kubernetes) as cluster:
        yield cluster


def judge(
    driver: DriverCluster,
    out: Path,
    fault: str | None,
    checks: list[str],
    *options: str,
    level: int | None = None,
    may_skip: Iterable[SkipKind] = (SkipKind.OWN_DEVICES,),
) -> list[dict[str, Any]]:
    """Run checks with a fault in force on every node; answer their results.

    Args:
        driver: the cluster.
        out: where the results go.
        fault: its name; None for none.
        checks: their IDs.
        options: more of the run's.
        level: run every check up to it, too.
        may_skip: kinds of skips of them; with --dra-admin, forms that need devices of their own.
    """
    beside = () if level is None else (one.id for one in catalogue() if one.level <= level)
    with driver.fault(fault, range(1, NODES + 1)):
        run = run_suite(
            driver.kubeconfig,
            out,
            *("--dra-image", driver.workload_image, "--dra-allow", "privileged,disrupt,exhaust"),
            *("--dra-upgrade-image", NEXT_IMAGE_NAME),
            *("--dra-check", ",".join(sorted({*checks, *beside}))),
            *options,
            ROOT / "suites",
        )
    skipped = {e["skip"] for e in run.results if e["outcome"] == "skip" and e["id"] in checks}
    assert skipped <= {*may_skip}, run.printed
    return run.results


def red(results: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Those that are red, by the ID of the check."""
    return {entry["id"]: entry for entry in results if entry["outcome"] in ("fail", "error")}


@row("reference", Tried("what only some drivers have", Made.NOTHING))
@pytest.mark.parametrize("attaches", [False, True])
def test_the_reference_driver_passes(
    attaches: bool, driver: DriverCluster, tmp_path: Path, tell: Tell
) -> None:
    """Without a fault, every check of the areas that have faults here."""
    offered = OFFERED if attaches else OFFERED - {ATTACHES}
    needs = {fault: ATTACHES in fault.split(",") for fault, _, _ in ROWS}
    checks = sorted({check for fault, check, _ in ROWS if needs[fault] == attaches})
    results = judge(driver, tmp_path / "out", ",".join(sorted(offered)), checks)
    tell(results)
    assert red(results) == {}


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param({fault for fault, options in SAMPLE if not options}, id="sample"),
        pytest.param(
            {fault for fault, _, _ in ROWS},
            id="all",
            marks=(
                row("reference", Tried("all that is permitted", Made.NOTHING)),
                pytest.mark.matrix,
            ),
        ),
    ],
)
def test_nothing_is_said_of_what_is_permitted(
    faults: set[str],
    driver: DriverCluster,
    tmp_path: Path,
    pytestconfig: pytest.Config,
    tell: Tell,
) -> None:
    """All at once: no check is red that these faults turn red, and none has advice."""
    assert len(BENIGN) >= 8
    caught = sorted({check for fault, check, _ in ROWS if fault in faults})
    level = pytestconfig.option.every_check
    # Whether two claims had one device cannot be told of a GPU that they may share.
    may_skip = (SkipKind.UNSUPPORTED,)
    out, faults_in_force = tmp_path / "out", ",".join(BENIGN)
    results = judge(driver, out, faults_in_force, caught, level=level, may_skip=may_skip)
    tell(results)
    told = [entry for entry in results if entry["advice"] or entry["id"] in red(results)]
    assert [entry["headline"] for entry in told] == []


TRIED = dict.fromkeys((row[0], OPTIONS[area]) for area, rows in AREAS.items() for row in rows)
"""Every fault, with options of the run."""


def wanted_of(fault: str, options: tuple[str, ...]) -> dict[str, str]:
    """The checks that have to be red with a fault, and words of their first lines."""
    rows = [row for area in AREAS if OPTIONS[area] == options for row in AREAS[area]]
    return {check: words for name, check, words in rows if name == fault}


def as_row(fault: str, options: tuple[str, ...]) -> pytest.MarkDecorator:
    """A fault as the matrix has it."""
    what = " ".join(FAULTS[one].sentence for one in fault.split(",") if not FAULTS[one].benign)
    name, checks = " ".join((fault, *options)), tuple(wanted_of(fault, options))
    return row("reference", Tried(name, Made.REFERENCE, checks, what))


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        pytest.param(*one, id="".join((one[0], *one[1])), marks=(as_row(*one), *marks))
        for one in TRIED
        for marks in [() if one in SAMPLE else (pytest.mark.matrix,)]
    ],
)
def test_a_fault_turns_its_checks_red(
    fault: str,
    options: tuple[str, ...],
    driver: DriverCluster,
    tmp_path: Path,
    pytestconfig: pytest.Config,
    tell: Tell,
) -> None:
    """Those only, and the driver is to blame."""
    wanted = wanted_of(fault, options)
    level = pytestconfig.option.every_check
    results = judge(driver, tmp_path / "out", fault, list(wanted), *options, level=level)
    tell(results)
    found = red(results)
    told = {name: entry["headline"] for name, entry in found.items()}
    assert set(found) == set(wanted), told
    for check, words in wanted.items():
        assert found[check]["outcome"] == "fail", told
        assert words in found[check]["headline"]
        assert found[check]["finding"]["blame"] == "driver"


ADVISED = (
    ("slow-unprepare", "LIFE-012", "s after its deletion, one without after"),
    ("leaves-out-a-gpu", "SLICE-003", "which no slice of the node has"),
    ("hides-other-gpus-from-cuda", "SEC-003", "privileged producer saw 2 of the node's 4 GPUs"),
    (
        "hook-in-a-closed-folder",
        "SEC-005",
        "cannot start: StartError: error running createContainer hook",
    ),
)
"""Faults that are breaches of a SHOULD, as rows of `tests.zoo.caught`."""


@pytest.mark.parametrize(
    ("fault", "check", "words"),
    [
        pytest.param(
            *one, id=one[0], marks=row("reference", Tried(one[0], Made.REFERENCE, one[1:2]))
        )
        for one in ADVISED
    ],
)
@pytest.mark.matrix
def test_what_should_not_be_is_advice(
    fault: str, check: str, words: str, driver: DriverCluster, tmp_path: Path, tell: Tell
) -> None:
    """It fails nothing."""
    results = judge(driver, tmp_path / "out", fault, [check])
    tell(results)
    assert red(results) == {}
    told = {entry["id"]: entry["headline"] for entry in results if entry["advice"]}
    assert set(told) == {check}
    assert words in told[check]
