"""Pods of the run's own that do something on a node: read it, or act on it as its root."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from harness.cluster.kinds import Object
from harness.scenario import by_hand
from harness.scenario.node_files import READ, SMALL
from harness.scenario.pods import cannot_start, termination
from harness.scenario.run import PRIVILEGED, SCENARIO_LABEL, Subject
from harness.scenario.runtime import STATE
from harness.scenario.verbs import Waiting
from harness.verdict.finding import Blame

ROOT = "/node"
"""Where the pod that reads sees the node's files."""
RESTART = """\
import os, warnings  # which os.execvp imports: below another root there is none
os.chroot("/proc/1/root")
os.environ["PATH"] = "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"  # the node's, not the image's
os.execvp("systemctl", ["systemctl", "restart", "kubelet"])
"""
"""A program: with the node's PIDs and privileged, it has the node's systemd restart the kubelet."""
KILL = """\
import os, signal, sys
killed = 0
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        with open(f"/proc/{pid}/cgroup") as file:
            if sys.argv[1] in file.read():
                os.kill(int(pid), signal.SIGKILL)
                killed += 1
    except (FileNotFoundError, ProcessLookupError):
        pass  # it has ended meanwhile
if not killed:
    sys.exit(f"no process of container {sys.argv[1]}")
"""
"""A program: it ends all processes of a container at once, by the ID in their cgroup."""
WIPE = """\
import os, sys
word, *folders = sys.argv[1:]
os.chroot("/proc/1/root")
for folder in folders:
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        if word in name and os.path.isfile(os.path.join(folder, name)):
            os.unlink(os.path.join(folder, name))
            print(os.path.join(folder, name))
"""
"""A program: it removes the files of folders that have a word in their name, and says which."""

KUBELET_VALUES: Mapping[str, Any] = {"command": ["python3", "-c", RESTART]}
"""For ``node-root.yaml.j2``, beyond those of every pod on a node."""


def kill_values(container: str) -> Mapping[str, Any]:
    """Make the values of ``node-root.yaml.j2`` that kill a container, by its ID."""
    return {"command": ["python3", "-c", KILL, container]}


def wipe_values(subject: Subject, folder: str, word: str) -> Mapping[str, Any]:
    """Make the values of ``node-root.yaml.j2`` that remove files of a folder, by a word."""
    return {"command": ["python3", "-c", WIPE, word, *folders(subject, folder)]}


def files_values(subject: Subject, folder: str) -> Mapping[str, Any]:
    """Make the values of ``node-files.yaml.j2``, beyond those of every pod on a node.

    Args:
        subject: the driver.
        folder: what its profile calls the folder that is read, or several with commas between them.
    """
    return _reading(*folders(subject, folder))


def runtime_values(subject: Subject) -> Mapping[str, Any]:
    """Make the values of ``node-files.yaml.j2`` that read what the kubelet knows of claims, and
    the CDI files.
    """
    registry = folders(subject, "registry")[0]
    return _reading(str(PurePosixPath(registry).with_name(STATE)), *folders(subject, "cdi"))


def _reading(*paths: str) -> Mapping[str, Any]:
    return {"command": ["python3", "-c", READ, ROOT, str(SMALL), *paths], "root": ROOT}


def folders(subject: Subject, folder: str) -> list[str]:
    """Answer the paths on a node of what the driver's profile calls a folder, or several folders
    with commas between them.
    """
    paths = [path for one in folder.split(",") for path in subject.profile.folders[one]]
    return [path.replace("DRIVER", subject.driver) for path in paths]


def create_on(
    steps: Waiting, node: str, template: str, name: str, values: Mapping[str, Any]
) -> Object:
    """Create a pod on a node; the arguments are those of `run_on`."""
    run = steps.run
    common = {
        "name": f"{name}-{steps.name}",
        "namespace": run.open_namespace(PRIVILEGED),
        "node": node,
        "image": run.subject.image,
    }
    made = run.render(f"{template}.yaml.j2", {**common, **values})
    made["metadata"].setdefault("labels", {})[SCENARIO_LABEL] = steps.name
    return steps.create_object(made)


def run_on(steps: Waiting, node: str, template: str, name: str, values: Mapping[str, Any]) -> str:
    """Run a pod of one container, called as its template, on a node, and delete it.

    Args:
        steps: of the scenario.
        node: where.
        template: its name without endings.
        name: of the pod, but for the scenario's name.
        values: of the template, beyond name, namespace, node and image.

    Returns:
        What it printed.

    Raises:
        JudgementError: it did not come to a good end.
    """
    run = steps.run
    pod = create_on(steps, node, template, name, values)

    def ended() -> Object | None:
        seen = run.observer.last(pod)
        if (reason := cannot_start(seen.obj, run.events_of(pod))) is not None:
            raise reason
        return termination(seen.obj)

    end = steps.wait(
        f"the end of pod {name} on {node}",
        ended,
        run.budgets.start,
        lambda: steps.at(pod),
        Blame.KUBELET,
        pod,
        by_hand=[
            by_hand.until(
                pod, by_hand.of_container(pod, template, "state.terminated"), run.budgets.start
            )
        ],
    )
    said = run.kube.log(pod, template)
    steps.script.do(by_hand.log(pod, template))
    steps.delete_object(pod)
    if end["exitCode"]:
        last = (said.strip().splitlines() or [f"exit code {end['exitCode']}"])[-1]
        raise steps.inconclusive(f"pod {name} on {node} failed: {last}", Blame.CLUSTER)
    return said
