"""A plugin of pytest that writes down how each test of the matrix ended, as it ends.

`__main__` loads it into the processes that run the tests; a line of JSON for each goes into the
open file that ``--matrix-to`` numbers.
"""

from __future__ import annotations

import json
import os

import pytest

from tests.zoo.matrix.rows import SAID

OPTION = "--matrix-to"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of the file."""
    parser.addoption(OPTION, type=int, help="number of the open file that results go into")


def pytest_configure(config: pytest.Config) -> None:
    """Take the file over: what the tests start does not have it."""
    number = config.getoption(OPTION)
    os.set_inheritable(number, False)
    config.pluginmanager.register(Recorder(number))


class Recorder:
    """Writes the lines."""

    def __init__(self, number: int) -> None:
        self._file = os.fdopen(number, "w")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write how a test ended, and that one could not begin."""
        if report.when != "call" and not (report.when == "setup" and not report.passed):
            return
        told = dict(report.user_properties)
        line = {
            "row": report.nodeid,
            "tried": SAID in told,  # else the suite did not come to a result
            "passed": report.passed,
            "why": "" if report.passed else _why(report),
            "said": told.get(SAID, []),
            "seconds": round(report.duration, 1),
        }
        print(json.dumps(line), file=self._file, flush=True)


def _why(report: pytest.TestReport) -> str:
    """The first lines of what did not hold."""
    crash = getattr(report.longrepr, "reprcrash", None)
    return (crash.message if crash else report.longreprtext)[:500]
