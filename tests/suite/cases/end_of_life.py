"""Pods, claims and a namespace that end: good evidence, and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.cluster.kinds import uid_of
from harness.scenario.evidence import Change as FileChange
from harness.scenario.evidence import End, Evidence, Observed
from harness.verdict.finding import Blame, Finding, judge
from tests.suite.cases import Case
from tests.suite.made import (
    DEVICES,
    Change,
    does_not_start,
    gone,
    lose,
    made,
    report,
    with_claim,
)

ONE, OTHER = DEVICES[:2]


def _claimed(evidence: Evidence, *names: str) -> Evidence:
    """With claims of the same device, one after another."""
    for name in names:
        with_claim(evidence, name, ONE).claims[name].obj["metadata"]["uid"] = f"uid-of-{name}"
    return evidence


def _generated_claim() -> Evidence:
    evidence = _claimed(made("generated-claim", user=report(), other=report()), "gpus")
    user, claim = evidence.containers["user"], evidence.claims["gpus"]
    user.pod = {"metadata": {"name": "user", "uid": "uid-of-the-pod"}}
    claim.obj["metadata"]["ownerReferences"] = [{"name": "user", "uid": uid_of(user.pod)}]
    for piece in (user.gone, evidence.containers["other"].gone, claim.gone):
        gone(piece, 2.0)
    return evidence


def _completed_pod() -> Evidence:
    return _claimed(made("completed-pod", user=report(), next=report()), "gpus", "next")


def _claim_deleted_in_use() -> Evidence:
    evidence = made("claim-deleted-in-use", user=report(), next=report())
    _claimed(evidence, "gpus", "next")
    gone(evidence.containers["user"].gone, 2.0, asked=10.0)
    gone(evidence.claims["gpus"].gone, 12.0)
    return evidence


def _namespace_deleted() -> Evidence:
    evidence = made("namespace-deleted", one=report(), two=report(), three=report())
    gone(evidence.namespace, 7.0)
    return evidence


def _failed_prepare() -> Evidence:
    evidence = _claimed(made("failed-prepare", user=report()), "gpus")
    gone(evidence.containers["user"].gone, 2.0)
    return evidence


def _deleted_while_prepared() -> Evidence:
    evidence = _claimed(made("deleted-while-prepared", user=report(), next=report()), "gpus")
    gone(evidence.containers["user"].gone, 2.0)
    return _claimed(evidence, "next")


def _forced_deletion() -> Evidence:
    evidence = made("forced-deletion", user=report(), second=report())
    _claimed(evidence, "kept", "heir")
    for name in ("lost", "same"):
        with_claim(evidence, name, OTHER).claims[name].obj["metadata"]["uid"] = f"uid-of-{name}"
    evidence.noted.update(heir=True, first=False)
    return _files(evidence, "+kept", "+lost", "-kept", "-lost", "+heir", "+same")


def _files(evidence: Evidence, *changes: str) -> Evidence:
    """CDI files come (``+``) and go, called after the UID of a claim."""
    evidence.changes["cdi"] = tuple(
        FileChange(f"/run/cdi/claim_uid-of-{one[1:]}.json", "{}" if one[0] == "+" else None)
        for one in changes
    )
    return evidence


def _become(*changes: str) -> Change:
    def change(evidence: Evidence) -> None:
        _files(evidence, *changes)

    return change


def _come_too_late(evidence: Evidence) -> None:
    evidence.noted.update(heir=False, first=False)


def _stays(piece: Callable[[Evidence], Observed[End]], blame: Blame = Blame.DRIVER) -> Change:
    """Something does not go in time."""

    def change(evidence: Evidence) -> None:
        finding = Finding("the end of it did not come within 60 s", "its end", "it is there", blame)
        known = piece(evidence)
        known.__dict__.update(lose(known, judge(finding)).__dict__)

    return change


def _is_owned_by_nobody(evidence: Evidence) -> None:
    del evidence.claims["gpus"].obj["metadata"]["ownerReferences"]


def _is_slow(evidence: Evidence) -> None:
    gone(evidence.containers["user"].gone, 30.4)


def _goes_before_its_pod(evidence: Evidence) -> None:
    gone(evidence.claims["gpus"].gone, 3.0)


def _gets_another_device(name: str) -> Change:
    def change(evidence: Evidence) -> None:
        evidence.claims[name].by_request = {"gpu-1": (DEVICES[3],)}

    return change


GOOD: Mapping[str, Callable[[], Evidence]] = {
    "generated-claim": _generated_claim,
    "completed-pod": _completed_pod,
    "claim-deleted-in-use": _claim_deleted_in_use,
    "namespace-deleted": _namespace_deleted,
    "failed-prepare": _failed_prepare,
    "deleted-while-prepared": _deleted_while_prepared,
    "forced-deletion": _forced_deletion,
}
NOT_STARTED = r"the start did not come within 120 s$"
NOT_GONE = r"the end of it did not come within 60 s$"
NO_CHOICE = r"unsupported: a claim cannot ask for one device by its UUID$"
NEXT = ("LIFE-003", "LIFE-014", "NODE-020")
"""They judge whether the device of a pod that has ended can be used by the next one."""

CASES = (
    *(
        Case(check, "the device is not free", does_not_start("next", Blame.DRIVER), NOT_STARTED)
        for check in NEXT
    ),
    *(
        Case(check, "any device", _gets_another_device("next"), NO_CHOICE, blame=None)
        for check in NEXT
    ),
    Case("LIFE-001", "it does not start", does_not_start("user", Blame.DRIVER), NOT_STARTED),
    Case(
        "LIFE-001",
        "it would stay",
        _is_owned_by_nobody,
        r"the claim that was generated for a pod is not owned by it$",
        blame=Blame.CLUSTER,
    ),
    Case("LIFE-001", "its pod stays", _stays(lambda e: e.containers["user"].gone), NOT_GONE),
    Case("LIFE-001", "it stays", _stays(lambda e: e.claims["gpus"].gone), NOT_GONE),
    Case(
        "LIFE-012",
        "a slow unprepare",
        _is_slow,
        r"a pod with a claim is gone 30 s after its deletion, one without after 2 s$",
    ),
    Case(
        "LIFE-007",
        "it goes too early",
        _goes_before_its_pod,
        r"a claim that was deleted was gone while a pod used it$",
        blame=Blame.CLUSTER,
    ),
    Case("LIFE-007", "no restart", does_not_start("user", Blame.DRIVER), NOT_STARTED),
    Case("LIFE-011", "it stays", _stays(lambda e: e.namespace), NOT_GONE),
    Case("NEG-012", "the pod stays", _stays(lambda e: e.containers["user"].gone), NOT_GONE),
    Case(
        "NODE-009",
        "the file is left",
        _become("+kept", "+lost", "-lost", "+heir", "+same"),
        r"the claim of a pod that was deleted by force still has its CDI file$",
    ),
    Case(
        "NODE-017",
        "the file is left",
        _become("+kept", "+lost", "-kept", "+heir"),
        r"a claim whose object is gone still has its CDI file$",
    ),
    Case(
        "NODE-016",
        "two at a time",
        _become("+kept", "+lost", "+heir", "-kept", "-lost", "+same"),
        r"a device is prepared for a claim before it is unprepared for the one before$",
    ),
    Case(
        "NODE-016",
        "two of the same name",
        _become("+kept", "+lost", "-kept", "+heir", "+same", "-lost"),
        r"a device is prepared for a claim before it is unprepared for the one before$",
    ),
    Case(
        "NODE-016",
        "nothing was held any more",
        _come_too_late,
        r"each device was unprepared before the kubelet had the next pod for it$",
        blame=None,
    ),
    Case("NODE-016", "any device", _gets_another_device("same"), NO_CHOICE, blame=None),
    *(
        Case(
            check,
            "files of other names",
            _become(),
            r"unsupported: no CDI file of the node names the claim by its UID$",
            blame=None,
        )
        for check in ("NODE-009", "NODE-016", "NODE-017")
    ),
    Case("NODE-010", "not for itself", does_not_start("second", Blame.DRIVER), NOT_STARTED),
)
