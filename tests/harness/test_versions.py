"""Versions of the API: what is chosen, and what changes on the way."""

from __future__ import annotations

import json

import pytest

from harness.cluster.kinds import CLAIM, POD, Object
from harness.cluster.versions import VERSIONS, best, from_server, served_as, to_server

ASKED = {"deviceClassName": "c", "count": 2, "selectors": [{"cel": {"expression": "true"}}]}
EITHER = {"name": "b", "firstAvailable": [{"name": "big", "deviceClassName": "c"}]}
SAID = {"attributes": {"uuid": {"string": "u"}}, "capacity": {"memory": {"value": "1Gi"}}}
STATUS = {"allocation": {"devices": {"results": [{"request": "a"}]}}}


def claim(version: str, *requests: Object) -> Object:
    """A claim with requests."""
    spec = {"devices": {"requests": list(requests), "constraints": [{"matchAttribute": "x"}]}}
    return {
        "apiVersion": f"resource.k8s.io/{version}",
        "kind": "ResourceClaim",
        "metadata": {"name": "c"},
        "spec": spec,
        "status": STATUS,
    }


def template(version: str, *requests: Object) -> Object:
    """A template of a claim with requests."""
    spec = {"metadata": {}, "spec": claim(version, *requests)["spec"]}
    return {**claim(version), "kind": "ResourceClaimTemplate", "spec": spec}


def slice_of(version: str, device: Object) -> Object:
    """A slice with a device."""
    spec = {"driver": "d", "nodeName": "n", "devices": [device]}
    return {**claim(version), "kind": "ResourceSlice", "spec": spec}


PAIRS = [
    (claim("v1", {"name": "a", "exactly": ASKED}, EITHER), {"name": "a", **ASKED}),
    (template("v1", {"name": "a", "exactly": ASKED}, EITHER), {"name": "a", **ASKED}),
    (slice_of("v1", {"name": "g", **SAID}), {"name": "g", "basic": SAID}),
]


@pytest.mark.parametrize(
    ("served", "chosen"),
    [
        (["v1", "v1beta2", "v1beta1"], "v1"),
        (["v1beta1", "v1beta2"], "v1beta2"),
        (["v1alpha3", "v1beta1"], "v1beta1"),
        (["v1alpha3"], None),
        ([], None),
    ],
)
def test_the_best_served_version_is_chosen(served: list[str], chosen: str | None) -> None:
    """Whatever the order in which the server names them."""
    assert best(served) == chosen


def test_only_kinds_of_the_group_have_its_version() -> None:
    """Pods stay where they are."""
    assert served_as(CLAIM, "v1beta1").path("n") == (
        "/apis/resource.k8s.io/v1beta1/namespaces/n/resourceclaims"
    )
    assert served_as(POD, "v1beta1") is POD
    pod: Object = {"apiVersion": "v1", "kind": "Pod", "spec": {"devices": {"requests": [1]}}}
    assert to_server(pod, "v1beta1") is pod is from_server(pod)


@pytest.mark.parametrize(("obj", "flat"), PAIRS, ids=["claim", "template", "slice"])
def test_v1beta1_has_flat_requests_and_wrapped_devices(obj: Object, flat: Object) -> None:
    """Alternatives, constraints and status are the same."""
    text = json.dumps(obj)
    sent = to_server(obj, "v1beta1")
    assert json.dumps(obj) == text
    spec = sent["spec"].get("spec", sent["spec"])
    found = spec["devices"] if isinstance(spec["devices"], list) else spec["devices"]["requests"]
    assert found[0] == flat
    assert found[1:] in ([], [EITHER])
    assert sent["apiVersion"] == "resource.k8s.io/v1beta1"
    assert sent["status"] == STATUS


@pytest.mark.parametrize(("obj", "flat"), PAIRS, ids=["claim", "template", "slice"])
def test_v1beta2_differs_by_name(obj: Object, flat: Object) -> None:
    """And by nothing else."""
    assert to_server(obj, "v1beta2") == {**obj, "apiVersion": "resource.k8s.io/v1beta2"}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("obj", "flat"), PAIRS, ids=["claim", "template", "slice"])
def test_what_comes_back_is_what_was_sent(obj: Object, flat: Object, version: str) -> None:
    """In the shape that the checks know."""
    assert from_server(to_server(obj, version)) == obj


def test_an_object_without_what_changes_is_taken_as_it_is() -> None:
    """Slices of counters have no devices, classes and deleted claims nothing of it."""
    for kind in ("ResourceSlice", "ResourceClaim", "DeviceClass"):
        obj = {**claim("v1beta1"), "kind": kind, "spec": {"sharedCounters": []}}
        assert from_server(obj) == {**obj, "apiVersion": "resource.k8s.io/v1"}
