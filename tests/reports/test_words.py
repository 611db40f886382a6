"""What reports say of a run as a whole, and which findings they show together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.verdict.finding import Blame, Finding, SkipKind
from harness.verdict.outcome import Outcome, Record, Result
from reports import summary
from reports.words import alike, as_text, counts, judged, meaning
from tests.reports import samples

PASS, FAIL, ERROR, SKIP = Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.SKIP
UUID = "GPU-{}31f92e7-9e5e-52c3-85ae-db0f5709cf84"


def case(name: str, outcome: Outcome = PASS, **more: object) -> Result:
    """A check's result."""
    return samples.result(name, outcome, **more)


def failed(form: str, head: str, outcome: Outcome = FAIL, **more: object) -> Result:
    """A form of one check with a finding."""
    finding = Finding(head, "2", f"seen by {form}", Blame.DRIVER)
    made = case(f"ISO-003_b[{form}]", PASS, variant=form, headline="", level=2, **more)
    return made.ended(outcome, finding)


def test_outcomes_of_none_are_not_counted() -> None:
    """And the worst comes first."""
    assert counts([case("A-001_a"), case("A-002_a", FAIL)]) == "1 case failed, 1 passed"
    assert counts([case("A-001_a"), case("A-002_a")]) == "2 cases passed"
    assert counts([]) == "no case"


def test_a_check_that_was_skipped_judged_nothing() -> None:
    """A check in several forms is one check."""
    forms = [case(f"ISO-003_b[{form}]", outcome) for form, outcome in (("a", PASS), ("b", FAIL))]
    assert judged([*forms, case("ISO-004_c", SKIP), case("ISO-005_c", ERROR)], "the driver") == (
        "1 check judged the driver: 1 case failed, 1 inconclusive, 1 passed, 1 skipped"
    )


@pytest.mark.parametrize(
    ("skips", "hardware", "words"),
    [
        ([], "simulated", "every check passed"),
        ([SkipKind.UNSUPPORTED, SkipKind.BLOCKED], "simulated", "on simulated GPUs was checked"),
        ([SkipKind.UNSUPPORTED], "real", "on this cluster was checked"),
        ([SkipKind.UNSUPPORTED, SkipKind.UNMET], "real", "but not every check was made"),
        ([SkipKind.KNOWN_ISSUE], "simulated", "but not every check was made"),
        ([SkipKind.NOT_ALLOWED], "other", "but not every check was made"),
    ],
)
def test_a_good_run_that_cannot_show_everything_says_so(
    skips: list[SkipKind], hardware: str, words: str, tmp_path: Path
) -> None:
    """Simulated GPUs have no bandwidth: that alone does not make a run half a run."""
    made = Record([case("ISO-001_a")])
    for number, kind in enumerate(skips):
        made.add(case(f"ISO-10{number}_a", SKIP, skip=kind))
    facts = replace(samples.facts(tmp_path), hardware=hardware)
    assert meaning(made, facts.hardware).endswith(words)
    made.narrowed = "not selected: IPC-001"
    assert meaning(made, facts.hardware) == "no check failed, but not every check was made"


def test_what_judges_cuda_is_counted_apart_on_the_terminal(tmp_path: Path) -> None:
    """The verdict says how many checks judged the driver."""
    made = Record([case("ISO-001_a"), case("SEC-001_a[x]", judges_driver=False)])
    assert list(summary.lines(made, samples.facts(tmp_path)))[1:4] == [
        "VERDICT  conformant: 1 check judged the driver: 1 case passed in 12.5 s",
        "         CUDA, the cluster and this suite itself: 1 case passed",
        "         every check passed",
    ]


def test_findings_that_differ_in_gpus_only_are_alike() -> None:
    """Another number, another outcome or another check is another finding."""
    same = [failed(str(n), f"saw 1 of 2: {UUID.format(n)} missing") for n in range(3)]
    other = failed("x", f"saw 0 of 2: {UUID.format(0)} missing")
    error = failed("y", f"saw 1 of 2: {UUID.format(0)} missing", ERROR)
    check = replace(same[0], case="ISO-004_c", id="ISO-004")
    bare = [case("ISO-005_d", FAIL), case("ISO-006_d", FAIL)]
    assert alike([same[0], other, same[1], error, check, same[2], *bare]) == [
        *(same, [other], [error], [check]),
        *([one] for one in bare),
    ]


def test_findings_that_are_alike_are_told_once(tmp_path: Path) -> None:
    """In full with all forms, and in one line with the first ones."""
    made = Record([failed(form, "saw 1 of 2") for form in "abcde"])
    told = list(summary.findings(made))
    assert told[:5] == [
        "FAIL    ISO-003[a, b, c and 2 more] saw 1 of 2",
        "  forms       the same in a, b, c, d, e; shown is a",
        "  check       ",
        "  expected    2",
        "  observed    seen by a",
    ]
    assert [line for line in told if line.startswith("FAIL")] == told[:1]
    lines = [x for x in summary.lines(made, samples.facts(tmp_path)) if x.startswith(" FAIL")]
    assert lines == [" FAIL    ISO-003[a, b, c and 2 more] saw 1 of 2 (responsible: driver)"]


def test_skips_for_one_reason_share_a_line(tmp_path: Path) -> None:
    """And what was not selected or not judged at all is said."""
    made = Record([case(f"ISO-00{n}_a", SKIP, headline="blocked by A-001") for n in range(3)])
    made.narrowed = "not selected: IPC-001"
    told = list(summary.lines(made, samples.facts(tmp_path)))
    for line in (
        " SKIPPED 3 cases: blocked by A-001",
        "SELECTED a part of the checks; not selected: IPC-001",
        "UNTESTED no check in sharing gave a result",
    ):
        assert line in told


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain … ünïcode ✓ 日本", "plain … ünïcode ✓ 日本"),
        ("\x1b[31mred\x1b]8;;http://x\x07", r"\u001b[31mred\u001b]8;;http://x\u0007"),
        ("a\u202eb\u2066c\u200bd\ufeffe\u00adf", r"a\u202eb\u2066c\u200bd\ufeffe\u00adf"),
        ("\x9b31m\x7f\x85\u2028", r"\u009b31m\u007f\u0085\u2028"),
        ("\u3164\ufe0f\U000e0041", r"\u3164\ufe0f\udb40\udc41"),
        ("\ud800\uffff", r"\ud800\uffff"),
        ("one\n\ttwo\rthree", "one\n\ttwo\\rthree"),
    ],
)
def test_what_a_cluster_says_is_shown_as_text(text: str, seen: str) -> None:
    """Control characters, marks of direction and without width, and what is no character."""
    assert as_text(text) == seen


def test_one_line_stays_one_line() -> None:
    """Nobody adds a line of his own to a report."""
    assert as_text("v1\nVERDICT  conformant", "\t") == r"v1\nVERDICT  conformant"
