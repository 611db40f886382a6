"""Runs rows of the matrix in processes of pytest, several side by side, and records how each ends.

A process is given rows that share a cluster. Its results come through a pipe, row by row, so that a
run that is stopped loses only what was under way.
"""

from __future__ import annotations

import io
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from itertools import groupby
from math import inf
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from building.binaries import KUBERNETES, RELEASES
from embedded import cluster
from embedded.drivers import DRIVERS
from tests.admin import ROOT
from tests.zoo.matrix.recorder import OPTION
from tests.zoo.matrix.rows import API, Made, Tried

PLACES = (ROOT / "tests" / "zoo", ROOT / "tests" / "drivers" / "test_pairs.py")
"""Where the tests stand that are rows."""
UNKNOWN_SECONDS = 60
"""What a row takes of which nothing is known: a few checks."""
UNKNOWN_LONG_SECONDS = 300
"""Of one in which nothing is wrong: that is many checks."""
SHORTEST_SECONDS = 120
"""Of rows that are given out together: a cluster for less does not pay."""
PARTS = 4
"""Into how many parts of equal length the rows are split for each process that runs them."""
END_SECONDS = 120
"""In which a process that is told to end has ended its cluster."""

Record = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """A test with one driver on one release of Kubernetes."""

    path: Path
    """The file of the test."""
    name: str
    """Of the test, with its parameters: pytest's node ID."""
    driver: str
    """What ``--embedded-driver`` takes, with the version."""
    kubernetes: str
    tried: tuple[Tried, ...]
    api: str = ""
    """The version of DRA's API that the test speaks; empty: whichever the release serves."""

    @property
    def is_served(self) -> bool:
        """Whether the release has the API that the test speaks."""
        return self.api in ("", RELEASES[self.kubernetes].dra_api)

    @property
    def key(self) -> tuple[str, str, str]:
        """What its records have in common."""
        return self.name, self.driver, self.kubernetes

    @property
    def test(self) -> str:
        """The test without its parameters."""
        return self.name.partition("[")[0]

    def is_called(self, name: str) -> bool:
        """Whether somebody who gives this name means the row: a fault, a check, or a part of the
        test's name."""
        told = {text for one in self.tried for text in (one.fault, str(one.made), *one.checks)}
        return name in told or name in self.name

    def records(self, line: Mapping[str, Any]) -> Iterator[Record]:
        """Say how it ended, for each thing that was wrong.

        Args:
            line: what the recorder wrote.
        """
        name, _, version = self.driver.partition("@")
        declared = {check for one in self.tried for check in one.checks}
        for one in self.tried:
            others = one.made is Made.OTHERS
            yield {
                "row": self.name,
                "fault": one.fault,
                "what": one.what,
                "made": str(one.made),
                "driver": name,
                "version": version,
                "kubernetes": self.kubernetes,
                "declared": list(one.checks),
                "red": [told for told in line["said"] if told["check"] in one.checks],
                # What follows from a fault that is not the driver's may be red, too.
                "undeclared": [
                    told
                    for told in line["said"]
                    if told["check"] not in declared
                    and (told["blame"] == "driver" if others else told["outcome"] != "advice")
                ],
                "tried": line["tried"],
                "as_declared": line["passed"],
                "why": line["why"],
                "seconds": line["seconds"],
            }


def full_name(driver: str) -> str:
    """A driver's name with its version."""
    versions = (name for name in DRIVERS if "@" in name and DRIVERS[name] is DRIVERS[driver])
    return next(versions, driver)


