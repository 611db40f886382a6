"""``report.html``: the run for people, one file that needs nothing else and runs no script."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from harness.verdict.finding import DRIVER_LOG, EVENTS, STEPS
from harness.verdict.outcome import (
    BASELINE_AREA,
    HYGIENE_AREA,
    PREFLIGHT_AREA,
    Record,
    Result,
    inconclusive_areas,
)
from harness.verdict.table import Table
from reports import matrix, timeline
from reports.facts import Facts, images, records
from reports.words import WORDS, as_text, counts, judged, meaning, skips, untested

NAME = "report.html"
TEMPLATES = Path(__file__).parent / "templates"

_EVIDENCE = (STEPS, EVENTS, DRIVER_LOG)
"""Rows of a finding that are folded up."""
_MOST_OPEN = 10
"""How many findings are unfolded from the start."""
_WORST_FIRST = ("fail", "error", "advice", "skip", "pass")
_UUID = re.compile(r"((?:GPU-|MIG-)?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12},?)")
_SPECIAL = ("nodes", "gpus", "suite")


@dataclass(frozen=True)
class Shown:
    """One result as the page shows it."""

    result: Result
    anchor: str
    """Of its finding on this page."""
    kind: str
    """``pass``, ``advice``, ``skip``, ``error`` or ``fail``; the page's classes."""
    first: bool
    """Whether no form of its check before it ended so: one cause is told at length once."""

    @property
    def explained(self) -> bool:
        """Whether there is more to say than one line: all but passes and mere skips."""
        return self.result.finding is not None or self.kind in ("fail", "error", "advice")

    @property
    def rows(self) -> list[tuple[str, str]]:
        """The finding's message, row by row, as the terminal has it."""
        return [row for row in self.result.rows if row[0] not in _EVIDENCE]

    @property
    def evidence(self) -> list[tuple[str, str]]:
        """What was seen besides."""
        return [row for row in self.result.rows if row[0] in _EVIDENCE]


@dataclass(frozen=True)
class Row:
    """A check in all its forms."""

    id: str
    sentence: str
    cases: list[Shown]

    @property
    def kinds(self) -> list[str]:
        """How its forms ended, each way once."""
        return sorted({case.kind for case in self.cases})

    @property
    def reasons(self) -> dict[str, list[str]]:
        """Why it was skipped, each reason with the forms in which it was."""
        found: dict[str, list[str]] = {}
        for case in self.cases:
            if case.kind == "skip":
                forms = found.setdefault(case.result.headline, [])
                forms += [case.result.variant] if case.result.variant else []
        return found


