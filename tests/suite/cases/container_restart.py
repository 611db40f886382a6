"""A container that is started again: good evidence, and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.scenario.evidence import Evidence
from harness.scenario.observed import Observed
from harness.scenario.workload_report import WorkloadReport
from tests.suite.cases import Case
from tests.suite.made import DEVICES, made, report, says

ONE, OTHER = DEVICES[:2]
BARE = {"HOSTNAME": "pod"}


def _given(environment: Mapping[str, str], *nodes: str) -> WorkloadReport:
    return report(environment=environment, device_nodes=nodes)


def _container_restart() -> Evidence:
    evidence = made(
        "container-restart",
        user=_given({**BARE, "GPU": ONE.uuid}, "nvidia0"),
        other=_given(BARE),
    )
    user = evidence.containers["user"]
    before: Observed[WorkloadReport] = Observed("the report before")
    before.found(user.report.get())
    user.earlier.append(before)
    return evidence


def _shows_nothing(evidence: Evidence) -> None:
    user = evidence.containers["user"]
    for piece in (user.earlier[0], user.report):
        piece.found(_given(BARE))


GOOD: Mapping[str, Callable[[], Evidence]] = {"container-restart": _container_restart}

CASES = (
    Case(
        "LIFE-002",
        "another device node",
        says("user", device_nodes=("nvidia1",)),
        r"after its restart the container has /dev/nvidia1 instead of /dev/nvidia0$",
    ),
    Case(
        "LIFE-002",
        "another variable",
        says("user", environment={**BARE, "GPU": OTHER.uuid}),
        r"after its restart the container has GPU=GPU-2\S*… instead of GPU=GPU-1\S*…$",
    ),
    Case(
        "LIFE-002",
        "no device at all",
        says("user", environment=BARE, device_nodes=()),
        r"after its restart the container has nothing instead of /dev/nvidia0$",
    ),
    Case(
        "LIFE-002",
        "a driver that shows its devices otherwise",
        _shows_nothing,
        r"unsupported: the driver shows devices by no variable and no NVIDIA device node$",
        blame=None,
    ),
)
