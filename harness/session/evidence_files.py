"""What a failed check's scenario left, as files for who was not there: objects, logs, events."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping

import yaml

from harness.cluster.inventory import current
from harness.cluster.kinds import SLICE, Object, uid_of
from harness.scenario.evidence import Evidence
from harness.scenario.run import Run
from reports.redaction import redacted
from reports.words import as_text

FOLDER = "evidence"
"""In a run's folder, with a folder for each failed case."""


def write(run: Run, name: str, evidence: Evidence | None) -> None:
    """Write what is known, without secrets; nothing is asked of the cluster but the driver's log.

    Args:
        run: in which the check failed.
        name: of the case's folder.
        evidence: of its scenario; None: the check only reads.

    Raises:
        OSError: a file cannot be written.
    """
    place = run.folder / FOLDER / name
    (place / "logs").mkdir(parents=True, exist_ok=True)
    slices = current(run.observer.objects(SLICE), run.subject.driver)
    files: dict[str, str] = {"slices.yaml": _documents(slices)}
    if evidence is not None:
        objects = _objects(evidence)
        versions = [run.observer.versions(obj) or [obj] for obj in objects]
        files["before.yaml"] = _documents(seen[0] for seen in versions)
        files["after.yaml"] = _documents(seen[-1] for seen in versions)
        files["events.yaml"] = _documents(run.events_of(*objects))
        files |= _logs(evidence)
    files["logs/driver.log"] = "\n".join(_driver_log(run, evidence))
    for file, text in files.items():
        (place / file).write_text(as_text(redacted(text)) + "\n", encoding="utf-8")


def _objects(evidence: Evidence) -> list[Object]:
    """The scenario's claims and pods, each once."""
    containers = evidence.containers.values()
    claims = [*evidence.claims.values(), *(claim for one in containers for claim in one.claims)]
    found = [claim.obj for claim in claims if claim.exists]
    found += [one.pod for one in containers if one.pod is not None]
    return list({uid_of(obj): obj for obj in found}.values())


def _logs(evidence: Evidence) -> Mapping[str, str]:
    files = {}
    for role, container in evidence.containers.items():
        for number, earlier in enumerate(container.earlier, 1):
            if (report := earlier.known()) is not None:
                files[f"logs/{role}-{number}.log"] = "\n".join(report.lines)
        files[f"logs/{role}.log"] = "\n".join(container.lines())
    return files


def _driver_log(run: Run, evidence: Evidence | None) -> Iterable[str]:
    """What the driver said meanwhile, all of it; as it was kept, if it was."""
    if evidence is None:
        return run.driver_lines(nodes=())
    if evidence.driver_lines:
        return evidence.driver_lines
    nodes = {device.node for claim in evidence.claims.values() for device in claim.devices}
    return run.driver_lines(nodes=nodes, seconds=int(time.time() - evidence.began) + 2)


def _documents(objects: Iterable[Object]) -> str:
    def plain() -> Iterator[Object]:
        for obj in objects:
            metadata = {k: v for k, v in obj["metadata"].items() if k != "managedFields"}
            yield {**obj, "metadata": metadata}

    text: str = yaml.safe_dump_all(plain(), sort_keys=False, explicit_start=True)
    return text.rstrip("\n")
