"""Verdicts and exit codes: nothing is green by accident."""

from __future__ import annotations

import pytest

from harness.verdict.finding import (
    Blame,
    Finding,
    SkipKind,
    UnmetError,
    UnsupportedError,
    headline,
    one_line,
    short_uuid,
    text_of,
    without_uuids,
)
from harness.verdict.outcome import HYGIENE_AREA, PREFLIGHT_AREA, Outcome, Record, Result, Verdict

PASS, FAIL, ERROR, SKIP = Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.SKIP


def result(outcome: Outcome, name: str = "A", area: str = "sharing", **more: object) -> Result:
    """A result with a reason."""
    given = {"headline": "because", "id": name, **more}
    if outcome is SKIP:
        given.setdefault("skip", SkipKind.UNMET)
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
    unsupported = result(SKIP, "B", "cuda", skip=SkipKind.UNSUPPORTED)
    made = record(result(PASS), unsupported)
    assert (made.verdict(), made.exit_code(0)) == (Verdict.PARTIAL, 0)
    assert record(unsupported).exit_code(0) == 12
    made.add(result(SKIP, "D", "lifecycle", skip=SkipKind.OWN_DEVICES))  # not asked for
    assert (made.verdict(), made.exit_code(0)) == (Verdict.PARTIAL, 0)
    made.add(result(SKIP, "C", "cuda", skip=SkipKind.BLOCKED, blocked_by="B"))
    assert made.exit_code(0) == 12


def test_a_narrowed_run_is_at_most_partial() -> None:
    """Whatever was not selected may be broken."""
    made = record(result(PASS))
    made.narrowed = "not selected: IPC-001"
    assert (made.verdict(), made.exit_code(0)) == (Verdict.PARTIAL, 0)


def test_exit_codes_come_in_their_order() -> None:
    """pytest's 2 to 4, then 1, 10, 12, 11, and what failed beside the checks."""
    preflight = result(ERROR, "PF-01", PREFLIGHT_AREA)
    assert record(preflight).exit_code(2) == 2
    assert record(preflight).exit_code(0) == 10
    assert record(preflight, result(FAIL, "PF-05", PREFLIGHT_AREA)).exit_code(0) == 1
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


def test_a_skip_has_a_kind_and_nothing_else_has_one() -> None:
    """The verdict rests on it."""
    with pytest.raises(ValueError, match="outcome skip, kind of its skip none"):
        result(SKIP, skip=None)
    with pytest.raises(ValueError, match="outcome fail, kind of its skip unmet"):
        result(FAIL, skip=SkipKind.UNMET)


@pytest.mark.parametrize(
    ("reason", "kind", "headline", "blocker"),
    [
        (UnmetError("nothing offered"), SkipKind.UNMET, "nothing offered", ""),
        (UnsupportedError("one GPU"), SkipKind.UNSUPPORTED, "unsupported: one GPU", ""),
        (UnmetError("A-001", SkipKind.BLOCKED), SkipKind.BLOCKED, "blocked by A-001", "A-001"),
        (
            UnmetError("x", SkipKind.OWN_DEVICES),
            SkipKind.OWN_DEVICES,
            "needs devices of its own: x",
            "",
        ),
        (UnmetError("x", SkipKind.NOT_RUN), SkipKind.NOT_RUN, "not run: x", ""),
        (UnmetError("x", SkipKind.NOT_ALLOWED), SkipKind.NOT_ALLOWED, "not allowed: x", ""),
    ],
)
def test_the_reason_of_a_skip_is_data_and_text(
    reason: UnmetError, kind: SkipKind, headline: str, blocker: str
) -> None:
    """The text is for people only."""
    seen = result(PASS).skipped(reason)
    assert seen.outcome is SKIP
    assert (seen.skip, seen.headline, seen.blocked_by) == (kind, headline, blocker)


def test_first_lines_are_short_and_flat() -> None:
    """TestGrid keeps 140 characters and cuts the middle out."""
    finding = Finding("a\nb" + "c" * 200, "x", "y", Blame.DRIVER)
    head = headline("IPC-001", "hostpid", finding)
    assert head.startswith("IPC-001[hostpid] a b")
    assert len(head) == 120
    assert finding.rows("A thing MUST be.", "again")[0] == ("in full", finding.head)
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
    lines = text_of(finding.rows("A thing MUST be.", "again")).splitlines()
    assert [line.split()[0] for line in lines if line[2] != " "] == [
        *("check", "expected", "observed", "steps", "likely", "responsible", "next", "rerun")
    ]
    assert lines[3] == "              and a half"


def test_uuids_are_shortened_to_what_tells_them_apart() -> None:
    """Anything else stays as it is."""
    assert short_uuid("GPU-831f92e7-9e5e-52c3-85ae-db0f5709cf84") == "GPU-831f92e7…"
    assert short_uuid("card0") == "card0"


def test_texts_that_differ_in_gpus_only_are_the_same_without_them() -> None:
    """Whole UUIDs, short ones, and those of partitions; other numbers stay."""
    uuid = "GPU-831f92e7-9e5e-52c3-85ae-db0f5709cf84"
    assert without_uuids(f"saw 1 of 2: {uuid} missing") == "saw 1 of 2: GPU missing"
    assert without_uuids(f"{short_uuid(uuid)}, MIG-831f92e7…") == "GPU, MIG"
    assert without_uuids("gpu-3 of GPU-4") == "gpu-3 of GPU-4"


@pytest.mark.parametrize(
    ("level", "rerun"),
    [(2, "the same command with --dra-check A-001"), (None, "the same command again")],
)
def test_a_finding_says_how_to_make_its_check_again(level: int | None, rerun: str) -> None:
    """What is no check, as a step of preflight, cannot be made by itself."""
    finding = Finding("head", "x", "y", Blame.DRIVER)
    seen = result(PASS, "A-001", level=level).ended(FAIL, finding)
    assert seen.rows[-1] == ("rerun", rerun)
    assert seen.body.splitlines()[-1] == f"  rerun       {rerun}"


def test_what_judges_the_driver_is_counted_apart() -> None:
    """Preflight and the audit judge neither."""
    made = record(
        result(PASS),
        result(PASS, "B", judges_driver=False),
        result(PASS, "P", PREFLIGHT_AREA),
    )
    of_driver, others = made.by_subject()
    assert [[r.id for r in group] for group in (of_driver, others)] == [["A"], ["B"]]
