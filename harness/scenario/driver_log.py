"""What the driver under test says: the last lines of its pods' logs that may explain something."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from harness.cluster.kinds import POD
from harness.cluster.kube import ApiError, UnreachableError
from harness.scenario.pods import EVIDENCE_LINES
from harness.scenario.run import Run


def driver_log(
    run: Run, *, nodes: Collection[str], about: Sequence[str], seconds: int | None = None
) -> list[str]:
    """What the driver's pods say that may explain something: the last of its lines.

    Args:
        run: the run.
        nodes: the nodes on which it happened; empty: any.
        about: words that a line of interest has; those that tell of errors have it anyway.
        seconds: how long ago it began; None: whenever.
    """
    profile = run.subject.profile
    lines: list[str] = []
    try:
        pods, _ = run.kube.list(POD, labels=profile.plugin_selector)
        for pod in pods:
            if not nodes or pod["spec"].get("nodeName") in nodes:
                log = run.kube.log(pod, profile.plugin_container, since_seconds=seconds)
                lines += [line for line in log.splitlines() if _tells(line, about)]
    except (ApiError, UnreachableError) as error:
        return [f"(cannot be read: {error})"]
    return [line[:400] for line in lines[-EVIDENCE_LINES:]]


def _tells(line: str, about: Sequence[str]) -> bool:
    concerned = any(word in line for word in about)
    return line.startswith(("E", "F")) or concerned or "error" in line.lower()
