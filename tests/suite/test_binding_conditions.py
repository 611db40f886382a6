"""When the binding conditions of a claim's devices are met."""

from __future__ import annotations

import pytest

from harness.cluster.kinds import Object
from suites.features.test_binding_conditions import met

DEVICE = {"driver": "gpu.example", "pool": "node", "device": "gpu-0"}


def condition(name: str, status: str = "True") -> Object:
    """One that is said of the device."""
    return {**DEVICE, "conditions": [{"type": name, "status": status}]}


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ([], False),
        ([condition("attached")], True),
        ([condition("attached", "False")], False),
        ([condition("ready")], False),
        ([{**condition("attached"), "device": "gpu-1"}], False),
        ([DEVICE], False),
    ],
)
def test_conditions_are_met_when_all_are_true(said: list[Object], wanted: bool) -> None:
    """Those of the device that was allocated."""
    allocated = {"devices": {"results": [{**DEVICE, "bindingConditions": ["attached"]}]}}
    assert met({"status": {"allocation": allocated, "devices": said}}) is wanted
