"""What the script for images without Python reports, beside what the program reports."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.scenario.program import SHELL_COMMAND
from harness.scenario.report import Report, parse
from workload.result import Verdict

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "workload" / Path(SHELL_COMMAND[-1]).name
SHELLS = [["dash"], ["bash", "--posix"]]
STRANGE = {
    "GPUS": "GPU-1,GPU-2",
    "EMPTY": "",
    "QUOTED": 'a", "b=c\\',
    "LINES": "one\ntwo\n",
    "TAB": "\t",
    "LETTERS": "µs",
    "LC_CTYPE": "C.UTF-8",
}
REST = ("rest", "--role", "user", "--patience", "0.2")


def ran(command: list[str], *words: str) -> tuple[int, Report]:
    """How a process ended, and what it reported."""
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **STRANGE}
    done = subprocess.run(
        [*command, *words], env=environment, cwd="/", capture_output=True, text=True
    )
    assert done.stderr == ""
    return done.returncode, parse(done.stdout)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
def test_it_reports_what_the_program_reports(shell: list[str]) -> None:
    """Process, variables, whatever is in them, and device nodes."""
    code, by_shell = ran([*shell, str(SCRIPT)], *REST)
    other, by_python = ran([sys.executable, "-m", "workload"], *REST)
    assert (code, other) == (0, 0)
    assert by_shell.process.nspid[-1] == by_shell.process.own_pid
    for process in (by_shell.process, by_python.process):
        object.__setattr__(process, "own_pid", 1)
        object.__setattr__(process, "nspid", (1,))
    assert by_shell.process == by_python.process
    assert by_shell.environment == by_python.environment
    assert STRANGE.items() <= by_shell.environment.items()
    assert sorted(by_shell.device_nodes) == list(by_python.device_nodes)
    assert (by_shell.role, by_shell.verdict, by_shell.error) == ("user", Verdict.OK, None)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
def test_it_rests_until_it_is_told_to_end(shell: list[str]) -> None:
    """It reports before it rests, and once more at its end."""
    command = [*shell, str(SCRIPT), "rest", "--patience", "60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline(), process.stdout.readline()]
        assert parse("".join(lines)).verdict is Verdict.OK
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
    assert process.returncode == 0
    assert parse(rest).verdict is Verdict.OK


def test_it_can_end_by_being_killed() -> None:
    """As a container that something kills."""
    command = ["sh", str(SCRIPT), "rest", "--patience", "0.1", "--end", "kill"]
    assert subprocess.run(command, stdout=subprocess.DEVNULL).returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("words", "verdict", "text"),
    [
        (["inventory", "--role", "alone"], Verdict.NO_GPU, "a shell only"),
        (["compute", "--nonce", "n"], Verdict.USAGE, "no command of a shell: compute"),
        (["rest", "--own-pid", '"'], Verdict.USAGE, "no option of a shell: --own-pid"),
        (["rest", "--role"], Verdict.USAGE, "--role has no value"),
    ],
)
def test_what_a_shell_cannot_do_has_a_verdict(
    words: list[str], verdict: Verdict, text: str
) -> None:
    """With its exit code, and what it wants."""
    code, report = ran(["sh", str(SCRIPT)], *words)
    assert (code, report.verdict) == (verdict.exit, verdict)
    assert report.error is not None
    assert text in report.error.text
