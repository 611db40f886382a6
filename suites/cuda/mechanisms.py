"""Judging of what was shared by descriptor, by fabric handle or by legacy IPC, each a form."""

from __future__ import annotations

from harness.checks.check import Part
from harness.cluster.inventory import results
from harness.scenario.evidence import CHANNEL, Evidence
from harness.scenario.report import Report, describe
from harness.verdict import causes
from harness.verdict.finding import Blame, UnsupportedError
from suites.cuda.tables import STAYING, STRANGER
from suites.cuda.transfers import EXPORTER, IMPORTER, answer, need_peer_access, way
from workload.result import Transfer, Verdict

ENDING = "exporter-killed"
NOT_PERMITTED, NOT_SUPPORTED = 800, 801
NOT_ITS_FAULT = (Verdict.PARTNER_NEVER_CAME, Verdict.WORKLOAD_FAULT, Verdict.USAGE)
ONLY_IN_CLIQUES = "compute-domain.nvidia.com"
"""A driver that puts no channel into containers on other nodes, by its source (up to 0.5.0)."""
NO_CHANNEL = "no IMEX channel in the container"
NO_CLASS = "no DeviceClass of channels is known: --dra-channel-class"


def tried(evidence: Evidence, role: str, path: str, form: Part) -> Transfer:
    """How an importer fared with what was shared by a mechanism, over a path.

    Raises:
        UnsupportedError: the cluster lacks what the mechanism needs.
        JudgementError: it was not even shared, or not tried.
    """
    exporter = ENDING if role == STAYING else EXPORTER
    one_gpu = len(evidence.report(IMPORTER).gpus) == 1
    if one_gpu and (role == STRANGER or path == "cross"):
        raise UnsupportedError("needs a claim of two GPUs")
    report = evidence.report(role)
    lent = next((one for one in report.lent if one.mechanism == form.name), None)
    without_channel = "" if channels_of(report) else f"{NO_CHANNEL}: {_why_none(evidence)}"
    if lent is not None and lent.error is not None:
        if lent.error.code == NOT_PERMITTED and without_channel:
            raise UnsupportedError(without_channel)
        if lent.error.code == NOT_SUPPORTED:
            raise UnsupportedError(f"this GPU or its driver does not share memory by {form.name}")
        evidence.fail(
            f"the {exporter} could not share memory: {lent.error.name or 'error'}"
            f" ({lent.error.code})",
            expected="memory that is made and exported",
            observed=lent.error.sentence(),
            cause=causes.of_cuda(lent.error),
        )
    transfer = way(report, form.name, path)
    if transfer is None:
        evidence.fail(
            f"the {role} did not try to open the memory: {report.error_text()}",
            expected=f"a try on path {path}",
            observed=report.error_text(),
            cause=causes.of_cuda(report.error),
            blame=Blame.WORKLOAD if report.verdict in NOT_ITS_FAULT else Blame.DRIVER,
        )
    if transfer.error is not None and transfer.error.code == NOT_PERMITTED and without_channel:
        raise UnsupportedError(without_channel)  # of the importer alone
    return transfer


def channels_of(report: Report) -> list[str]:
    """The IMEX channels that a container has, as its device nodes."""
    return [name for name in report.device_nodes if name.startswith("nvidia-caps-imex")]


def _why_none(evidence: Evidence) -> str:
    claim = evidence.claims.get(CHANNEL)
    if claim is None:
        return NO_CLASS
    (device, *_) = results(claim.allocated.get())
    return f"its claim has {device['device']}, which brings none"


def judge_right(evidence: Evidence, role: str, path: str, form: Part) -> Transfer:
    """An importer opened what was shared and found every word right: answer how.

    Raises:
        JudgementError: it did not.
    """
    transfer = tried(evidence, role, path, form)
    need_peer_access(transfer)
    if not transfer.opened:
        evidence.fail(
            f"the {role} could not open the memory: {answer(transfer)}",
            expected="it opens",
            observed=transfer.error.sentence() if transfer.error else describe(transfer),
            cause=causes.of_cuda(transfer.error),
        )
    if transfer.wrong_words != 0 or not transfer.words:
        wrong = answer(transfer) if transfer.error else f"{transfer.wrong_words} wrong"
        evidence.fail(
            f"the {role} opened the memory, of {transfer.words} words: {wrong}",
            expected="every word as it was written",
            observed=describe(transfer),
        )
    return transfer
