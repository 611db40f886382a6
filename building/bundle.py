"""The air-gapped bundle: a tree that carries what it needs, and so builds and fetches nothing.

A tree that was unpacked from a bundle has the folder ``bundle`` beside ``run``, with

- ``bundle.json``: a `Bundle`;
- ``artifacts``: built parts, in directories named as in the cache;
- ``wheels`` and ``requirements.lock``: the Python packages that a run needs, and pip.

`delivery.bundle.write` makes bundles, ``install.sh`` unpacks them.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from building.tree import ROOT

FOLDER = ROOT / "bundle"
DESCRIPTION = "bundle.json"
ARTIFACTS = "artifacts"
WHEELS = "wheels"
LOCK = "requirements.lock"

PYTHONS = ("3.11", "3.12", "3.13")
"""Minor versions of Python that bundles carry packages for."""


@dataclass(frozen=True)
class Bundle:
    """What a bundle is, and what of the machine that made it decides the keys of its parts."""

    version: str
    drivers: tuple[str, ...]
    """As ``--embedded-driver`` calls them."""
    kubernetes: tuple[str, ...]
    """Minor releases."""
    pythons: tuple[str, ...]
    """Minor versions that there are packages for; ``run`` reads them, too."""
    python: str
    """Minor version of Python in the images: that of the Python which built them."""
    glibc: str
    """Digest of the glibc in the images: that of the machine which built them."""

    def save(self, folder: Path) -> None:
        """Write the description into the bundle's folder."""
        text = json.dumps(dataclasses.asdict(self), indent=1)
        (folder / DESCRIPTION).write_text(text + "\n")


@functools.cache
def unpacked() -> Bundle | None:
    """The bundle that this tree was unpacked from; None for a checkout."""
    description = FOLDER / DESCRIPTION
    if not description.is_file():
        return None
    values: dict[str, Any] = json.loads(description.read_text())
    for key in ("drivers", "kubernetes", "pythons"):
        values[key] = tuple(values[key])
    return Bundle(**values)
