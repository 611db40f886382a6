"""Where the time of a run went, read from what it wrote: ``results.json`` and ``events.jsonl``.

All times are of one clock, that of the machine with the suite: an event counts from when it was
seen. Shares of one run say more than seconds do, because they depend less on the machine.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.cluster import journal
from harness.verdict.table import Table
from reports import results

PHASES = ("start", "checks", "clean-up")
POD_STEPS = ("schedule", "prepare", "run", "remove")


class PhasesError(Exception):
    """A run's files do not tell where its time went; ``str()`` says why."""


@dataclass(frozen=True)
class Timing:
    """One run."""

    seconds: float
    phases: Mapping[str, float]
    """Seconds of `PHASES`, one after the other; their sum is the run's."""
    pods: tuple[Mapping[str, float], ...]
    """Of each pod the seconds of those of `POD_STEPS` that it came to; pods overlap."""


def read(place: Path) -> Timing:
    """The timing of a run, from its folder.

    Raises:
        PhasesError: it created nothing.
        ResultsError: these are no results.
    """
    _, facts = results.read(place)
    path = place / journal.NAME
    try:
        entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise PhasesError(f"{path}: cannot be read: {error}") from error
    created = [entry for entry in entries if entry["what"] == "created"]
    # The first thing that a run creates is its namespace, which is the last that it deletes.
    own = created[0]["object"]["metadata"]["uid"] if created else ""
    removed = [
        entry["time"]
        for entry in entries
        if entry["what"] == "object"
        and entry["object"]["metadata"].get("uid") == own
        and "deletionTimestamp" in entry["object"]["metadata"]
    ]
    if not created or not removed:
        raise PhasesError(f"{journal}: the run created nothing, or left it")
    began = facts.started.timestamp()
    end = began + facts.seconds
    first = created[0]["time"]
    phases = (first - began, removed[0] - first, end - removed[0])
    return Timing(facts.seconds, dict(zip(PHASES, phases, strict=True)), tuple(_pods(entries)))


def _pods(entries: Iterable[Mapping[str, Any]]) -> list[Mapping[str, float]]:
    """Of each pod, how long it took from one state to the next."""
    seen: dict[str, dict[str, float]] = {}
    for entry in entries:
        obj = entry.get("object") or {}
        if obj.get("kind") != "Pod" or "spec" not in obj:  # those of others are not written whole
            continue
        times = seen.setdefault(obj["metadata"]["uid"], {})
        reached = ["created"] if entry["what"] == "created" else _reached(obj)
        if entry.get("change") == "DELETED":
            reached.append("gone")
        for state in reached:
            times.setdefault(state, entry["time"])
    between = {
        "schedule": ("created", "bound"),
        "prepare": ("bound", "started"),
        "run": ("started", "ended"),
        "remove": ("ending", "gone"),
    }
    return [
        {
            step: times[last] - times[first]
            for step, (first, last) in between.items()
            if first in times and last in times
        }
        for times in seen.values()
    ]


def _reached(pod: Mapping[str, Any]) -> list[str]:
    states = [
        status.get("state") or {}
        for status in (pod.get("status") or {}).get("containerStatuses") or []
    ]
    reached = {
        "bound": bool(pod["spec"].get("nodeName")),
        "started": any("running" in state or "terminated" in state for state in states),
        "ended": bool(states) and all("terminated" in state for state in states),
        "ending": "deletionTimestamp" in pod["metadata"],
    }
    return [state for state, is_so in reached.items() if is_so]


# Tables


def of_runs(timings: Iterable[Timing]) -> Table:
    """What the runs took, phase by phase: medians, and medians of the shares of each run."""
    runs = list(timings)
    whole = statistics.median(run.seconds for run in runs)
    return Table(
        "phases",
        "Phases of a run",
        ("phase", "median, s", "share of the run, %"),
        (
            *(
                (
                    phase,
                    _rounded(run.phases[phase] for run in runs),
                    _rounded(100 * run.phases[phase] / run.seconds for run in runs),
                )
                for phase in PHASES
            ),
            ("whole run", round(whole, 2), 100.0),
        ),
        note="start: until the first object is created, preflight and the start of an embedded"
        " cluster included; clean-up: from the deletion of the run's namespace, the end of an"
        " embedded cluster included.",
    )


def of_pods(timings: Iterable[Timing]) -> Table:
    """What the pods of all runs took, step by step."""
    pods = [pod for run in timings for pod in run.pods]
    rows = []
    for step in POD_STEPS:
        taken = sorted(pod[step] for pod in pods if step in pod)
        if taken:
            rows.append((step, len(taken), _rounded(taken), round(taken[-1], 2)))
    return Table(
        "pods",
        "Steps of a pod",
        ("step", "pods", "median, s", "longest, s"),
        tuple(rows),
        note="schedule: created until bound to a node, the claim's allocation included; prepare:"
        " until its container started, the driver's work included; run: until it ended;"
        " remove: from its deletion until it is gone, the driver's unprepare included.",
    )


def _rounded(values: Iterable[float]) -> float:
    return round(statistics.median(values), 2)


def aligned(table: Table) -> Iterator[str]:
    """Write a table for a terminal, line by line."""
    rows = [table.columns, *(tuple(str(cell) for cell in row) for row in table.rows)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(table.columns))]
    yield f"{table.title}"
    for first, *others in rows:
        numbers = (text.rjust(width) for text, width in zip(others, widths[1:], strict=True))
        yield "  " + "  ".join([first.ljust(widths[0]), *numbers])
    yield f"  ({table.note})"
