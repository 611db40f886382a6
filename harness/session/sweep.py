"""Removing what a run that was killed left in a cluster.

Only what `harness.cluster.anchor` says to be an expired run's own is removed, and what hangs on it.
It goes as in the clean-up of a run: by UID, pods before claims before namespaces, no finalizer
touched. What such a run had changed that was not its own, its Lease says, and it is put back first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from harness.cluster.anchor import RUN_LABEL, Candidate, candidates, is_owned_by
from harness.cluster.journal import Journal
from harness.cluster.kinds import (
    CLAIM,
    CONFIG_MAP,
    LEASE,
    NAMESPACE,
    POD,
    Object,
    describe_place,
    name_of,
    namespace_of,
)
from harness.cluster.kube import ApiError, Kube, UnreachableError
from harness.cluster.observe import Budgets, Observer
from harness.scenario.changes import Change, Means, NotPutBackError, read
from harness.session.cleanup import Removal

_SWEPT_INSIDE = (POD, CLAIM)
"""What has to go before the namespace that it is in; the namespace takes the rest along."""
_SWEPT_ALONE = (POD, CLAIM, CONFIG_MAP)
"""What a run can own where it had no namespace of its own."""


@dataclass
class Swept:
    """What a sweep did; each a line for people."""

    restored: list[str] = field(default_factory=list)
    """What was changed that was not the run's own, and is now as it was."""
    removed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    """What looks like a run's and is not to be removed, with the reason."""
    left: list[str] = field(default_factory=list)
    """What should have gone and did not."""

    def lines(self) -> Iterator[str]:
        """All of it."""
        yield from (f"RESTORED {text}" for text in self.restored)
        yield from (f"REMOVED  {text}" for text in self.removed)
        yield from (f"KEPT     {text}" for text in self.kept)
        yield from (f"LEFT     {text}" for text in self.left)
        if not (self.removed or self.kept or self.left):
            yield "SWEPT    there is nothing of any run"


def sweep(kube: Kube, budgets: Budgets, namespace: str = "") -> Swept:
    """Remove what runs have left whose Lease has expired.

    Args:
        kube: the cluster.
        budgets: how long to wait for the end of things.
        namespace: the namespace that those runs were confined to; empty: they made their own.

    Raises:
        ApiError: the API server refuses to list.
        UnreachableError: it does not answer.
    """
    swept = Swept()
    for candidate in candidates(kube, namespace):
        what = describe_place(candidate.anchor)
        if candidate.keep:
            swept.kept.append(f"{what}: {candidate.keep}")
            continue
        try:
            changes = read(candidate.changes)
        except ValueError as error:
            swept.kept.append(f"{what}: {error}")
            continue
        left, trouble = _remove(kube, budgets, candidate, changes)
        if left:
            swept.left += [*left, *trouble]
        else:
            swept.restored += map(str, changes)
            swept.removed.append(f"{what} of run {candidate.run_id}, and what it owned")
    return swept


def _remove(
    kube: Kube, budgets: Budgets, candidate: Candidate, changes: Sequence[Change]
) -> tuple[list[str], list[str]]:
    """Put back what a run changed and remove its anchor.

    Returns:
        What is left, and what went wrong.
    """
    observer = Observer(kube, Journal(None))

    def create(obj: Object) -> Object:
        created = kube.create(obj)
        observer.known(created)
        return created

    means = Means(kube, observer, budgets.release, create)
    try:
        owned = _owned(kube, observer, candidate)
        removal = Removal(kube, observer, budgets.clean_up)
        pods = [obj for obj in owned if obj["kind"] == POD.name]
        stays = _put_back(means, [one for one in changes if not one.after_pods], pods)
        removal.delete(POD, owned)
        stays += _put_back(means, [one for one in changes if one.after_pods], pods)
        if stays:
            return stays, removal.trouble  # a later sweep tries again: the anchor has the note
        removal.delete_all(owned, last=candidate.anchor)
        return removal.left([*owned, candidate.anchor]), removal.trouble
    finally:
        observer.close()


def _put_back(means: Means, changes: Sequence[Change], pods: Sequence[Object]) -> list[str]:
    """Put changes back; answers what stays, each with the reason."""
    stays = []
    for change in changes:
        try:
            change.put_back(means, pods)
        except NotPutBackError as error:
            stays.append(str(error))
        except (ApiError, UnreachableError) as error:
            stays.append(f"{change}: {error}")
    return stays


def _owned(kube: Kube, observer: Observer, candidate: Candidate) -> list[Object]:
    """What hangs on an anchor, and is watched from now on where its end has to be awaited."""
    anchor, mine = candidate.anchor, f"{RUN_LABEL}={candidate.run_id}"
    if anchor["kind"] == LEASE.name:
        where = namespace_of(anchor)
        for kind in _SWEPT_INSIDE:
            observer.observe(kind, where)
        listed = [obj for kind in _SWEPT_ALONE for obj in kube.list(kind, where, labels=mine)[0]]
        return [obj for obj in listed if is_owned_by(obj, anchor)]
    observer.observe(NAMESPACE, labels=mine)
    owned = [obj for obj in observer.objects(NAMESPACE) if is_owned_by(obj, anchor)]
    for namespace in list(owned):
        for kind in _SWEPT_INSIDE:
            observer.observe(kind, name_of(namespace))
    # What else of the cluster the anchor owns, Kubernetes removes with it.
    return [*(obj for kind in _SWEPT_INSIDE for obj in observer.objects(kind)), *owned]
