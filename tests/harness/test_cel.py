"""Selectors of devices, as the scheduler would evaluate them."""

from __future__ import annotations

from typing import Any

import pytest

from harness.cluster.cel import CelError, UnknownError, matches

DRIVER = "gpu.example.com"
DEVICE: dict[str, Any] = {
    "name": "gpu-0",
    "attributes": {
        "type": {"string": "gpu"},
        "index": {"int": 3},
        "ecc": {"bool": True},
        f"{DRIVER}/driverVersion": {"version": "580.159.4"},
        "links": {"strings": ["a", "b"]},
        "resource.kubernetes.io/pciBusID": {"string": "0000:3b:00.0"},
    },
    "capacity": {"memory": {"value": "80Gi"}},
}


def evaluated(expression: str) -> bool:
    """Whether the device matches."""
    return matches([{"cel": {"expression": expression}}], DEVICE, DRIVER)


@pytest.mark.parametrize(
    "expression",
    [
        "true",
        f"device.driver == '{DRIVER}' && device.attributes['{DRIVER}'].type == 'gpu'",
        f'device.attributes["{DRIVER}"].index in [1, 3] || false',
        f"device.attributes['{DRIVER}'].ecc",
        f"!(device.attributes['{DRIVER}'].index > 3) && 1 + 2 * 3 - 1 == 6",
        f"device.attributes['{DRIVER}'].driverVersion.isGreaterThan(semver('550.0.0'))",
        f"device.attributes['{DRIVER}'].driverVersion.compareTo(semver('580.159.4')) == 0",
        f"device.attributes['{DRIVER}'].driverVersion.major() == 580",
        f"device.capacity['{DRIVER}'].memory.compareTo(quantity('40Gi')) > 0",
        f"device.capacity['{DRIVER}'].memory >= quantity('80Gi')",
        f"'type' in device.attributes['{DRIVER}'] && !('x' in device.attributes['{DRIVER}'])",
        f"has(device.attributes['{DRIVER}'].type) && !has(device.attributes['{DRIVER}'].x)",
        "device.attributes['resource.kubernetes.io'].pciBusID.startsWith('0000:')",
        f"device.attributes['{DRIVER}'].type.matches('^g.u$')",
        f"device.attributes['{DRIVER}'].?model.orValue('none') == 'none'",
        f"cel.bind(d, device.attributes['{DRIVER}'], d.type == 'gpu' && d.index == 3)",
        f"device.attributes['{DRIVER}'].links.exists(l, l == 'b')",
        f"device.attributes['{DRIVER}'].index == 3 ? true : false",
        f"device.attributes['{DRIVER}'].type != 3",
        "device.driver != 'other' || device.attributes['other'].type == 'x'",
        "device.attributes['other'].type == 'x' || true",
        "!device.allowMultipleAllocations",
    ],
)
def test_what_matches(expression: str) -> None:
    """Operators, functions and macros of which selectors are made."""
    assert evaluated(expression)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("device.attributes['other'].type == 'x'", "no such key: type"),
        (f"device.attributes['{DRIVER}'].nosuch == 'x'", "no such key: nosuch"),
        (f"device.attributes['{DRIVER}'].type.isGreaterThan(semver('1.0.0'))", "no such overload"),
        (f"device.attributes['{DRIVER}'].type", "no such overload"),
        (f"device.attributes['{DRIVER}'].index > '1'", "no such overload"),
        ("semver('one').major() == 1", "no semantic version"),
        ("quantity('much') > quantity('1')", "no quantity"),
    ],
)
def test_what_has_an_error(expression: str, words: str) -> None:
    """It would end the allocation on the node."""
    with pytest.raises(CelError, match=words):
        evaluated(expression)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("device.driver.reverse() == 'x'", r"reverse\(\)"),
        ("url('x') == 'x'", r"url\(\)"),
        ("device.driver == #", "#"),
        ("(true", "something else"),
        ("true true", "true"),
    ],
)
def test_what_is_not_known_is_said(expression: str, words: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(UnknownError, match=words):
        evaluated(expression)


def test_every_selector_has_to_match() -> None:
    """Those after the first that does not are not evaluated."""
    one, other = "device.driver == 'x'", "device.attributes['other'].type == 'x'"
    assert not matches([{"cel": {"expression": text}} for text in (one, other)], DEVICE, DRIVER)
    assert matches([], DEVICE, DRIVER)
