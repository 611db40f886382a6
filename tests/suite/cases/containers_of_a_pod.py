"""Several containers of a pod, and a sidecar that is started again: good evidence, and bad."""

from __future__ import annotations

from harness.scenario.evidence import Evidence
from tests.suite.cases import Case
from tests.suite.made import DEVICES, made, report, restarted, says

ONE, OTHER = DEVICES[:2]
WITHOUT = {"HOSTNAME": "pod"}
WITH = {**WITHOUT, "GPU": ONE.uuid}


def _containers_of_a_pod() -> Evidence:
    evidence = made(
        "containers-of-a-pod",
        sidecar=report(ONE, environment=WITH),
        first=report(ONE, environment=WITH),
        second=report(ONE, environment=WITH),
        other=report(environment=WITHOUT),
    )
    return restarted("sidecar", evidence)


def _sidecar_begins_with_another(evidence: Evidence) -> None:
    evidence.containers["sidecar"].earlier[0].found(report(OTHER, environment=WITH))


GOOD = {"containers-of-a-pod": _containers_of_a_pod}

CASES = (
    Case(
        "SHARE-001",
        "another device node",
        says("second", device_nodes=report(OTHER).device_nodes),
        r"the second container of the pod has /dev/nvidia1 instead of /dev/nvidia0$",
    ),
    Case(
        "SHARE-001",
        "no device in the second container",
        says("second", environment=WITHOUT, device_nodes=report().device_nodes),
        r"the second container of the pod has nothing instead of /dev/nvidia0$",
    ),
    Case(
        "SHARE-001",
        "nothing that only the claim gives",
        says("other", environment=WITH, device_nodes=report(ONE).device_nodes),
        r"unsupported: the driver shows devices by no variable and no device node$",
        blame=None,
    ),
    Case(
        "SHARE-003",
        "another device from the beginning",
        _sidecar_begins_with_another,
        r"the sidecar has /dev/nvidia1 instead of /dev/nvidia0$",
    ),
    Case(
        "SHARE-003",
        "another variable after its restart",
        says("sidecar", environment={**WITHOUT, "GPU": OTHER.uuid}),
        r"after its restart the sidecar has GPU=GPU-2\S*… instead of GPU=GPU-1\S*…$",
    ),
)
