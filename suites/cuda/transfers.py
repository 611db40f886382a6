"""Judging of what an importing container did with memory that another one had exported."""

from __future__ import annotations

from harness.scenario.evidence import Evidence
from harness.scenario.report import Report, describe
from harness.verdict import causes
from harness.verdict.finding import Blame, UnsupportedError
from workload.result import PEER_ACCESS_UNSUPPORTED, Attempt, Offer, Transfer

EXPORTER, IMPORTER = "exporter", "importer"
WORD_BYTES = 8
CONTROL_PAGE_BYTES = 2 << 20
"""At the end of a buffer (`workload.buffer`)."""


def code_of(transfer: Transfer) -> int | None:
    """CUDA's error code of a transfer that did not open; None where it opened."""
    return None if transfer.opened or transfer.error is None else transfer.error.code


def transfer_of(evidence: Evidence, role: str, path: str) -> Transfer:
    """How an importer fared on a path.

    Raises:
        JudgementError: it never came to it.
    """
    report = evidence.report(role)
    transfer = report.transfer(path)
    if transfer is None:
        evidence.fail(
            f"the {role} did not try to open the memory {_WHERE[path]}: {report.error_text()}",
            expected=f"a transfer on path {path}",
            observed=report.error_text(),
            cause=causes.of_cuda(report.error),
        )
    return transfer


def way(report: Report, mechanism: str, path: str) -> Transfer | None:
    """How an importer fared with what was shared by a mechanism, if it came to it."""
    tried = (one for one in report.transfers if one.mechanism == mechanism)
    return next((one for one in tried if one.path == path), None)


def attempt_of(evidence: Evidence, role: str, name: str) -> Attempt:
    """An attempt of an importer.

    Raises:
        JudgementError: it was not made.
    """
    report = evidence.report(role)
    attempt = report.attempt(name)
    if attempt is None:
        evidence.fail(
            f"the {role} did not make the attempt {name}: {report.error_text()}",
            expected=f"an attempt {name}",
            observed=", ".join(a.name for a in report.attempts) or "none",
            cause=causes.of_cuda(report.error),
        )
    return attempt


def need_peer_access(transfer: Transfer) -> None:
    """Skip what GPUs without peer access cannot do: no driver for Kubernetes can change that.

    Raises:
        UnsupportedError: the two GPUs have no peer access.
    """
    if transfer.lacks_peer_access:
        raise UnsupportedError(
            f"the two GPUs have no peer access (CUDA error {PEER_ACCESS_UNSUPPORTED})"
        )


def judge_opened(evidence: Evidence, role: str, path: str, exporter: str = "") -> Transfer:
    """Judge that an importer opened the memory; answer how.

    Args:
        evidence: what the scenario left.
        role: the importer.
        path: ``same`` or ``cross``: on the GPU that holds the memory, or on the other one.
        exporter: who exported it: with the importer's own PID, that is the cause.

    Raises:
        JudgementError: it did not.
    """
    transfer = transfer_of(evidence, role, path)
    if not transfer.opened:
        need_peer_access(transfer)
        error = transfer.error or evidence.report(role).error
        pids = {evidence.report(one).process.own_pid for one in (role, exporter) if one}
        evidence.fail(
            f"the {role} could not open the memory {_WHERE[path]}: {answer(transfer)}",
            expected="cuIpcOpenMemHandle succeeds",
            observed=(error.text if error else "") or answer(transfer),
            cause=causes.of_cuda(error, equal_own_pids=bool(exporter) and len(pids) == 1),
        )
    return transfer


def judge_read(evidence: Evidence, role: str, path: str, offer: Offer | None = None) -> Transfer:
    """Judge that an importer opened the memory and read every word right; answer how.

    Args:
        evidence: what the scenario left.
        role: the importer.
        path: ``same`` or ``cross``.
        offer: what was exported; then the whole of it must have been read.

    Raises:
        JudgementError: it did not.
    """
    transfer, where = judge_opened(evidence, role, path), _WHERE[path]
    if transfer.wrong_words is None:
        evidence.fail(
            f"the {role} opened the memory {where} and could not read it: {answer(transfer)}",
            expected="every word can be read",
            observed=describe(transfer),
            cause=causes.of_cuda(transfer.error),
        )
    checksum = offer.checksum if offer and path == "same" else None
    right = transfer.checksum == transfer.expected_checksum == (checksum or transfer.checksum)
    if transfer.wrong_words or not right:
        evidence.fail(
            f"the {role} read {transfer.wrong_words} of {transfer.words} words wrong {where}",
            expected=f"0 wrong, checksum {transfer.expected_checksum} {checksum or ''}".strip(),
            observed=describe(transfer),
        )
    if offer is not None and transfer.words != words_of(offer):
        evidence.fail(
            f"the {role} verified {transfer.words} words of a buffer of {words_of(offer)} {where}",
            expected=f"all {words_of(offer)} words",
            observed=describe(transfer),
            blame=Blame.WORKLOAD,
        )
    return transfer


def words_of(offer: Offer) -> int:
    """Count the words of data of an exported buffer; its last page holds the doorbell."""
    return (offer.bytes - CONTROL_PAGE_BYTES) // WORD_BYTES


_WHERE = {"same": "on the same GPU", "cross": "on the other GPU"}
_FROM = {"same": "from the same GPU", "cross": "from the other GPU"}


def judge_seen(evidence: Evidence, role: str, path: str) -> None:
    """An exporter saw every word that an importer wrote over a path.

    Raises:
        JudgementError: it did not.
    """
    report = evidence.report(role)
    seen = next((entry for entry in report.seen if entry.path == path), None)
    if seen is None or seen.wrong_words or not seen.words:
        how = (
            f"nothing ({report.error_text()})"
            if seen is None
            else f"{seen.wrong_words} of {seen.words} words wrong"
        )
        evidence.fail(
            f"the {role} did not see the write {_FROM[path]}: {how}",
            expected="every word as the importer wrote it",
            observed=how,
        )


def answer(what: Transfer | Attempt) -> str:
    """What CUDA said, for a sentence: ``CUDA_ERROR_INVALID_CONTEXT (201)``."""
    if isinstance(what, Attempt):
        code, name = what.code or None, what.error
    elif what.error is not None:
        code, name = what.error.code, what.error.name or what.error.text
    else:
        code, name = None, None
    if code is None:
        return name or "it opened"
    return f"{name} ({code})" if name else f"CUDA error {code}"
