"""A conformance statement: what runs have shown of a driver, and on what that rests."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import __version__
from harness.checks.check import CUDA_LEVEL, LEVELS
from harness.verdict.finding import CONCLUSIVE, counted
from harness.verdict.outcome import INVARIANTS_AREA, Outcome, Record, Result
from reports import features, html, results
from reports.facts import Facts
from reports.words import counts, in_markdown, markdown_row

SCHEMA = "dra-conformance/statement/v1"
REAL = "real"
NOT_REAL = "not claimed: no run was on GPUs that are known to be real"


class StatementError(Exception):
    """The runs make no statement; ``str()`` says why."""


class State(enum.StrEnum):
    """What is said of a level; of those that apply the first one."""

    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    NOT_CLAIMED = "not claimed"
    """Nothing was found wrong, and not everything was judged that can be."""
    PASSED = "passed"


@dataclass(frozen=True)
class Evidence:
    """One run."""

    place: Path
    record: Record
    facts: Facts
    sha256: str
    """Of its ``results.json``."""

    @classmethod
    def of(cls, place: Path) -> Evidence:
        """Read a run.

        Raises:
            ResultsError: see `reports.results.read`.
        """
        path = results.path_of(place)
        record, facts = results.read(place)
        return cls(path, record, facts, hashlib.sha256(path.read_bytes()).hexdigest())

    @property
    def subject(self) -> str:
        """The driver with its version."""
        return features.subject(self.record, self.facts)


@dataclass(frozen=True)
class Level:
    """What the runs say of the checks of one level."""

    level: int
    state: State
    why: str
    """Empty where it is passed without reserve."""
    checks: int
    """How many checks passed in all their forms that can be judged, and failed in none."""


@dataclass(frozen=True)
class Statement:
    """What is said of a driver."""

    driver: str
    levels: tuple[Level, ...]
    features: Mapping[str, features.Cell]
    red: tuple[tuple[Evidence, Result], ...]
    """Every case that failed or is inconclusive."""
    runs: tuple[Evidence, ...]

    @property
    def passed(self) -> list[int]:
        """The levels that are passed."""
        return [one.level for one in self.levels if one.state is State.PASSED]


def make(
    places: Iterable[Path], known: Sequence[features.Feature], catalogue: Mapping[str, int]
) -> Statement:
    """Say what runs have shown.

    Args:
        places: folders of runs of one version of one driver.
        known: the features to tell of.
        catalogue: the level of every check.

    Raises:
        StatementError: the runs are of several drivers or versions, or of none.
        ResultsError: one of them cannot be read.
    """
    runs = tuple(map(Evidence.of, places))
    subjects = sorted({run.subject for run in runs})
    if len(subjects) != 1 or not runs[0].facts.driver:
        named = "; ".join(subject or "none" for subject in subjects)
        raise StatementError(
            f"a statement is about one version of one driver; runs are of: {named}"
        )
    cells = features.matrix(known, ((run.record, run.facts) for run in runs))
    return Statement(
        driver=subjects[0],
        levels=tuple(
            _level(level, runs, {name for name, its in catalogue.items() if its == level})
            for level in range(len(LEVELS))
        ),
        features=cells[subjects[0]],
        red=tuple((run, one) for run in runs for one in run.record.results if one.red),
        runs=runs,
    )


def _level(level: int, runs: Sequence[Evidence], ids: set[str]) -> Level:
    """Judge a level: each form of its checks has to be judged in some run, and failed in none.

    What must hold all through a run, and has no level, is counted as level 0: it is only looked at.
    """
    red: dict[Outcome, set[str]] = {Outcome.FAIL: set(), Outcome.ERROR: set()}
    passed: dict[str, str] = {}
    excused: dict[str, str] = {}
    open_ones: dict[str, str] = {}
    for run in runs:
        # Simulated CUDA answers as the suite expects it to: that is no evidence.
        is_evidence = level != CUDA_LEVEL or run.facts.hardware == REAL
        for one in run.record.results:
            if (0 if one.area == INVARIANTS_AREA else one.level) != level:
                continue
            if one.red:
                red[one.outcome].add(one.id)
            elif is_evidence and one.outcome is Outcome.PASS:
                passed[one.case] = one.id
            elif is_evidence and one.skip in CONCLUSIVE:
                excused[one.case] = one.id
            else:
                open_ones[one.case] = one.id
    failed, broken = map(sorted, red.values())
    lacking = ids.difference(passed.values(), excused.values(), failed, broken)
    lacking |= {open_ones[case] for case in open_ones.keys() - passed.keys() - excused.keys()}
    good = set(passed.values()).difference(failed, broken, lacking)
    alone = sorted(set(excused.values()).difference(passed.values()))
    if failed:
        state, why = State.FAILED, ", ".join(failed)
    elif broken:
        state, why = State.INCONCLUSIVE, ", ".join(broken)
    elif level == CUDA_LEVEL and not any(run.facts.hardware == REAL for run in runs):
        state, why = State.NOT_CLAIMED, NOT_REAL
    elif lacking or not good:
        names = ", ".join(_lacking(one, passed, excused, open_ones) for one in sorted(lacking))
        state, why = State.NOT_CLAIMED, f"not judged: {names or 'any check'}"
    else:
        said = f"cannot be judged here, or refused as it may be: {', '.join(alone)}"
        state, why = State.PASSED, said if alone else ""
    return Level(level, state, why, len(good))


def _lacking(
    check: str, passed: Mapping[str, str], excused: Mapping[str, str], open_ones: Mapping[str, str]
) -> str:
    """Name a check that was not judged, or not in all of its cases."""
    judged = {case for case, its in {**passed, **excused}.items() if its == check}
    left = {case for case, its in open_ones.items() if its == check} - judged
    return f"{check} in {len(left)} of {counted(len(left | judged), 'case')}" if judged else check


def markdown(said: Statement) -> list[str]:
    """Write the statement for people."""
    passed = ", ".join(map(str, said.passed)) or "none"
    lines = [
        f"# Conformance statement: {in_markdown(said.driver)}",
        "",
        f"Levels passed: **{passed}**.",
        f"Made by dra-conformance {__version__} from {counted(len(said.runs), 'run')}.",
        "It says what they showed, and nothing beyond.",
        "",
        "## Levels",
        "",
        *_table(("level", "what it is about", "state", "checks passed", "why")),
    ]
    for one in said.levels:
        about = (str(one.level), LEVELS[one.level], one.state.value, str(one.checks))
        lines.append(markdown_row(*about, in_markdown(one.why)))
    lines += ["", "## Features", "", *_table(("DRA feature", "support", "why"))]
    for name, cell in said.features.items():
        lines.append(markdown_row(name, in_markdown(str(cell)), in_markdown(cell.why)))
    if said.red:
        lines += ["", "## Not passed", "", *_table(("run", "outcome", "what"))]
        lines += [
            markdown_row(in_markdown(run.facts.run_id), one.word, in_markdown(one.headline))
            for run, one in said.red
        ]
    lines += ["", "## Evidence", ""]
    for run in said.runs:
        rows = {
            **dict(html.highlights(run.record, run.facts)),
            "hardware": run.facts.hardware,
            "cluster": run.facts.cluster,
            "started": f"{run.facts.started:%Y-%m-%d %H:%M:%S} UTC",
            "verdict": f"{run.record.verdict().value}: {counts(run.record.checks())}",
            "suite": run.facts.suite,
            "sha256 of results.json": run.sha256,
        }
        lines += [*_table(("run", in_markdown(rows.pop("run"))))]
        lines += [*(markdown_row(name, in_markdown(text)) for name, text in rows.items()), ""]
    return lines[:-1]


def _table(columns: Sequence[str]) -> list[str]:
    return [markdown_row(*columns), markdown_row(*["---"] * len(columns))]


def document(said: Statement) -> dict[str, Any]:
    """Write the statement for programs."""
    return {
        "schema": SCHEMA,
        "suite": __version__,
        "driver": said.driver,
        "levels_passed": said.passed,
        "levels": [
            {
                "level": one.level,
                "about": LEVELS[one.level],
                "state": one.state.value,
                "checks_passed": one.checks,
                "why": one.why,
            }
            for one in said.levels
        ],
        "features": [
            {"name": name, "support": cell.support.value, "why": cell.why}
            for name, cell in said.features.items()
        ],
        "not_passed": [
            {"run": run.facts.run_id, "case": one.case, "outcome": one.word, "what": one.headline}
            for run, one in said.red
        ],
        "evidence": [
            {
                **dict(html.highlights(run.record, run.facts)),
                "hardware": run.facts.hardware,
                "cluster": run.facts.cluster,
                "started": run.facts.started.isoformat(timespec="milliseconds"),
                "verdict": run.record.verdict().value,
                "suite": run.facts.suite,
                "sha256": run.sha256,
            }
            for run in said.runs
        ],
    }
