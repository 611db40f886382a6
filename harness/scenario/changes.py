"""The only way in which a run changes what is not its own, with what puts it back.

A change is noted before it is made: in the run's journal, which is on the disk, and in the run's
Lease, which is in the cluster. It is put back at the end of its scenario; if that failed, by the
clean-up; and after ``kill -9`` by a sweep, which needs nothing but the Lease.
"""

from __future__ import annotations

import copy
import json
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from http.client import CONFLICT
from typing import Any, ClassVar

from harness.cluster.journal import Journal
from harness.cluster.kinds import (
    KINDS,
    NODE,
    Object,
    describe_name,
    describe_place,
    name_of,
    namespace_of,
    uid_of,
)
from harness.cluster.kube import ApiError, Kube, UnreachableError
from harness.cluster.observe import Budget, Observer, StoppedError, WaitTimeoutError
from harness.scenario.pods import describe, termination

TRIES = 5
"""To update an object that its controllers update, too."""
REMOVE = """\
import os, shutil, sys
if os.path.exists(sys.argv[1]):
    shutil.rmtree(sys.argv[1])
"""
"""A program: it removes a folder, if that is there."""


class NotPutBackError(Exception):
    """A change is still there; ``str()`` says which, why, and what puts it back by hand."""


@dataclass(frozen=True)
class Means:
    """What it takes to put a change back."""

    kube: Kube
    observer: Observer
    budget: Budget
    """For the end of a pod that does it."""
    create: Callable[[Object], Object]
    """Creates a pod, which the observer watches."""


@dataclass
class FieldsChange:
    """Fields of an object of the cluster that have other values for a while."""

    kind: str
    name: str
    namespace: str | None
    uid: str
    before: Mapping[str, Any]
    """By path (``spec.template``); None: it was not there."""
    after: Mapping[str, Any]
    others_may: bool = False
    """Whether somebody else is to give them other values: then those are right."""

    what: ClassVar[str] = "fields"
    after_pods: ClassVar[bool] = False
    """Whether it can be put back only when the run's pods are gone: a pod's end may need it."""

    def __str__(self) -> str:
        where = f" in {self.namespace}" if self.namespace else ""
        return f"{self.kind.lower()}/{self.name}{where}"

    def put_back(self, means: Means, pods: Iterable[Object] = ()) -> None:  # noqa: ARG002
        """Give the fields the values that they had, unless somebody else has changed them."""
        for _ in range(TRIES):
            found = means.kube.find(KINDS[self.kind], self.name, self.namespace)
            if found is None or uid_of(found) != self.uid:
                return
            now = {path: value_at(found, path) for path in self.before}
            if now == self.before:
                return
            if now != self.after and self.others_may:
                return
            if now != self.after:
                raise NotPutBackError(f"{self}: somebody else has changed it since; {self._was()}")
            if update(means.kube, found, self.before):
                return
        raise NotPutBackError(f"{self}: it changes all the time; {self._was()}")

    def _was(self) -> str:
        return f"before the run: {json.dumps(self.before)}"


