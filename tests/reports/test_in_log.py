"""A bundle that travels in a log."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from harness.verdict.outcome import Exit
from reports import bundle, folder, in_log
from reports.__main__ import main
from tests.reports import samples
from tests.suite.fake_cluster import FakeCluster
from tests.suite.test_shared_claim import run as run_suite

RUN = "20261130-100000-abcd"


@pytest.fixture
def log(tmp_path: Path) -> str:
    """What a run prints, with a bundle at its end."""
    place = tmp_path / RUN
    folder.write(samples.record(), samples.facts(place))
    return "\n".join(["REPORT   /results", *in_log.lines(bundle.write(place)), ""])


@pytest.mark.parametrize("before", ["", "2026-11-30T10:00:00Z ", "[pod/x/run] "])
def test_the_files_come_back(log: str, before: str, tmp_path: Path) -> None:
    """As kubectl prints a log, with times and names of pods before each line, too."""
    printed = "".join(f"{before}{line}\n" for line in log.splitlines())
    got = in_log.fetch(printed, tmp_path / "here")
    assert got == tmp_path / "here" / RUN
    assert (got / "results.json").read_text() == (tmp_path / RUN / "results.json").read_text()


def test_of_several_runs_the_last_counts(log: str, tmp_path: Path) -> None:
    """What is broken before it does not matter."""
    broken = f"{in_log.BEGIN}\nnonsense\n"
    assert in_log.fetch(broken + log, tmp_path / "here").name == RUN


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda log: log.replace(in_log.BEGIN, ""), "has no bundle; was the run made with"),
        (lambda log: log.replace(in_log.END, ""), "not whole"),
        (lambda log: log.replace(in_log.END, f"!{in_log.END}"), "not whole"),
        (lambda log: f"{log[: len(log) // 2]}\n{in_log.END}", "not whole"),
    ],
    ids=["none", "cut off", "another word", "shortened"],
)
def test_half_a_bundle_is_refused(
    change: object, words: str, log: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With one line, as every report verb does."""
    assert callable(change)
    file = tmp_path / "log"
    file.write_text(change(log))
    assert main(["fetch", str(file), str(tmp_path / "here")]) == Exit.USAGE
    assert words in capsys.readouterr().err


def test_nothing_is_written_elsewhere(tmp_path: Path) -> None:
    """Whoever can write to the log cannot write to other folders."""
    import tarfile  # noqa: PLC0415

    made = tmp_path / "bundle.tar.gz"
    with tarfile.open(made, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("../outside"))
    with pytest.raises(in_log.InLogError):
        in_log.fetch("\n".join(in_log.lines(made)), tmp_path / "here")
    assert not (tmp_path / "outside").exists()


def test_a_large_bundle_stays_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log says where."""
    made = tmp_path / "bundle.tar.gz"
    made.write_bytes(b"12345")
    monkeypatch.setattr(in_log, "MOST_BYTES", 4)
    (line,) = in_log.lines(made)
    assert line == f"ERROR    bundle.tar.gz has 5 bytes, too many for a log; it is at {made}"


def test_a_run_prints_it_and_it_is_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the output of the one to the input of the other."""
    ended = run_suite(FakeCluster(), tmp_path, "--dra-check", "ALLOC-003", "--dra-bundle-in-log")
    monkeypatch.setattr(sys, "stdin", io.StringIO(ended.output))
    assert main(["fetch", "-", str(tmp_path / "here")]) == Exit.OK
    got = Path(capsys.readouterr().out.split()[-1])
    assert (got / "junit.xml").is_file()
    assert (got / "SHA256SUMS").is_file()
