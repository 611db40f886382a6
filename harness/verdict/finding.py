"""A check's failure, explained: what was expected, what was seen, who, and what to do next."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, replace

UNSUPPORTED = "unsupported:"
"""The reason of a skip begins so where the place cannot show what the check judges."""
HEAD_CHARACTERS = 120
"""TestGrid keeps 140 characters of a message and cuts the middle out."""


class Blame(enum.StrEnum):
    """Who has to act."""

    DRIVER = "driver"
    KUBELET = "kubelet"
    SCHEDULER = "scheduler"
    CLUSTER = "cluster"
    WORKLOAD = "workload"
    SUITE = "suite"


@dataclass(frozen=True)
class Finding:
    """Why a check is not passed, in words that can be acted on."""

    head: str
    """One line that a stranger understands."""
    expected: str
    observed: str
    blame: Blame
    likely: str = ""
    """The likely cause, from `harness.verdict.causes`."""
    next: str = ""
    """A command or a step that brings the reader further."""
    steps: tuple[str, ...] = ()
    """What happened before, with times."""
    events: tuple[str, ...] = ()
    driver_log: tuple[str, ...] = ()

    def with_evidence(
        self, steps: tuple[str, ...], events: tuple[str, ...], driver_log: tuple[str, ...]
    ) -> Finding:
        """The same, with what the run saw beside it."""
        return replace(
            self,
            steps=self.steps or steps,
            events=self.events or events,
            driver_log=self.driver_log or driver_log,
        )


class JudgementError(Exception):
    """How a check ended, when it did not pass."""


class FailedError(JudgementError):
    """The driver broke the contract."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.head)
        self.finding = finding


class InconclusiveError(JudgementError):
    """The suite, the cluster or the environment is at fault: nothing is said about the driver."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.head)
        self.finding = finding


class UnmetError(JudgementError):
    """What the check needs is not there; ``str()`` is the reason of the skip."""


class UnsupportedError(UnmetError):
    """The place cannot show what the check judges; that alone leaves a run conclusive."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{UNSUPPORTED} {reason}")


def judge(finding: Finding) -> JudgementError:
    """The judgement that a finding amounts to: only the driver's faults fail a check."""
    if finding.blame is Blame.DRIVER:
        return FailedError(finding)
    return InconclusiveError(finding)


def one_line(text: str, characters: int = HEAD_CHARACTERS) -> str:
    """Text as one line of limited length."""
    flat = " ".join(text.split())
    return flat if len(flat) <= characters else flat[: characters - 1].rstrip() + "…"


def counted(number: int, noun: str) -> str:
    """A number of things: ``1 GPU``, ``2 GPUs``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def short_uuid(uuid: str) -> str:
    """Enough of a GPU's UUID to tell it from others in one line."""
    match = re.fullmatch(r"((?:GPU|MIG)-[0-9a-fA-F]{8})-.*", uuid)
    return f"{match[1]}…" if match else uuid


def headline(check_id: str, variant: str | None, finding: Finding) -> str:
    """The first line of a failure, wherever it is shown."""
    form = f"[{variant}]" if variant else ""
    return one_line(f"{check_id}{form} {finding.head}")


def body(finding: Finding, sentence: str, rerun: str) -> str:
    """The failure below its first line."""
    rows: list[tuple[str, str]] = [
        ("check", sentence),
        ("expected", finding.expected),
        ("observed", finding.observed),
    ]
    if len(finding.head) > HEAD_CHARACTERS:
        rows.insert(0, ("in full", finding.head))
    if finding.steps:
        rows.append(("steps", "\n".join(finding.steps)))
    if finding.events:
        rows.append(("events", "\n".join(finding.events)))
    if finding.driver_log:
        rows.append(("driver log", "\n".join(finding.driver_log)))
    if finding.likely:
        rows.append(("likely", finding.likely))
    rows.append(("who", finding.blame.value))
    if finding.next:
        rows.append(("next", finding.next))
    rows.append(("rerun", rerun))
    return "\n".join(_row(title, text) for title, text in rows)


def _row(title: str, text: str) -> str:
    first, *others = text.splitlines() or [""]
    indent = " " * 14
    return "\n".join([f"  {title:<11} {first}", *(indent + line for line in others)])


def sections(text: str) -> list[tuple[str, str]]:
    """The rows of a failure's body, title and text; what is no row belongs to the one before."""
    rows: list[tuple[str, str]] = []
    for line in text.splitlines():
        title, rest = line[2:14].strip(), line[14:]
        if line.startswith("  ") and title and line[2] != " ":
            rows.append((title, rest))
        elif rows:
            above, so_far = rows[-1]
            inner = line[14:] if line[:14].isspace() else line
            rows[-1] = (above, f"{so_far}\n{inner}")
        else:
            rows.append(("", line))
    return rows
