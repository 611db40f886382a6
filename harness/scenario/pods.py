"""Pods as the suite sees them: what their container does, and what it left."""

from __future__ import annotations

import re
from typing import Any

from harness.cluster.kinds import Object
from harness.verdict import causes
from harness.verdict.finding import Blame, Finding, JudgementError, judge

EVIDENCE_LINES = 12
"""Of events and of the driver's log, beside a finding."""

NOT_PULLED = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName")
"""Why a container waits whose image cannot be had."""
_WRAPPINGS = re.compile(
    r"failed to create containerd task: |failed to create shim task: |OCI runtime create failed: "
    r"|runc create failed: |unable to start container process: |error during container init: "
)
"""What each layer of the runtime puts before the layer below, which knows what happened."""
_BY_THE_DRIVER = re.compile(
    r".*NodePrepareResources failed(?: for ResourceClaim \S+)?: ", re.DOTALL
)
"""What the kubelet puts before what a driver says that does not prepare a claim."""
_CREATION_FAILED = {"CreateContainerError", "RunContainerError"}
_NO_CDI_DEVICE = re.compile(r"unresolvable CDI device")
"""What runtimes say where a CDI device is not there. They look again at each try."""
_TRIES = 3
"""So often a CDI device may be missing; a runtime that is slow to notice a file finds it then."""
_NEVER_STARTED = {"StartError", "ContainerCannotRun"}
_CRASHED = "CrashLoopBackOff"


_KEPT = ("nodeName", "serviceAccountName")


def without_setup(pod: Object) -> Object:
    """A pod without what it mounts and how it is set up: which images run where, and how they do,
    is left.
    """
    spec = pod["spec"]
    containers = [{key: one.get(key) for key in ("name", "image")} for one in spec["containers"]]
    kept = {key: spec[key] for key in _KEPT if key in spec}
    return {**pod, "spec": {**kept, "containers": containers}}


def container_state(pod: Object, container: str = "") -> dict[str, Any]:
    """The state of a pod's container, such as ``{"running": {…}}``; empty before it has one.

    The container's state is known a second before the pod's phase follows it.

    Args:
        pod: the pod.
        container: which; the first one where no name is given.
    """
    return dict(status_of(pod, container).get("state") or {})


def status_of(pod: Object, container: str = "") -> dict[str, Any]:
    """The kubelet's word on a container of a pod, an init container or another."""
    name = container or pod["spec"]["containers"][0]["name"]
    status = pod.get("status") or {}
    kinds = ("containerStatuses", "initContainerStatuses")
    every = (one for kind in kinds for one in status.get(kind) or [])
    return next((dict(one) for one in every if one.get("name", name) == name), {})


UNKNOWN = "Unknown"


def health(pod: Object, container: str) -> dict[str, str]:
    """Read the health of a container's claimed devices, by what the kubelet calls each; empty where
    it tells none.
    """
    return {
        str(one["resourceID"]): str(one.get("health") or UNKNOWN)
        for claim in status_of(pod, container).get("allocatedResourcesStatus") or []
        if str(claim["name"]).startswith("claim:")
        for one in claim.get("resources") or []
    }


def restarts(pod: Object, container: str = "") -> int:
    """Count how often a container was started again."""
    return int(status_of(pod, container).get("restartCount") or 0)


def termination(pod: Object, container: str = "") -> dict[str, Any] | None:
    """How a pod's container ended; None while it has not, or runs again."""
    return container_state(pod, container).get("terminated")


def last_termination(pod: Object, container: str = "") -> dict[str, Any] | None:
    """How a container ended before it was started again; None if it never was."""
    return (status_of(pod, container).get("lastState") or {}).get("terminated")


def has_started(pod: Object, container: str = "") -> bool:
    """Whether a pod's container runs or ran."""
    ended = _end(pod, container)
    if ended is not None:
        return ended.get("reason") not in _NEVER_STARTED
    return "running" in container_state(pod, container)


def has_run(pod: Object) -> bool:
    """Whether a pod's first container certainly ran: of one that never did, a kubelet says at its
    pod's end that it was terminated, but not when it had begun.
    """
    state = container_state(pod)
    return "running" in state or bool((state.get("terminated") or {}).get("startedAt"))


def _end(pod: Object, container: str) -> dict[str, Any] | None:
    """How a container ended that does not run now, also one that is to be started again."""
    state = container_state(pod, container)
    if (state.get("waiting") or {}).get("reason") == _CRASHED:
        return last_termination(pod, container) or {}
    return state.get("terminated")


