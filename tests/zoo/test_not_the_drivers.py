"""What goes wrong through no fault of the driver: the driver is never blamed, and a step mends it.

A sample is tried each time; `./run matrix test_not_the_drivers` tries all.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from harness.scenario.run import SCENARIO_LABEL
from tests.admin import ROOT, command, environment
from tests.drivers.cluster import DriverCluster, running
from tests.zoo.blame import ROWS, Options, Row
from tests.zoo.blame.__main__ import page
from tests.zoo.blame.hands import is_well, items, until
from tests.zoo.matrix.rows import Made, Tell, Tried
from tests.zoo.matrix.rows import row as row_of

SECONDS = 180
"""In which a run has to end."""
DEVICES = 4
"""That the cluster has."""
SAMPLE = {
    "a quota allows no claim",
    "every node is cordoned",
    "the workload image does not exist",
}


@pytest.fixture(scope="module")
def cluster(kubernetes: str) -> Iterator[DriverCluster]:
    """A cluster with the reference driver."""
    with running("reference", kubernetes=kubernetes) as found:
        assert len(published(found)) == DEVICES
        yield found


def test_the_page_shows_the_table() -> None:
    """`python -m tests.zoo.blame > docs/blame.md` makes it anew."""
    assert (ROOT / "docs/blame.md").read_text() == page()


@pytest.mark.embedded
@pytest.mark.parametrize(
    "row",
    [
        pytest.param(
            row,
            id=row.what,
            marks=(
                row_of("reference", Tried(row.what, Made.OTHERS, (row.says,) if row.says else ())),
                *(() if row.what in SAMPLE else (pytest.mark.matrix,)),
            ),
        )
        for row in ROWS
    ],
)
def test_the_driver_is_not_blamed(
    row: Row,
    cluster: DriverCluster,
    tmp_path: Path,
    tell: Tell,
) -> None:
    """The first case that is red names who has to act, what is wrong, and what mends it."""
    with ExitStack() as stack:
        made = row.make(cluster)
        options = [] if row.during else stack.enter_context(made)
        process = start(cluster, tmp_path, row, options)
        stack.callback(process.kill)
        if row.during:
            until(lambda: in_scenario(cluster) or process.poll() is not None, "a scenario's pod")
            stack.enter_context(made)
        printed, _ = process.communicate(timeout=SECONDS)
    whole(cluster)
    assert "Traceback" not in printed
    assert "INTERNALERROR" not in printed
    (path,) = (tmp_path / "out").glob("*/results.json")
    results: list[dict[str, Any]] = json.loads(path.read_text())["results"]
    tell(results)
    red = [one for one in results if one["outcome"] in ("fail", "error")]
    told = [one["body"] for one in red]
    if row.advice or not row.says:
        assert not red, told
        red = [one for one in results if one["advice"]]
    else:
        found = {(one["outcome"], one["finding"]["blame"]) for one in red}
        assert found == {("error", row.party)}, told
    if row.says:
        said, finding = red[0], red[0]["finding"]
        assert said["id"] == row.says, told
        assert row.words in said["headline"] + finding["likely"] + finding["observed"], told
        assert row.next in finding["next"], told
    good = row.advice or not row.says
    assert process.returncode in ((0, 12) if good else (10, 12)), printed


def start(
    cluster: DriverCluster, folder: Path, row: Row, options: Options
) -> subprocess.Popen[str]:
    """Begin a small run."""
    variables = dict(one.split("=", 1) for one in options if one[0].isupper())
    options = [one for one in options if not one[0].isupper()]
    hasty = ("--dra-timeout-scale", "0.3") if row.hasty else ()
    image = () if "--dra-image" in options else ("--dra-image", cluster.workload_image)
    return subprocess.Popen(
        command(
            folder / "out",
            *("--dra-cluster", "kubeconfig", "--dra-check", row.checks, *image, *hasty, *options),
            ROOT / "suites",
        ),
        cwd=folder,
        env={**environment(cluster.kubeconfig), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def in_scenario(cluster: DriverCluster) -> bool:
    """Whether a pod of a scenario runs."""
    return any(
        SCENARIO_LABEL in (pod["metadata"].get("labels") or {})
        and pod["status"].get("phase") == "Running"
        for pod in items(cluster, "v1", "Pod")
    )


def published(cluster: DriverCluster) -> list[str]:
    """The names of all published devices."""
    return [one["name"] for item in cluster.slices for one in item["spec"].get("devices") or []]


def whole(cluster: DriverCluster) -> None:
    """Wait until the cluster is as it was."""

    def is_whole() -> bool:
        nodes = items(cluster, "v1", "Node")
        runs = [
            item["status"].get("numberReady") == len(nodes)
            for item in items(cluster, "apps/v1", "DaemonSet")
        ]
        mine = [
            pod
            for pod in items(cluster, "v1", "Pod")
            if SCENARIO_LABEL in (pod["metadata"].get("labels") or {})
        ]
        there = len(published(cluster)) == DEVICES
        return is_well(cluster) and all(runs) and there and not mine

    until(is_whole, "the cluster as it was", SECONDS)
