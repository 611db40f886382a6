"""What the cluster does, as it does it.

One list and watch a kind and namespace for the whole run; every change is journaled. Waiting is a
question about what has been seen, asked again at each change, never a sleep. What was seen last of
an object stays known after its deletion, because the end of a container is often seen only then.

The time limits of waits are patience, not promises of the specification: each is generous to a
slow but correct cluster. What includes the start of a container with a claim is longer than 90 s:
a kubelet does not take a failed NodePrepareResources for an error of the pod's sync, so it tries
again at the pod's next regular one only, after 60 to 90 s by default
(kubernetes/kubernetes#139836).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from harness.cluster.journal import Journal
from harness.cluster.kinds import NODE, Kind, Object, is_over, namespace_of, uid_of, without_images
from harness.cluster.kube import ApiError, Kube, Stream, UnreachableError
from harness.cluster.versions import from_server


@dataclass(frozen=True)
class Budget:
    """A named time limit."""

    name: str
    seconds: float


class Budgets:
    """The time limits of a run, all multiplied by one factor (``--dra-timeout-scale``)."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale
        self.observe = Budget("observe", 15 * scale)
        self.pull = Budget("pull", 300 * scale)
        self.allocate = Budget("allocate", 30 * scale)
        self.start = Budget("start", 120 * scale)
        self.workload = Budget("workload", 60 * scale)
        self.partner = Budget("partner", 30 * scale)
        self.release = Budget("release", 60 * scale)
        self.reclaim = Budget("reclaim", 120 * scale)
        self.withdraw = Budget("withdraw", 45 * scale)
        self.clean_up = Budget("clean-up", 120 * scale)


T = TypeVar("T")

FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 5.0


class WaitTimeoutError(Exception):
    """What was awaited did not come; ``str()`` says what, how long, and what was seen instead."""

    def __init__(self, what: str, budget: Budget, seen: str) -> None:
        super().__init__(
            f"{what} not within {budget.seconds:g} s (budget {budget.name}); seen: {seen}"
        )
        self.what = what
        self.budget = budget
        self.seen = seen


class StoppedError(Exception):
    """The run ends; nobody waits any longer."""


@dataclass
class Seen:
    """One object as last seen."""

    obj: Object
    gone: bool = False
    at: float = field(default_factory=time.time)
    """When, as this machine's clock has it; that of whoever wrote it may be another."""
    ends_since: float | None = None
    """When it was first seen that its deletion was asked for, as by `at`; None: it was not."""


