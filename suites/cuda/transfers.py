"""Judging of what an importing container did with memory that another one had exported."""

from __future__ import annotations

from harness.scenario.evidence import Played
from harness.scenario.workload_report import Attempt, Transfer, told
from harness.verdict import causes


def transfer_of(played: Played, role: str, path: str) -> Transfer:
    """How an importer fared on a path.

    Raises:
        JudgementError: it never came to it.
    """
    report = played.report(role)
    transfer = report.transfer(path)
    if transfer is None:
        played.refuse(
            f"the {role} never came to open the memory ({path}): {report.error_text()}",
            expected=f"a transfer on path {path}",
            observed=report.error_text(),
            cause=causes.of_cuda(report.error),
        )
    return transfer


def attempt_of(played: Played, role: str, name: str) -> Attempt:
    """An attempt of an importer.

    Raises:
        JudgementError: it was not made.
    """
    report = played.report(role)
    attempt = report.attempt(name)
    if attempt is None:
        played.refuse(
            f"the {role} never came to the attempt {name}: {report.error_text()}",
            expected=f"an attempt {name}",
            observed=", ".join(a.name for a in report.attempts) or "none",
            cause=causes.of_cuda(report.error),
        )
    return attempt


def judge_read(played: Played, role: str, path: str) -> Transfer:
    """An importer opened the memory and read every word right; answers how.

    Raises:
        JudgementError: it did not.
    """
    transfer = transfer_of(played, role, path)
    if not transfer.opened:
        error = transfer.error or {}
        played.refuse(
            f"the {role} could not open the memory ({path}): {answer(transfer)}",
            expected="cuIpcOpenMemHandle succeeds",
            observed=f"{error.get('text') or answer(transfer)}",
            cause=causes.of_cuda(error),
        )
    if transfer.wrong_words is None:
        played.refuse(
            f"the {role} opened the memory ({path}) and could not read it: {answer(transfer)}",
            expected="every word can be read",
            observed=told(transfer),
            cause=causes.of_cuda(transfer.error),
        )
    if transfer.wrong_words or transfer.checksum != transfer.expected_checksum:
        played.refuse(
            f"the {role} read {transfer.wrong_words} of {transfer.words} words wrong ({path})",
            expected=f"0 wrong, checksum {transfer.expected_checksum}",
            observed=f"{transfer.wrong_words} wrong, checksum {transfer.checksum}",
        )
    return transfer


def judge_seen(played: Played, role: str, path: str) -> None:
    """An exporter saw every word that an importer wrote over a path.

    Raises:
        JudgementError: it did not.
    """
    report = played.report(role)
    seen = next((entry for entry in report.seen if entry.get("path") == path), None)
    if seen is None or seen.get("wrong_words") or not seen.get("words"):
        how = (
            f"nothing ({report.error_text()})"
            if seen is None
            else f"{seen.get('wrong_words')} of {seen.get('words')} words wrong"
        )
        played.refuse(
            f"the {role} did not see what was written ({path}): {how}",
            expected="every word as the importer wrote it",
            observed=how,
        )


def answer(what: Transfer | Attempt) -> str:
    """What CUDA said, for a sentence: ``CUDA_ERROR_INVALID_CONTEXT (201)``."""
    if isinstance(what, Attempt):
        code, name = what.code or None, what.error
    else:
        error = what.error or {}
        code, name = error.get("code"), error.get("name") or error.get("text")
    if code is None:
        return str(name or "it opened")
    return f"{name} ({code})" if name else f"CUDA error {code}"
