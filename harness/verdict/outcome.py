"""Results of checks, and the verdict and exit code that follow from them."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from harness.verdict.finding import (
    CONCLUSIVE,
    Finding,
    SkipKind,
    UnmetError,
    headline,
    one_line,
    text_of,
)
from harness.verdict.table import Table
from harness.verdict.timeline import Life

PREFLIGHT_AREA = "preflight"
HYGIENE_AREA = "hygiene"
INVARIANTS_AREA = "invariants"
EXPECTATIONS_AREA = "expectations"
BASELINE_AREA = "baseline"
REPLAY_AREA = "replay"
_REASON_CHARACTERS = 500
"""Of a skip's reason in a report."""


class Outcome(enum.StrEnum):
    """How one check ended."""

    PASS = "pass"
    FAIL = "fail"
    """The driver broke the contract."""
    ERROR = "error"
    """The suite, the cluster or the environment is at fault."""
    SKIP = "skip"
    """Not judged, for a named reason."""


RULES = 3
"""The version of the verdict's rules: one more whenever the same results give another verdict."""


class Verdict(enum.StrEnum):
    """What a run says about the driver."""

    CONFORMANT = "conformant"
    PARTIAL = "partial"
    NONCONFORMANT = "nonconformant"
    INCONCLUSIVE = "inconclusive"


class Exit(enum.IntEnum):
    """Exit codes of a run and of `./run report`; 2 to 5 are pytest's own."""

    OK = 0
    FAILED = 1
    INTERRUPTED = 2
    INTERNAL = 3
    USAGE = 4
    PREFLIGHT = 10
    LEFTOVERS = 11
    INCONCLUSIVE = 12
    REGRESSION = 13