@dataclass
class FolderChange:
    """A folder that pods of the run have made on nodes, by a hostPath volume."""

    path: str
    pod: Object
    """What removes it, but for the node."""
    nodes: list[str] = field(default_factory=list)
    """Where it is, as far as is known; the pods that make it are there as long as this is not."""

    what: ClassVar[str] = "folder"
    after_pods: ClassVar[bool] = True

    def __str__(self) -> str:
        return f"folder {self.path} on {', '.join(self.nodes) or 'no node'}"

    def made_by(self, pods: Iterable[Object]) -> None:
        """Learn from pods that have the folder which nodes they are on."""
        for pod in pods:
            node = pod["spec"].get("nodeName")
            paths = [
                (volume.get("hostPath") or {}).get("path")
                for volume in pod["spec"].get("volumes") or []
            ]
            if node and self.path in paths and node not in self.nodes:
                self.nodes.append(str(node))

    def put_back(self, means: Means, pods: Iterable[Object] = ()) -> None:
        """Remove it from all its nodes, once the pods that have it have ended."""
        self.made_by(pods)
        self.end(means, self.begin(means))

    def begin(self, means: Means) -> list[Object]:
        """Create a pod that removes it on each node: with a node that is gone, it is gone."""
        nodes, created = set(self.nodes), []
        with suppress(ApiError):  # that may not be seen
            nodes &= set(map(name_of, means.kube.list(NODE)[0]))
        for node in sorted(nodes):
            pod = copy.deepcopy(self.pod)
            # A second try must not meet the first one's pod.
            pod["metadata"]["name"] += f"-{secrets.token_hex(3)}"
            pod["spec"]["nodeName"] = node
            created.append(means.create(pod))
        return created

    def end(self, means: Means, pods: Iterable[Object]) -> None:
        """Wait for the removal, and delete the pods that did it."""
        stays = list(filter(None, map(partial(self._stays, means), pods)))
        if stays:
            raise NotPutBackError("; ".join(stays))

    def _stays(self, means: Means, pod: Object) -> str:
        """Why it stays on a pod's node; empty when it is gone."""
        last = means.observer.last
        try:
            end = means.observer.wait(
                "the removal of the run's folder",
                lambda: termination(last(pod).obj),
                means.budget,
                lambda: describe(last(pod).obj),
            )
            said = means.kube.log(pod, "removal").strip() if end["exitCode"] else ""
            why = (said.splitlines() or ["it ended with an error"])[-1] if end["exitCode"] else ""
        except WaitTimeoutError as error:
            why = str(error)
        means.kube.delete(pod)
        node = pod["spec"]["nodeName"]
        by_hand = f"rm -r {self.path} on {node} removes it"
        return f"folder {self.path} on {node}: {why} ({by_hand})" if why else ""


Change = FieldsChange | FolderChange
_BY_NAME: Mapping[str, type[FieldsChange | FolderChange]] = {
    kind.what: kind for kind in (FieldsChange, FolderChange)
}


