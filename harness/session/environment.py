"""What a run ran on: the suite, the driver's pods, the nodes and their GPUs.

Everything about the cluster comes from its API; nothing is read off this machine, unless the run
started the cluster on it. What cannot be had is named, never guessed.
"""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Iterable
from operator import itemgetter
from pathlib import Path
from typing import Any

from harness import __version__
from harness.cluster.inventory import devices
from harness.cluster.kinds import NODE, SLICE, Object, name_of
from harness.cluster.kube import ApiError, UnreachableError
from harness.scenario.run import Run

_NODE_INFO = {
    "os": "osImage",
    "kernel": "kernelVersion",
    "architecture": "architecture",
    "container_runtime": "containerRuntimeVersion",
    "kubelet": "kubeletVersion",
}
"""Ours to Node.status.nodeInfo's (``core/v1``)."""
COMMIT = "commit.json"
"""In the tree of a wheel: what it was built from (`building.wheel_hook`)."""
MOST = 250
"""How many GPUs, nodes and containers at most are named; the first ones stand for the others."""
CGROUP2_MARK = Path("/sys/fs/cgroup/cgroup.controllers")
NVIDIA_MODULE = Path("/proc/driver/nvidia/version")


def suite(root: Path) -> dict[str, Any]:
    """This suite: its version, the commit where git or the wheel knows it, and the Python."""
    found: dict[str, Any] = {"version": __version__, "python": platform.python_version()}
    if (built_from := root / COMMIT).is_file():
        found.update(json.loads(built_from.read_text(encoding="utf-8")))
        return found
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is not None and Path(top).resolve() == root.resolve():
        found["commit"] = _git(root, "rev-parse", "HEAD")
        found["changed"] = bool(_git(root, "status", "--porcelain"))
    return found


def _git(root: Path, *arguments: str) -> str | None:
    """What git answers; None when it cannot."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            encoding="utf-8",
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def cluster(run: Run) -> dict[str, Any]:
    """Nodes, GPUs and the driver's containers; what could not be asked is under ``unknown``."""
    found: dict[str, Any] = {}
    unknown: list[str] = []
    slices = run.observer.objects(SLICE)
    if run.has_subject():
        some = sorted(slices, key=lambda item: str(item["spec"].get("nodeName") or ""))[:MOST]
        found["gpus"] = gpus(some, run)[:MOST]
        if len(slices) > MOST:
            found["gpus_in_all"] = sum(
                len(item["spec"].get("devices") or ())
                for item in slices
                if item["spec"]["driver"] == run.subject.driver
            )
        try:
            pods = run.driver_pods()
            found["driver_containers"] = containers(pods, run.subject.profile.plugin_container)
        except (ApiError, UnreachableError) as error:
            unknown.append(f"the driver's pods: {error}")
    try:
        published = {str(item["spec"].get("nodeName") or "") for item in slices}
        found["nodes"] = nodes(run.seen(NODE), published)
    except (ApiError, UnreachableError) as error:
        unknown.append(f"the nodes: {error}")
    for name in ("nodes", "driver_containers"):
        if len(every := found.get(name, [])) > MOST:
            found[name] = every[:MOST]
            found[f"{name}_in_all"] = len(every)
    if run.cluster.own:
        found["machine"] = machine()
    if unknown:
        found["unknown"] = unknown
    return found


def gpus(slices: Iterable[Object], run: Run) -> list[dict[str, Any]]:
    """The driver's GPUs as it publishes them, attributes and capacity included."""
    return [
        {
            "node": gpu.node,
            "device": gpu.name,
            "uuid": gpu.uuid,
            "product": gpu.product,
            "capacity": {
                name: str(value.get("value") if isinstance(value, dict) else value)
                for name, value in sorted((gpu.entry.get("capacity") or {}).items())
            },
            "attributes": {
                name: next(iter(value.values()), None)
                for name, value in sorted((gpu.entry.get("attributes") or {}).items())
            },
        }
        for gpu in devices(slices, run.subject.driver, run.subject.profile)
    ]


def containers(pods: Iterable[Object], container: str) -> list[dict[str, Any]]:
    """The driver's container on each node: the image as asked for, and by digest as it runs."""
    found = []
    for pod in pods:
        statuses = (pod.get("status") or {}).get("containerStatuses") or []
        digests = {status["name"]: str(status.get("imageID") or "") for status in statuses}
        found += [
            {
                "node": str(pod["spec"].get("nodeName") or ""),
                "pod": f"{pod['metadata'].get('namespace')}/{name_of(pod)}",
                "image": str(spec.get("image") or ""),
                "image_id": digests.get(container, ""),
            }
            for spec in pod["spec"].get("containers") or []
            if spec["name"] == container
        ]
    return sorted(found, key=itemgetter("node", "pod"))


def nodes(listed: Iterable[Object], published: set[str]) -> list[dict[str, Any]]:
    """The nodes that publish devices; all of them when none does."""
    known = {name_of(node): node for node in listed}
    wanted = sorted(known.keys() & published) or sorted(known)
    found = []
    for name in wanted:
        info = (known[name].get("status") or {}).get("nodeInfo") or {}
        found.append({"name": name, **{ours: info.get(name) for ours, name in _NODE_INFO.items()}})
    return found


def machine() -> dict[str, Any]:
    """This machine, on which the run started its cluster: what its nodes share with it."""
    found: dict[str, Any] = {"cgroup": 2 if CGROUP2_MARK.exists() else 1}
    try:
        found["nvidia_module"] = NVIDIA_MODULE.read_text(encoding="utf-8").splitlines()[0]
    except (OSError, IndexError):
        found["nvidia_module"] = None
    return found
