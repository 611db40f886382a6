"""Verdicts and exit codes: nothing is green by accident."""

from __future__ import annotations

import pytest

from harness.verdict.finding import Blame, Finding, body, headline, one_line, sections, short_uuid
from harness.verdict.outcome import HYGIENE_AREA, PREFLIGHT_AREA, Outcome, Record, Result, Verdict

PASS, FAIL, ERROR, SKIP = Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.SKIP


def result(outcome: Outcome, name: str = "A", area: str = "sharing", **more: object) -> Result:
    """A result with a reason."""
    given = {"headline": "because", "id": name, **more}
    return Result(case=name, area=area, outcome=outcome, sentence="", **given)  # type: ignore[arg-type]


def record(*results: Result) -> Record:
    """A record of these."""
    made = Record()
    for each in results:
        made.add(each)
    return made


@pytest.mark.parametrize(
    ("outcomes", "verdict", "code"),
    [
        ([PASS, PASS], Verdict.CONFORMANT, 0),
        ([PASS, SKIP], Verdict.PARTIAL, 0),
        ([PASS, FAIL], Verdict.NONCONFORMANT, 1),
        ([PASS, ERROR], Verdict.INCONCLUSIVE, 12),
        ([FAIL, ERROR], Verdict.NONCONFORMANT, 1),
        ([SKIP, SKIP], Verdict.INCONCLUSIVE, 12),
        ([], Verdict.INCONCLUSIVE, 12),
    ],
)
def test_verdict_follows_from_the_outcomes(
    outcomes: list[Outcome], verdict: Verdict, code: int
) -> None:
    """All skipped is inconclusive, never a pass."""
    made = record(*(result(o, f"C{n}") for n, o in enumerate(outcomes)))
    assert made.verdict() is verdict
    assert made.exit_code(int(FAIL in outcomes or ERROR in outcomes)) == code


def test_an_area_without_a_pass_is_inconclusive() -> None:
    """Passes elsewhere do not help it."""
    made = record(result(PASS), result(SKIP, "B", "lifecycle"))
    assert made.exit_code(0) == 12


def test_what_a_place_cannot_show_leaves_the_rest_conclusive() -> None:
    """A driver whose devices CUDA does not see: partial, unless nothing at all was found out."""
    unsupported = result(SKIP, "B", "cuda", headline="unsupported: needs devices visible by cuda")
    made = record(result(PASS), unsupported)
    assert (made.verdict(), made.exit_code(0)) == (Verdict.PARTIAL, 0)
    assert record(unsupported).exit_code(0) == 12
    made.add(result(SKIP, "C", "cuda", headline="blocked by B"))
    assert made.exit_code(0) == 12


def test_a_narrowed_run_is_at_most_partial() -> None:
    """Whatever was not selected may be broken."""
    made = record(result(PASS))
    made.narrowed = "not selected: IPC-001"
    assert (made.verdict(), made.exit_code(0)) == (Verdict.PARTIAL, 0)


def test_exit_codes_come_in_their_order() -> None:
    """pytest's 2 to 4, then 10, 1, 12, 11, and what failed beside the checks."""
    preflight = result(ERROR, "PF-01", PREFLIGHT_AREA)
    assert record(preflight, result(FAIL)).exit_code(1) == 10
    assert record(preflight).exit_code(2) == 2
    made = record(result(FAIL), result(ERROR, "B"), result(PASS, "H", HYGIENE_AREA))
    made.leftovers.append("pod")
    assert made.exit_code(1) == 1
    made = record(result(PASS))
    made.leftovers.append("pod")
    assert made.exit_code(0) == 11
    foreign = result(ERROR, "HYGIENE-002", HYGIENE_AREA)
    assert record(result(PASS), foreign).exit_code(0) == 11
    assert record(result(PASS)).exit_code(1) == 1
    assert record(result(PASS)).exit_code(5) == 5


def test_advice_is_never_red() -> None:
    """A SHOULD that is not followed is passed, with something to read."""
    made = record(result(PASS, advice=True))
    assert (made.verdict(), made.exit_code(0)) == (Verdict.CONFORMANT, 0)


def test_nothing_ends_without_a_reason_or_twice() -> None:
    """A failure without text would be a pass in JUnit."""
    for outcome in (FAIL, ERROR, SKIP):
        with pytest.raises(ValueError, match="without a reason"):
            result(outcome, headline=" ")
    with pytest.raises(ValueError, match="two results"):
        record(result(PASS), result(FAIL))


def test_first_lines_are_short_and_flat() -> None:
    """TestGrid keeps 140 characters and cuts the middle out."""
    finding = Finding("a\nb" + "c" * 200, "x", "y", Blame.DRIVER)
    head = headline("IPC-001", "hostpid", finding)
    assert head.startswith("IPC-001[hostpid] a b")
    assert len(head) == 120
    assert "in full" in body(finding, "A thing MUST be.", "again")
    assert one_line("short") == "short"


def test_bodies_say_what_who_and_what_next() -> None:
    """In the order in which one reads it."""
    finding = Finding(
        "head",
        "exactly 2",
        "1\nand a half",
        Blame.DRIVER,
        likely="no hook",
        next="look",
        steps=("0.1 s  claimed",),
    )
    lines = body(finding, "A thing MUST be.", "again").splitlines()
    assert [line.split()[0] for line in lines if line[2] != " "] == [
        *("check", "expected", "observed", "steps", "likely", "who", "next", "rerun")
    ]
    assert lines[3] == "              and a half"


def test_uuids_are_shortened_to_what_tells_them_apart() -> None:
    """Anything else stays as it is."""
    assert short_uuid("GPU-831f92e7-9e5e-52c3-85ae-db0f5709cf84") == "GPU-831f92e7…"
    assert short_uuid("card0") == "card0"


def test_bodies_can_be_taken_apart_again() -> None:
    """Reports lay out what the terminal shows; text of any form stays whole."""
    finding = Finding(
        "head", "exactly 2", "1\n  and a half", Blame.DRIVER, steps=(" 0.1 s  a", "b")
    )
    assert sections(body(finding, "A thing MUST be.", "again")) == [
        ("check", "A thing MUST be."),
        ("expected", "exactly 2"),
        ("observed", "1\n  and a half"),
        ("steps", " 0.1 s  a\nb"),
        ("who", "driver"),
        ("rerun", "again"),
    ]
    assert sections("of another\nform") == [("", "of another\nform")]
    assert sections("") == []
