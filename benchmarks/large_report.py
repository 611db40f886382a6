"""``./run bench report``: how long the page of a run with thousands of checks takes.

To be written, and where this machine has a Chromium, to be opened by it.

The run is made here: a tenth of its checks fails with all evidence that a finding can have, and
each scenario has claims and pods on the timeline. No cluster is needed. Seconds of writing are of
processor time: one thread does it and waits for nothing. Those of opening are by the clock, until
the first screen is painted and everything below it is laid out.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.browser import browser, program
from harness import __version__
from harness.verdict.finding import Blame, Finding, UnsupportedError
from harness.verdict.outcome import Exit, Outcome, Record, Result
from harness.verdict.timeline import Life, Moment
from reports import html
from reports.facts import Facts

CHECKS = 2000
FORMS = 5
"""Of each check; as many checks judge one scenario, which has as many pods, each with a claim."""
AREAS = 10
EVIDENCE_LINES = 20
LINE = "I1123 19:40:01.704960 1 driver.go:415] Returning newly prepared devices for claim {}"


def run(checks: int, name: str = "") -> tuple[Record, Facts]:
    """Make a run.

    Args:
        checks: how many cases it has.
        name: what is in each kind of text that a cluster or a check gives.
    """
    record = Record([_result(number, name) for number in range(checks)])
    record.timeline = [
        life for number in range(0, checks, FORMS) for life in _lives(number // FORMS, name)
    ]
    facts = Facts(
        run_id="20261130-000000-made",
        cluster="made by ./run bench report",
        hardware="simulated",
        kubernetes="v1.37.2",
        server="",
        driver="gpu.example.com",
        profile="default",
        product="GPU",
        started=datetime(2026, 11, 30, tzinfo=UTC),
        seconds=float(checks),
        exit_code=Exit.FAILED,
        options=(),
        folder=Path(),
        junit=Path("junit.xml"),
        host="",
        suite=__version__,
        dra_api="v1",
        kept="",
    )
    return record, facts


def _result(number: int, name: str) -> Result:
    check, form = f"MADE-{number // FORMS:03}", f"form-{number % FORMS}{name}"
    passed = Result(
        case=f"{check}_a_check_that_was_made[{form}]",
        area=f"area-{number // FORMS % AREAS}{name}",
        outcome=Outcome.PASS,
        sentence=f"What {check}{name} says MUST be so of a driver, whatever its claims ask for.",
        id=check,
        variant=form,
        level=2,
        seconds=0.5,
        scenario=_scenario(number // FORMS, name),
    )
    if number % 10 == 1:
        lines = (LINE.format(f"{number}-{line}") for line in range(1, EVIDENCE_LINES))
        texts = (LINE.format(f"{number}-0{name}"), *lines)
        head = f"pod {number}{name} saw 1 of the 2 devices of its claim"
        rows = (f"2{name}", f"1{name}", Blame.DRIVER, f"a cause{name}", f"a step{name}")
        finding = Finding(head, *rows, texts, texts, texts)
        return passed.ended(Outcome.FAIL, finding)
    if number % 10 == 2:
        return passed.skipped(UnsupportedError(f"not offered here{name}"))
    return passed


def _scenario(number: int, name: str) -> str:
    return f"scenario-{number}{name}"


def _lives(number: int, name: str) -> Iterator[Life]:
    for one in range(FORMS):
        began = number * FORMS + one / FORMS
        of_claim = (Moment.CREATED, Moment.ALLOCATED, Moment.RELEASED, Moment.DELETED, Moment.GONE)
        of_pod = (Moment.CREATED, Moment.SCHEDULED, Moment.PREPARED, Moment.RUNNING)
        ends = (Moment.DELETED, Moment.GONE)
        for kind, moments in (("ResourceClaim", of_claim), ("Pod", (*of_pod, *ends))):
            times = {what: round(began + step * 1.234, 3) for step, what in enumerate(moments)}
            called = f"{kind.lower()}-{one}-of-{number}{name}"
            yield Life(_scenario(number, name), kind, called, times)


def main(arguments: Sequence[str]) -> int:
    """Write and open the page some times, and print how long it took and how large it is."""
    parser = argparse.ArgumentParser(prog="./run bench report", description=__doc__)
    parser.add_argument("--checks", type=int, default=CHECKS, metavar="N", help="(default 2000)")
    parser.add_argument("--times", type=int, default=5, metavar="N", help="(default 5)")
    given = parser.parse_args(arguments)
    record, facts = run(given.checks)
    seconds: list[float] = []
    for _ in range(given.times):
        began = time.process_time()
        page = html.render(record, facts).encode("utf-8", "replace")
        seconds.append(time.process_time() - began)
    print(f"{given.checks} checks: {len(page) / 1e6:.2f} MB")
    print(f"written in {_middle(seconds)} of processor time")
    if found := program():
        print(f"opened in {_middle(_opened(found, page, given.times))} by {Path(found).name}")
    return Exit.OK


def _opened(found: str, page: bytes, times: int) -> list[float]:
    with tempfile.TemporaryDirectory(prefix="dra-bench-") as name:
        file = Path(name) / "report.html"
        file.write_bytes(page)
        seconds = []
        with browser(found, Path(name)) as shown:
            for _ in range(times):
                began = time.monotonic()
                shown.open(file).picture()
                seconds.append(time.monotonic() - began)
    return seconds


def _middle(seconds: Sequence[float]) -> str:
    most, least = max(seconds), min(seconds)
    return f"{statistics.median(seconds):.2f} s ({least:.2f} to {most:.2f})"
