"""The Python packages that a bundle carries: those that a run needs, and pip to install them."""

from __future__ import annotations

import re
import shutil
import sys
import tomllib
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from building.artifacts import Artifact, Build, BuildError
from building.bundle import LOCK, PYTHONS, ROOT, WHEELS
from building.toolchain import PINS

_PROJECT = ROOT / "pyproject.toml"
_LOCK = ROOT / "requirements.lock"
_PIP = PINS / "pip.txt"
_OLD_GLIBCS = (28, 27, 24, 17, 12, 5)
"""Minor versions of glibc 2 in the tags of wheels that Debian 12 and Ubuntu 24.04 can load."""


def runtime_lock(lock: str, roots: Sequence[str], pythons: Sequence[str] = PYTHONS) -> str:
    """The part of a lock file that some requirements need, by what the installed packages say.

    Args:
        lock: text of a ``requirements.lock``.
        roots: requirements such as ``kubernetes>=37``.
        pythons: minor versions of Python for which markers are looked at.

    Raises:
        BuildError: something that is needed is not installed here, so what it needs is unknown, or
            is not in the lock.
    """
    needed = {name for python in pythons for name in _closure(roots, python)}
    blocks: dict[str, str] = {
        canonicalize_name(found[1]): block
        for block in re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE)
        if (found := re.match(r"([A-Za-z0-9._-]+)==", block))
    }
    if unlocked := needed - blocks.keys():
        raise BuildError(f"requirements.lock lacks {', '.join(sorted(unlocked))}: `./run lock`")
    return "".join(blocks[name] for name in sorted(needed))


def _closure(roots: Sequence[str], python: str) -> set[str]:
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    seen = set[tuple[str, str]]()
    waiting = [(Requirement(root), "") for root in roots]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({**environment, "extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        for wanted in ("", *requirement.extras):
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                waiting += [(needed, wanted) for needed in _requirements(name)]
    return {name for name, _ in seen}


def _requirements(name: str) -> Iterator[Requirement]:
    try:
        yield from map(Requirement, metadata.requires(name) or ())
    except metadata.PackageNotFoundError as error:
        raise BuildError(f"the Python package {name} is needed and not installed here") from error


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
