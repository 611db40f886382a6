"""``./run bench report``: how long the page of a run with thousands of checks takes to write.

The run is made here: a tenth of its checks fails with all evidence that a finding can have, and
each scenario has claims and pods on the timeline. No cluster is needed. Seconds are of processor
time: the page is written by one thread that waits for nothing.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

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


def run(checks: int) -> tuple[Record, Facts]:
    """Make a run of so many cases."""
    record = Record(list(map(_result, range(checks))))
    record.timeline = [
        life for number in range(0, checks, FORMS) for life in _lives(number // FORMS)
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


def _result(number: int) -> Result:
    check, form = f"MADE-{number // FORMS:03}", f"form-{number % FORMS}"
    passed = Result(
        case=f"{check}_a_check_that_was_made[{form}]",
        area=f"area-{number // FORMS % AREAS}",
        outcome=Outcome.PASS,
        sentence=f"What {check} says of a driver MUST be so, whatever else its claims ask for.",
        id=check,
        variant=form,
        level=2,
        seconds=0.5,
        scenario=_scenario(number // FORMS),
    )
    if number % 10 == 1:
        texts = tuple(LINE.format(f"{number}-{line}") for line in range(EVIDENCE_LINES))
        head = f"pod {number} saw 1 of the 2 devices of its claim"
        finding = Finding(head, "2", "1", Blame.DRIVER, "a cause", "a step", texts, texts, texts)
        return passed.ended(Outcome.FAIL, finding)
    if number % 10 == 2:
        return passed.skipped(UnsupportedError("not offered here"))
    return passed


def _scenario(number: int) -> str:
    return f"scenario-{number}"


def _lives(number: int) -> Iterator[Life]:
    for one in range(FORMS):
        began = number * FORMS + one / FORMS
        of_claim = (Moment.CREATED, Moment.ALLOCATED, Moment.RELEASED, Moment.DELETED, Moment.GONE)
        of_pod = (Moment.CREATED, Moment.SCHEDULED, Moment.PREPARED, Moment.RUNNING)
        ends = (Moment.DELETED, Moment.GONE)
        for kind, moments in (("ResourceClaim", of_claim), ("Pod", (*of_pod, *ends))):
            times = {what: round(began + step * 1.234, 3) for step, what in enumerate(moments)}
            yield Life(_scenario(number), kind, f"{kind.lower()}-{one}-of-{number}", times)


def main(arguments: Sequence[str]) -> int:
    """Write the page some times, and print how long it took and how large it is."""
    parser = argparse.ArgumentParser(prog="./run bench report", description=__doc__)
    parser.add_argument("--checks", type=int, default=CHECKS, metavar="N", help="(default 2000)")
    parser.add_argument("--times", type=int, default=5, metavar="N", help="(default 5)")
    given = parser.parse_args(arguments)
    record, facts = run(given.checks)
    seconds: list[float] = []
    for _ in range(given.times):
        began = time.process_time()
        page = html.render(record, facts)
        seconds.append(time.process_time() - began)
    size = len(page.encode("utf-8", "replace"))
    print(
        f"{given.checks} checks: {statistics.median(seconds):.2f} s of processor time"
        f" ({min(seconds):.2f} to {max(seconds):.2f}), {size / 1e6:.2f} MB"
    )
    return Exit.OK
