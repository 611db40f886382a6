"""Leaving the cluster as it was: pods before claims before namespaces, then an audit.

The driver must still be there for the pods' end, so nothing is forced and no finalizer is
touched: what does not go is named.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from harness.cluster.anchor import RUN_LABEL
from harness.cluster.kinds import (
    CLAIM,
    LEASE,
    NAMESPACE,
    POD,
    VOLUME_CLAIM,
    Kind,
    Object,
    describe_name,
    describe_place,
    kind_of,
    name_of,
    namespace_of,
    uid_of,
)
from harness.cluster.kube import ApiError, Kube, UnreachableError
from harness.cluster.observe import Budget, Observer, StoppedError, WaitTimeoutError
from harness.scenario.run import Run
from harness.verdict.finding import Blame, Finding, SkipKind, UnmetError, counted
from harness.verdict.outcome import HYGIENE_AREA, Outcome, Result

PAUSE_SECONDS = 0.2
"""Between two questions about what is not watched."""
NOTHING_LEFT = "Nothing of the run MUST be left in the cluster."
NOTHING_FOREIGN = (
    "The run MUST have changed nothing in the cluster that it did not create, but what it noted"
    " before and put back."
)


def clean_up(run: Run, cause: str = "") -> list[Result]:
    """Delete what the run created and audit what it did.

    Never raises for what the cluster does; the results are the audit's cases.

    Args:
        run: the run.
        cause: the ID of the case that says why nothing goes, if that is known: less time is given
            to it then, and what is left is not a second finding.
    """
    began = time.monotonic()
    run.observer.resume_waits()
    _await_server(run)
    if run.unanswered:
        _find_unanswered(run)
    budget = run.budgets.partner if cause else run.budgets.clean_up
    removal = Removal(run.kube, run.observer, budget)
    run.changes.put_back_all(after_pods=False)
    removal.delete(POD, run.created)
    pods = [run.observer.last(obj).obj for obj in run.created if obj["kind"] == POD.name]
    run.changes.put_back_all(pods, after_pods=True)
    # As long as a change stays, a sweep has to find its note, and a namespace to work in.
    stays, gone = run.changes.stays(), run.created
    if stays:
        gone = [obj for obj in run.created if obj["kind"] != NAMESPACE.name]
    removal.delete_all(gone, last=None if stays else run.anchor)
    run.stop_renewing()
    left = removal.left(sorted(run.created, key=_causes_first))
    away = [f"the driver on {node}: {now}" for node, at in run.driver_away.items() if (now := at())]
    run.record.leftovers.extend([*stays, *away, *left])
    foreign = _nothing_foreign(run, away)
    nothing_left = _nothing_left(run, left, removal.trouble, time.monotonic() - began)
    # One cause, one red case; what is left may be kept for what is not put back, and pods stay
    # where no driver unprepares their claims.
    told = cause or (_told_of_the_driver(run) if away else "")
    if nothing_left.red and (told or stays or away):
        nothing_left = nothing_left.skipped(UnmetError(told or foreign.id, SkipKind.BLOCKED))
    hidden = {Blame.CLUSTER, Blame.DRIVER} if cause else {Blame.DRIVER}
    if told and foreign.finding is not None and foreign.finding.blame in hidden:
        foreign = foreign.skipped(UnmetError(told, SkipKind.BLOCKED))
    return [nothing_left, foreign]


def _told_of_the_driver(run: Run) -> str:
    """Name the first check that is red by the driver; empty if none is."""
    for one in run.record.results:
        if one.red and one.finding is not None and one.finding.blame is Blame.DRIVER:
            return one.id
    return ""


def delete_command(run: Run) -> str:
    """What removes the run by hand; empty when there is nothing."""
    owner = run.anchor
    if owner is None:
        return ""
    # Kubernetes removes what the anchor owns.
    where = f" --namespace {namespace_of(owner)}" if namespace_of(owner) else ""
    return f"kubectl delete {owner['kind'].lower()} {name_of(owner)}{where}"


def look_command(run: Run) -> str:
    """What shows by hand the pods and claims that the run left."""
    where = f"--namespace={run.confined_to}" if run.confined_to else "--all-namespaces"
    return f"kubectl get pods,resourceclaims {where} --selector={RUN_LABEL}={run.id}"


@dataclass
class Removal:
    """Deletes objects by their UID and sees to it that they go, in an order that lets them."""

    kube: Kube
    observer: Observer
    budget: Budget
    """For all that is waited for together: what does not go holds up the rest, too."""
    trouble: list[str] = field(default_factory=list)
    """What went wrong, as sentences."""
    _lost: bool = False
    _waited: float = 0.0

    def delete_all(self, objects: Iterable[Object], last: Object | None) -> None:
        """Delete pods, then claims, then what else is in namespaces, then what is the cluster's.

        Args:
            objects: what to delete.
            last: what goes after all of it, with the Lease that names it: as long as anything is
                left, a sweep finds its way to it.
        """
        inside: list[Object] = []
        of_cluster: list[Object] = []
        namespaces: list[Object] = []
        for obj in objects:
            if obj["kind"] == NAMESPACE.name:
                namespaces.append(obj)
            elif obj["kind"] != LEASE.name:
                (inside if kind_of(obj).namespaced else of_cluster).append(obj)
        if last in namespaces:
            namespaces.remove(last)
        pods = self.delete(POD, inside)
        self.delete(CLAIM, inside)
        others = [o for o in (*inside, *of_cluster) if o["kind"] not in (POD.name, CLAIM.name)]
        asked = list(filter(self._delete, others))
        self._ask_until_gone([obj for obj in asked if obj["kind"] == VOLUME_CLAIM.name])
        kept = [o for o in inside if o["kind"] != POD.name or not self.observer.over([o])]
        if last is not None and not self.left((*kept, *of_cluster)):
            # Namespaces in which nothing holds on go; to wait for that first takes seconds.
            namespaces.append(last)
        deleted = list(filter(self._delete, namespaces))
        spaces = [obj for obj in deleted if obj["kind"] == NAMESPACE.name]
        self._await(self.observer.gone, [*pods, *spaces])

    def delete(self, kind: Kind, objects: Iterable[Object]) -> list[Object]:
        """Delete the objects of a kind, which the observer watches, and wait until they are gone,
        pods until they are over; answers those that were there.

        What was deleted before, and is only not gone yet, is asked for once.
        """
        before = {uid_of(one.obj) for one in self.kube.writes if one.method == "delete"}
        asked = [
            obj
            for obj in objects
            if obj["kind"] == kind.name
            and not self.observer.last(obj).gone
            and (uid_of(obj) in before or self._delete(obj))
        ]
        self._await(self.observer.over if kind is POD else self.observer.gone, asked)
        return asked

    def left(self, objects: Iterable[Object]) -> list[str]:
        """Which of them still exist, asked of the API server itself."""
        return list(filter(None, map(self._still_there, objects)))

    def _delete(self, obj: Object) -> bool:
        """Ask for an object's end; False when there is nothing to wait for."""
        if self._lost or self.observer.last(obj).gone:
            return False
        try:
            return self.kube.delete(obj)
        except ApiError as error:
            self.trouble.append(f"{describe_name(obj)}: {error}")
        except UnreachableError as error:
            self._lose(error)
        return False

    def _await(self, ended: Callable[[list[Object]], bool], objects: list[Object]) -> None:
        left = Budget(self.budget.name, max(0.0, self.budget.seconds - self._waited))
        began = time.monotonic()
        try:
            self.observer.wait(
                "the end of the run's objects",
                lambda: ended(objects),
                left,
                lambda: "",
            )
        except (WaitTimeoutError, StoppedError):
            return  # the audit names what is left
        finally:
            self._waited += time.monotonic() - began

    def _ask_until_gone(self, objects: list[Object]) -> None:
        """Wait for what the observer does not watch: of volumes a finalizer goes last."""
        began, trouble = time.monotonic(), len(self.trouble)
        left = self.budget.seconds - self._waited
        # The audit names what is left.
        while time.monotonic() - began < left and self.left(objects):
            if len(self.trouble) > trouble:
                break
            time.sleep(PAUSE_SECONDS)
        self._waited += time.monotonic() - began

    def _still_there(self, obj: Object) -> str:
        """A description of an object that is left; empty when it is gone."""
        if self.observer.last(obj).gone:
            return ""
        found = obj
        if not self._lost:
            try:
                found = self.kube.get(kind_of(obj), name_of(obj), namespace_of(obj))
            except ApiError as error:
                if error.status == 404:
                    return ""
                self.trouble.append(f"{describe_name(obj)}: {error}")
            except UnreachableError as error:
                self._lose(error)
        return _named(found) if uid_of(found) == uid_of(obj) else ""

    def _lose(self, error: UnreachableError) -> None:
        # Every further request would only take as long to fail.
        self._lost = True
        self.trouble.append(str(error))


