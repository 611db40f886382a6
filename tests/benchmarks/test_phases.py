"""Where the time of a run went."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__, phases
from benchmarks.phases import PhasesError
from reports import folder
from tests.reports import samples

START = 1795460000.0


def entry(time: float, what: str, kind: str, change: str = "", **fields: Any) -> str:
    """A line of the journal; an object's UID is its kind."""
    obj = {"kind": kind, "metadata": {"uid": kind}, "spec": {}, "status": {}}
    for name, value in fields.items():
        obj[name] = {**obj[name], **value}  # type: ignore[dict-item]
    return json.dumps({"time": START + time, "what": what, "change": change, "object": obj})


def pod_state(**state: Any) -> dict[str, Any]:
    """A pod's status with one container."""
    return {"containerStatuses": [{"state": state}]}


JOURNAL = [
    json.dumps({"time": START, "what": "trouble", "text": "x"}),
    entry(10, "created", "Namespace"),
    entry(11, "created", "Pod"),
    entry(12, "object", "Pod", "MODIFIED", spec={"nodeName": "a"}),
    entry(15, "object", "Pod", "MODIFIED", spec={"nodeName": "a"}, status=pod_state(waiting={})),
    entry(16, "object", "Pod", "MODIFIED", spec={"nodeName": "a"}, status=pod_state(running={})),
    entry(20, "object", "Pod", "MODIFIED", spec={"nodeName": "a"}, status=pod_state(terminated={})),
    entry(21, "object", "Pod", "MODIFIED", metadata={"deletionTimestamp": "x"}),
    entry(22, "object", "Pod", "MODIFIED", metadata={"deletionTimestamp": "x"}),
    entry(23.5, "object", "Pod", "DELETED", metadata={"deletionTimestamp": "x"}),
    entry(30, "object", "Namespace", "MODIFIED", metadata={"deletionTimestamp": "x"}),
    entry(33, "object", "Namespace", "DELETED", metadata={"deletionTimestamp": "x"}),
]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of 40 seconds."""
    facts = replace(
        samples.facts(tmp_path), started=datetime.fromtimestamp(START, UTC), seconds=40.0
    )
    folder.write(samples.record(), facts)
    (tmp_path / "events.jsonl").write_text("\n".join(JOURNAL))
    return tmp_path


def test_phases_follow_each_other_and_pods_are_taken_apart(run: Path) -> None:
    """From one clock."""
    timing = phases.read(run)
    assert timing.phases == {"start": 10, "checks": 20, "clean-up": 10}
    assert timing.pods == ({"schedule": 1, "prepare": 4, "run": 4, "remove": 2.5},)


def test_tables_hold_medians_and_shares(run: Path) -> None:
    """Of several runs."""
    timing = phases.read(run)
    slow = replace(timing, seconds=80.0, phases={"start": 40.0, "checks": 30.0, "clean-up": 10.0})
    assert phases.of_runs([timing, timing, slow]).rows == (
        ("start", 10.0, 25.0),
        ("checks", 20.0, 50.0),
        ("clean-up", 10.0, 25.0),
        ("whole run", 40.0, 100.0),
    )
    assert phases.of_pods([timing, slow]).rows[3] == ("remove", 2, 2.5, 2.5)


def test_runs_that_are_there_can_be_read(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Aligned, for people."""
    assert __main__.main(["--of", str(run)]) == 0
    assert "  checks          20.0                 50.0\n" in capsys.readouterr().out


def test_a_run_that_created_nothing_says_nothing(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 4, and why."""
    (run / "events.jsonl").write_text(JOURNAL[0])
    with pytest.raises(PhasesError, match="created nothing"):
        phases.read(run)
    assert __main__.main(["--of", str(run)]) == 4
    assert "created nothing" in capsys.readouterr().err
    (run / "events.jsonl").unlink()
    assert __main__.main(["--of", str(run)]) == 4