def collect(
    expression: str, drivers: Sequence[str], releases: Sequence[str], places: Iterable[Path]
) -> tuple[list[Row], set[str]]:
    """Find the rows; answers them, and the names of all that there are.

    Args:
        expression: pytest's ``-k``; empty for all.
        drivers: those that are tried; none: every one without a fault, the defaults with faults.
        releases: of Kubernetes, likewise.
        places: files and folders with tests.

    Raises:
        ValueError: pytest cannot collect; why, as it says it.
    """
    found: list[pytest.Item] = []
    others: list[pytest.Item] = []

    class Collected:
        def pytest_collection_finish(self, session: pytest.Session) -> None:
            found.extend(session.items)

        def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
            others.extend(items)

    printed = io.StringIO()
    with redirect_stdout(printed):
        code = pytest.main(
            [
                *_pytest_options("-m", "row", "--collect-only", "-q"),
                *(("-k", expression) if expression else ()),
                *map(str, places),
            ],
            [Collected()],
        )
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise ValueError(f"the rows cannot be collected:\n{printed.getvalue()}")
    named = [full_name(driver) for driver in drivers]
    rows = [row for item in found for row in _rows(item, named, releases)]
    # Deselected are other tests, too.
    return rows, {one.nodeid for one in (*found, *others) if one.get_closest_marker("row")}


def _rows(item: pytest.Item, drivers: Sequence[str], releases: Sequence[str]) -> Iterator[Row]:
    mark = item.get_closest_marker("row")
    assert mark is not None
    driver, *tried = mark.args
    own = mark.kwargs["kubernetes"]
    if own:
        pairs = [(driver, own)] if driver in (drivers or [driver]) else []
        pairs = [pair for pair in pairs if own in (releases or [own])]
    else:
        any_version = [one for one in drivers if one.partition("@")[0] == driver]
        chosen = any_version if drivers else [full_name(driver)]
        pairs = [(one, release) for one in chosen for release in releases or [KUBERNETES.minor]]
    for name, release in pairs:
        api = "" if own else API
        yield Row(item.path, item.nodeid, name, release, tuple(tried), api)


def _pytest_options(*options: str) -> list[str]:
    return ["-c", str(ROOT / "pyproject.toml"), "-p", "no:cacheprovider", *options]


class Expected:
    """How long rows take, by earlier records."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._of_row: dict[str, float] = {}
        self._of_test: dict[str, list[float]] = {}
        for one in records:
            self._of_row[one["row"]] = one["seconds"]
            self._of_test.setdefault(one["row"].partition("[")[0], []).append(one["seconds"])

    def seconds(self, row: Row) -> float:
        """Of a row; else of the same test, else a guess."""
        if found := self._of_row.get(row.name):
            return found
        if of_test := self._of_test.get(row.test):
            return median(of_test)
        quiet = any(one.made is Made.NOTHING for one in row.tried)
        return UNKNOWN_LONG_SECONDS if quiet else UNKNOWN_SECONDS


def chunks(rows: Sequence[Row], jobs: int, expected: Expected) -> list[list[Row]]:
    """Split rows into what shares a cluster, the longest first."""
    most = max(SHORTEST_SECONDS, sum(map(expected.seconds, rows)) / (jobs * PARTS))
    found: list[list[Row]] = []
    for _, together in groupby(rows, lambda row: (row.path, row.driver, row.kubernetes)):
        seconds = inf
        for row in together:
            if seconds + expected.seconds(row) > most:
                found.append([])
                seconds = 0.0
            found[-1].append(row)
            seconds += expected.seconds(row)
    return sorted(found, key=lambda chunk: -sum(map(expected.seconds, chunk)))


class Stopped(Exception):  # noqa: N818 - nothing is wrong
    """Somebody ended the run."""


class _Process:
    """Pytest with rows that share a cluster."""

    def __init__(self, rows: Sequence[Row], number: int, folder: Path, options: list[str]) -> None:
        self._rows = {row.name: row for row in rows}
        self._rest = b""
        self.log = folder / f"{os.getpid()}-{number}.txt"
        self._scratch = tempfile.TemporaryDirectory(prefix="dra-matrix-")
        self.pipe, end = os.pipe()
        first = rows[0]
        tests = [f"{row.path}::{row.name.partition('::')[2]}" for row in rows]
        command = [
            *(sys.executable, "-m", "pytest", "-p", "tests.zoo.matrix.recorder"),
            *_pytest_options("-m", "row", f"--basetemp={self._scratch.name}/pytest"),
            *("--embedded-driver", first.driver, "--embedded-kubernetes", first.kubernetes),
            *(OPTION, str(end), *options, *tests),
        ]
        try:
            with self.log.open("w") as log:
                self._process = subprocess.Popen(
                    command,
                    cwd=ROOT,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=[end],
                    process_group=0,  # Ctrl-C is this process's to pass on
                )
        finally:
            os.close(end)

    def read(self) -> Iterator[tuple[Row, Mapping[str, Any]]] | None:
        """Answer the rows that have ended since the last call; None once all have."""
        data = os.read(self.pipe, 1 << 16)
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        told = map(json.loads, lines)
        return ((self._rows[one["row"]], one) for one in told)

    def signal(self, number: int) -> None:
        """Signal it, and all that it started and did not put into a group of its own."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def close(self, seconds: float | None = None) -> None:
        """Wait for its end, and forget it; what it printed stays if something went wrong.

        Args:
            seconds: how long; it is killed then. None: for ever.
        """
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            code = self._process.wait()
        os.close(self.pipe)
        self._scratch.cleanup()
        if code == 0:
            self.log.unlink()


