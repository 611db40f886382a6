"""``./run wheel``: build the wheel, which ``pip install`` and ``pipx install`` take."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from building import artifacts
from building.errors import UserError, exit_code
from building.progress import Progress
from building.toolchain import PINS
from building.tree import ROOT
from harness import __version__

HATCHLING = artifacts.wheels("hatchling", PINS / "wheel-build.txt", minutes=0.1)
"""The build backend, pinned; `pip` would fetch another one for each build."""


def main(arguments: list[str]) -> int:
    """Run the verb; returns the exit code."""
    parser = argparse.ArgumentParser(prog="./run wheel", description=__doc__)
    parser.add_argument(
        "--output", default=Path("dist"), type=Path, metavar="DIR", help="default: %(default)s"
    )
    options = parser.parse_args(arguments)
    return exit_code(lambda: _print(build(options.output, Progress())), "interrupted")


def _print(path: Path) -> int:
    print(f"{path.stat().st_size:>12,}  {path}")
    return 0


def build(output: Path, progress: Progress) -> Path:
    """Build the wheel of this checkout into a folder and answer the file.

    Raises:
        UserError: hatchling could not be fetched, or refused.
    """
    hatchling = artifacts.obtain([HATCHLING], progress)[HATCHLING.name]
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(output.absolute())],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(hatchling), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise UserError(f"the wheel could not be built:\n{done.stdout}{done.stderr}")
    return output / f"dra_conformance-{__version__}-py3-none-any.whl"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