class Changes:
    """What a run has changed that is not its own."""

    def __init__(self, means: Means, journal: Journal, note: Callable[[str], None]) -> None:
        """Nothing is changed yet.

        Args:
            means: for putting back.
            journal: gets every change before it is made.
            note: writes a text into the run's Lease, in place of the one before.
        """
        self.means = means
        self._journal = journal
        self._note = note
        self._lock = threading.Lock()
        self._open: list[Change] = []
        self._uids: set[str] = set()
        self._trouble: dict[int, str] = {}
        self.told: list[str] = []
        """Every change, in words, with why it was made."""

    def made_to(self, obj: Object) -> bool:
        """Whether an object was changed through here."""
        return uid_of(obj) in self._uids

    def fields(
        self, obj: Object, after: Mapping[str, Any], why: str, *, others_may: bool = False
    ) -> FieldsChange:
        """Give fields of an object other values until they are put back.

        Args:
            obj: what to change; it is read anew.
            after: the values, by path; None takes a field away.
            why: in a few words.
            others_may: whether somebody else is to give them other values again.

        Raises:
            ApiError: the API server refuses; nothing is changed then.
            UnreachableError: it does not answer.
        """
        kind = KINDS[obj["kind"]]
        for _ in range(TRIES):
            found = self.means.kube.get(kind, name_of(obj), namespace_of(obj))
            before = {path: value_at(found, path) for path in after}
            made = FieldsChange(
                *(kind.name, name_of(found), namespace_of(found), uid_of(found)),
                *(before, after, others_may),
            )
            text = f"{made}: {', '.join(after)} ({why})"
            self._begin(made, text, uid_of(found))
            if update(self.means.kube, found, after):
                return made
            self._end(made)
            self.told.remove(text)
        raise ApiError(CONFLICT, f"{describe_name(obj)} changes all the time")

    def folder(self, path: str, removal: Object) -> FolderChange:
        """Let pods make a folder of nodes.

        Args:
            path: the folder; it must be of the run's own making.
            removal: the pod that removes it, but for the node.
        """
        made = FolderChange(path, removal)
        self._begin(made, f"folder {path} of a node")
        return made

    def settle(self, folder: FolderChange, pods: Iterable[Object]) -> None:
        """Note which nodes a folder is on, before the pods that made it go."""
        known = list(folder.nodes)
        folder.made_by(pods)
        if folder.nodes != known:
            self._write()

    def delete(self, obj: Object, why: str) -> None:
        """Delete an object that its owner makes again: there is nothing to put back.

        Args:
            obj: what to delete, by its UID.
            why: in a few words, with who makes it again.
        """
        self.act(f"{describe_place(obj)} deleted ({why})", uid_of(obj))
        self.means.kube.delete(obj)

    def act(self, text: str, uid: str = "") -> None:
        """Note something that is done to the cluster and needs no putting back."""
        self._journal.possess("changing", text=text)
        self.told.append(text)
        self._uids.add(uid)

    def put_back(self, change: Change, pods: Iterable[Object] = ()) -> str:
        """Put a change back, and take it from the note.

        Args:
            change: what to put back; once is enough.
            pods: pods of the run that may tell where it was made.

        Returns:
            Why it could not be; empty when all is as it was.
        """
        return self.attempt(change, lambda: change.put_back(self.means, pods))

    def attempt(self, change: Change, do: Callable[[], None]) -> str:
        """Do what puts a change back; see `put_back`."""
        if change not in self._open:
            return ""
        try:
            do()
        except NotPutBackError as error:
            why = str(error)
        except (ApiError, StoppedError, UnreachableError, WaitTimeoutError) as error:
            why = f"{change}: {error}"
        else:
            self._end(change)
            return ""
        self._trouble[id(change)] = why
        return why

    def put_back_all(self, pods: Iterable[Object] = (), *, after_pods: bool) -> None:
        """Put back what is not yet.

        Args:
            pods: pods of the run, as last seen.
            after_pods: what can be put back only when the run's pods are gone; else the rest.
        """
        for change in list(self._open):
            if change.after_pods is after_pods:
                self.put_back(change, pods)

    def stays(self) -> list[str]:
        """What is not put back, each with the reason."""
        return [self._trouble.get(id(change), str(change)) for change in self._open]

    def _begin(self, change: Change, text: str, uid: str = "") -> None:
        self._journal.possess("changing", text=text, change=_noted(change))
        with self._lock:
            self._open.append(change)
        try:
            self._write()
        except (ApiError, UnreachableError):
            self._open.remove(change)
            raise
        self.told.append(text)
        self._uids.add(uid)

    def _end(self, change: Change) -> None:
        with self._lock:
            self._open.remove(change)
        self._trouble.pop(id(change), None)
        self._journal.possess("put back", change=_noted(change))
        try:
            self._write()
        except (ApiError, UnreachableError) as error:
            # Who finds the note finds that all is as it was.
            self._journal.write("trouble", where="lease", text=str(error))

    def _write(self) -> None:
        with self._lock:
            self._note(json.dumps(list(map(_noted, self._open))))


def read(text: str) -> list[Change]:
    """Read what a Lease says of changes.

    Raises:
        ValueError: it is not what a run writes.
    """
    try:
        return [_BY_NAME[entry.pop("what")](**entry) for entry in json.loads(text or "[]")]
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"not a note of changes: {error}") from error


def _noted(change: Change) -> dict[str, Any]:
    return {"what": change.what, **asdict(change)}


def update(kube: Kube, obj: Object, fields: Mapping[str, Any]) -> bool:
    """Give fields of an object as it was read these values; False when it has changed since."""
    changed = copy.deepcopy(obj)
    for path, value in fields.items():
        *way, last = path.split(".")
        part = changed
        for name in way:
            part = part.setdefault(name, {})
        part[last] = value
        if value is None:
            del part[last]
    try:
        kube.update(changed)
    except ApiError as error:
        if error.status == CONFLICT:
            return False
        raise
    return True


def value_at(obj: Object, path: str) -> Any:
    """The value of a field; None when it is not there."""
    value: Any = obj
    for name in path.split("."):
        value = (value or {}).get(name)
    return value
