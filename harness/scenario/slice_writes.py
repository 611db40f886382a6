"""The driver's ResourceSlices over time: as they were, every write, and as they are."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from harness.cluster.inventory import current
from harness.cluster.kinds import SLICE, Object, name_of, uid_of
from harness.cluster.observe import Budget, WaitTimeoutError
from harness.scenario.run import Run
from harness.verdict.finding import UnmetError

ADDED, CHANGED, DELETED = "added", "changed", "deleted"
REST_SECONDS = 60
"""For so long the helper library of drivers in Go remembers a slice that it wrote."""


@dataclass(frozen=True)
class SliceWrite:
    """One write of a slice, as the watch told of it."""

    event: str
    """`ADDED`, `CHANGED` or `DELETED`."""
    obj: Object

    def __str__(self) -> str:
        pool = self.obj["spec"]["pool"]
        return (
            f"{name_of(self.obj)} {self.event}: generation {pool['generation']} of pool"
            f" {pool['name']}, resourceVersion {self.obj['metadata'].get('resourceVersion')}"
        )


@dataclass
class SliceWrites:
    """What became of the driver's slices in a window of time."""

    before: tuple[Object, ...]
    """Those of each pool's newest generation."""
    after: tuple[Object, ...] = ()
    """Those at the end of the window."""
    writes: list[SliceWrite] = field(default_factory=list)
    """All in between, in their order."""

    def of_node(self, node: str) -> SliceWrites:
        """Leave out what is not of one node."""

        def mine(obj: Object) -> bool:
            return bool(obj["spec"].get("nodeName") == node)

        return SliceWrites(
            tuple(filter(mine, self.before)),
            tuple(filter(mine, self.after)),
            [write for write in self.writes if mine(write.obj)],
        )

    def differences(self) -> list[str]:
        """Say how the slices after differ from those before; in what order devices are is nothing.

        Some drivers list their devices in another order at every start.
        """
        before, after = ({name_of(s): s["spec"] for s in x} for x in (self.before, self.after))
        found = [f"ResourceSlice {name} is gone" for name in before.keys() - after.keys()]
        found += [f"there is a new ResourceSlice {name}" for name in after.keys() - before.keys()]
        for name in before.keys() & after.keys():
            found += _differences(name, before[name], after[name])
        return found


def devices_by_name(slices: Iterable[Object]) -> dict[str, Object]:
    """Find all devices of some slices of one pool, by their name."""
    return {
        str(device["name"]): device
        for item in slices
        for device in item["spec"].get("devices") or []
    }


def _differences(name: str, old: Object, new: Object) -> list[str]:
    if old["pool"]["generation"] != new["pool"]["generation"]:
        generations = [spec["pool"]["generation"] for spec in (new, old)]
        found = ["its ResourceSlice has generation {} instead of {}".format(*generations)]
    elif {**old, "devices": []} != {**new, "devices": []}:
        found = [f"ResourceSlice {name} is not what it was"]
    else:
        found = []
    was, now = ({d["name"]: d for d in spec.get("devices") or []} for spec in (old, new))
    differ = (device for device in sorted(was | now) if was.get(device) != now.get(device))
    return found + [f"device {device} is published differently" for device in differ]


@contextmanager
def slices_over_time(run: Run) -> Iterator[SliceWrites]:
    """Note every write of the driver's slices while the block runs.

    Raises:
        WaitTimeoutError: at the end, the watch does not tell of what a list shows.
    """
    observer, driver = run.observer, run.subject.driver
    present = [obj for obj in observer.objects(SLICE) if obj["spec"]["driver"] == driver]
    seen = SliceWrites(tuple(current(present, driver)))
    known = {version_of(obj) for obj in present}
    uids = {uid_of(obj) for obj in present}

    def saw(changes: list[tuple[Object, bool]]) -> None:
        for obj, gone in changes:
            if obj["kind"] != SLICE.name or obj["spec"]["driver"] != driver:
                continue
            if gone and uid_of(obj) in uids:
                uids.remove(uid_of(obj))
                seen.writes.append(SliceWrite(DELETED, obj))
            elif not gone and version_of(obj) not in known:
                seen.writes.append(SliceWrite(CHANGED if uid_of(obj) in uids else ADDED, obj))
                uids.add(uid_of(obj))
                known.add(version_of(obj))

    def told(listed: list[Object], gone: set[str]) -> bool | None:
        whole = {version_of(obj) for obj in listed} <= known
        return whole and uids.isdisjoint(gone)

    observer.listen(saw)
    try:
        yield seen
        # What was waited for came through other watches, which may be ahead of this one.
        before = set(uids)
        listed = [obj for obj in run.kube.list(SLICE)[0] if obj["spec"]["driver"] == driver]
        gone = before - {uid_of(obj) for obj in listed}
        observer.wait(
            "the watch of ResourceSlices to tell of what a list shows",
            lambda: told(listed, gone),
            run.budgets.observe,
            lambda: "it is behind",
        )
        seen.after = tuple(current(observer.objects(SLICE), driver))
    finally:
        observer.stop_listening(saw)


def slices_of_node(run: Run, node: str) -> list[Object]:
    """List the driver's slices of a node, those of each pool's newest generation."""
    slices = current(run.observer.objects(SLICE), run.subject.driver)
    return [item for item in slices if item["spec"].get("nodeName") == node]


def written(run: Run, node: str) -> float:
    """Tell when the run last saw a slice of a node written, in seconds since 1970."""
    return max((run.observer.last(item).at for item in slices_of_node(run, node)), default=0)


def await_rest(run: Run, node: str) -> None:
    """Wait until nobody has written a node's slices for a minute.

    Before that, the helper library does not see that one is deleted, and the slice stays away
    (kubernetes/kubernetes#140063): no check is about that.

    Raises:
        UnmetError: they were written again in each of two minutes.
    """
    for _ in range(2):
        last = written(run, node)
        with suppress(WaitTimeoutError):
            run.observer.wait(
                f"the ResourceSlices of {node} to be a minute old",
                lambda: None,
                Budget("rest", last + REST_SECONDS - time.time()),
                lambda: "they are",
            )
        if written(run, node) == last:
            return
    raise UnmetError(
        f"the ResourceSlices of {node} are written again and again, with no minute's rest"
    )


def version_of(obj: Object) -> tuple[str, str]:
    """Tell a version of an object from all others, of this and other objects."""
    return uid_of(obj), str(obj["metadata"].get("resourceVersion"))
