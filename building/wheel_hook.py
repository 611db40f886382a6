"""What hatchling calls when it builds the wheel: adds the commit, which a wheel cannot ask git for.

It is a file of the build backend: the suite itself never imports it.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

TARGET = "dra_conformance/tree/commit.json"


class Commit(BuildHookInterface):  # type: ignore[misc] # hatchling is not installed where mypy runs
    """Puts the commit into the wheel; outside of a git checkout there is none to put."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Write the file; hatchling calls it before it collects files."""
        try:
            found = {
                "commit": self._git("rev-parse", "HEAD"),
                "changed": bool(self._git("status", "--porcelain")),
            }
        except (OSError, subprocess.CalledProcessError):
            return
        self._folder = tempfile.TemporaryDirectory()
        file = Path(self._folder.name) / "commit.json"
        file.write_text(json.dumps(found) + "\n", encoding="utf-8")
        build_data["force_include"][str(file)] = TARGET

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove the file; hatchling calls it when the wheel is written."""
        if hasattr(self, "_folder"):
            self._folder.cleanup()

    def _git(self, *arguments: str) -> str:
        command = ["git", "-C", self.root, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