def templates() -> jinja2.Environment:
    """Make what fills in the templates of pages."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["cell"] = _cell
    made.filters["pictures"] = matrix.pictures
    made.filters["kindof"] = _kind_of
    made.filters["numeric"] = _numeric
    made.filters["uuids"] = _uuids
    return made


def render(record: Record, facts: Facts) -> str:
    """Make the page."""
    shown = _shown(record)
    of_driver, others = record.by_subject()
    numbers = Counter(result.outcome for result in of_driver)
    template = templates().get_template("report.html.j2")
    page = template.render(
        record=record,
        facts=facts,
        verdict=record.verdict().value,
        meaning=meaning(record, facts.hardware),
        started=facts.started.strftime("%Y-%m-%d %H:%M:%S UTC"),
        counts=[(outcome.value, numbers[outcome], word) for outcome, word in WORDS.items()],
        judged=judged(of_driver, "the driver"),
        others=counts(others) if others else "",
        total=len(record.checks()),
        highlights=highlights(record, facts),
        findings=[
            one for kind in _WORST_FIRST for one in shown if one.explained and one.kind == kind
        ],
        most_open=_MOST_OPEN,
        notes=_notes(record, facts),
        skips=skips(record),
        areas=_areas(shown),
        chart=timeline.chart(record, _WORST_FIRST),
        meanings=timeline.MEANINGS,
        options=facts.given(),
        environment={k: v for k, v in record.environment.items() if k not in _SPECIAL},
        nodes=records(record.environment.get("nodes")),
        gpus=list(map(_brief, records(record.environment.get("gpus")))),
        suite=record.environment.get("suite") or {},
    )
    return as_text(page)


def _shown(record: Record) -> list[Shown]:
    shown: list[Shown] = []
    known: set[tuple[str, str]] = set()
    for number, result in enumerate(record.results, 1):
        key = (result.id or result.case, result.word)
        shown.append(Shown(result, f"case-{number}", result.word, first=key not in known))
        known.add(key)
    return shown


def highlights(record: Record, facts: Facts) -> list[tuple[str, str]]:
    """List the names and values that interest of every run, as far as they are known."""
    gpus = records(record.environment.get("gpus"))
    counted = Counter(str(gpu.get("product")) for gpu in gpus)
    more = int(record.environment.get("gpus_in_all") or len(gpus)) - len(gpus)
    products = [f"{n} x {name}" for name, n in counted.items()]
    rows = [
        ("driver", facts.driver),
        ("image", ", ".join(images(record.environment))),
        ("GPUs", ", ".join([*products, *([f"{more} more"] if more else [])]) or facts.product),
        ("GPU driver", _published(gpus, "driverVersion")),
        ("CUDA", _published(gpus, "cudaDriverVersion")),
        ("Kubernetes", facts.kubernetes),
        ("DRA API", f"resource.k8s.io/{facts.dra_api}" if facts.dra_api else ""),
        ("run", facts.run_id),
    ]
    return [(name, value) for name, value in rows if value]


def _published(gpus: Iterable[Mapping[str, Any]], attribute: str) -> str:
    """Name the values of an attribute, with the driver's domain before its name or without."""
    found: set[str] = set()
    for gpu in gpus:
        for name, value in (gpu.get("attributes") or {}).items():
            if name.rsplit("/", 1)[-1] == attribute:
                found.add(str(value))
    return ", ".join(sorted(found))


def _notes(record: Record, facts: Facts) -> list[tuple[str, str]]:
    """List what else concerns the run as a whole."""
    notes = [("ended early", record.interrupted), ("a part of the checks", record.narrowed)]
    if not record.is_red(PREFLIGHT_AREA):
        notes += [("untested", untested(area)) for area in inconclusive_areas(record.checks())]
    for one in record.results:
        if one.area == HYGIENE_AREA and not one.red:
            notes.append((f"{one.id} passed", one.headline))
    for left in record.leftovers:
        notes.append(("left in the cluster", left))
    notes.append(("kept as asked", f"delete with: {facts.kept}" if facts.kept else ""))
    return [(title, text) for title, text in notes if text]


def _areas(shown: Iterable[Shown]) -> list[tuple[str, list[Row]]]:
    """Group the checks by area, each with its forms; then preflight, clean-up and baseline."""
    areas: dict[str, dict[str, Row]] = {}
    for one in shown:
        key = one.result.id or one.result.case
        rows = areas.setdefault(one.result.area, {})
        rows.setdefault(key, Row(key, one.result.sentence, [])).cases.append(one)
    last = (PREFLIGHT_AREA, HYGIENE_AREA, BASELINE_AREA)
    names = sorted(areas, key=lambda name: last.index(name) if name in last else -1)
    return [(name, list(areas[name].values())) for name in names]


def _brief(gpu: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of a GPU the attributes that have a column of their own."""
    shown = (gpu.get("uuid"), gpu.get("product"))
    attributes = {k: v for k, v in (gpu.get("attributes") or {}).items() if v not in shown}
    return {**gpu, "attributes": attributes}


# For the template


def _cell(value: object) -> str:
    """Show a table's cell as text."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value)


def _kind_of(value: object) -> str:
    """How the template lays a value of the free-form environment out."""
    if isinstance(value, Mapping):
        return "object"
    if isinstance(value, list):
        return "records" if value and len(records(value)) == len(value) else "list"
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else "text"


def _numeric(table: Table, column: int) -> bool:
    """Whether a table's column holds numbers and nothing else."""
    kinds = {_kind_of(row[column]) for row in table.rows if row[column] is not None}
    return kinds == {"number"}


def _uuids(text: str) -> Markup:
    """Text in which no line ends in the middle of a UUID, so that two can be compared."""
    parts = _UUID.split(text)  # text, UUID, text, …
    return Markup("").join(
        Markup('<span class="uuid">{}</span>').format(part) if number % 2 else part
        for number, part in enumerate(parts)
    )
