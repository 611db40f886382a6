"""A check's failure, explained: expected, observed, the responsible party, and the next step."""

from __future__ import annotations

import enum
import re
import traceback
from collections.abc import Iterable
from dataclasses import dataclass

HEAD_CHARACTERS = 120
"""TestGrid keeps 140 characters of a message and cuts the middle out."""
STEPS, EVENTS, DRIVER_LOG = "steps", "events", "driver log"
"""Titles of the rows that are evidence, not message."""


class Blame(enum.StrEnum):
    """The responsible party: who must act."""

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

    def rows(self, sentence: str, rerun: str) -> list[tuple[str, str]]:
        """Name what stands below the first line, title and text, in the order of reading.

        Args:
            sentence: what the check demands.
            rerun: how to make just this check again.
        """
        rows = [
            ("in full", self.head if len(self.head) > HEAD_CHARACTERS else ""),
            ("check", sentence),
            ("expected", self.expected),
            ("observed", self.observed),
            (STEPS, "\n".join(self.steps)),
            (EVENTS, "\n".join(self.events)),
            (DRIVER_LOG, "\n".join(self.driver_log)),
            ("likely", self.likely),
            ("responsible", self.blame.value),
            ("next", self.next),
            ("rerun", rerun),
        ]
        always = ("check", "expected", "observed")
        return [(title, text) for title, text in rows if text or title in always]


class JudgementError(Exception):
    """How a check ended, when it did not pass."""


class FindingError(JudgementError):
    """What must be so is not; the finding says what, and who has to act."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.head)
        self.finding = finding


class FailedError(FindingError):
    """The driver broke the contract."""


class InconclusiveError(FindingError):
    """The suite, the cluster or the environment is at fault: nothing is said about the driver."""


class SkipKind(enum.StrEnum):
    """Why a check was not judged."""

    NOT_ALLOWED = "not-allowed"
    """An option or the run's rights forbid what it needs."""
    UNSUPPORTED = "unsupported"
    """The cluster cannot show what the check judges; that alone leaves a run conclusive."""
    REFUSED = "refused"
    """The driver says that it does not do what the check is about, as it may; so does this."""
    OWN_DEVICES = "own-devices"
    """It needs devices that nobody else has, and the run is to take none (``--dra-admin``)."""
    BLOCKED = "blocked"
    """A check that it builds on did not pass."""
    UNMET = "unmet"
    """What it needs did not come about in this run."""
    NOT_RUN = "not-run"
    """The run ended before it."""
    KNOWN_ISSUE = "known-issue"
    """It ended as an accepted issue says that it does."""


CONCLUSIVE = (SkipKind.UNSUPPORTED, SkipKind.REFUSED)
"""The skips that leave a run conclusive."""
_WORDS_BEFORE = {
    SkipKind.NOT_ALLOWED: "not allowed: ",
    SkipKind.UNSUPPORTED: "unsupported: ",
    SkipKind.REFUSED: "refused: ",
    SkipKind.OWN_DEVICES: "needs devices of its own: ",
    SkipKind.BLOCKED: "blocked by ",
    SkipKind.NOT_RUN: "not run: ",
}


class UnmetError(JudgementError):
    """The check is skipped; ``str()`` is the reason, the kind's own words before it.

    Args:
        reason: why; of a blocked check the ID of the one that blocks it.
        kind: the kind of the skip.
    """

    def __init__(self, reason: str, kind: SkipKind = SkipKind.UNMET) -> None:
        super().__init__(_WORDS_BEFORE.get(kind, "") + reason)
        self.kind = kind
        self.blocked_by = reason if kind is SkipKind.BLOCKED else ""


class UnsupportedError(UnmetError):
    """The cluster cannot show what the check judges; that alone leaves a run conclusive."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, SkipKind.UNSUPPORTED)


def few_devices(needed: int, most: int) -> UnsupportedError:
    """Say of how many devices that are free together there are too few.

    Args:
        needed: that many have to be free on one node.
        most: so many are, on the node that has most.
    """
    return UnsupportedError(
        f"needs {counted(needed, 'free device')} on one node; the most that one has is {most}"
    )


class RefusedError(UnmetError):
    """The driver says that it does not do what the check is about, as it may."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, SkipKind.REFUSED)


def broken(what: str, error: BaseException, shown: str = "") -> Finding:
    """Say that a part of the suite itself broke.

    Args:
        what: the part, as the subject of a sentence.
        error: what it raised.
        shown: the traceback, if somebody has made one already.
    """
    said = str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
    return Finding(
        head=f"{what} itself broke: {one_line(said)}",
        expected="a judgement",
        observed=shown
        or "\n".join([said, *map(_place, traceback.extract_tb(error.__traceback__))]),
        blame=Blame.SUITE,
        likely="a fault of this suite",
        next="report it to the suite's authors, with the bundle.tar.gz of the run's folder",
    )


def _place(frame: traceback.FrameSummary) -> str:
    return f"in {frame.name}, {frame.filename}:{frame.lineno}"


def judge(finding: Finding) -> FindingError:
    """Turn a finding into a judgement: only a fault of the driver fails a check."""
    if finding.blame is Blame.DRIVER:
        return FailedError(finding)
    return InconclusiveError(finding)


def one_line(text: str, characters: int = HEAD_CHARACTERS) -> str:
    """Make one line of limited length of a text."""
    flat = " ".join(text.split())
    return flat if len(flat) <= characters else flat[: characters - 1].rstrip() + "…"


def counted(number: int, noun: str) -> str:
    """Say how many things: ``1 GPU``, ``2 GPUs``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def short_uuid(uuid: str) -> str:
    """Shorten a GPU's UUID to what tells it from others."""
    match = re.fullmatch(r"((?:GPU|MIG)-[0-9a-fA-F]{8})-.*", uuid)
    return f"{match[1]}…" if match else uuid


def without_uuids(text: str) -> str:
    """Leave out of a text what tells one GPU from another, so that two texts can be compared."""
    return re.sub(r"(GPU|MIG)-[0-9a-fA-F]{8}(-[-0-9a-fA-F]+|…)", r"\1", text)


def headline(check_id: str, variant: str | None, finding: Finding) -> str:
    """Put the check's name before a finding's first line, and make it fit wherever it is shown."""
    form = f"[{variant}]" if variant else ""
    return one_line(f"{check_id}{form} {finding.head}")


def text_of(rows: Iterable[tuple[str, str]]) -> str:
    """Lay out the rows of a finding, title and text, for a terminal."""
    return "\n".join(_row(title, text) for title, text in rows)


def _row(title: str, text: str) -> str:
    first, *others = text.splitlines() or [""]
    indent = " " * 14
    return "\n".join([f"  {title:<11} {first}", *(indent + line for line in others)])
