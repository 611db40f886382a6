"""How this suite is called where it lies: in a checkout or an unpacked bundle, or installed."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
"""The tree: what has ``run``, or the folder of a wheel that has all the rest."""

INSTALLED = not (ROOT / "run").exists()
"""Whether the tree is the one that a wheel brought (`dra_conformance`)."""
COMMAND = "dra-conformance" if INSTALLED else "./run"
"""What a verb stands behind: ``cluster``, ``push``, ``report``."""
CHECKS_RUN = "dra-conformance run" if INSTALLED else "pytest -m dra"
"""A run on a cluster that exists."""
EMBEDDED_RUN = "dra-conformance run --dra-cluster embedded" if INSTALLED else "./run dra"
"""A run on an embedded cluster of its own."""
WITH_THE_EMBEDDED = (
    "`pip install 'dra-conformance[embedded]'` brings them"
    if INSTALLED
    else "`./run` installs them"
)
"""Who installs the packages that only the embedded cluster needs."""
