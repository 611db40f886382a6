"""What a report says about the run besides its results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.options import Given
from harness.verdict.outcome import Record


@dataclass(frozen=True)
class Facts:
    """One run, for every writer."""

    run_id: str
    cluster: str
    """The first line of every report: which cluster, which driver, which hardware."""
    hardware: str
    kubernetes: str
    server: str
    driver: str
    profile: str
    product: str
    started: datetime
    seconds: float
    exit_code: int
    options: tuple[Given, ...]
    folder: Path
    junit: Path
    host: str
    suite: str
    dra_api: str
    """The version of resource.k8s.io that the run used."""
    kept: str
    """The command that deletes what was kept on request."""
    properties: Mapping[str, str] = field(default_factory=dict)

    def given(self) -> list[Given]:
        """List the options, the defaults last."""
        return sorted(self.options, key=lambda option: option.origin == "default")

    def shown(self, record: Record) -> dict[str, str]:
        """As names and values, for dashboards."""
        return {
            "place": self.cluster,
            "verdict": record.verdict().value,
            "exit.code": str(self.exit_code),
            "run.id": self.run_id,
            "suite.version": self.suite,
            "hardware": self.hardware,
            "k8s.version": self.kubernetes,
            "k8s.server": self.server,
            "k8s.dra.api": self.dra_api,
            "driver.name": self.driver,
            "driver.profile": self.profile,
            "gpu.product": self.product,
            **self.properties,
        }


def images(environment: Mapping[str, Any]) -> list[str]:
    """List the images of the driver's containers that a run has seen."""
    found = records(environment.get("driver_containers"))
    return sorted({str(entry.get("image")) for entry in found if entry.get("image")})


def records(value: object) -> list[Mapping[str, Any]]:
    """Answer a list of objects; an empty one where the environment holds something else."""
    if not isinstance(value, list):
        return []
    return [item for item in value if isinstance(item, Mapping)]
