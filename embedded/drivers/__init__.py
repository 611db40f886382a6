"""The DRA drivers that an embedded cluster can run."""

from __future__ import annotations

from collections.abc import Mapping

from embedded.drivers.driver import Driver
from embedded.drivers.example import EXAMPLE, EXAMPLE_RELEASES, EXAMPLE_VARIANTS
from embedded.drivers.nvidia import NVIDIA, NVIDIA_RELEASES, NVIDIA_VARIANTS
from embedded.drivers.reference import CHANNELS, REFERENCE

DRIVERS: Mapping[str, Driver] = {
    "nvidia": NVIDIA,
    "example": EXAMPLE,
    "reference": REFERENCE,
    "channels": CHANNELS,
    **{f"nvidia@{version}": driver for version, driver in NVIDIA_RELEASES.items()},
    **{f"example@{version}": driver for version, driver in EXAMPLE_RELEASES.items()},
    **{f"nvidia+{variant}": driver for variant, driver in NVIDIA_VARIANTS.items()},
    **{f"example+{variant}": driver for variant, driver in EXAMPLE_VARIANTS.items()},
}
"""By what ``--embedded-driver`` calls them; a name alone is the default version of it, and with a
variant (``+``) that version, installed otherwise."""


def version_of(name: str) -> str:
    """The version of one of `DRIVERS`, with ``+VARIANT`` behind it where it is installed so."""
    return DRIVERS[name].version + "".join(name.partition("+")[1:])
