"""The real NVIDIA DRA driver, from its own module and chart, unmodified."""

from __future__ import annotations

from pathlib import Path

from building.binaries import NVIDIA_DRIVER, NVIDIA_DRIVER_VERSION
from embedded.drivers.chart import ChartDriver
from embedded.drivers.driver import Driver
from embedded.drivers.nvidia.image import NVIDIA_DRIVER_IMAGE

NVIDIA: Driver = ChartDriver(
    name="gpu.nvidia.com",
    description=f"NVIDIA DRA driver v{NVIDIA_DRIVER_VERSION}",
    namespace="dra-driver-nvidia-gpu",
    module=NVIDIA_DRIVER,
    values=Path(__file__).parent / "values.yaml",
    images=(NVIDIA_DRIVER_IMAGE,),
)