# The audit


def _nothing_left(run: Run, left: list[str], trouble: list[str], seconds: float) -> Result:
    finding = None
    if left:
        finding = Finding(
            head=f"{counted(len(left), 'object')} of the run left: {left[0]}",
            expected="none",
            observed="\n".join([*left, *trouble]),
            blame=Blame.CLUSTER,
            likely="a finalizer is not removed, the kubelet of the node has stopped, or the API"
            " server was not reachable",
            next=f"{delete_command(run)} (or --dra-sweep, once its Lease has expired)",
        )
    return _case("HYGIENE-001", "nothing_is_left", NOTHING_LEFT, finding, seconds)


def _nothing_foreign(run: Run, away: list[str]) -> Result:
    """Every change went through one door, which has noted them all.

    Args:
        run: the run.
        away: where it disturbed the driver, and how that is now which does not serve again.
    """
    mine = set(map(uid_of, run.created))
    inside = set(map(name_of, run.namespaces()))

    def is_known(obj: Object) -> bool:
        # What controllers made of the run's objects counts; a label, which can be copied, does not.
        owners = [owner["uid"] for owner in obj["metadata"].get("ownerReferences") or []]
        own = namespace_of(obj) in inside or not mine.isdisjoint([uid_of(obj), *owners])
        return own or run.changes.made_to(obj)

    foreign = [str(write) for write in run.kube.writes if not is_known(write.obj)]
    stays, told = run.changes.stays(), run.changes.told
    finding = None
    if foreign:
        finding = Finding(
            head=f"the run changed what is not its own: {foreign[0]}",
            expected="changes of objects that the run created, only",
            observed="\n".join(foreign),
            blame=Blame.SUITE,
            likely="a fault of this suite",
        )
    elif stays:
        finding = Finding(
            head=f"not put back: {stays[0]}",
            expected="what is not the run's own as it was before",
            observed="\n".join(stays),
            blame=Blame.CLUSTER,
            next="--dra-sweep, once the run's Lease has expired, tries again",
        )
    elif away:
        finding = Finding(
            head=f"does not serve again: {away[0]}",
            expected="a driver that serves where it did before",
            observed="\n".join(away),
            blame=Blame.DRIVER,
            next="see the log of the driver's pod on the node (--previous, if its container ended)",
        )
    result = _case("HYGIENE-002", "nothing_foreign_is_changed", NOTHING_FOREIGN, finding, 0.0)
    if finding is None and told:
        changed = "; ".join(told)
        result = replace(result, headline=f"changed, and as it was before: {changed}")
    return result


