"""The Python packages that a bundle carries: those that a run needs, and pip to install them."""

from __future__ import annotations

import re
import shutil
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from building.artifacts import Artifact, Build, BuildError
from building.bundle import LOCK, PYTHONS, WHEELS
from building.toolchain import PINS
from building.tree import ROOT

_PROJECT = ROOT / "pyproject.toml"
_LOCK = ROOT / "requirements.lock"
_PIP = PINS / "pip.txt"
_OLD_GLIBCS = (28, 27, 24, 17, 12, 5)
"""Minor versions of glibc 2 in the tags of wheels that Debian 12 and Ubuntu 24.04 can load."""


def runtime_lock(lock: str, roots: Sequence[str]) -> str:
    """The part of a lock file that some requirements need, by its own notes of who needs what.

    Args:
        lock: text of a ``requirements.lock``, as `./run lock` writes it.
        roots: requirements such as ``kubernetes>=37``.

    Raises:
        BuildError: one of them is not in the lock.
    """
    blocks: dict[str, str] = {
        found[1]: block
        for block in re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE)
        if (found := re.match(r"([A-Za-z0-9._-]+)==", block))
    }
    # `# via one`, or a line for each of several.
    needed_by = {
        name: set(re.findall(r"^ +# (?:via| ) +(\S+)", block, re.MULTILINE))
        for name, block in blocks.items()
    }
    needed: set[str] = {canonicalize_name(Requirement(root).name) for root in roots}
    if unlocked := needed - blocks.keys():
        raise BuildError(f"requirements.lock lacks {', '.join(sorted(unlocked))}: `./run lock`")
    while more := {name for name, by in needed_by.items() if by & needed} - needed:
        needed |= more
    return "".join(blocks[name] for name in sorted(needed))


def _build(build: Build) -> None:
    project = tomllib.loads(_PROJECT.read_text())["project"]
    roots = [*project["dependencies"], *project["optional-dependencies"]["embedded"]]
    (build.out / LOCK).write_text(runtime_lock(_LOCK.read_text(), roots))
    for python in PYTHONS:
        build.run(
            *(sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps"),
            *("--require-hashes", "--only-binary=:all:", "--progress-bar=off"),
            *("--implementation=cp", f"--python-version={python}", "--platform=any"),
            *(f"--abi={abi}" for abi in (f"cp{python.replace('.', '')}", "abi3", "none")),
            *(f"--platform=manylinux_2_{minor}_x86_64" for minor in _OLD_GLIBCS),
            *("-r", build.out / LOCK, "-r", _PIP, "-d", build.scratch),
        )
    (build.out / WHEELS).mkdir()
    for wheel in sorted(build.scratch.glob("*.whl")):
        shutil.move(wheel, build.out / WHEELS)


PACKAGES = Artifact(
    "bundle-packages", (_PROJECT, _LOCK, _PIP, Path(__file__), ", ".join(PYTHONS)), _build
)
"""A directory with `LOCK` and `WHEELS`."""
