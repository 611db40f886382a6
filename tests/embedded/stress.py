"""Up and down many times, and ``kill -9`` of any process at any moment: nothing is left, ever.

``./run stress [--ups N] [--kills N] [--seed N]``; the seed decides what is killed and when. Each
failure is printed when it happens, and at the end; the exit code is 1 if there was any.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

from building.errors import UserError
from building.progress import Progress
from embedded import cluster
from embedded.options import Options
from tests import footprint

ROOT = Path(__file__).parents[2]
LONGEST_UP_SECONDS = 120
IDLE_SECONDS = 2.0
"""Up to how long a cluster that is up is left alone before something of it is killed."""


class Stress:
    """One cluster that is treated badly, and what came of it."""

    def __init__(self, name: str, rng: random.Random) -> None:
        self.name = name
        self.failures: list[str] = []
        self._rng = rng
        self._before = footprint.host()
        self._up_seconds: list[float] = []

    def up_and_down(self, title: str) -> None:
        """Once up, once down."""
        self._check(title, self._up(), self._down())

    def kill(self, title: str) -> None:
        """Kill something of a cluster that starts or runs; then it goes down and comes up."""
        starting = self._rng.random() < 0.5
        killed = self._kill_while_it_starts() if starting else self._kill_while_it_runs()
        self._check(f"{title}: {killed}", self._down(), self._up())

    def end(self) -> None:
        """Take the cluster down for good."""
        self._check("the end", self._down())

    def _check(self, title: str, *problems: str) -> None:
        found = [problem for problem in problems if problem]
        took = f"{self._up_seconds[-1]:.1f} s" if self._up_seconds else "-"
        print(f"{title}: {'FAILED' if found else 'ok'}, up in {took}", flush=True)
        for problem in found:
            print(problem, flush=True)
            self.failures.append(f"{title}: {problem}")

    def _up(self) -> str:
        began = time.monotonic()
        try:
            cluster.up(Options(name=self.name), Progress())
        except UserError as error:
            return f"no cluster: {error}"
        self._up_seconds.append(time.monotonic() - began)
        return "\n".join(cluster.deaths(self.name))

    def _down(self) -> str:
        try:
            cluster.down(self.name)
        except UserError as error:
            return f"not down: {error}"
        left = footprint.of_cluster(self.name)
        for what, now in footprint.host().items():
            left += [f"{what}: {item}" for item in now ^ self._before[what]]
        return f"left: {left}" if left else ""

    def _kill_while_it_starts(self) -> str:
        if cluster.is_running(self.name):
            self._check("before", self._down())
        usual = max(self._up_seconds, default=10.0)
        moment = self._rng.uniform(0, usual)
        with subprocess.Popen(
            [sys.executable, "-m", "embedded", "up", "--name", self.name],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            time.sleep(moment)  # the moment is what is tested
            words = self._kill_one([(process.pid, "./run cluster up")])
            try:
                printed, _ = process.communicate(timeout=LONGEST_UP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                self._check("up", f"did not end within {LONGEST_UP_SECONDS} s after: {words}")
                return words
        if process.returncode == 1 and "error: " not in printed:
            self._check("up", f"ended without a word: {printed}")
        return f"{words} {moment:.1f} s after its start, `up` ended with {process.returncode}"

    def _kill_while_it_runs(self) -> str:
        if not cluster.is_running(self.name):
            self._check("before", self._up())
        time.sleep(self._rng.uniform(0, IDLE_SECONDS))
        return f"{self._kill_one([])} while it ran"

    def _kill_one(self, others: list[tuple[int, str]]) -> str:
        pid, words = self._rng.choice([*sorted(footprint.processes(self.name)), *others])
        shown = re.sub(r"\S*/", "", words)[:60]
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return f"killed nothing, as {shown} had ended"
        return f"killed {shown}"


def main(arguments: list[str]) -> int:
    """Run it; returns the exit code."""
    parser = argparse.ArgumentParser(prog="./run stress", description=__doc__)
    parser.add_argument("--ups", type=int, default=50, help="how often up and down (%(default)s)")
    parser.add_argument("--kills", type=int, default=100, help="how often to kill (%(default)s)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    parser.add_argument("--name", default="stress", help="of the cluster (%(default)s)")
    options = parser.parse_args(arguments)
    print(f"seed {options.seed}", flush=True)
    stress = Stress(options.name, random.Random(options.seed))
    for number in range(1, options.ups + 1):
        stress.up_and_down(f"up and down {number}/{options.ups}")
    for number in range(1, options.kills + 1):
        stress.kill(f"kill {number}/{options.kills}")
    stress.end()
    print(f"{len(stress.failures)} failures; seed {options.seed}")
    for failure in stress.failures:
        print(f"- {failure}")
    return 1 if stress.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
