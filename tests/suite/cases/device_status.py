"""What drivers say of devices in the status of claims: what can be wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.cluster.inventory import Device
from harness.cluster.kinds import Object
from harness.scenario.evidence import Evidence
from harness.verdict.finding import Blame
from tests.suite.cases import Case
from tests.suite.made import DEVICES, Change

GOOD: Mapping[str, Callable[[], Evidence]] = {}
"""Of scenarios that judge more than this."""

ONE, TWO = DEVICES[:2]


def of(device: Device, what: Device) -> Object:
    """What a status says of a device."""
    key = {"driver": device.driver, "pool": device.pool, "device": device.name}
    return {**key, "data": {"ids": [{"uuid": what.uuid}], "slot": 3}}


def told(*said: Object) -> Change:
    """The claim's status has this while the claim is allocated."""

    def change(evidence: Evidence) -> None:
        evidence.claims["gpus"].history = ({"status": {"devices": list(said)}},)

    return change


def _stays(evidence: Evidence) -> None:
    evidence.claims["gpus"].released.found({"status": {"devices": [of(ONE, ONE)]}})


CASES = (
    Case(
        *("LIFE-008", "of another device", told(of(ONE, ONE), of(TWO, ONE))),
        r"a claim's status says of gpu-1 what gpu-0 is: GPU-1\S*$",
    ),
    Case(
        *("LIFE-008", "it stays", _stays),
        r"a claim that has no device any more says in its status how gpu-0 is$",
        blame=Blame.CLUSTER,
    ),
    Case(
        *("LIFE-008", "nothing", told()),
        r"unsupported: the driver says nothing of its devices in the status of claims$",
        blame=None,
    ),
)
