"""The DRA drivers that an embedded cluster can run."""

from __future__ import annotations

from collections.abc import Mapping

from embedded.drivers.driver import Driver
from embedded.drivers.example import EXAMPLE
from embedded.drivers.nvidia import NVIDIA
from embedded.drivers.reference import REFERENCE

DRIVERS: Mapping[str, Driver] = {"nvidia": NVIDIA, "example": EXAMPLE, "reference": REFERENCE}
"""By what ``--embedded-driver`` calls them."""
