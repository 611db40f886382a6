"""The workload's interpreter and program as they stand in the image, to run on this machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from building.architecture import AMD64
from building.artifacts import Artifact, Build
from images.cpython import CPYTHON
from images.workload import SOURCE, add_program, base_for


def _build(build: Build) -> None:
    """The base and the program; files of the base are shared with it, not copied."""
    base = build.needs["workload-base"]
    shutil.copytree(base, build.out, symlinks=True, copy_function=os.link, dirs_exist_ok=True)
    add_program(build, build.out)


WORKLOAD_PYTHON = Artifact(
    "workload-python",
    (SOURCE, Path(__file__)),
    _build,
    needs=(base_for(AMD64), CPYTHON),
)
"""A directory where ``opt/python/bin/python3 -m workload`` runs as it is."""
