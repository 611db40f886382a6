"""A folder of a node over time: every state of its files, as a pod on it sees them change."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from harness.cluster.kinds import Object
from harness.cluster.observe import LogFollower
from harness.scenario import by_hand
from harness.scenario.evidence import Change
from harness.scenario.node_pods import ROOT, create_on, folders
from harness.scenario.pods import cannot_start, has_started
from harness.scenario.run import Subject
from harness.scenario.verbs import Waiting
from harness.verdict.finding import Blame

WATCH = """\
import ctypes, json, os, struct, sys
root, endings, *folders = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
os.chroot(root)
WRITTEN, GONE = 0x8 | 0x80, 0x40 | 0x200  # <sys/inotify.h>: closed, moved here; moved away, deleted
watch, names = libc.inotify_init1(0), {}
def tell(path, there):
    if not path.endswith(tuple(endings.split(","))):
        return
    text = None
    if there:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                text = file.read()
        except FileNotFoundError:
            pass  # what comes next tells of it
    print(json.dumps({"path": path, "text": text}), flush=True)
for folder in map(os.path.realpath, folders):
    number = libc.inotify_add_watch(watch, folder.encode(), WRITTEN | GONE)
    if number >= 0:
        names[number] = folder
        for name in sorted(os.listdir(folder)):
            tell(os.path.join(folder, name), True)
print("{}", flush=True)
while True:
    events = os.read(watch, 1 << 16)
    while events:
        number, mask, _, size = struct.unpack_from("iIII", events)
        name = events[16 : 16 + size].rstrip(b"\\0").decode()
        tell(os.path.join(names[number], name), mask & WRITTEN)
        events = events[16 + size :]
"""
"""A program: it prints each file of folders below a root, an empty object, then every change.

Only files with certain endings count. It ends when its pod does.
"""
CDI_ENDINGS = ".json,.yaml"
"""What a runtime takes for a CDI specification."""


class FolderWatch:
    """What is seen of folders of a node, as long as it goes on."""

    def __init__(self, steps: Waiting, follower: LogFollower) -> None:
        self._steps = steps
        self._follower = follower

    def changes(self) -> tuple[Change, ...]:
        """Every file that was there at first, then every change so far."""
        return changes_of(self._follower.lines())

    def begun(self) -> bool | None:
        """Answer True as soon as every change is seen."""
        return "{}" in self._follower.lines()

    def await_without(self, *words: str) -> None:
        """Wait until no file mentions any of some words; go on when that takes too long."""
        self._steps.wait(
            "the removal of CDI files",
            lambda: not states(self.changes(), words)[-1],
            self._steps.run.budgets.release,
            lambda: "some are left",
            Blame.DRIVER,
            optional=True,
        )


def changes_of(lines: Sequence[str]) -> tuple[Change, ...]:
    """Read what `WATCH` has printed so far."""
    entries = [json.loads(line) for line in lines if line.startswith("{")]
    return tuple(Change(entry["path"], entry["text"]) for entry in entries if entry)


def states(changes: Sequence[Change], words: Sequence[str]) -> list[frozenset[str]]:
    """Tell which of some words the files mention: at first, and after each change in turn.

    Args:
        changes: what a `FolderWatch` saw.
        words: such as the UIDs of claims.
    """
    files: dict[str, Change] = {}
    found = [frozenset[str]()]
    for change in changes:
        files[change.path] = change
        found.append(
            frozenset(word for word in words if any(c.mentions(word) for c in files.values()))
        )
    return found


def watch_values(subject: Subject, folder: str) -> Mapping[str, Any]:
    """Make the values of ``node-files.yaml.j2`` for a pod that watches, beyond the usual ones.

    Args:
        subject: the driver.
        folder: what its profile calls the folder that is watched.
    """
    command = ["python3", "-c", WATCH, ROOT, CDI_ENDINGS, *folders(subject, folder)]
    return {"command": command, "root": ROOT}


@contextmanager
def folder_over_time(
    steps: Waiting, node: str, name: str, values: Mapping[str, Any]
) -> Iterator[FolderWatch]:
    """See every change of a folder of a node while the block runs.

    Args:
        steps: of the scenario.
        node: which.
        name: of the pod that watches, but for the scenario's name.
        values: of `watch_values`.

    Raises:
        JudgementError: the pod does not run.
    """
    run, container = steps.run, "node-files"
    pod = create_on(steps, node, container, name, values)

    def started() -> Object | None:
        seen = run.observer.last(pod).obj
        if (reason := cannot_start(seen, run.events_of(pod))) is not None:
            raise reason
        return seen if has_started(seen, container) else None

    def wait(what: str, ready: Callable[[], Any]) -> Any:
        at = partial(steps.at, pod)
        return steps.wait(what, ready, run.budgets.start, at, Blame.KUBELET, pod)

    running = wait(f"the start of pod {name} on {node}", started)
    follower = LogFollower(run.kube, run.observer, running, container)
    try:
        seen = FolderWatch(steps, follower)
        wait(f"the first words of pod {name} on {node}", seen.begun)
        yield seen
    finally:
        steps.script.do(by_hand.log(pod, container))
        steps.delete_object(pod)
        follower.close()
