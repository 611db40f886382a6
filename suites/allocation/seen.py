"""Which devices a container has, by what shows them: CUDA, or variables of its environment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.cluster.inventory import Device, free_by_node
from harness.cluster.kinds import CLAIM
from harness.scenario.evidence import REST, Claim, Container, Evidence
from harness.scenario.pod_spec import LONG, SHORT, ContainerSpec
from harness.scenario.scenario import CUDA
from harness.scenario.steps import Steps
from harness.verdict.finding import UnsupportedError, counted
from suites.shown import in_variables

INVENTORY = "inventory"
SHOWN = 3
"""So many devices are named in a line; of more, the number is told."""


def showing(
    steps: Steps, role: str, *, requests: Iterable[str] = (), ends: bool = False
) -> ContainerSpec:
    """Describe a container that reports which devices it has.

    Args:
        steps: of the scenario.
        role: how it is called.
        requests: of the pod's claim, those that it gets; all of them where none is named.
        ends: whether it has to end by itself, whatever shows the devices.
    """
    args: Sequence[str] = [INVENTORY, "--role", role]
    if steps.run.subject.profile.visible_by != CUDA:
        args = [REST, "--role", role, "--patience", SHORT if ends else LONG]
    return ContainerSpec(role, args, waits=False, requests=tuple(requests))


def show(steps: Steps, role: str, *claims: Claim, name: str = "") -> Container:
    """Have a pod use claims, and its container report which devices it has.

    Args:
        steps: of the scenario.
        role: how the container is called.
        claims: what the pod uses.
        name: of the pod, but for the scenario's name; empty: as the container.
    """
    (container,) = steps.start_pod(name or role, [showing(steps, role)], *claims)
    steps.await_report(container)
    return container


def free(steps: Steps) -> list[Device]:
    """List the devices of the node that has most free, without those that somebody holds."""
    found = free_by_node(steps.run.devices(), steps.run.observer.objects(CLAIM))
    return max((found[node] for node in steps.run.subject.slots if node in found), key=len)


def seen(evidence: Evidence, role: str) -> set[Device]:
    """Find the published devices of the node that a container has.

    Raises:
        JudgementError: it left no report, or nothing in it shows devices.
    """
    report, container = evidence.report(role), evidence.container(role)
    by_cuda = container.args[:1] == (INVENTORY,)
    published = {device for claim in container.claims for device in claim.node_devices}
    uuids = {gpu.uuid for gpu in report.gpus}
    found = {device for device in published if device.uuid in uuids}
    if not by_cuda:
        found = in_variables(report, published)
    if not found and not by_cuda:
        raise UnsupportedError("no variable of the container names a device")
    return found


def must_see(
    evidence: Evidence, role: str, wanted: Iterable[Device], whose: str = "allocated"
) -> None:
    """End a check with a finding where a container has other devices than it must have.

    Args:
        evidence: of the scenario.
        role: the container.
        wanted: the devices that it must have.
        whose: which devices those are, in a word.
    """
    found, must = seen(evidence, role), set(wanted)
    if found != must:
        evidence.fail(
            f"the container has {named(found)}; {whose}: {named(must)}",
            expected=", ".join(sorted(f"{one.name} ({one.uuid})" for one in must)) or "no device",
            observed=", ".join(sorted(f"{one.name} ({one.uuid})" for one in found)) or "no device",
        )


def named(devices: Iterable[Device]) -> str:
    """Name devices in a sentence."""
    names = sorted(device.name for device in devices)
    if len(names) > SHOWN:
        return counted(len(names), "device")
    return " and ".join(names) or "no device"
