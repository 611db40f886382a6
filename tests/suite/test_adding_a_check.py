"""docs/adding-a-check.md, followed to the letter in a copy of the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adding-a-check.md").read_text()
FILES = dict(re.findall(r"^`(\S+\.py)`:\n\n```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
COMMANDS = re.findall(
    r"^    (\S.*)$", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL), re.MULTILINE
)
CHECK = "suites/cuda/test_peers.py"
NOT_COPIED = (".git", ".mypy_cache", ".ruff_cache", ".pytest_cache", "__pycache__", "out")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project with the page's files in it."""
    copy = tmp_path / "project"
    shutil.copytree(ROOT, copy, symlinks=True, ignore=shutil.ignore_patterns(*NOT_COPIED))
    for path, content in FILES.items():
        assert not (copy / path).exists(), f"{path} is there already: the page needs another name"
        (copy / path).write_text(content)
    return copy


def run(project: Path, *command: str) -> str:
    """Run a command in the project's folder; it must succeed."""
    environment = {name: value for name, value in os.environ.items() if name[:4] != "DRA_"}
    kept = {name: os.environ[name] for name in ("DRA_CACHE", "DRA_NO_APT") if name in os.environ}
    done = subprocess.run(
        command, cwd=project, env={**environment, **kept}, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def python(project: Path, *arguments: str) -> str:
    """Run a module with this Python."""
    return run(project, sys.executable, "-m", *arguments)


def test_the_page_has_the_files_and_commands_that_are_followed_here() -> None:
    """Or this file would follow another page."""
    assert list(FILES) == [CHECK, "tests/suite/cases/peers.py"]
    assert COMMANDS == [
        "python -m suites",
        "./run dra --dra-check CUDA-900",
        "./run tests tests/suite/test_checks.py",
    ]


def test_the_pages_files_make_a_check(project: Path) -> None:
    """Catalogue, selection, and the proof that it can fail; formatted and typed as all files."""
    lock, page = project / "suites" / "checks.lock", project / "docs" / "checks.md"
    before = set(lock.read_text().splitlines())
    python(project, "suites")
    assert set(lock.read_text().splitlines()) - before == {"CUDA-900 peer_access_goes_both_ways"}
    assert "### CUDA-900 `peer_access_goes_both_ways`" in page.read_text()
    made = python(project, "pytest", "-q", "-rA", "tests/suite/test_checks.py")
    assert made.count("::test_each_fault_has_its_words[CUDA-900-") == 2
    python(project, "pytest", "-q", "tests/suite/test_catalogue.py")
    collected = python(
        *(project, "pytest", "-m", "dra", "--dra-check", "CUDA-900", "--collect-only", "-q")
    )
    assert f"{CHECK}::test_peer_access_goes_both_ways" in collected
    assert "1/" in collected.splitlines()[-1], collected
    python(project, "ruff", "format", "--check", *FILES)
    python(project, "ruff", "check", *FILES)
    python(project, "mypy", *FILES)


@pytest.mark.embedded
def test_the_pages_check_runs(project: Path) -> None:
    """On an embedded cluster of its own, as the page says."""
    (command,) = [command for command in COMMANDS if command.startswith("./run dra")]
    output = run(project, *command.split())
    assert re.search(
        r"^VERDICT  partial: 1 check judged the driver: 1 case passed", output, re.MULTILINE
    ), output
