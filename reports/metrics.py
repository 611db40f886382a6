"""The outcome of a run for Prometheus: a file for the textfile collector, or a Pushgateway.

The format is the text exposition format 0.0.4. All are gauges of one run, so they are written
here: a library for that would be a dependency for twenty lines.
"""

from __future__ import annotations

import http.client
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import urlsplit

from harness.verdict.outcome import Outcome, Record, Verdict
from reports.facts import Facts
from reports.words import as_text

JOB = "dra-conformance"
"""The group at a Pushgateway: each run takes the place of the one before."""
PUSH_SECONDS = 10
_PREFIX = "dra_conformance_"
Samples = Iterable[tuple[Mapping[str, str], float]]


class PushError(Exception):
    """A Pushgateway did not take the metrics; ``str()`` says why."""


def render(record: Record, facts: Facts) -> str:
    """Make the text."""
    return "".join(f"{line}\n" for line in _lines(record, facts))


def push(text: str, url: str) -> None:
    """Send a text to a Pushgateway.

    Raises:
        PushError: it was not taken.
    """
    request = urllib.request.Request(
        f"{url.rstrip('/')}/metrics/job/{JOB}",
        text.encode(),
        {"Content-Type": "text/plain; version=0.0.4"},
        method="PUT",
    )
    try:
        with urllib.request.urlopen(request, timeout=PUSH_SECONDS):
            pass
    except (OSError, http.client.HTTPException) as error:
        said = error.read(500).decode(errors="replace") if hasattr(error, "read") else ""
        raise PushError(f"{urlsplit(url).netloc}: {error} {said}".strip()) from error


def _lines(record: Record, facts: Facts) -> Iterator[str]:
    driver = {"driver": facts.driver}
    about = {
        "run": facts.run_id,
        "suite": facts.suite,
        "kubernetes": facts.kubernetes,
        "hardware": facts.hardware,
    }
    yield from _gauge("info", "Which run it was.", [({**driver, **about}, 1)])
    end = facts.started.timestamp() + facts.seconds
    yield from _gauge("end_timestamp_seconds", "When the run ended.", [(driver, end)])
    yield from _gauge("duration_seconds", "How long it took.", [(driver, facts.seconds)])
    yield from _gauge("exit_code", "Its exit code.", [(driver, facts.exit_code)])
    verdict = record.verdict()
    verdicts = [({**driver, "verdict": one.value}, float(one is verdict)) for one in Verdict]
    yield from _gauge("verdict", "1 for the verdict of the run, 0 for the others.", verdicts)
    found = Counter((result.area, result.outcome) for result in record.results)
    cases = [
        ({**driver, "area": area, "outcome": outcome.value}, float(found[area, outcome]))
        for area in sorted({result.area for result in record.results})
        for outcome in Outcome
    ]
    yield from _gauge("cases", "Cases of an area that ended so.", cases)


def _gauge(name: str, help_: str, samples: Samples) -> Iterator[str]:
    yield f"# HELP {_PREFIX}{name} {help_}"
    yield f"# TYPE {_PREFIX}{name} gauge"
    for labels, value in samples:
        pairs = ",".join(f'{label}="{_quoted(text)}"' for label, text in labels.items())
        yield f"{_PREFIX}{name}{{{pairs}}} {value:.15g}"


def _quoted(text: str) -> str:
    return as_text(text, "").replace("\\", "\\\\").replace('"', '\\"')
