"""What each driver does of what DRA offers: one table from the runs of several drivers."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.cluster.yaml_file import Field
from harness.cluster.yaml_file import read as read_yaml
from harness.verdict.finding import SkipKind
from harness.verdict.outcome import Outcome, Record, Result
from reports.facts import Facts, images

FILE = Path(__file__).with_name("features.yaml")
SCHEMA = "dra-conformance/features/v1"


class Support(enum.StrEnum):
    """What a driver makes of a feature; of several runs the first one counts."""

    BROKEN = "broken"
    WORKS = "works"
    REFUSED = "refused"
    """The driver says that it does not do it."""
    NOT_OFFERED = "not offered"
    """The cluster, the driver or the hardware has nothing to try it with."""
    NOT_TRIED = "not tried"


@dataclass(frozen=True)
class Feature:
    """A part of DRA, told by the checks of some requirements."""

    name: str
    gate: str
    """The feature gate of Kubernetes that it stands behind; empty: it is always there."""
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """What runs of one driver say of a feature."""

    support: Support
    checks: tuple[str, ...]
    """The IDs of the checks that say so."""
    why: str = ""
    """Why it is not offered, or refused: a sentence of the run."""

    def __str__(self) -> str:
        named = self.support is Support.BROKEN
        return f"{self.support.value} ({', '.join(self.checks)})" if named else self.support.value


def load(path: Path = FILE) -> tuple[Feature, ...]:
    """Read the list of features.

    Raises:
        YamlFileError: it cannot be read or lacks something.
    """
    return read_yaml("features", path, _features)


def _features(document: Field) -> tuple[Feature, ...]:
    fields = document.table(("schema", "features"))
    fields["schema"].one_of([SCHEMA])
    found: list[Feature] = []
    for item in fields["features"].items():
        one = item.table(("name", "sources"), ("gate",))
        gate = one["gate"].text() if "gate" in one else ""
        sources = tuple(source.text() for source in one["sources"].items())
        found.append(Feature(one["name"].text(), gate, sources))
    return tuple(found)


def matrix(
    features: Sequence[Feature], runs: Iterable[tuple[Record, Facts]]
) -> dict[str, dict[str, Cell]]:
    """Say what each driver makes of each feature.

    Args:
        features: the rows.
        runs: of any drivers; what several runs of one driver found is put together.

    Returns:
        Cells by the driver with its version, and the feature's name.
    """
    results: dict[str, list[Result]] = {}
    for record, facts in runs:
        results.setdefault(subject(record, facts), []).extend(record.checks())
    return {
        driver: {feature.name: _cell(feature, of_driver) for feature in features}
        for driver, of_driver in results.items()
    }


def subject(record: Record, facts: Facts) -> str:
    """Name the driver of a run with its images, whose tags tell its version."""
    names = {image.rpartition("/")[2] for image in images(record.environment)}
    return " ".join([facts.driver, *sorted(names)])


def _cell(feature: Feature, results: Iterable[Result]) -> Cell:
    says: dict[Support, list[Result]] = {}
    for result in results:
        if not set(result.source.split(", ")).isdisjoint(feature.sources):
            says.setdefault(_support(result), []).append(result)
    for support in Support:
        if found := says.get(support):
            skipped = support in (Support.REFUSED, Support.NOT_OFFERED)
            why = found[0].headline if skipped else ""
            return Cell(support, tuple(sorted({one.id for one in found})), why)
    return Cell(Support.NOT_TRIED, ())


def _support(result: Result) -> Support:
    if result.outcome is Outcome.FAIL:
        return Support.BROKEN
    if result.outcome is Outcome.PASS:
        return Support.WORKS
    if result.skip is SkipKind.REFUSED:
        return Support.REFUSED
    return Support.NOT_OFFERED if result.skip is SkipKind.UNSUPPORTED else Support.NOT_TRIED


def markdown(features: Sequence[Feature], cells: dict[str, dict[str, Cell]]) -> list[str]:
    """Lay the matrix out as a table, a row a feature and a column a driver; why stands below."""
    drivers = list(cells)
    lines = [_row("DRA feature", *drivers), _row(*["---"] * (len(drivers) + 1))]
    for feature in features:
        gate = f" (`{feature.gate}`)" if feature.gate else ""
        lines.append(_row(feature.name + gate, *(str(cells[d][feature.name]) for d in drivers)))
    reasons = [
        f"- {driver}, {name}: {cell.why}"
        for driver, of_driver in cells.items()
        for name, cell in of_driver.items()
        if cell.why
    ]
    return [*lines, *(["", *reasons] if reasons else [])]


def _row(*texts: str) -> str:
    return "| " + " | ".join(text.replace("|", r"\|") for text in texts) + " |"


def document(features: Sequence[Feature], cells: dict[str, dict[str, Cell]]) -> dict[str, Any]:
    """Make the same for programs."""
    return {
        "schema": "dra-conformance/feature-matrix/v1",
        "drivers": [
            {
                "driver": driver,
                "features": [
                    {
                        "name": feature.name,
                        "gate": feature.gate,
                        "support": of_driver[feature.name].support.value,
                        "checks": list(of_driver[feature.name].checks),
                        "why": of_driver[feature.name].why,
                    }
                    for feature in features
                ],
            }
            for driver, of_driver in cells.items()
        ],
    }
