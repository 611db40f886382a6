"""Leaving the cluster as it was: pods before claims before namespaces, then an audit.

The driver must still be there for the pods' end, so nothing is forced and no finalizer is
touched: what does not go is named.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from harness.budgets import Budget
from harness.finding import Blame, Finding, body, counted, headline
from harness.kinds import CLAIM, CONFIG_MAP, NAMESPACE, POD, Object, name_of, namespace_of
from harness.kube import ApiError, UnreachableError
from harness.observe import StoppedError, WaitTimeoutError, describe_name
from harness.outcome import HYGIENE_AREA, Outcome, Result
from harness.run import Run

SENTENCE = "Nothing of the run MUST be left in the cluster."
CASE = "HYGIENE-001_nothing_is_left"


def clean_up(run: Run) -> Result:
    """Delete what the run created, oldest kinds last, and say what is left.

    Never raises for what the cluster does; the result is the audit's case.
    """
    began = time.monotonic()
    trouble: list[str] = []
    run.observer.resume_waits()
    for kind in (POD, CLAIM, CONFIG_MAP, NAMESPACE):
        mine = [obj for obj in run.created if obj["kind"] == kind.name]
        deleted = [obj for obj in mine if _delete(run, obj, trouble)]
        if kind is not CONFIG_MAP:
            _await_gone(run, deleted, run.budgets.clean_up)
        if kind is POD:
            _do_chores(run, trouble)
    left = _left(run, trouble)
    run.record.leftovers.extend(left)
    result = Result(
        case=CASE,
        id="HYGIENE-001",
        area=HYGIENE_AREA,
        outcome=Outcome.PASS,
        sentence=SENTENCE,
        seconds=time.monotonic() - began,
    )
    if not left:
        return result
    finding = Finding(
        head=f"{counted(len(left), 'object')} of the run left: {left[0]}",
        expected="none",
        observed="\n".join([*left, *trouble]),
        blame=Blame.CLUSTER,
        likely="a finalizer is not removed, or the API server was not reachable",
        next=delete_command(run),
    )
    return Result(
        case=CASE,
        id="HYGIENE-001",
        area=HYGIENE_AREA,
        outcome=Outcome.ERROR,
        sentence=SENTENCE,
        headline=headline("HYGIENE-001", None, finding),
        body=body(finding, SENTENCE, "the same command again"),
        finding=finding,
        seconds=result.seconds,
    )


def delete_command(run: Run) -> str:
    """What removes the run by hand."""
    names = " ".join(name_of(namespace) for namespace in run.namespaces())
    return f"kubectl delete namespace {names}" if names else ""


def _do_chores(run: Run, trouble: list[str]) -> None:
    for name, chore in list(run.chores.items()):
        try:
            chore()
        except (ApiError, StoppedError, UnreachableError, WaitTimeoutError) as error:
            trouble.append(f"{name}: {error}")
            run.record.leftovers.append(name)


def _delete(run: Run, obj: Object, trouble: list[str]) -> bool:
    """Ask for an object's end; False when there is nothing to wait for."""
    if run.observer.last(obj).gone:
        return False
    try:
        return run.kube.delete(obj)
    except (ApiError, UnreachableError) as error:
        trouble.append(f"{describe_name(obj)}: {error}")
        return False


def _await_gone(run: Run, objects: Iterable[Object], budget: Budget) -> None:
    mine = list(objects)

    def gone() -> bool | None:
        return all(run.observer.last(obj).gone for obj in mine) or None

    try:
        run.observer.wait("the end of the run's objects", gone, budget, lambda: "")
    except (WaitTimeoutError, StoppedError):
        return  # the audit names what is left


def _left(run: Run, trouble: list[str]) -> list[str]:
    """What still exists, asked of the API server itself."""
    left = []
    for obj in run.created:
        kind = next(k for k in (POD, CLAIM, CONFIG_MAP, NAMESPACE) if k.name == obj["kind"])
        if run.observer.last(obj).gone:
            continue
        answer: list[Object] = []
        try:
            answer.append(run.kube.get(kind, name_of(obj), namespace_of(obj)))
        except ApiError as error:
            if error.status == 404:
                continue
            trouble.append(str(error))
        except UnreachableError as error:
            trouble.append(str(error))
        if answer and answer[0]["metadata"]["uid"] != obj["metadata"]["uid"]:
            continue
        left.append(_named(answer[0] if answer else obj))
    return left


def _named(obj: Object) -> str:
    where = namespace_of(obj)
    text = describe_name(obj) + (f" in {where}" if where else "")
    finalizers = obj["metadata"].get("finalizers") or (obj.get("spec") or {}).get("finalizers")
    return text + (f" (finalizers: {', '.join(finalizers)})" if finalizers else "")
