"""What failed in a run is made once more, and told to be fixed or not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.options import SPECS, Given, Impact, OptionError, resolve
from harness.verdict.outcome import Exit, Outcome, Record, Result
from reports import folder, results
from reports import replay as replays
from reports.replay import Replay
from tests.reports import samples

PASS, FAIL, ERROR, SKIP = Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.SKIP


def case(name: str, outcome: Outcome, **more: object) -> Result:
    """A check's result, by its ID and form."""
    check, bracket, form = name.partition("[")
    text = {"headline": "" if outcome is PASS else f"{name} is so"}
    if outcome in (FAIL, ERROR):
        text["finding"] = samples.FINDING  # type: ignore[assignment]
    case_name = f"{check}_x{bracket}{form}"
    made = samples.result(case_name, outcome, level=2, **{**text, **more})
    return replace(made, id=check, variant=form.rstrip("]") or None)


def earlier(tmp_path: Path, *made: Result) -> Replay:
    """A run that has ended, read from its files."""
    record = Record()
    record.add(*made)
    folder.write(record, samples.facts(tmp_path / "run"))
    return replays.load(tmp_path / "run")


def now(replay: Replay, *made: Result) -> Record:
    """The run that replays it, at its end."""
    record = Record()
    record.add(*made)
    record.add(replay.judge(record))
    return record


def test_only_what_failed_is_made_and_what_it_builds_on(tmp_path: Path) -> None:
    """In the forms in which it failed."""
    replay = earlier(
        tmp_path,
        *(case("ISO-001[a]", PASS), case("ISO-002[a]", FAIL), case("ISO-002[b]", PASS)),
        *(case("ISO-003", ERROR), case("ISO-004", SKIP)),
    )
    assert replay.ids == ("ISO-002", "ISO-003")
    wanted = [("ISO-002", "a"), ("ISO-003", None), ("ISO-001", "a"), ("ISO-001", None)]
    assert all(replay.wants(*one) for one in wanted)
    assert not replay.wants("ISO-002", "b")
    assert not replay.wants("ISO-001", "b")


def test_each_failure_is_told_and_the_exit_code_says_it(tmp_path: Path) -> None:
    """0 for all fixed, 1 for one that still fails, 12 for one of which nothing can be said."""
    replay = earlier(tmp_path, case("ISO-002[a]", FAIL), case("ISO-003", FAIL))
    fixed = now(replay, case("ISO-002[a]", PASS), case("ISO-003", PASS))
    assert list(replay.lines(fixed)) == [" FIXED         ISO-002[a]", " FIXED         ISO-003"]
    assert fixed.exit_code(0) == Exit.OK
    still = now(replay, case("ISO-002[a]", PASS), case("ISO-003", FAIL))
    assert list(replay.lines(still))[1] == " STILL FAILING ISO-003 is so"
    assert still.exit_code(1) == Exit.FAILED
    assert still.results[-1].headline.endswith("of what failed in run r: 1 FIXED, 1 STILL FAILING")
    blocked = now(
        replay, case("ISO-002[a]", PASS), case("ISO-003", SKIP, headline="unsupported: x")
    )
    assert list(replay.lines(blocked))[1] == " NOT JUDGED    ISO-003 unsupported: x"
    assert blocked.exit_code(0) == Exit.INCONCLUSIVE
    assert now(replay, case("ISO-002[a]", PASS)).exit_code(0) == Exit.INCONCLUSIVE


def test_another_cluster_is_told(tmp_path: Path) -> None:
    """What is fixed there need not be fixed here."""
    replay = earlier(tmp_path, case("ISO-003", FAIL))
    record = now(replay, case("ISO-003", PASS))
    told = next(replay.lines(record, "https://other"))
    assert told == f"REPLAY   on https://other; run r was on {replay.facts.server}"


def test_there_has_to_be_a_failure(tmp_path: Path) -> None:
    """Else there is nothing to make."""
    with pytest.raises(OptionError, match="no check failed in this run"):
        earlier(tmp_path, case("ISO-003", PASS))


def test_the_options_are_those_of_the_run(tmp_path: Path) -> None:
    """As they were given, so that they mean the same; not what it was made for, nor where to."""
    given = {
        "driver": "a.example",
        "allow": "disrupt,exhaust",
        "soak": "10m",
        "level": "3",
        "check": "ISO-003",
        "output": "elsewhere",
        "node_selector": "a=b",
    }
    blank = {spec.name: None for spec in SPECS}
    options = resolve({**blank, **given}, {}, tmp_path)
    facts = replace(samples.facts(tmp_path), options=options.given())
    made = dict(one.split("=", 1) for one in replays.options(facts, tmp_path))
    assert made.pop("--dra-replay") == str(tmp_path)
    assert made == {
        "--dra-driver": "a.example",
        "--dra-allow": "disrupt,exhaust",
        "--dra-soak": "600s",
        "--dra-level": "3",
        "--dra-node-selector": "a=b",
    }
    again = resolve(
        {**blank, "soak": made["--dra-soak"], "allow": made["--dra-allow"]}, {}, tmp_path
    )
    assert again.soak == 600
    assert again.allow == frozenset((Impact.DISRUPT, Impact.EXHAUST))


def test_an_option_that_is_not_known_in_full_is_refused(tmp_path: Path) -> None:
    """A patch of pods is in the results as what was read, not as a file."""
    facts = replace(
        samples.facts(tmp_path), options=(Given("--dra-pod-patch", "{}", "command line"),)
    )
    with pytest.raises(results.ResultsError, match="--dra-pod-patch"):
        replays.options(facts, tmp_path)
