"""What the workload in a container reported: its result, its log, its termination message."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SCHEMA = "dra-conformance/workload/v1"
OFFER_MARK = "Producer: offer "
USAGE = 2
"""The exit code of a program that was called wrongly."""


class ReportError(Exception):
    """The workload's report cannot be read; ``str()`` says what is wrong with it."""


@dataclass(frozen=True)
class Gpu:
    """A GPU as CUDA shows it in a container."""

    uuid: str
    name: str


@dataclass(frozen=True)
class Transfer:
    """A consumer's way over one of the paths ``same`` or ``cross``."""

    path: str
    opened: bool
    can_access_peer: bool | None
    words: int
    wrong_words: int | None
    first_wrong: int | None
    checksum: str
    expected_checksum: str
    wrote: bool
    error: Mapping[str, Any] | None


@dataclass(frozen=True)
class WorkloadReport:
    """One container's result."""

    role: str
    verdict: str
    exit: int
    error: Mapping[str, Any] | None
    own_pid: int
    process: Mapping[str, Any]
    gpus: tuple[Gpu, ...]
    offer: Mapping[str, Any] | None
    seen: tuple[Mapping[str, Any], ...]
    transfers: tuple[Transfer, ...]
    lines: tuple[str, ...]
    """The whole log."""
    sha256: str
    """Of the result's line."""

    @property
    def at_fault(self) -> bool:
        """Whether the workload did not come to its task: then nothing tells of the driver."""
        return self.exit == USAGE or self.verdict in ("usage", "workload-fault")

    def transfer(self, path: str) -> Transfer | None:
        """The way over one path, if the consumer came to it."""
        return next((t for t in self.transfers if t.path == path), None)

    def error_text(self) -> str:
        """The error as a person reads it."""
        if not self.error:
            return self.verdict
        parts = [str(self.error.get("name") or ""), str(self.error.get("text") or "")]
        code = self.error.get("code")
        text = ": ".join(part for part in parts if part) or self.verdict
        return f"{text} ({code})" if code is not None and str(code) not in text else text


def result_line(lines: list[str]) -> str | None:
    """The line that holds the result: the last one, if it is one."""
    for line in reversed(lines):
        if line.strip():
            return line if line.startswith("{") and SCHEMA in line else None
    return None


def parse(log: str) -> WorkloadReport:
    """Read a finished container's log.

    Raises:
        ReportError: its last line is not a result.
    """
    lines = log.splitlines()
    line = result_line(lines)
    if line is None:
        last = next((line for line in reversed(lines) if line.strip()), "(nothing)")
        raise ReportError(f"the log's last line is no result: {last[:200]}")
    try:
        document = json.loads(line)
        return WorkloadReport(
            role=str(document["role"]),
            verdict=str(document["verdict"]),
            exit=int(document["exit"]),
            error=document.get("error"),
            own_pid=int(document["process"]["own_pid"]),
            process=document["process"],
            gpus=tuple(
                Gpu(uuid=str(gpu["uuid"]), name=str(gpu["name"]))
                for gpu in document.get("gpus") or []
            ),
            offer=document.get("offer"),
            seen=tuple(document.get("seen") or []),
            transfers=tuple(_transfer(entry) for entry in document.get("transfers") or []),
            lines=tuple(lines),
            sha256=hashlib.sha256(line.encode()).hexdigest(),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ReportError(f"the log's last line is no complete result: {error!r}") from error


def _transfer(entry: Mapping[str, Any]) -> Transfer:
    return Transfer(
        path=str(entry["path"]),
        opened=bool(entry["opened"]),
        can_access_peer=entry.get("can_access_peer"),
        words=int(entry.get("words") or 0),
        wrong_words=entry.get("wrong_words"),
        first_wrong=entry.get("first_wrong"),
        checksum=str(entry.get("checksum") or ""),
        expected_checksum=str(entry.get("expected_checksum") or ""),
        wrote=bool(entry.get("wrote")),
        error=entry.get("error"),
    )


def parse_termination(message: str | None) -> Mapping[str, Any]:
    """The termination message as the kubelet kept it.

    Raises:
        ReportError: it is missing or not the workload's.
    """
    if not message:
        raise ReportError("the container has no termination message")
    try:
        document = json.loads(message)
        return {"verdict": str(document["verdict"]), "sha256": str(document["sha256"])}
    except (KeyError, TypeError, ValueError) as error:
        raise ReportError(f"the termination message is not the workload's: {error!r}") from error


def offer_of(line: str) -> str | None:
    """The offer in a line of the producer's log, as the JSON text to hand on."""
    if not line.startswith(OFFER_MARK):
        return None
    text = line.removeprefix(OFFER_MARK).strip()
    try:
        document = json.loads(text)
    except ValueError:
        return None
    return text if isinstance(document, dict) and "handle" in document else None
