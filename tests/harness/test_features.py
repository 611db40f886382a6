"""Feature gates are found by what the API server does with a field."""

from __future__ import annotations

import pytest

from harness.cluster.features import State, find, gates
from harness.cluster.kube import Kube
from tests.harness.fake_api import FakeApi

CONSUMABLE, ADMIN = "DRAConsumableCapacity", "DRAAdminAccess"


def test_a_field_that_comes_back_is_on_and_one_that_is_gone_is_off(
    api: FakeApi, kube: Kube
) -> None:
    """And nothing of it is stored."""
    api.gates_off.add("capacity")
    found = find(kube, "here")
    assert set(found) == set(gates())
    assert (found[CONSUMABLE], found[ADMIN]) == (State.OFF, State.ON)
    assert api.objects == {}
    assert {query.get("dryRun") for _, _, query in api.requests} == {"All"}


@pytest.mark.parametrize(
    ("status", "message", "states"),
    [
        (403, 'User "u" cannot create resource', {State.UNKNOWN}),
        (400, 'strict decoding error: unknown field "spec.x"', {State.ABSENT}),
        (400, "something else", {State.UNKNOWN}),
    ],
)
def test_a_refusal_says_what_it_says(
    status: int, message: str, states: set[State], api: FakeApi, kube: Kube
) -> None:
    """A missing right is no gate that is off."""
    api.fail = lambda *_: (status, "Refused", message)
    assert set(find(kube, "here").values()) == states


def test_an_object_that_is_invalid_without_the_field_tells_of_the_gate(
    api: FakeApi, kube: Kube
) -> None:
    """Of others than those for which this is known it tells nothing."""
    api.fail = lambda *_: (422, "Invalid", "is invalid")
    found = find(kube, "here")
    assert found["DRAPrioritizedList"] is State.OFF
    assert found[ADMIN] is State.ON
    assert found[CONSUMABLE] is State.UNKNOWN


@pytest.mark.parametrize("version", ["v1beta2", "v1beta1"])
def test_older_versions_are_asked_in_their_own_shape(
    version: str, api: FakeApi, kube: Kube
) -> None:
    """The field is found again where that version has it."""
    api.dra_api = kube.dra_api = version
    api.gates_off.add("adminAccess")
    found = find(kube, "here")
    assert (found[CONSUMABLE], found[ADMIN]) == (State.ON, State.OFF)
