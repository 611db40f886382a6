"""The suite, run as an admin runs it: from the command line, against a cluster that is there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Finished:
    """A run that has ended."""

    code: int
    printed: str
    results: list[dict[str, Any]]


def command(out: Path, *options: str | Path) -> list[str | Path]:
    """The command; what it leaves goes into a folder."""
    return [
        *(sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "-m", "dra"),
        *(f"--dra-output={out}", *options),
    ]


def environment(kubeconfig: Path) -> dict[str, str]:
    """The environment in which it finds the cluster."""
    return {**os.environ, "KUBECONFIG": str(kubeconfig)}


def run_suite(kubeconfig: Path, out: Path, *options: str | Path) -> Finished:
    """Run it to its end, from the folder in which ``out`` is or will be."""
    done = subprocess.run(
        command(out, "--dra-cluster", "kubeconfig", *options),
        cwd=out.parent,
        env=environment(kubeconfig),
        capture_output=True,
        text=True,
    )
    found = list(out.glob("*/results.json"))
    assert len(found) == 1, done.stdout + done.stderr
    return Finished(done.returncode, done.stdout, json.loads(found[0].read_text())["results"])
