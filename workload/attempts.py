"""The ways in which `workload.probe` tries to open what was offered."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

FLIPPED = (0, 1, 4, 8, 12, 16, 24, 32, 48, 63)
"""The bytes of a handle that are inverted, one at a time."""

NAMES: Mapping[str, bool] = MappingProxyType(
    {
        "open": False,
        "reopened": False,
        "twice": False,
        "many": True,
        "interior": True,
        "freed": True,
        "garbage-zeros": False,
        "garbage-random": False,
        **{f"flip-{byte}": False for byte in FLIPPED},
        "truncated-32": False,
        "flags-0": False,
        "flags-2": False,
        "own": False,
        "pid-of-nobody": False,
        "pid-of-importer": False,
        "event": True,
    }
)
"""All of them in their order, and whether they need an offer with extras."""
