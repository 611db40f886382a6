"""Two clusters side by side, each with a driver of its own, do not disturb each other."""

from __future__ import annotations

import json
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from embedded.drivers import DRIVERS
from suites.__main__ import checks
from tests import footprint
from tests.forms import form_names

pytestmark = pytest.mark.embedded

RUN = Path(__file__).parents[2] / "run"
TOGETHER = ("nvidia", "reference")
FORMS = {"privileged", "hostpid", "restricted", "equal-pids"}
SCENARIO = [check.id for check in checks() if {*form_names(check)} <= FORMS]
"""The checks of the original example in its forms, and of nothing else."""

NOTHING_ELSE = {"fail": 0, "error": 0, "skip": 0}


def test_both_run_the_scenario_at_the_same_time(tmp_path: Path) -> None:
    """Two runs, started together: all of it passes, and of neither is anything left."""
    before = footprint.host()
    runs = {
        driver: subprocess.Popen(
            [
                *(RUN, "dra", "--embedded-driver", driver, "--embedded-nodes", "1"),
                *("--dra-output", tmp_path / driver, "--dra-check", ",".join(SCENARIO)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for driver in TOGETHER
    }
    printed = {driver: run.communicate()[0] for driver, run in runs.items()}
    assert [run.returncode for run in runs.values()] == [0, 0], printed
    spans = []
    for driver in TOGETHER:
        (path,) = (tmp_path / driver).glob("*/results.json")
        document: dict[str, Any] = json.loads(path.read_text())
        assert document["driver"]["name"] == DRIVERS[driver].name
        assert document["run"]["narrowed"]  # to the scenario
        made = [case["id"] for case in document["results"] if case["level"] is not None]
        assert document["counts"] == {**NOTHING_ELSE, "pass": len(made)}
        assert set(made) >= set(SCENARIO)  # and what they build on
        began = datetime.fromisoformat(document["run"]["started"]).timestamp()
        spans.append((began, began + document["run"]["seconds"]))
    assert max(began for began, _ in spans) < min(ended for _, ended in spans)
    for run in runs.values():
        assert not footprint.of_cluster(f"run-{run.pid}")
    assert footprint.host() == before
