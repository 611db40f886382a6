"""An init container and the container after it: good evidence, and what can be wrong with it."""

from __future__ import annotations

from tests.suite.cases import Case
from tests.suite.made import DEVICES, made, report, says

ONE, OTHER = DEVICES[:2]
WITHOUT = {"HOSTNAME": "pod"}
WITH = {**WITHOUT, "GPU": ONE.uuid}

GOOD = {
    "init-container": lambda: made(
        "init-container",
        init=report(ONE, environment=WITH),
        user=report(ONE, environment=WITH),
        other=report(environment=WITHOUT),
    )
}

CASES = (
    Case(
        "SHARE-002",
        "another device node",
        says("user", device_nodes=report(OTHER).device_nodes),
        r"the init container has /dev/nvidia0, the container after it /dev/nvidia1$",
    ),
    Case(
        "SHARE-002",
        "another variable",
        says("user", environment={**WITHOUT, "GPU": OTHER.uuid}),
        r"the init container has GPU=GPU-1\S*…, the container after it GPU=GPU-2\S*…$",
    ),
    Case(
        "SHARE-002",
        "no device before",
        says("init", environment=WITHOUT, device_nodes=report().device_nodes),
        r"the init container has nothing, the container after it /dev/nvidia0$",
    ),
    Case(
        "SHARE-002",
        "nothing that only the claim gives",
        says("other", environment=WITH, device_nodes=report(ONE).device_nodes),
        r"unsupported: the driver shows devices by no variable and no device node$",
        blame=None,
    ),
)
