"""The real NVIDIA DRA driver, from its own module and chart.

It is unmodified but for one import of 0.5.0: a stand-in for github.com/NVIDIA/go-nvfm, which the Go
module proxy does not serve. The driver calls it only where FabricManagerPartitioning is on (alpha).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from building.binaries import NVIDIA_DRIVERS
from embedded.drivers.chart import ChartDriver
from embedded.drivers.driver import Driver
from embedded.drivers.nvidia.image import image_for

NVIDIA_RELEASES: Mapping[str, ChartDriver] = {
    version: ChartDriver(
        name="gpu.nvidia.com",
        description=f"NVIDIA DRA driver v{version}",
        version=f"v{version}",
        namespace="dra-driver-nvidia-gpu",
        module=NVIDIA_DRIVERS[version],
        values=Path(__file__).parent / "values.yaml",
        images=tuple(map(image_for, filter(None, (version, after)))),
        next_image=f"localhost/dra-conformance/dra-driver-nvidia-gpu:v{after}" if after else "",
    )
    for after, version in pairwise(("", *NVIDIA_DRIVERS))
}
"""By version, newest first."""
NVIDIA = NVIDIA_RELEASES["0.5.0"]
"""The default."""
NVIDIA_VARIANTS: Mapping[str, Driver] = {
    "mps": NVIDIA.installed("mps", None, "featureGates.MPSSupport=true"),
    **{
        variant: NVIDIA.installed(
            *(variant, None, "featureGates.ConsumableShares=true", f"consumableShares={shares}")
        )
        for variant, shares in {"memory-shares": "memory", "free-shares": "unlimited"}.items()
    },
}
"""The default with feature gates that are off otherwise, by what they are for."""
