"""Claims as data become what the API takes."""

from __future__ import annotations

from pathlib import Path

from harness.cluster.render import Manifests
from harness.scenario.claim_spec import ALL, ClaimSpec, Constraint, Parameters, Request

TEMPLATES = Manifests(Path(__file__).parents[2] / "fixtures" / "manifests")
DRIVER, CLASS = "gpu.example.com", "gpu"


def spec_of(claim: ClaimSpec) -> object:
    """What the template makes of it."""
    values = {"namespace": "default", **claim.values(DRIVER, CLASS)}
    return TEMPLATES.one("claim.yaml.j2", values)["spec"]["devices"]


def test_a_request_is_for_one_device_of_the_drivers_class() -> None:
    """Nothing is said that need not be said."""
    exactly = {"deviceClassName": CLASS}
    assert spec_of(ClaimSpec("c", [Request("a")])) == {
        "requests": [{"name": "a", "exactly": exactly}]
    }


def test_requests_say_how_many_devices_of_which_kind() -> None:
    """A number, or all; of another class; with selectors that all have to be satisfied."""
    some = Request("some", 3, selectors=["1 == 1", "true"])
    selectors = [{"cel": {"expression": "1 == 1"}}, {"cel": {"expression": "true"}}]
    every = Request("every", ALL, device_class="other")
    assert spec_of(ClaimSpec("c", [some, every])) == {
        "requests": [
            {
                "name": "some",
                "exactly": {"deviceClassName": CLASS, "count": 3, "selectors": selectors},
            },
            {"name": "every", "exactly": {"deviceClassName": "other", "allocationMode": "All"}},
        ]
    }


def test_constraints_and_parameters_are_of_the_claim() -> None:
    """Parameters are for the driver under test, if no other is named."""
    claim = ClaimSpec(
        "c",
        [Request("a", 2)],
        [Constraint(matches="gpu.example.com/model"), Constraint(differs="gpu.example.com/uuid")],
        [Parameters({"kind": "K"}), Parameters({"kind": "L"}, requests=["a"], driver="other")],
    )
    assert spec_of(claim) == {
        "requests": [{"name": "a", "exactly": {"deviceClassName": CLASS, "count": 2}}],
        "constraints": [
            {"matchAttribute": "gpu.example.com/model"},
            {"distinctAttribute": "gpu.example.com/uuid"},
        ],
        "config": [
            {"requests": [], "opaque": {"driver": DRIVER, "parameters": {"kind": "K"}}},
            {"requests": ["a"], "opaque": {"driver": "other", "parameters": {"kind": "L"}}},
        ],
    }
