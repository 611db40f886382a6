"""What a container of the workload left to read: its result, and the log that it stands in."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields, is_dataclass

from workload.reading import ReportError, read
from workload.result import (
    OFFER_MARK,
    SCHEMA,
    Attempt,
    Peer,
    Result,
    Termination,
    Transfer,
    Verdict,
)


@dataclass
class Report(Result):
    """One container's result and log."""

    lines: tuple[str, ...] = ()
    """The whole log."""
    sha256: str = ""
    """Of the result's line."""

    @property
    def at_fault(self) -> bool:
        """Whether the workload did not come to its task: then nothing tells of the driver."""
        return self.verdict in (Verdict.USAGE, Verdict.WORKLOAD_FAULT)

    def given(self) -> set[str]:
        """Name what shows which devices the container has: variables, and device nodes.

        What a container without devices was given has to be subtracted.
        """
        variables = (f"{name}={value}" for name, value in self.environment.items())
        return {*variables, *(f"/dev/{name}" for name in self.device_nodes)}

    def transfer(self, path: str) -> Transfer | None:
        """The way over one path, if the consumer came to it."""
        return next((t for t in self.transfers if t.path == path), None)

    def attempt(self, name: str) -> Attempt | None:
        """What came of the attempt of this name, if it was made."""
        return next((a for a in self.attempts if a.name == name), None)

    def peer(self, importer: str, exporter: str) -> Peer | None:
        """What is known of one GPU's access to another, both by UUID."""
        pair = (importer, exporter)
        return next((p for p in self.peers if (p.importer, p.exporter) == pair), None)

    def error_text(self) -> str:
        """The error as a person reads it."""
        if self.error is None:
            return self.verdict
        parts = (self.error.name, self.error.text)
        text, code = ": ".join(part for part in parts if part) or self.verdict, self.error.code
        return text if code is None or str(code) in text else f"{text} ({code})"


def describe(entry: object) -> str:
    """A part of a report as a person reads it: each field that is known, by its name."""
    values = {field.name: getattr(entry, field.name) for field in fields(entry)}  # type: ignore[arg-type]
    return ", ".join(
        f"{name.replace('_', ' ')} {_value(value)}"
        for name, value in values.items()
        if value is not None and value not in ("", ())
    )


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return " ".join(map(_value, value))
    return f"({describe(value)})" if is_dataclass(value) else str(value)


def result_line(lines: list[str]) -> str | None:
    """The line that holds the result: the last one, if it is one."""
    for line in reversed(lines):
        if line.strip():
            return line if line.startswith("{") and SCHEMA in line else None
    return None


def parse(log: str) -> Report:
    """Read a finished container's log.

    Raises:
        ReportError: its last line is not a result.
    """
    lines = log.splitlines()
    line = result_line(lines)
    if line is None:
        last = next((line for line in reversed(lines) if line.strip()), "(nothing)")
        raise ReportError(f"the log's last line is no result: {last[:200]}")
    digest = hashlib.sha256(line.encode()).hexdigest()
    try:
        return Report.read({**json.loads(line), "lines": lines, "sha256": digest})
    except ValueError as error:
        raise ReportError(f"the log's last line is no complete result: {error}") from error


def parse_termination(message: str | None) -> Termination:
    """The termination message as the kubelet kept it.

    Raises:
        ReportError: it is missing or not the workload's.
    """
    if not message:
        raise ReportError("the container has no termination message")
    try:
        return read(Termination, json.loads(message))
    except ValueError as error:
        raise ReportError(f"the termination message is not the workload's: {error}") from error


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
