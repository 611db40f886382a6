"""dra-example-driver, unmodified: made-up GPUs that a container sees as environment variables."""

from __future__ import annotations

from pathlib import Path

from embedded.drivers.chart import ChartDriver
from embedded.drivers.driver import Driver
from embedded.drivers.example.image import EXAMPLE_DRIVER, EXAMPLE_IMAGE, VERSION

EXAMPLE: Driver = ChartDriver(
    name="gpu.example.com",
    description=f"dra-example-driver v{VERSION}",
    namespace="dra-example-driver",
    module=EXAMPLE_DRIVER,
    values=Path(__file__).parent / "values.yaml",
    images=(EXAMPLE_IMAGE,),
    devices=4,  # values.yaml
)