def is_ready(pod: Object) -> bool:
    """Whether a pod serves, by its own probes."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def cannot_restart(pod: Object, container: str) -> JudgementError | None:
    """Say why a container that ran before does not start again, once that is known.

    Its runtime said why, or its pod has failed as a whole and starts nothing any more.
    """
    waiting = container_state(pod, container).get("waiting") or {}
    status = pod.get("status") or {}
    if status.get("phase") == "Failed":
        said = f"{status.get('reason', 'Failed')}: {status.get('message', '')}"
    elif waiting.get("reason") in _CREATION_FAILED:
        said = f"{waiting['reason']}: {waiting.get('message')}"
    else:
        return None
    cause = causes.of_text(said)
    if cause is None:
        return None
    head = f"the {container}'s container cannot start again: {_WRAPPINGS.sub('', said)}"
    expected = "the container starts again with the same devices"
    return judge(causes.because(cause, Finding(head, expected, said, cause.blame)))


def cannot_start(pod: Object, events: list[Object], container: str = "") -> JudgementError | None:
    """Why a pod's container will never start, once that is certain."""
    role = container or pod["spec"]["containers"][0]["name"]
    waiting = container_state(pod, role).get("waiting") or {}
    terminated = _end(pod, role) or {}
    not_created = waiting.get("reason") in _CREATION_FAILED and _has_no_cdi_device(events, role)
    if waiting.get("reason") in NOT_PULLED or not_created:
        said = f"{waiting['reason']}: {waiting.get('message', '')}"
    elif terminated.get("reason") in _NEVER_STARTED:
        said = f"{terminated['reason']}: {terminated.get('message', '')}"
    elif (pod.get("status") or {}).get("phase") == "Failed" and not terminated:
        status = pod["status"]
        said = f"{status.get('reason', 'Failed')}: {status.get('message', '')}"
    else:
        return None
    cause = causes.of_text(said) or causes.of_events(events)
    head = f"the {role}'s container cannot start: {_WRAPPINGS.sub('', said)}"
    finding = Finding(head, "the container starts", said, Blame.KUBELET)
    return judge(causes.because(cause, finding))


def _has_no_cdi_device(events: list[Object], container: str) -> bool:
    """Whether the runtime has looked for a container's CDI device in vain, more than once or
    twice.
    """
    missed = (one for one in events if _NO_CDI_DEVICE.search(str(one.get("message"))))
    about = (one for one in missed if _is_about(one, container))
    return sum(int(one.get("count") or 1) for one in about) >= _TRIES


def _is_about(event: Object, container: str) -> bool:
    """Whether an event of a pod is about a container, or about the whole pod."""
    field = str((event.get("involvedObject") or {}).get("fieldPath") or "")
    return not field.startswith("spec.") or field.endswith(f"{{{container}}}")


def describe(pod: Object, container: str = "") -> str:
    """What a pod is at, in a few words."""
    status = pod.get("status") or {}
    state = container_state(pod, container)
    for kind in ("terminated", "waiting", "running"):
        if kind in state:
            detail = state[kind].get("reason") or ""
            code = f" {state[kind]['exitCode']}" if kind == "terminated" else ""
            message = state[kind].get("message") or ""
            return " ".join(f"container {kind} {detail}{code} {message[:200]}".split())
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] != "True":
            return f"not scheduled: {condition.get('message') or condition.get('reason')}"
    node = (pod.get("spec") or {}).get("nodeName")
    return f"scheduled on {node}, no container yet" if node else "not scheduled"


def why_not_prepared(events: list[Object]) -> str:
    """What was said last where a pod's claims could not be prepared, in the driver's own words as
    far as it said it; empty if nothing was, or if they were prepared after that.
    """
    telling = [
        one for one in events if one.get("reason") in (causes.NOT_PREPARED, *causes.PREPARED)
    ]
    last = max(reversed(telling), key=causes.last_said, default={})
    if last.get("reason") != causes.NOT_PREPARED:
        return ""
    return " ".join(_BY_THE_DRIVER.sub("", str(last.get("message"))).split())


def describe_events(events: list[Object]) -> list[str]:
    """Events as lines, warnings first cut to what fits a screen."""
    lines = []
    for event in events:
        count = event.get("count") or 1
        times = f" (x{count})" if count > 1 else ""
        who = (event.get("source") or {}).get("component") or event.get("reportingComponent") or ""
        about = (event.get("involvedObject") or {}).get("name", "")
        text = " ".join(str(event.get("message") or "").split())
        if event.get("type") == "Warning":
            lines.append(f"{who} {event.get('reason')}{times} {about}: {text[:400]}")
    return lines
