"""Whether a node's container runtime gives containers the CDI devices that it is asked for.

A container with a claim that has nothing of it looks the same whether its driver named no device,
or the runtime takes no notice of CDI. That it named none, a kubelet tells in the status of the pod
where its feature gate ResourceHealthStatus is on; else only what it and the driver left on the node
tells.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any

from harness.cluster.kinds import Object
from harness.scenario import cdi_files
from harness.scenario.evidence import Claim, Container
from harness.scenario.node_files import File
from harness.scenario.pods import health
from harness.scenario.report import Report
from harness.verdict.causes import RUNTIME_OR_DRIVER, RUNTIME_WITHOUT_CDI, Cause

STATE = "dra_manager_state"
"""The file in the kubelet's folder with what drivers answered for the claims of its pods."""
_WORD = re.compile(r"(?=.*\d)[\w.:-]{4,}")
"""A name that nobody uses by chance."""


def is_asked(pod: Object, role: str) -> bool:
    """Whether a container of a pod has devices by CDI only: it uses claims, and sees no more of
    the node than others do.
    """
    own = _in_spec(pod, role)
    privileged = (own.get("securityContext") or {}).get("privileged")
    return bool((own.get("resources") or {}).get("claims")) and not privileged


def _in_spec(pod: Object, role: str) -> Object:
    """A container as its pod's specification has it."""
    spec = pod["spec"]
    every = (*spec["containers"], *(spec.get("initContainers") or ()))
    return next((one for one in every if one["name"] == role), {})


def is_of_one_pod(claim: Claim) -> bool:
    """Whether a claim was made for a pod, so that no other one may use it."""
    owners = claim.obj["metadata"].get("ownerReferences") or ()
    return bool(claim.template) or any(owner["kind"] == "Pod" for owner in owners)


def shows_something(container: Container, report: Report) -> bool:
    """Whether anything in a container shows a device: CUDA, a device node, or a variable."""
    published = {device for claim in container.claims for device in claim.node_devices}
    names = {text for one in published for text in (one.name, one.uuid) if _WORD.fullmatch(text)}
    told = {one["name"] for one in _in_spec(container.the_pod(), container.role).get("env") or ()}
    words = {
        word
        for name, text in report.environment.items()
        if name not in told  # by the suite, say, which tells containers what was allocated
        for word in re.findall(r"[\w.:-]+", text)
    }
    return bool(report.gpus or report.device_nodes or names & words)


def named_nothing(pod: Object, role: str) -> bool:
    """Whether the driver has named no CDI device for a container that has started.

    The kubelet calls each device by the first one that is named, else by driver, pool and name
    (buildResourceHealth of pkg/kubelet/cm/dra/manager.go).
    """
    told = health(pod, role)
    return bool(told) and not any("=" in name for name in told)


def why_nothing(claims: Collection[str], files: Iterable[File], report: Report) -> Cause | None:
    """Say why a container has nothing of its claims, by what is on its node; None: by the driver.

    Args:
        claims: their UIDs.
        files: the kubelet's state, and the CDI files.
        report: of the container.
    """
    there = list(files)
    state = next((one for one in there if PurePosixPath(one.path).name == STATE), None)
    try:
        known = json.loads(json.loads((state and state.text) or "")["Data"])
    except (ValueError, KeyError, TypeError):
        return RUNTIME_OR_DRIVER
    of_claims = [one for one in _objects(known) if one.get("ClaimUID") in claims]
    if not of_claims:
        return RUNTIME_OR_DRIVER
    asked = {
        str(name)
        for one in _objects(of_claims)
        for name in one.get("CDIDeviceIDs") or one.get("CdiDeviceIDs") or ()
    }
    given = {what for file in cdi_files.read(there) for what in cdi_files.gives(file, asked)}
    return RUNTIME_WITHOUT_CDI if given and not given & report.given() else None


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a document: the kubelet's is laid out otherwise in each of its versions."""
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value:
        if isinstance(part, dict | list):
            yield from _objects(part)
