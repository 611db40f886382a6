"""How a capacity is shared, by the policies that devices can have."""

from __future__ import annotations

from typing import Any

import pytest

from suites.features.test_shares import Amounts, amounts


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        ({}, Amounts(100, 25, 25, None, 100)),
        ({"default": "10"}, Amounts(100, 25, 25, 100, 100)),
        ({"validRange": {"min": "10", "step": "8"}}, Amounts(100, 17, 18, None, 100)),
        ({"default": "10", "validRange": {"min": "10", "step": "8"}}, Amounts(100, 17, 18, 98, 98)),
        ({"default": "1", "validRange": {"min": "1", "max": "1"}}, Amounts(100, 1, 1, 1, 1)),
        ({"default": "10", "validValues": ["10", "40", "90"]}, Amounts(100, 39, 40, 90, 90)),
        ({"default": "24", "validValues": ["24", "25"]}, Amounts(100, 25, 25, 25, 25)),
        ({"default": "100", "validValues": ["100"]}, None),
        ({"default": "60", "validRange": {"min": "60"}}, None),
    ],
)
def test_a_capacity_is_shared_as_its_policy_has_it(
    policy: dict[str, Any], wanted: Amounts | None
) -> None:
    """By two claims, and by a third one for which too little is left if that is possible."""
    assert amounts({"value": "100", "requestPolicy": policy}) == wanted
