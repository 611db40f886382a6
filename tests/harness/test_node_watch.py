"""A folder of a node over time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from harness.scenario.evidence import Change
from harness.scenario.node_watch import CDI_ENDINGS, WATCH, changes_of, states


def test_every_change_of_a_specification_is_seen(tmp_path: Path) -> None:
    """What was there at first, what is written, renamed into its place, and removed; no others."""
    folder = tmp_path / "run" / "cdi"
    folder.mkdir(parents=True)
    (tmp_path / "var").symlink_to("run")
    old, new, temporary = folder / "old.yaml", folder / "new.json", folder / ".new.json.tmp"
    old.write_text("first")
    program = WATCH.replace("os.chroot(root)\n", "")
    assert program != WATCH
    command = [sys.executable, "-c", program, "/", CDI_ENDINGS]
    command += [str(tmp_path / "var" / "cdi"), str(tmp_path / "no")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        lines = [watch.stdout.readline() for _ in range(2)]
        assert lines[1] == "{}\n"
        old.write_text("second")
        lines.append(watch.stdout.readline())
        temporary.write_text("uid")
        temporary.rename(new)
        lines.append(watch.stdout.readline())
        old.unlink()
        lines.append(watch.stdout.readline())
        watch.kill()
    assert changes_of([line.rstrip() for line in lines]) == (
        Change(str(old), "first"),
        Change(str(old), "second"),
        Change(str(new), "uid"),
        Change(str(old), None),
    )


def test_what_files_mention_at_a_time() -> None:
    """By their names or their content; what is gone mentions nothing."""
    seen = (
        Change("/run/cdi/one.json", "{}"),
        Change("/run/cdi/all.json", "one and two"),
        Change("/run/cdi/all.json", "two"),
        Change("/run/cdi/one.json", None),
    )
    assert [sorted(state) for state in states(seen, ["one", "two"])] == [
        [],
        ["one"],
        ["one", "two"],
        ["one", "two"],
        ["two"],
    ]
