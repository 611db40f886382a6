"""What the terminal, the page and the index of published runs say in the same words, and how."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable

from harness.verdict.finding import CONCLUSIVE, SkipKind, counted, without_uuids
from harness.verdict.outcome import PREFLIGHT_AREA, Outcome, Record, Result, Verdict

WORDS = {
    Outcome.FAIL: "failed",
    Outcome.ERROR: "inconclusive",
    Outcome.PASS: "passed",
    Outcome.SKIP: "skipped",
}
"""The outcomes, the worst first."""
_WITHOUT_INK = (
    "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef"
)
"""Of the characters that Unicode counts among the printable ones."""
_MAYBE_UNSEEN = re.compile(rf"([{_WITHOUT_INK}])|[^\w !-~]")
_MARKUP = re.compile(r"[\\`*\[\]<>|&~]")
"""What could be more than text in a cell of Markdown."""
_CANNOT_BE_JUDGED = (*CONCLUSIVE, SkipKind.BLOCKED)
"""In a run in which nothing failed, what blocks a check is something that cannot be judged."""


def as_text(text: str, kept: str = "\n\t") -> str:
    """Make every character visible: whatever shows what comes from a cluster asks this.

    Control characters (those for terminals, too), marks of direction or without width, and what is
    no character become the escapes of JSON, such as ``\\u001b``: a JSON document means the same.

    Args:
        text: what is to be shown.
        kept: what stays as it is; no newline where the text is to be one line.
    """

    def visible(match: re.Match[str]) -> str:
        one = match[0]
        seen = one in kept or (one.isprintable() and match[1] is None)
        return one if seen else json.dumps(one)[1:-1]

    return _MAYBE_UNSEEN.sub(visible, text)


def in_markdown(text: str) -> str:
    """Make a text that is nothing but text in one cell of Markdown."""
    return _MARKUP.sub(r"\\\g<0>", as_text(text, ""))


def markdown_row(*cells: str) -> str:
    """Make a row of a table of cells that are Markdown."""
    return f"| {' | '.join(cells)} |"


def counts(results: Iterable[Result]) -> str:
    """Say how many cases ended how, as ``1 case failed, 3 passed``; outcomes of none left out."""
    numbers = Counter(result.outcome for result in results)
    said: list[str] = []
    for outcome, word in WORDS.items():
        if number := numbers[outcome]:
            said.append(f"{number if said else counted(number, 'case')} {word}")
    return ", ".join(said) or "no case"


def skips(record: Record) -> list[tuple[str, int]]:
    """List why cases were skipped, each reason with how many were, the most frequent first."""
    reasons = (one.headline for one in record.checks() if one.outcome is Outcome.SKIP)
    return Counter(reasons).most_common()


def judged(results: Iterable[Result], what: str) -> str:
    """Say how many checks judged something, and how their cases ended."""
    listed = list(results)
    decided = {r.id for r in listed if r.outcome in (Outcome.PASS, Outcome.FAIL)}
    return f"{counted(len(decided), 'check')} judged {what}: {counts(listed)}"


def meaning(record: Record, hardware: str) -> str:
    """Say in a sentence what the verdict means."""
    if record.is_red(PREFLIGHT_AREA):
        whose = ", and the driver is at fault" if record.verdict() is Verdict.NONCONFORMANT else ""
        return f"preflight failed{whose}: no check was made"
    verdict = record.verdict()
    if verdict is Verdict.PARTIAL:
        skips = {result.skip for result in record.checks()} - {None}
        if record.narrowed or not skips.issubset(_CANNOT_BE_JUDGED):
            return "no check failed, but not every check was made"
        where = "simulated GPUs" if hardware == "simulated" else "this cluster"
        return f"no check failed, and everything that can be checked on {where} was checked"
    return {
        Verdict.CONFORMANT: "every check passed",
        Verdict.NONCONFORMANT: "the driver broke the contract",
        Verdict.INCONCLUSIVE: "nothing final can be said about the driver",
    }[verdict]


def untested(area: str) -> str:
    """Say that an area was not judged."""
    return f"no check in {area} gave a result"


def alike(results: Iterable[Result]) -> list[list[Result]]:
    """Put the forms of a check that ended in the same way together.

    The same way is: the same first line but for the GPUs in it, the same cause and the same party.
    """
    groups: dict[tuple[object, ...], list[Result]] = {}
    for result in results:
        finding = result.finding
        key: tuple[object, ...] = (result.case,)
        if finding is not None and result.id:
            head = without_uuids(finding.head)
            key = (result.id, result.outcome, head, finding.blame, finding.likely)
        groups.setdefault(key, []).append(result)
    return list(groups.values())
