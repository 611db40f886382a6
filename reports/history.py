"""Runs of many nights as one page: verdicts, what is flaky or fails, and how long it all took."""

from __future__ import annotations

import enum
import itertools
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from harness.cluster import journal
from harness.verdict.finding import counted
from harness.verdict.outcome import Outcome, Record
from reports import html, results
from reports.facts import Facts
from reports.features import subject
from reports.words import WORDS, as_text, counts

NAME = "history.html"
SLOWEST = 15
"""How many scenarios are listed with their times."""
SLOWER = 1.5
"""A scenario whose last time is so many times its median has become slow."""


class HistoryError(Exception):
    """There is no history; ``str()`` says why."""


@dataclass(frozen=True)
class Night:
    """One run."""

    place: Path
    record: Record
    facts: Facts

    @property
    def link(self) -> str:
        """Where its page is, seen from the folder of all runs; empty: it has none."""
        page = self.place / html.NAME
        return f"{quote(self.place.name)}/{html.NAME}" if page.exists() else ""

    @property
    def subject(self) -> str:
        """The driver with its version."""
        return subject(self.record, self.facts)

    @property
    def started(self) -> str:
        """When, in UTC."""
        return f"{self.facts.started:%Y-%m-%d %H:%M}"

    @cached_property
    def words(self) -> dict[str, str]:
        """How each case ended."""
        return {result.case: result.word for result in self.record.results}

    @cached_property
    def seconds(self) -> dict[str, float]:
        """How long each scenario took, from its first moment to its last."""
        times: dict[str, list[float]] = {}
        for life in self.record.timeline:
            times.setdefault(life.scenario, []).extend(life.moments.values())
        return {name: max(of_it) - min(of_it) for name, of_it in times.items() if of_it}

    @property
    def counts(self) -> list[tuple[str, int]]:
        """How many checks ended in each way, the worst first."""
        numbers = self.record.counts()
        return [(outcome.value, numbers[outcome]) for outcome in WORDS]


class Course(enum.StrEnum):
    """What becomes of a case from night to night, the worst first."""

    FLAKY = "flaky"
    """It changed between passed and not passed more than once."""
    FAILS = "fails"
    """It did not pass the last time that it was judged."""
    MENDED = "mended"
    """It passes, and did not before."""


_BAD = (Outcome.FAIL.value, Outcome.ERROR.value)


@dataclass(frozen=True)
class Case:
    """A case that did not pass in every run that judged it."""

    name: str
    course: Course
    changes: int
    """How often it changed between passed and not passed."""
    words: tuple[str, ...]
    """How it ended in each run; empty: it is not in that run."""


@dataclass(frozen=True)
class Pace:
    """How long a scenario took over the nights."""

    scenario: str
    seconds: tuple[float | None, ...]
    """In each run; None: it is not in that run."""

    @property
    def known(self) -> list[float]:
        """Of the runs that have it."""
        return [one for one in self.seconds if one is not None]

    @property
    def median(self) -> float:
        """In seconds."""
        return statistics.median(self.known)

    @property
    def slower(self) -> bool:
        """Whether the last time was far above the median."""
        return len(self.known) > 1 and self.known[-1] >= SLOWER * self.median


@dataclass(frozen=True)
class History:
    """The runs of one driver, the oldest first."""

    driver: str
    nights: tuple[Night, ...]

    @property
    def verdicts(self) -> str:
        """How often there was which verdict."""
        found = Counter(night.record.verdict().value for night in self.nights)
        return ", ".join(f"{number} {verdict}" for verdict, number in found.most_common())

    @property
    def longest(self) -> float:
        """Seconds of the run that took longest."""
        return max(night.facts.seconds for night in self.nights) or 1.0

    @cached_property
    def cases(self) -> list[Case]:
        """List the cases that did not pass every time, the flaky ones first."""
        names = dict.fromkeys(name for night in self.nights for name in night.words)
        made = (_case(name, [night.words.get(name, "") for night in self.nights]) for name in names)
        order = list(Course)
        found = [case for case in made if case is not None]
        return sorted(found, key=lambda case: (order.index(case.course), -case.changes))

    @cached_property
    def paces(self) -> list[Pace]:
        """List the scenarios that take longest."""
        names = dict.fromkeys(name for night in self.nights for name in night.seconds)
        paces = [Pace(n, tuple(night.seconds.get(n) for night in self.nights)) for n in names]
        return sorted(paces, key=lambda pace: -pace.median)[:SLOWEST]


def _case(name: str, words: Sequence[str]) -> Case | None:
    """Say what becomes of a case; None where it passed whenever it was judged."""
    bad = [word in _BAD for word in words if word not in ("", Outcome.SKIP.value)]
    if not any(bad):
        return None
    changes = sum(one != other for one, other in itertools.pairwise(bad))
    course = Course.FLAKY if changes > 1 else Course.FAILS if bad[-1] else Course.MENDED
    return Case(name, course, changes, tuple(words))


def read(place: Path) -> tuple[list[History], list[str]]:
    """Read all runs in a folder: what they are of each driver, and which cannot be read, and why.

    Raises:
        HistoryError: there is no run.
    """
    nights: dict[str, list[Night]] = {}
    unread: list[str] = []
    for folder in sorted(path for path in place.iterdir() if path.is_dir()):
        if not any((folder / name).exists() for name in (results.NAME, journal.NAME)):
            continue
        try:
            night = Night(folder, *results.read(folder))
        except results.ResultsError as error:
            unread.append(str(error))
        else:
            nights.setdefault(night.facts.driver, []).append(night)
    if not nights:
        raise HistoryError(f"{place}: there is no run in this folder that can be read")
    histories = (
        History(driver, tuple(sorted(of_it, key=lambda night: night.facts.started)))
        for driver, of_it in sorted(nights.items())
    )
    return list(histories), unread


def render(histories: Sequence[History], unread: Sequence[str]) -> str:
    """Make the page."""
    template = html.templates().get_template("history.html.j2")
    return as_text(template.render(histories=histories, unread=unread))


def lines(histories: Iterable[History], unread: Iterable[str]) -> Iterator[str]:
    """Yield what the terminal shows of it."""
    for history in histories:
        first, last = history.nights[0].started, history.nights[-1].started
        runs = counted(len(history.nights), "run")
        yield f"RUNS     {runs} of {history.driver or 'no driver'}, {first} to {last}"
        yield f"         {history.verdicts}; the last: {counts(history.nights[-1].record.checks())}"
        for case in history.cases:
            if case.course is not Course.MENDED:
                ended = _runs_of(history.nights, case.words)
                yield f" {case.course.upper():<7} {case.name}: {ended}"
        for pace in history.paces:
            if pace.slower:
                yield (
                    f" SLOWER  {pace.scenario}: {pace.known[-1]:.1f} s, its median is"
                    f" {pace.median:.1f} s"
                )
    for text in unread:
        yield f" UNREAD  {text}"


def _runs_of(nights: Sequence[Night], words: Sequence[str]) -> str:
    """Say how often a case ended how, and when it did not pass the last time."""
    found: Mapping[str, int] = Counter(filter(None, words))
    last = max(number for number, word in enumerate(words) if word in _BAD)
    said = ", ".join(f"{number} x {word}" for word, number in found.items())
    return f"{said}; {words[last]} the last time in {nights[last].facts.run_id}"
