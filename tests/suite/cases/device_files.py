"""What drivers tell containers of devices in files: what can be wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from harness.cluster.inventory import Device
from harness.scenario.evidence import Evidence
from tests.suite.cases import Case
from tests.suite.made import DEVICES, Change, says

GOOD: Mapping[str, Callable[[], Evidence]] = {}
"""Of scenarios that judge more than this."""

ONE, TWO, THREE = DEVICES[:3]
PATH = f"resourceclaims/gpus/gpus/{ONE.driver}-metadata.json"


def file_of(*devices: Device, uuid: str = "") -> str:
    """A file that tells of devices, after a document of a version that nobody knows."""
    told = [
        {
            "driver": one.driver,
            "pool": one.pool,
            "name": one.name,
            "attributes": {"uuid": {"string": uuid or one.uuid}},
        }
        for one in devices
    ]
    later = {"apiVersion": "other.example/v9", "kind": "Other"}
    content = {
        "apiVersion": "metadata.resource.k8s.io/v1beta1",
        "kind": "DeviceMetadata",
        "requests": [{"name": "gpus", "devices": told}],
    }
    return f"{json.dumps(later)}\n{json.dumps(content)}\n"


def tells(text: str) -> Change:
    """The container has a file with this."""
    return says("user", metadata={PATH: text})


WITHOUT_TYPE = file_of(ONE, TWO).replace(f'{{"string": "{ONE.uuid}"}}', '"GPU-1"')

CASES = (
    Case(
        *("NODE-041", "another UUID", tells(file_of(ONE, TWO, uuid=TWO.uuid))),
        r"a file says that uuid of gpu-0 is GPU-2\S*$",
    ),
    Case(
        *("NODE-041", "one device only", tells(file_of(ONE))),
        r"files tell a container nothing of gpu-1, which it has$",
    ),
    Case(
        *("NODE-041", "a device too many", tells(file_of(ONE, TWO, THREE))),
        r"files tell a container of gpu-2, which it has not$",
    ),
    Case(
        *("NODE-041", "not to be read", tells("")),
        r"a file on devices of a container says nothing: it is empty, or no user may read it$",
    ),
    Case(
        *("NODE-041", "half a file", tells(file_of(ONE, TWO)[:-40])),
        r"a file on devices of a container says nothing: ",
    ),
    Case(
        *("NODE-041", "a value without its type", tells(WITHOUT_TYPE)),
        r"a file on devices of a container says nothing: its uuid has no type$",
    ),
    Case(
        *("NODE-041", "a name that is none", tells(file_of(ONE, TWO).replace('"gpu-0"', "null"))),
        r"a file on devices of a container says nothing: driver, pool and name of a device are no",
    ),
    Case(
        *("NODE-041", "read by a shell", says("user", metadata=None)),
        r"the program in the container does not read these files$",
        blame=None,
    ),
    Case(
        *("NODE-041", "no file", says("user", metadata={})),
        r"unsupported: the driver tells containers nothing of their devices in files$",
        blame=None,
    ),
)
