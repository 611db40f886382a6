"""A run with one result of each kind, for the tests of its reports."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from harness import __version__
from harness.verdict.finding import Blame, Finding, SkipKind
from harness.verdict.outcome import Outcome, Record, Result
from harness.verdict.table import Matrix, Table
from harness.verdict.timeline import Life, Moment
from reports.facts import Facts

FINDING = Finding("consumer saw 1 of 2", "2", "1", Blame.DRIVER)
MARKUP = "\"'</li><img src=x onerror=hostile()>"
"""A name that is code where a page takes it as it is."""
MATRIX = Matrix(("PIDs",), ("works",), ("µs",))
FULL = Finding(
    "head",
    "expected",
    "observed",
    Blame.KUBELET,
    likely="likely",
    next="next",
    steps=("one", "two"),
    events=("event",),
    driver_log=("line",),
)


def facts(folder: Path) -> Facts:
    """A run."""
    return Facts(
        run_id="r",
        cluster="embedded cluster; SIMULATED GPUs",
        hardware="simulated",
        kubernetes="v1.37.2",
        server="https://x",
        driver="gpu.nvidia.com",
        profile="nvidia",
        product="H100",
        started=datetime.fromtimestamp(1795460000, UTC),
        seconds=12.5,
        exit_code=1,
        options=(),
        folder=folder,
        junit=folder / "junit.xml",
        host="here",
        suite=__version__,
        dra_api="",
        kept="",
    )


def result(name: str, outcome: Outcome, **more: object) -> Result:
    """A result with text."""
    text = {"headline": f"{name} is so", **more}
    if outcome is Outcome.SKIP:
        text.setdefault("skip", SkipKind.UNMET)
    return Result(case=name, area="sharing", outcome=outcome, sentence="", id=name[:7], **text)  # type: ignore[arg-type]


def record() -> Record:
    """One result of each kind."""
    made = Record()
    made.add(result("ISO-001_a[x]", Outcome.PASS, headline="", seconds=0.0))
    made.add(result("ISO-002_b[x]", Outcome.FAIL, finding=FINDING))
    made.add(result("ISO-003_c", Outcome.ERROR, finding=replace(FINDING, blame=Blame.CLUSTER)))
    made.add(result("ISO-004_d", Outcome.SKIP))
    made.add(result("ISO-005_e", Outcome.PASS, advice=True))
    return made


def full_record() -> Record:
    """Everything that a record can hold."""
    made = record()
    made.add(result("ISO-006_f[y]", Outcome.ERROR, finding=FULL, variant="y", line=7))
    rows = (("1/1", False, 201), ("1/2", None, 1.5))
    made.add_table(
        Table("pids", "PIDs", ("PIDs", "works", "µs"), rows, "So.", "Median of 5.", MATRIX)
    )
    made.narrowed, made.interrupted = "not selected: X", "by SIGTERM"
    made.leftovers.append("pod/x in y")
    made.environment["nodes"] = [{"name": "node-1"}]
    made.timeline.append(Life("x", "Pod", "y", {Moment.CREATED: 0.5, Moment.GONE: 2.25}))
    return made
