"""Likely causes: what an error or an event usually means, who has to act, and the next step.

CUDA's codes are those measured on hardware (NVIDIA driver 580.159.04, H100): 201 when exporter and
importer have the same own PID, 1 for freed memory or a GPU that is not in the container, 400 when
the exporting process is gone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.finding import Blame
from harness.kinds import Object


@dataclass(frozen=True)
class Cause:
    """A likely cause."""

    text: str
    blame: Blame
    next: str = ""


_CUDA: Mapping[int, Cause] = {
    1: Cause(
        "the GPU that holds the memory is not in the importing container, or the memory was freed"
        " before (CUDA error 1)",
        Blame.DRIVER,
        "compare the GPUs that both containers report with the claim's allocation",
    ),
    2: Cause(
        "the GPU is out of memory (CUDA error 2): somebody else uses it",
        Blame.CLUSTER,
        "see with nvidia-smi on the node who uses the GPU outside of DRA",
    ),
    100: Cause(
        "CUDA is there but no GPU is (CUDA error 100): the device node /dev/nvidiaN is missing in"
        " the container, or its device cgroup forbids it",
        Blame.DRIVER,
        "look at the CDI specification that the driver wrote for the claim on the node",
    ),
    201: Cause(
        "CUDA takes the importing process for the exporting one (CUDA error 201), although their"
        " own PIDs differ",
        Blame.DRIVER,
        "note the version of the GPU's kernel driver: this was not seen on 580.159.04",
    ),
    222: Cause(
        "the workload's kernels are too new for this GPU driver (CUDA error 222); the driver under"
        " test is not to blame",
        Blame.WORKLOAD,
        "build the workload image with an older PTX version",
    ),
    400: Cause(
        "the process that exported the memory is gone (CUDA error 400)",
        Blame.WORKLOAD,
        "see in the producer's log why it ended",
    ),
}

EQUAL_OWN_PIDS = Cause(
    "both processes have the same own PID, so CUDA takes the importer for the exporter (CUDA error"
    " 201); namespaces do not matter, the number does",
    Blame.SUITE,
    "start one of the two with another PID: see the finding about PIDs in README.md",
)

_LIBCUDA = Cause(
    "the dynamic loader does not find libcuda.so.1 in the container: the CDI specification lacks"
    " the library's mount or its ldcache hook, or the hook did not run",
    Blame.DRIVER,
    "look in the claim's CDI specification for the update-ldcache hook and the mount of libcuda",
)

_UNRESOLVED = Cause(
    "the workload needs a CUDA function that this GPU driver does not have",
    Blame.WORKLOAD,
    "build the workload image for the GPU driver's CUDA version",
)

_NODE_AUTHORIZER = r"forbidden: User \W*system:node:|no relationship found between node"
"""How the API server's node authorizer refuses something to a kubelet."""

_EVENTS: tuple[tuple[re.Pattern[str], Cause], ...] = (
    (
        re.compile(rf"FailedPrepareDynamicResources(?!.*({_NODE_AUTHORIZER}))", re.DOTALL),
        Cause(
            "the driver refused or failed to prepare the claim on the node",
            Blame.DRIVER,
            "read the driver's log on the node; its message is in the event",
        ),
    ),
    (
        re.compile(rf"FailedPrepareDynamicResources.*({_NODE_AUTHORIZER})", re.DOTALL),
        Cause(
            "the API server refused the claim to the kubelet, as its node authorizer had not seen"
            " yet that a pod of the node uses it; the driver was not asked",
            Blame.CLUSTER,
            "run it again; the kubelet itself tries again at the pod's next sync (60 to 90 s)",
        ),
    ),
    (
        re.compile(r"unresolvable CDI device|CDI device injection failed"),
        Cause(
            "the container runtime does not find the CDI device that the driver named: the driver"
            " wrote no CDI specification, or not where the runtime looks",
            Blame.DRIVER,
            "compare the driver's --cdi-root with the runtime's cdi_spec_dirs",
        ),
    ),
    (
        re.compile(r"ErrImagePull|ImagePullBackOff|ErrImageNeverPull|Failed to pull image"),
        Cause(
            "the node cannot pull the workload image",
            Blame.CLUSTER,
            "push the image where the nodes can pull it and name it with --dra-image",
        ),
    ),
    (
        re.compile(r"exceeded quota"),
        Cause("a quota of the namespace refuses the object", Blame.CLUSTER),
    ),
    (
        re.compile(r"violates PodSecurity"),
        Cause(
            "the namespace's Pod Security Standard refuses the pod",
            Blame.CLUSTER,
            "see which fields the message names; --dra-pod-patch can change them",
        ),
    ),
    (
        re.compile(r"FailedScheduling.*(cannot allocate all claims|resourceclaim)"),
        Cause(
            "the scheduler finds no node with enough free devices that match the claim",
            Blame.CLUSTER,
            "see which claims hold devices: kubectl get resourceclaims --all-namespaces",
        ),
    ),
    (
        re.compile(r"FailedScheduling"),
        Cause(
            "no node takes the pod; the message says why (taints, resources, selectors)",
            Blame.CLUSTER,
            "--dra-pod-patch can add tolerations and resources",
        ),
    ),
    (
        re.compile(r"FailedCreatePodSandBox|FailedMount|NetworkNotReady"),
        Cause("the node cannot set the pod up, before any device is involved", Blame.CLUSTER),
    ),
    (
        re.compile(r"failed to create containerd task|failed to create shim|OCI runtime"),
        Cause(
            "the container runtime cannot start the container; with a claim the usual reason is a"
            " device node, mount or hook of the CDI specification that does not work",
            Blame.DRIVER,
            "the runtime's message is in the event",
        ),
    ),
)


def of_cuda(error: Mapping[str, Any] | None, *, equal_own_pids: bool = False) -> Cause | None:
    """The likely cause of a workload's error.

    What the workload takes for a fault of its own is never blamed on anybody else.
    """
    if not error:
        return None
    cause = _of_cuda(error, equal_own_pids)
    if error.get("blame") == "workload" and (cause is None or cause.blame is not Blame.WORKLOAD):
        return Cause("the workload itself is at fault", Blame.WORKLOAD)
    return cause


def _of_cuda(error: Mapping[str, Any], equal_own_pids: bool) -> Cause | None:
    text, code = str(error.get("text") or ""), error.get("code")
    if "libcuda.so.1" in text and re.search(r"cannot open|not found|No such file", text):
        return _LIBCUDA
    if "undefined symbol" in text:
        return _UNRESOLVED
    if code == 201 and equal_own_pids:
        return EQUAL_OWN_PIDS
    if isinstance(code, int) and code in _CUDA:
        return _CUDA[code]
    return None


def of_events(events: Iterable[Object]) -> Cause | None:
    """The likely cause that events tell of: the first rule that any of them fits."""
    lines = [f"{event.get('reason', '')}: {event.get('message', '')}" for event in events]
    return next(
        (cause for pattern, cause in _EVENTS if any(pattern.search(line) for line in lines)), None
    )


def of_text(text: str) -> Cause | None:
    """The likely cause that a refusal of the API server or a container's state tells of."""
    return next((cause for pattern, cause in _EVENTS if pattern.search(text)), None)
