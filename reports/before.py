"""``results.json`` of earlier suites: what is a field today, and was text then."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from harness.verdict.finding import SkipKind

_KIND_OF_WORDS = {
    "not allowed: ": SkipKind.NOT_ALLOWED,
    "unsupported: ": SkipKind.UNSUPPORTED,
    "blocked by ": SkipKind.BLOCKED,
    "not run: ": SkipKind.NOT_RUN,
    "known issue until ": SkipKind.KNOWN_ISSUE,
}
"""How the reason of a skip began."""
_JUDGE_SOMETHING_ELSE = (
    *("SEC-001", "SEC-002", "SEC-004", "IPC-014", "IPC-015", "IPC-020", "IPC-021", "IPC-022"),
    *("CLUSTER-001", "EXP-001", "EXP-002", "EXP-003", "EXP-004", "EXP-005", "EXP-006", "EXP-007"),
)
"""CUDA, the cluster or the suite, not the driver."""


def completed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Answer a document with the fields that an earlier suite did not write, from its text."""
    document, run = dict(content), content.get("run")
    if isinstance(run, Mapping) and "given" not in run and isinstance(run.get("options"), Mapping):
        document["run"] = {**run, "given": [_option(*one) for one in run["options"].items()]}
    results = content.get("results")
    if isinstance(results, list):
        document["results"] = [_result(item) for item in results]
    return document


def _option(name: str, text: object) -> dict[str, str]:
    match = re.fullmatch(r"(.*) \((.*)\)", str(text), re.DOTALL)
    value, origin = (match[1], match[2]) if match else (str(text), "")
    return {"name": name, "value": value, "origin": origin}


def _result(item: Any) -> Any:
    if not isinstance(item, Mapping) or "skip" in item:
        return item
    added: dict[str, Any] = {"judges_driver": item.get("id") not in _JUDGE_SOMETHING_ELSE}
    if item.get("outcome") == "skip":
        text = str(item.get("headline"))
        words = next((words for words in _KIND_OF_WORDS if text.startswith(words)), "")
        added["skip"] = _KIND_OF_WORDS.get(words, SkipKind.UNMET).value
        if added["skip"] == SkipKind.BLOCKED.value:
            added["blocked_by"] = text.removeprefix(words)
    return {**item, **added}
