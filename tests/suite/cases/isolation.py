"""Containers with and without a claim: good evidence, and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from harness.scenario.evidence import Evidence
from suites.shown import ASKING
from tests.suite.cases import Case
from tests.suite.made import (
    DEVICES,
    NO_GPU,
    Change,
    alter,
    made,
    report,
    restarted,
    says,
    with_claim,
)

ONE, OTHER = DEVICES[:2]
PLAIN = {"HOSTNAME": "pod", "PATH": "/usr/bin"}
GIVEN = {**PLAIN, "GPU_DEVICE_0": ONE.name}
NONE: Mapping[str, Any] = {"environment": PLAIN, "device_nodes": ()}
ANOTHER = {**PLAIN, "GPU_DEVICE_0": OTHER.name}


def _good() -> Evidence:
    with_it, without = report(ONE, environment=GIVEN), report(**NONE)
    evidence = made(
        "with-and-without-a-claim",
        user=with_it,
        asking_user=replace(with_it, environment={**GIVEN, **ASKING}),
        other=without,
        init_other=without,
        alone=replace(without, **NO_GPU),
        asking_alone=replace(without, **NO_GPU, environment={**PLAIN, **ASKING}),
    )
    evidence.visible_by = "env"
    return with_claim(restarted("other", evidence), "gpus", ONE)


GOOD = {"with-and-without-a-claim": _good}


def shown_by(way: str, change: Change = lambda _: None) -> Change:
    """The driver is said to show devices in another way."""

    def changed(evidence: Evidence) -> None:
        evidence.visible_by = way
        change(evidence)

    return changed


def before_restart(**parts: Any) -> Change:
    """The container without the claim reported something else before its restart."""

    def change(evidence: Evidence) -> None:
        (earlier,) = evidence.containers["other"].earlier
        earlier.found(replace(earlier.get(), **parts))

    return change


def nothing_known(evidence: Evidence) -> None:
    """The container with the claim has nothing by which devices are known."""
    alter(evidence, "user", environment=PLAIN, device_nodes=("gadget0",), gpus=())


CASES = (
    Case(
        "ISO-012",
        "a variable of another device",
        says("user", environment=ANOTHER),
        r"the container's variables name gpu-1, its claim was allocated gpu-0$",
    ),
    Case(
        "ISO-012",
        "no variable",
        says("user", environment=PLAIN),
        r"the container's variables name no device, its claim was allocated gpu-0$",
    ),
    Case(
        "ISO-012",
        "a variable of another device beside CUDA",
        shown_by("cuda", says("user", environment=ANOTHER)),
        r"the container's variables name gpu-1, its claim was allocated gpu-0$",
    ),
    Case(
        "ISO-012",
        "no device node",
        shown_by("devnode", says("user", device_nodes=())),
        r"the container with the claim has no device node that one without a claim has not$",
    ),
    Case(
        "ISO-012",
        "a driver that shows devices by CUDA",
        shown_by("cuda", says("user", environment=PLAIN)),
        r"unsupported: the driver names devices by no variable",
        blame=None,
    ),
    Case(
        "ISO-001",
        "a device node",
        says("alone", device_nodes=("fuse", "nvidia3")),
        r"a pod without a claim has /dev/nvidia3$",
    ),
    Case(
        "ISO-001",
        "a variable",
        says("alone", environment=ANOTHER),
        r"a pod without a claim has GPU_DEVICE_0=gpu-1$",
    ),
    Case(
        "ISO-001",
        "a GPU by CUDA",
        says("alone", gpus=report(ONE).gpus),
        r"a pod without a claim has GPU-1\S+ by CUDA$",
    ),
    Case(
        "ISO-001",
        "a driver of which nothing is known",
        nothing_known,
        r"unsupported: nothing that is known to show devices is in a container with them$",
        blame=None,
    ),
    Case(
        "ISO-002",
        "a device node",
        before_restart(device_nodes=("dri/renderD128",)),
        r"a container that does not name its pod's claim has /dev/dri/renderD128$",
    ),
    Case(
        "ISO-010",
        "a variable",
        says("init-other", environment=GIVEN),
        r"an init container that does not name its pod's claim has GPU_DEVICE_0=gpu-0$",
    ),
    Case(
        "ISO-011",
        "a device node",
        says("other", device_nodes=("nvidia0",)),
        r"after its restart a container that does not name the claim has /dev/nvidia0$",
    ),
    Case(
        "ISO-005",
        "all GPUs without a claim",
        says("asking-alone", device_nodes=("nvidia0", "nvidia1")),
        r"by NVIDIA_VISIBLE_DEVICES=all a pod without a claim has /dev/nvidia0$",
    ),
    Case(
        "ISO-005",
        "one GPU beyond the claim",
        says("asking-user", device_nodes=("nvidia0", "nvidia1")),
        r"by NVIDIA_VISIBLE_DEVICES=all a container has /dev/nvidia1, too$",
    ),
)
