"""All tests, two groups of them side by side: most wait, for pods or for processes.

While they run their progress is shown, file by file; all that a group says, when it ends.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

AT_A_TIME = 2
APART = (
    "tests/test_main_job.py",
    "tests/zoo/test_breaks.py",
    "tests/zoo/test_caught.py",
    "tests/embedded",
)
"""Tests with clusters that take long, the longest first."""


def groups() -> list[Sequence[str]]:
    """Answer pytest's arguments for each group; together they are all tests but the matrix."""
    rest = ("tests", *(f"--ignore={path}" for path in APART))
    with_clusters = [("-m", "embedded and not matrix", path) for path in APART]
    return [
        ("-m", "not embedded and not matrix", "tests"),
        *with_clusters,
        ("-m", "embedded and not matrix", *rest),
    ]


def _run(group: Sequence[str]) -> tuple[int, float, str]:
    began = time.monotonic()
    print(f"begun: {shlex.join(['pytest', *group])}", flush=True)
    said = []
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "pytest", *group],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if line.endswith("%]\n"):  # how far it is
                print(line, end="", flush=True)
    return process.returncode, time.monotonic() - began, "".join(said)


def main(wanted: Iterable[Sequence[str]]) -> int:
    """Run the groups and show how each ended; answer 0 if all of them passed, else 1."""
    ended = []
    with ThreadPoolExecutor(AT_A_TIME) as lanes:
        running = {lanes.submit(_run, group): shlex.join(["pytest", *group]) for group in wanted}
        try:
            for one in as_completed(running):
                code, seconds, said = one.result()
                print(f"{running[one]}\n{said}", flush=True)
                ended.append((code, f"{seconds:5.0f} s, exit code {code}: {running[one]}"))
        except KeyboardInterrupt:  # those that run have it from the terminal, too
            lanes.shutdown(cancel_futures=True)
            raise
    print("\n".join(line for _, line in ended))
    return int(any(code for code, _ in ended))


if __name__ == "__main__":
    sys.exit(main(groups()))
