"""How long runs of each level took that are there already."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from harness.options import flag
from harness.verdict.outcome import Exit
from reports.results import NAME


def of_levels(folder: Path) -> Mapping[int, float]:
    """Find the newest whole run of each level, and how many seconds it took.

    Args:
        folder: with the folders of runs. What is no run in it is passed over.
    """
    found: dict[int, float] = {}
    for path in sorted(folder.glob(f"*/{NAME}"), reverse=True):  # their names begin with the time
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            run = content["run"]
            given = {one["name"]: one["value"] for one in run["given"]}
            level = int(given[flag("level")])
            whole = not run["interrupted"] and content["exit_code"] != Exit.PREFLIGHT
            if whole and given[flag("check")] == "" and given.get(flag("replay"), "None") == "None":
                found.setdefault(level, float(run["seconds"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return dict(sorted(found.items()))
