"""All files of a run: one record, four readers."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from harness.verdict.outcome import Record
from reports import html, junit, results
from reports.facts import Facts

ENVIRONMENT = "environment.json"
ENVIRONMENT_SCHEMA = "dra-conformance/environment/v1"


def write(record: Record, facts: Facts, into: Path | None = None) -> None:
    """Write them. First the one from which the others can be made again.

    Args:
        record: the results.
        facts: the rest; its folder and its JUnit are where the files say that they are.
        into: where they are written to; None: there, too.

    Raises:
        JUnitError: see `reports.junit.render`.
        OSError: a file cannot be written. Whatever is raised, the other files are there.
    """
    place = into or facts.folder
    files: dict[Path, Callable[[Record, Facts], str]] = {
        place / results.NAME: results.render,
        place / ENVIRONMENT: environment,
        place / html.NAME: html.render,
        into / junit.NAME if into else facts.junit: junit.render,
    }
    with ExitStack() as all_files:  # what one raises does not keep the others from being made
        for path, render in reversed(files.items()):
            all_files.callback(_write, path, render, record, facts)


def _write(
    path: Path, render: Callable[[Record, Facts], str], record: Record, facts: Facts
) -> None:
    write_whole(path, render(record, facts))


def environment(record: Record, facts: Facts) -> str:
    """Make ``environment.json``: what the run ran on, so that it can be placed and repeated."""
    content = {
        "schema": ENVIRONMENT_SCHEMA,
        "place": facts.cluster,
        "hardware": facts.hardware,
        "run": facts.run_id,
        "kubernetes": {"version": facts.kubernetes, "dra_api": facts.dra_api},
        "driver": {"name": facts.driver, "profile": facts.profile, "product": facts.product},
        "options": {
            option.name: {"value": option.value, "origin": option.origin}
            for option in facts.given()
        },
        **record.environment,
    }
    return results.dumped(content)


def write_whole(path: Path, text: str) -> None:
    """Write a text file by a temporary one beside it, so that no reader ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