class Observer:
    """Lists and watches, and answers questions about what it saw."""

    def __init__(
        self, kube: Kube, journal: Journal, is_foreign: Callable[[Object], bool] = lambda _: False
    ) -> None:
        """Observe through a server, into a journal.

        Args:
            kube: the server.
            journal: gets every change.
            is_foreign: whether an object is none of the run's business but for what it holds: of
                those only the last state is kept, and the journal gets an extract.
        """
        self._kube = kube
        self._is_foreign = is_foreign
        self._journal = journal
        self._changed = threading.Condition()
        self._seen: dict[tuple[str, str], Seen] = {}
        self._versions: dict[tuple[str, str], list[Object]] = {}
        self._trouble: dict[str, tuple[str, bool]] = {}
        """Why something cannot be watched, and whether because the API server does not answer."""
        self._watchers: list[_Watcher] = []
        self._listeners: list[Callable[[list[tuple[Object, bool]]], None]] = []
        self._stopped = False

    def observe(self, kind: Kind, namespace: str | None = None, *, labels: str = "") -> None:
        """Begin to watch a kind, in one namespace or (None) in the whole cluster.

        Args:
            kind: what to watch.
            namespace: where; a kind is watched in the whole cluster or in namespaces, not both.
            labels: a selector; then this is the kind's only watch.

        Raises:
            ApiError: the first list, or the first watch, is refused.
            UnreachableError: the API server does not answer.
        """
        watcher = _Watcher(self, self._kube, kind, namespace, labels)
        watcher.begin()
        with self._changed:
            self._watchers.append(watcher)
        watcher.start()

    def listen(self, listener: Callable[[list[tuple[Object, bool]]], None]) -> None:
        """Have a function called with what is seen, from now on and at first with what there is.

        It gets what was seen at the same time, each object with whether it is gone, in the order of
        the history of each kind. It is called by the watches' threads.
        """
        with self._changed:
            self._listeners.append(listener)
            present = [(seen.obj, seen.gone) for seen in self._seen.values()]
        listener(present)

    def stop_listening(self, listener: Callable[[list[tuple[Object, bool]]], None]) -> None:
        """Call a function of `listen` no longer."""
        with self._changed:
            self._listeners.remove(listener)

    def observes(self, kind: Kind, namespace: str | None = None) -> bool:
        """Whether a kind is watched in a namespace, or (None) in the whole cluster."""
        with self._changed:
            for watcher in self._watchers:
                if watcher.kind == kind and watcher.namespace in (None, namespace):
                    return True
        return False

    def objects(self, kind: Kind, namespace: str | None = None) -> list[Object]:
        """What exists now of a kind, as far as it is watched."""
        with self._changed:
            return [
                seen.obj
                for (name, _), seen in self._seen.items()
                if name == kind.name
                and not seen.gone
                and (namespace is None or namespace_of(seen.obj) == namespace)
            ]

    def last(self, obj: Object) -> Seen:
        """An object as last seen; as it was given when no news has come."""
        with self._changed:
            return self._seen.get((str(obj["kind"]), uid_of(obj))) or Seen(obj)

    def gone(self, objects: Iterable[Object]) -> bool:
        """Whether none of some objects is there any more."""
        with self._changed:
            for obj in objects:
                if not self.last(obj).gone:
                    return False
        return True

    def over(self, pods: Iterable[Object]) -> bool:
        """Whether each of some pods is gone, or has ended for good.

        That it takes another second until the object is gone says nothing of a driver, and nobody
        has to wait for it.
        """
        with self._changed:
            return all(seen.gone or is_over(seen.obj) for seen in map(self.last, pods))

    def versions(self, obj: Object) -> list[Object]:
        """Every state in which an object was seen, oldest first."""
        with self._changed:
            return list(self._versions.get((str(obj["kind"]), uid_of(obj)), ()))

    def known(self, obj: Object) -> None:
        """Take an object from an answer of the API server, so that it need not be seen first."""
        with self._changed:
            self._seen.setdefault((str(obj["kind"]), uid_of(obj)), Seen(obj))
            self._changed.notify_all()

    def wait(
        self,
        what: str,
        ready: Callable[[], T | None],
        budget: Budget,
        seen: Callable[[], str],
    ) -> T:
        """Wait until ``ready`` answers something.

        Args:
            what: what is awaited, as the subject of a sentence ("the claim's allocation").
            ready: asked at each change; nothing, or false, means not yet. It may raise to end the
                wait.
            budget: how long at most.
            seen: says, when time is up, what was seen instead.

        Raises:
            WaitTimeoutError: it did not come in time.
            StoppedError: the run ends.
        """
        deadline = time.monotonic() + budget.seconds
        with self._changed:
            while True:
                if self._stopped:
                    raise StoppedError(f"the run was stopped while waiting for {what}")
                if answer := ready():
                    return answer
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            text = "; ".join([seen(), *(text for text, _ in self._trouble.values())])
        raise WaitTimeoutError(what, budget, text)

    def reachable(self) -> bool:
        """Whether the API server answers, as far as the watches know."""
        with self._changed:
            return not any(silent for _, silent in self._trouble.values())

    def poke(self) -> None:
        """Have all waiting questions asked again: something they ask about has changed."""
        with self._changed:
            self._changed.notify_all()

    def stop_waits(self) -> None:
        """End every present and future wait with `StoppedError`."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def resume_waits(self) -> None:
        """Allow waits again, for the clean-up of a run that was stopped."""
        with self._changed:
            self._stopped = False

    def close(self) -> None:
        """End all watches."""
        self.stop_waits()
        with self._changed:
            watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher.close()

    # Called by the watchers

    def take(self, changes: Sequence[tuple[str, Object]]) -> None:
        """Take what was seen at the same time."""
        seen = [(obj, change == "DELETED") for change, obj in changes]
        foreign = [self._is_foreign(obj) for obj, _ in seen]
        with self._changed:
            for (obj, gone), is_foreign in zip(seen, foreign, strict=True):
                obj["metadata"].pop("managedFields", None)
                key = (str(obj["kind"]), uid_of(obj))
                if is_foreign and gone:
                    self._seen.pop(key, None)
                else:
                    seen_before = self._seen.get(key)
                    self._seen[key] = now = Seen(obj, gone=gone)
                    if obj["metadata"].get("deletionTimestamp"):
                        now.ends_since = (seen_before and seen_before.ends_since) or now.at
                if not is_foreign:
                    self._versions.setdefault(key, []).append(obj)
            listeners = list(self._listeners)
            self._changed.notify_all()
        for (change, obj), is_foreign in zip(changes, foreign, strict=True):
            describe = _extract(obj) if is_foreign else obj
            self._journal.write("object", change=change, object=describe)
        for listener in listeners:
            listener(seen)

    def take_list(self, kind: Kind, namespace: str | None, items: Iterable[Object]) -> None:
        """A fresh list is the truth: what it lacks is gone."""
        listed = list(items)
        present = set(map(uid_of, listed))
        changes = [
            ("DELETED", obj) for obj in self.objects(kind, namespace) if uid_of(obj) not in present
        ]
        for item in listed:
            with self._changed:
                known = self._seen.get((kind.name, uid_of(item)))
            version = item["metadata"].get("resourceVersion")
            if known is None or known.obj["metadata"].get("resourceVersion") != version:
                changes.append(("LISTED", item))
        self.take(changes)

    def note_trouble(self, where: str, text: str | None, *, silent: bool = False) -> None:
        with self._changed:
            if text is None:
                self._trouble.pop(where, None)
            else:
                self._trouble[where] = text, silent
            self._changed.notify_all()
        if text is not None:
            self._journal.write("trouble", where=where, text=text)


class _Watcher(threading.Thread):
    """Keeps one collection known."""

    def __init__(
        self, observer: Observer, kube: Kube, kind: Kind, namespace: str | None, labels: str
    ) -> None:
        where = kind.plural + (f" in {namespace}" if namespace else "")
        super().__init__(name=f"watch {where}", daemon=True)
        self._observer = observer
        self._kube = kube
        self.kind = kind
        self.namespace = namespace
        self._labels = labels
        self._where = where
        self._cut = without_images if kind == NODE else None
        self._version = ""
        self._ended = threading.Event()
        self._stream: Stream | None = None
        """The latest one."""
        self._begun: Stream | None = None
        """One that is open and not yet read."""

    def begin(self) -> None:
        """Learn the present state, and see that it may be watched from there."""
        self._list()
        self._begun = self._stream = self._open()

    def _list(self) -> None:
        items, self._version = self._kube.list(
            self.kind, self.namespace, labels=self._labels, cut=self._cut
        )
        self._observer.take_list(self.kind, self.namespace, items)

    def run(self) -> None:
        """Watch until closed; list again whenever the server has forgotten the version."""
        retry = FIRST_RETRY_SECONDS
        while not self._ended.is_set():
            try:
                if not self._version:
                    self._list()
                began = time.monotonic()
                self._watch()
                retry = FIRST_RETRY_SECONDS
                if time.monotonic() - began < FIRST_RETRY_SECONDS:
                    self._ended.wait(FIRST_RETRY_SECONDS)
            except Exception as error:  # noqa: BLE001 - an odd object must not end the watch
                if self._ended.is_set():
                    return
                known = isinstance(error, (ApiError, UnreachableError))
                if not known or (isinstance(error, ApiError) and error.status in (404, 410)):
                    # 404: the namespace is gone; then the list says that all in it are.
                    self._version = ""
                self._observer.note_trouble(
                    self._where,
                    f"the watch of {self._where} failed: {error if known else repr(error)}",
                    silent=isinstance(error, UnreachableError),
                )
                self._ended.wait(retry)
                retry = min(retry * 2, LAST_RETRY_SECONDS)

    def close(self) -> None:
        """End the watch and wait for the thread."""
        self._ended.set()
        if self._stream is not None:
            self._stream.close()
        self.join(timeout=LAST_RETRY_SECONDS)

    def _open(self) -> Stream:
        return self._kube.watch(self.kind, self.namespace, self._version, labels=self._labels)

    def _watch(self) -> None:
        stream = self._begun or self._open()
        self._begun, self._stream = None, stream
        self._observer.note_trouble(self._where, None)
        if self._ended.is_set():
            stream.close()
            return
        for line in stream.lines():
            try:
                change = json.loads(line)
            except ValueError:
                if self._ended.is_set():
                    return
                raise UnreachableError("the watch sent a line that is not JSON") from None
            obj = change["object"]
            if change["type"] == "ERROR":
                raise ApiError(int(obj.get("code", 500)), obj.get("message", ""))
            self._version = obj["metadata"]["resourceVersion"]
            if change["type"] != "BOOKMARK":
                obj = from_server(obj)
                obj = self._cut(obj) if self._cut is not None else obj
                self._observer.take([(change["type"], obj)])


class LogFollower:
    """Collects a started container's log, and has waiting questions asked again at each line."""

    def __init__(self, kube: Kube, observer: Observer, pod: Object, container: str) -> None:
        self.trouble = ""
        """Why the log ended early, if it did."""
        self._kube = kube
        self._observer = observer
        self._pod = pod
        self._container = container
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._stream: Stream | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def lines(self) -> list[str]:
        """What has come so far."""
        with self._lock:
            return list(self._lines)

    def ended(self) -> bool:
        """Whether nothing more will come."""
        return not self._thread.is_alive()

    def close(self) -> None:
        """Follow no longer."""
        self._closed = True
        if self._stream is not None:
            self._stream.close()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        try:
            self._stream = self._kube.follow_log(self._pod, self._container)
            if self._closed:
                self._stream.close()
            for line in self._stream.lines():
                with self._lock:
                    self._lines.append(line.decode("utf-8", "replace"))
                self._observer.poke()
        except Exception as error:  # noqa: BLE001 - it is told to whoever reads the log
            self.trouble = str(error)
        finally:
            self._observer.poke()


def _extract(obj: Object) -> Object:
    """Of an object of others no more than who it is and what it holds."""
    kept = ("name", "namespace", "uid", "resourceVersion")
    status = obj.get("status") or {}
    return {
        "kind": obj["kind"],
        "metadata": {key: obj["metadata"][key] for key in kept if key in obj["metadata"]},
        "status": {key: status[key] for key in ("allocation", "reservedFor") if key in status},
    }
