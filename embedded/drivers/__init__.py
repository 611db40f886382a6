"""The DRA drivers that an embedded cluster can run."""

from __future__ import annotations

from collections.abc import Mapping

from embedded.drivers.driver import Driver
from embedded.drivers.nvidia import NVIDIA

DRIVERS: Mapping[str, Driver] = {"nvidia": NVIDIA}
"""By what ``--embedded-driver`` calls them."""
