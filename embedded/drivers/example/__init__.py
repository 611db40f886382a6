"""dra-example-driver, unmodified: made-up GPUs that a container sees as environment variables."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from embedded.drivers.chart import ChartDriver
from embedded.drivers.driver import Driver
from embedded.drivers.example.image import VERSIONS, image_for, program_for

EXAMPLE_RELEASES: Mapping[str, ChartDriver] = {
    version: ChartDriver(
        name="gpu.example.com",
        description=f"dra-example-driver v{version}",
        version=f"v{version}",
        namespace="dra-example-driver",
        module=program_for(version),
        values=Path(__file__).parent / "values.yaml",
        images=tuple(map(image_for, filter(None, (version, after)))),
        next_image=f"localhost/dra-conformance/dra-example-driver:v{after}" if after else "",
        devices=4,  # values.yaml
    )
    for after, version in pairwise(("", *VERSIONS))
}
"""By version, newest first."""
EXAMPLE = EXAMPLE_RELEASES["0.4.0"]
"""The default."""
EXAMPLE_VARIANTS: Mapping[str, Driver] = {
    # Of each of the four GPUs there are two halves beside the whole.
    "partitions": EXAMPLE.installed("partitions", 12, "kubeletPlugin.gpuPartitions=2"),
}
"""The default with what is off otherwise, by what it is for."""
