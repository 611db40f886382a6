"""The conformance suite without pytest: API access, observing, rendering, checks as data, verdicts.

Nothing in here imports pytest, ``fixtures`` or ``suites``; so all of it can be used and tested
alone.
"""

import tomllib
from pathlib import Path

_PROJECT = Path(__file__).parents[1] / "pyproject.toml"
"""In a checkout and in an unpacked bundle; the project is not installed anywhere else."""

__version__: str = tomllib.loads(_PROJECT.read_text(encoding="utf-8"))["project"]["version"]
