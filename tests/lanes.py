"""All tests, in two lanes side by side: tests that need processors beside tests that wait for pods.

The second lane's output follows that of the first. The exit code is 0 if all of it passed, else 1.
"""

from __future__ import annotations

import subprocess
import sys
from tempfile import NamedTemporaryFile

WITHOUT = ("-m", "not embedded and not matrix", "tests")
"""What needs no cluster."""
ZOO = ("-m", "embedded and not matrix", "tests/zoo")
"""What is broken on purpose, in clusters that each serve many tests."""
CLUSTERS = ("-m", "embedded and not matrix", "tests", "--ignore", "tests/zoo")
"""The rest, for the most part with clusters of their own."""


def pytest(*arguments: str) -> list[str]:
    """Answer the command with these arguments."""
    return [sys.executable, "-m", "pytest", *arguments]


def main() -> int:
    """Run both lanes to their ends; answer the exit code."""
    with NamedTemporaryFile() as file:
        second = subprocess.Popen(pytest(*CLUSTERS), stdout=file, stderr=subprocess.STDOUT)
        codes = [subprocess.call(pytest(*one)) for one in (WITHOUT, ZOO)]
        # It is shown as it comes: some CI ends a job that says nothing for long.
        with subprocess.Popen(["tail", "-n", "+1", "-f", f"--pid={second.pid}", file.name]):
            codes.append(second.wait())
    for code, lane in zip(codes, (WITHOUT, ZOO, CLUSTERS), strict=True):
        print(f"{'passed' if not code else f'exit code {code}'}: pytest", " ".join(lane))
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main())