@dataclass(frozen=True)
class Result:
    """One case of a report: a check in one form, a preflight step, or the clean-up's audit."""

    case: str
    """The name in JUnit."""
    area: str
    outcome: Outcome
    sentence: str
    headline: str = ""
    """The first line, for everything that did not pass."""
    finding: Finding | None = None
    advice: bool = False
    """A SHOULD was breached: passed, with something to read."""
    id: str = ""
    variant: str | None = None
    force: str = ""
    level: int | None = None
    source: str = ""
    file: str = ""
    line: int | None = None
    seconds: float = 0.0
    skip: SkipKind | None = None
    """Why it was not judged; None for every other outcome."""
    blocked_by: str = ""
    """The ID of the check that blocks it, where that is the kind of its skip."""
    judges_driver: bool = True
    """False: it judges CUDA, the cluster or the suite itself, and is counted apart."""
    scenario: str = ""
    """The scenario whose evidence it judges; empty: it only reads."""
    reproduction: str = ""
    """Where the manifests and commands are that make it again with kubectl alone, from the run's
    folder; empty: there are none."""

    def __post_init__(self) -> None:
        needs_reason = self.outcome is not Outcome.PASS or self.advice
        if needs_reason and not self.headline.strip():
            raise ValueError(f"{self.case}: outcome {self.outcome.value} without a reason")
        if (self.outcome is Outcome.SKIP) is (self.skip is None):
            kind = self.skip.value if self.skip else "none"
            raise ValueError(f"{self.case}: outcome {self.outcome.value}, kind of its skip {kind}")

    @classmethod
    def passed(cls, case_id: str, name: str, area: str, sentence: str) -> Result:
        """Make a passed case of the run itself; `ended` and `skipped` answer how it ended else."""
        return cls(f"{case_id}_{name}", area, Outcome.PASS, sentence, id=case_id)

    @property
    def red(self) -> bool:
        """Whether it is neither passed nor skipped."""
        return self.outcome in (Outcome.FAIL, Outcome.ERROR)

    @property
    def word(self) -> str:
        """``pass``, ``advice``, ``skip``, ``error`` or ``fail``."""
        return "advice" if self.advice else self.outcome.value

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Its finding below the first line, title and text."""
        only = "" if self.level is None else f" with --dra-check {self.id}"
        again = f"the same command{only or ' again'}"
        if self.finding is None:
            return []
        rows = self.finding.rows(self.sentence, again)
        if self.reproduction:
            rows.append(("by kubectl", f"commands.sh in {self.reproduction} of the run's folder"))
        return rows

    @property
    def body(self) -> str:
        """Its finding below the first line, as text."""
        return text_of(self.rows)

    def ended(self, outcome: Outcome, finding: Finding) -> Result:
        """Answer the same case with a finding.

        Args:
            outcome: how it ended; passed with a finding is advice.
            finding: why it is not simply passed.
        """
        return replace(
            self,
            outcome=outcome,
            advice=outcome is Outcome.PASS,
            finding=finding,
            headline=headline(self.id, self.variant, finding),
        )

    def skipped(self, reason: UnmetError) -> Result:
        """Answer the same case, not judged for a reason."""
        return replace(
            self,
            outcome=Outcome.SKIP,
            headline=one_line(str(reason), _REASON_CHARACTERS),
            skip=reason.kind,
            blocked_by=reason.blocked_by,
        )


@dataclass
class Record:
    """All results of a run, in the order in which they came."""

    results: list[Result] = field(default_factory=list)
    narrowed: str = ""
    """Why not every check was selected; empty when all were."""
    leftovers: list[str] = field(default_factory=list)
    interrupted: str = ""
    """What ended the run before its end."""
    tables: list[Table] = field(default_factory=list)
    """What was measured, in the order in which it came."""
    environment: dict[str, Any] = field(default_factory=dict)
    """What is known about cluster, nodes and workloads besides the results; as JSON has it."""
    timeline: list[Life] = field(default_factory=list)
    """What became of the scenarios' claims and pods when, in the order of their creation."""
    rules: int = RULES
    """By which the run was judged."""
    verdict_then: Verdict | None = None
    """What it was judged to be, if by other rules than these."""

    def add(self, *results: Result) -> None:
        """Add some; the same case cannot end twice."""
        for result in results:
            for other in self.results:
                if result.case == other.case:
                    raise ValueError(f"{result.case} has two results")
            self.results.append(result)

    def add_table(self, table: Table) -> None:
        """Add one; a name stands for one table."""
        if any(table.name == other.name for other in self.tables):
            raise ValueError(f"there are two tables {table.name}")
        self.tables.append(table)

    def of(self, check_id: str, variant: str | None) -> Result | None:
        """Find the result of a check in one form."""
        for result in self.results:
            if result.id == check_id and result.variant == variant:
                return result
        return None

    def checks(self) -> list[Result]:
        """List the results of checks, without preflight, invariants, audit and baseline."""
        others = (PREFLIGHT_AREA, INVARIANTS_AREA, HYGIENE_AREA, BASELINE_AREA, REPLAY_AREA)
        return [r for r in self.results if r.area not in others]

    def by_subject(self) -> tuple[list[Result], list[Result]]:
        """Answer the checks that judge the driver, and those that judge something else."""
        of_driver: list[Result] = []
        others: list[Result] = []
        for result in self.checks():
            (of_driver if result.judges_driver else others).append(result)
        return of_driver, others

    def counts(self) -> Counter[Outcome]:
        """How many checks ended how."""
        return Counter(result.outcome for result in self.checks())

    def is_red(self, area: str) -> bool:
        """Whether a case of an area is neither passed nor skipped."""
        return any(result.red for result in self.results if result.area == area)

    def verdict(self) -> Verdict:
        """Judge the driver; a run that was judged by other rules keeps its verdict.

        It rests on the checks and the run-wide invariants; what preflight finds to be the driver's
        fault counts, too.
        """
        if self.verdict_then is not None:
            return self.verdict_then
        counts, areas = self.counts(), (INVARIANTS_AREA, PREFLIGHT_AREA)
        judged = {*counts, *(r.outcome for r in self.results if r.area in areas)}
        if Outcome.FAIL in judged:
            return Verdict.NONCONFORMANT
        undecided = not counts[Outcome.PASS] or bool(inconclusive_areas(self.checks()))
        if self.interrupted or undecided or Outcome.ERROR in judged:
            return Verdict.INCONCLUSIVE
        partial = bool(counts[Outcome.SKIP] or self.narrowed)
        return Verdict.PARTIAL if partial else Verdict.CONFORMANT

    def exit_code(self, pytest_code: int) -> int:
        """Choose the first that applies of: pytest's 2 to 5, 1, 10, 12, 13, 11, 0."""
        if pytest_code in (Exit.INTERRUPTED, Exit.INTERNAL, Exit.USAGE) or pytest_code > Exit.USAGE:
            return pytest_code
        verdict = self.verdict()
        if verdict is Verdict.NONCONFORMANT:
            return Exit.FAILED
        if self.is_red(PREFLIGHT_AREA):
            return Exit.PREFLIGHT
        if verdict is Verdict.INCONCLUSIVE:
            return Exit.INCONCLUSIVE
        if self.is_red(REPLAY_AREA):  # for what was not judged: the rest is decided
            return Exit.INCONCLUSIVE
        if self.is_red(BASELINE_AREA):
            return Exit.REGRESSION
        if self.leftovers or self.is_red(HYGIENE_AREA):
            return Exit.LEFTOVERS
        return pytest_code  # 1 when something failed that is no check


def inconclusive_areas(checks: Iterable[Result]) -> list[str]:
    """List the areas in which no check passed or failed, though it was neither unsupported here
    nor, by ``--dra-admin``, not asked for.
    """
    decided: set[str] = set()
    open_ones: set[str] = set()
    for result in checks:
        if result.outcome in (Outcome.PASS, Outcome.FAIL):
            decided.add(result.area)
        elif result.skip not in (*CONCLUSIVE, SkipKind.OWN_DEVICES):
            open_ones.add(result.area)
    return sorted(open_ones - decided)
