"""The original example by the suite and by kubectl: what is read from a journal, and compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from benchmarks.by_kubectl import OWN, BenchError, Timing, played, table
from harness.cluster.anchor import anchor_name
from harness.scenario.run import SCENARIO_LABEL

RUN = "20261130-000000-aaaa"
SPACE = f"{anchor_name(RUN)}-privileged"
Entry = Mapping[str, Any]


def made(time: float, kind: str, name: str, scenario: str = "privileged") -> Entry:
    """An object that the suite created, as its journal has it."""
    metadata = {
        "name": name,
        "namespace": SPACE,
        "uid": name,
        "resourceVersion": "7",
        "labels": {SCENARIO_LABEL: scenario, "app": "gpu"},
    }
    return {
        "time": time,
        "what": "created",
        "object": {"apiVersion": "v1", "kind": kind, "metadata": metadata, "status": {}},
    }


def ended(time: float, pod: str, state: str = "terminated") -> Entry:
    """A pod as it was seen."""
    entry = made(time, "Pod", f"{pod}-privileged")
    status: Entry = {"containerStatuses": [{"state": {state: {}}}]}
    return {
        "time": time,
        "what": "object",
        "change": "MODIFIED",
        "object": {**entry["object"], "status": status},
    }


def space(time: float, change: str) -> Entry:
    """The example's namespace, whose end was asked for."""
    metadata = {"name": SPACE, "deletionTimestamp": "2026-11-30T00:00:00Z"}
    obj = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    return {"time": time, "what": "object", "change": change, "object": obj}


JOURNAL = [
    made(9.0, "Pod", "preflight", "another"),
    made(10.0, "ResourceClaim", "shared-dual-gpus-privileged"),
    made(10.1, "Pod", "producer-privileged"),
    ended(11.0, "producer", "running"),
    ended(12.0, "consumer"),
    ended(12.5, "producer"),
    ended(12.7, "producer"),
    ended(14.0, "again"),
    space(14.25, "MODIFIED"),
    space(15.0, "MODIFIED"),
    space(20.0, "DELETED"),
]


def test_the_parts_of_the_example_are_read_from_the_journal() -> None:
    """From the first object of it; a part is over when it was first seen to be."""
    seen = played(JOURNAL, RUN, began=4.0, ended=21.0)
    assert seen.timing == Timing((2.5, 1.5, 0.25, 5.75), around=7.0)
    assert seen.timing.seconds == 10.0


def test_the_objects_are_those_of_the_example_without_the_run() -> None:
    """As somebody would write them down, in a namespace of their own."""
    claim, pod = played(JOURNAL, RUN, began=4.0, ended=21.0).objects
    assert (claim["kind"], pod["kind"]) == ("ResourceClaim", "Pod")
    name, namespace = "producer-privileged", f"{OWN}-privileged"
    assert pod["metadata"] == {"name": name, "namespace": namespace, "labels": {"app": "gpu"}}
    assert "status" not in pod


@pytest.mark.parametrize("lost", [1, -1, -4])
def test_an_example_that_did_not_come_to_its_end_is_not_measured(lost: int) -> None:
    """Whatever of it is missing."""
    rest = [entry for entry in JOURNAL if entry["object"]["kind"] != "ResourceClaim"]
    journal = rest[:lost] if lost > 0 else [e for e in JOURNAL if e is not JOURNAL[lost]]
    with pytest.raises(BenchError, match="does not tell"):
        played(journal, RUN, began=4.0, ended=21.0)


def test_medians_are_compared_part_by_part() -> None:
    """And the whole by its own median."""
    pairs = [(Timing((2.0, 1.0, 0.5, k), 4.0), Timing((1.0, 1.0, 0.0, 4.0))) for k in (4, 5, 9)]
    rows = {row[0]: row[1:] for row in table(pairs).rows}
    assert rows["share"] == (2.0, 1.0, 2.0)
    assert rows["ask for the end"] == (0.5, 0.0, 0)
    assert rows["all is gone"] == (5.0, 4.0, 1.25)
    assert rows["the example"] == (8.5, 6.0, 1.42)
    assert "4.00 s" in table(pairs).note
