"""A container that is started again: good evidence, and what can be wrong with it."""

from __future__ import annotations

from tests.suite.cases import Case
from tests.suite.made import DEVICES, made, report, restarted, says

ONE, OTHER = DEVICES[:2]
WITHOUT = {"HOSTNAME": "pod"}
WITH = {**WITHOUT, "GPU": ONE.uuid}

GOOD = {
    "container-restart": lambda: restarted(
        "user",
        made(
            "container-restart",
            user=report(ONE, environment=WITH),
            other=report(environment=WITHOUT),
        ),
    )
}

CASES = (
    Case(
        "LIFE-002",
        "another device node",
        says("user", device_nodes=report(OTHER).device_nodes),
        r"after its restart the container has /dev/nvidia1 instead of /dev/nvidia0$",
    ),
    Case(
        "LIFE-002",
        "another variable",
        says("user", environment={**WITHOUT, "GPU": OTHER.uuid}),
        r"after its restart the container has GPU=GPU-2\S*… instead of GPU=GPU-1\S*…$",
    ),
    Case(
        "LIFE-002",
        "no device at all",
        says("user", environment=WITHOUT, device_nodes=report().device_nodes),
        r"after its restart the container has nothing instead of /dev/nvidia0$",
    ),
    Case(
        "LIFE-002",
        "nothing that only the claim gives",
        says("other", environment=WITH, device_nodes=report(ONE).device_nodes),
        r"unsupported: the driver shows devices by no variable and no device node$",
        blame=None,
    ),
)