def run(
    rows: Sequence[Row],
    jobs: int,
    expected: Expected,
    logs: Path,
    options: list[str],
    ended: Callable[[Row, Mapping[str, Any], float], None],
) -> None:
    """Run rows.

    Args:
        rows: which.
        jobs: how many processes side by side, each with a cluster.
        expected: how long rows take.
        logs: what the processes printed of which not every row was as declared.
        options: of pytest.
        ended: called for each row that has ended, with what the recorder wrote and how many
            seconds the rest takes from now.

    Raises:
        Stopped: by SIGINT, SIGTERM or SIGHUP; the processes and their clusters have ended.
    """
    waiting = chunks(rows, jobs, expected)
    left = whole = sum(map(expected.seconds, rows))
    begun, number = time.monotonic(), 0
    logs.mkdir(parents=True, exist_ok=True)
    running: list[_Process] = []
    with selectors.DefaultSelector() as selector, _signals() as signals:
        selector.register(signals, selectors.EVENT_READ)
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    number += 1
                    running.append(_Process(waiting.pop(0), number, logs, options))
                    selector.register(running[-1].pipe, selectors.EVENT_READ, running[-1])
                for key, _ in selector.select():
                    process: _Process | None = key.data
                    if process is None:
                        raise Stopped
                    lines = process.read()
                    if lines is None:
                        selector.unregister(process.pipe)
                        process.close()
                        running.remove(process)
                        continue
                    for row, line in lines:
                        left -= expected.seconds(row)
                        done = whole - left
                        pace = (time.monotonic() - begun) / done if done else 0
                        ended(row, line, max(0.0, left * pace))
        finally:
            _end(running)


@contextmanager
def _signals() -> Iterator[int]:
    """A pipe that has something in it once somebody wants to end this process."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    ends = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    # Not to be raised in the middle of something. What is started has the usual handlers again,
    # which in a shell's background it has not.
    before = [signal.signal(one, lambda *_: None) for one in ends]
    signal.set_wakeup_fd(write)
    try:
        yield read
    finally:
        signal.set_wakeup_fd(-1)
        for one, handler in zip(ends, before, strict=True):
            signal.signal(one, handler)
        os.close(read)
        os.close(write)


def _end(running: Sequence[_Process]) -> None:
    """Have processes end their clusters, and end."""
    for process in running:
        process.signal(signal.SIGINT)
    until = time.monotonic() + END_SECONDS
    for process in running:
        process.close(max(0.0, until - time.monotonic()))
    if running:
        cluster.sweep()  # what was killed with a cluster of its own could not tidy up