def _case(
    case_id: str, name: str, sentence: str, finding: Finding | None, seconds: float
) -> Result:
    result = replace(Result.passed(case_id, name, HYGIENE_AREA, sentence), seconds=seconds)
    return result if finding is None else result.ended(Outcome.ERROR, finding)


def _await_server(run: Run) -> None:
    """Give an API server that does not answer a while to come back."""
    try:
        run.observer.wait(
            "the API server",
            run.observer.reachable,
            run.budgets.partner,
            lambda: "it does not answer",
        )
    except (StoppedError, WaitTimeoutError) as error:
        run.journal.write("trouble", where="clean-up", text=str(error))


def _find_unanswered(run: Run) -> None:
    """What was asked for without an answer may be there: its name carries the run's ID."""
    for obj in run.unanswered:
        try:
            found = run.kube.get(kind_of(obj), name_of(obj), namespace_of(obj))
        except (ApiError, UnreachableError):
            continue
        known = uid_of(found) in set(map(uid_of, run.created))
        if run.is_mine(found) and not known:
            run.created.append(found)
            run.journal.possess("created", object=found)
    run.unanswered.clear()


def _causes_first(obj: Object) -> int:
    """A namespace is left because a claim is, and that because a pod is."""
    kinds = (POD.name, CLAIM.name)
    kind = str(obj["kind"])
    return kinds.index(kind) if kind in kinds else len(kinds) + (kind == NAMESPACE.name)


def _named(obj: Object) -> str:
    finalizers = obj["metadata"].get("finalizers") or (obj.get("spec") or {}).get("finalizers")
    return describe_place(obj) + (f" (finalizers: {', '.join(finalizers)})" if finalizers else "")
