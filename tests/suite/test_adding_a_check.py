"""docs/adding-a-check.md, followed to the letter in a copy of the project without its example."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adding-a-check.md").read_text()
_BLOCK = r"`(\S+)`:\n\n```(?:python|yaml)?\n(.*?)^```$"
FILES = dict(re.findall(rf"^{_BLOCK}", PAGE, re.MULTILINE | re.DOTALL))
"""Whole files, by their paths."""
PARTS = dict(re.findall(rf"^In {_BLOCK}", PAGE, re.MULTILINE | re.DOTALL))
"""What is added to files, or changed in them."""
(SAID,) = re.findall(r"^```text\n(.*)\n```$", PAGE, re.MULTILINE)
COMMANDS = re.findall(
    r"^    (\S.*)$", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL), re.MULTILINE
)
ON_A_CLUSTER = [command for command in COMMANDS if command.startswith("./run dra ")]

CHECK = "suites/lifecycle/test_container_restart.py"
CASES = "tests/suite/cases/container_restart.py"
REQUIREMENTS = "suites/requirements.yaml"
REQUIREMENT, ID = "LIFE-2", "LIFE-002"
WRITES = "python -m suites"
WRITTEN = ("suites/checks.lock", "docs/checks.md", "docs/requirements.md")
NOT_COPIED = (".git", ".pytest_cache", ".venv", "__pycache__", "out", "dist")


def test_the_page_shows_what_is_there() -> None:
    """The files to the letter, and what is a part of a file, which stands there once."""
    assert list(FILES) == [CHECK, CASES]
    for path, content in FILES.items():
        assert (ROOT / path).read_text() == content, f"{path} is not as the page shows it"
    assert list(PARTS) == [
        REQUIREMENTS,
        "embedded/drivers/reference/kubelet_plugin/faults.py",
        "tests/zoo/caught/lifecycle.py",
    ]
    for path, part in PARTS.items():
        assert (ROOT / path).read_text().count(part) == 1, f"{path} has not what the page shows"
    assert len(ON_A_CLUSTER) == 2


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project in git, from which the page's example has been taken out."""
    copy = tmp_path / "project"
    shutil.copytree(ROOT, copy, symlinks=True, ignore=shutil.ignore_patterns(*NOT_COPIED))
    run(copy, "git init --quiet\ngit add --all")
    for path in (CHECK, CASES):
        (copy / path).unlink()
    lock = copy / "suites" / "checks.lock"
    lock.write_text(re.sub(rf"^{ID} .*\n", "", lock.read_text(), flags=re.MULTILINE))
    left = '    unjudged: "planned: the first restart"\n'  # other checks judge it, too
    change(copy, requirement(copy) + left)
    run(copy, f"export PATH=$(./run environment):$PATH\n{WRITES}")
    assert changed(copy) == {CHECK, CASES, REQUIREMENTS, *WRITTEN}
    return copy


def run(project: Path, script: str, status: int = 0) -> str:
    """Run commands in the project's folder, each of which must succeed, or end with ``status``."""
    environment = {name: value for name, value in os.environ.items() if name[:4] != "DRA_"}
    kept = {name: os.environ[name] for name in ("DRA_CACHE", "DRA_NO_APT") if name in os.environ}
    done = subprocess.run(
        ["sh", "-euc", script],
        cwd=project,
        env={**environment, **kept},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == status, done.stdout[-6000:]
    return done.stdout


def requirement(project: Path) -> str:
    """What the project's file of requirements says of the one that the example judges."""
    text = (project / REQUIREMENTS).read_text()
    (entry,) = re.findall(rf"^  {REQUIREMENT}:\n(?:    .*\n)+", text, re.MULTILINE)
    return str(entry)


def change(project: Path, entry: str) -> None:
    """Have the file of requirements say this of it."""
    file = project / REQUIREMENTS
    file.write_text(file.read_text().replace(requirement(project), entry))


def changed(project: Path) -> set[str]:
    """The files that are not as they are in the project, or not there."""
    listed = "git diff --name-only\ngit ls-files --others --exclude-standard"
    return set(run(project, listed).splitlines())


def test_who_follows_the_page_has_the_project_as_it_is(project: Path) -> None:
    """What its commands say is fine, too: catalogue, cases, and lint with types."""
    for path, content in FILES.items():
        (project / path).write_text(content)
    change(project, PARTS[REQUIREMENTS])
    run(project, "\n".join(command for command in COMMANDS if command not in ON_A_CLUSTER))
    assert changed(project) == set()


@pytest.mark.embedded
def test_the_example_passes_and_finds_the_fault() -> None:
    """On embedded clusters of their own, with the words that the page quotes."""
    passes, fails = ON_A_CLUSTER
    verdict = "VERDICT  partial: 1 check judged the driver: 1 case passed"
    assert verdict in run(ROOT, passes)
    assert SAID in run(ROOT, fails, status=1)
