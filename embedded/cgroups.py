"""The cluster's folders in the cgroup hierarchies of the host, version 1 and 2."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from building.errors import UserError

ROOT = Path("/sys/fs/cgroup")
GONE_SECONDS = 10


def create(path: str) -> None:
    """Make ``path`` in every hierarchy, with all controllers usable below it.

    Raises:
        UserError: the hierarchy does not let us.
    """
    try:
        for hierarchy in _hierarchies():
            folder = hierarchy
            for part in Path(path).parts:
                if (folder / "cgroup.subtree_control").exists() and hierarchy == ROOT:
                    _delegate(folder)
                folder = folder / part
                folder.mkdir(exist_ok=True)
                # Version 1: a new cpuset is empty, and nothing can run in it.
                for file in ("cpuset.cpus", "cpuset.mems"):
                    setting = folder / file
                    if hierarchy != ROOT and setting.exists() and not setting.read_text().strip():
                        setting.write_text((folder.parent / file).read_text())
            if hierarchy == ROOT:
                _delegate(folder)
    except OSError as error:
        raise UserError(
            f"cannot make the cgroup {path}: {error}. The cluster needs root with cgroups that it "
            "may write; in a container, give it a writable /sys/fs/cgroup"
        ) from error


def remove(path: str) -> None:
    """Remove ``path`` and all below it from every hierarchy; parents of ours when empty.

    Raises:
        UserError: something still runs in it.
    """
    deadline = time.monotonic() + GONE_SECONDS
    for hierarchy in _hierarchies():
        folder = hierarchy / path
        if not folder.is_dir():
            continue
        # Somebody else may be removing it, too: os.walk passes over what is gone.
        for child, _, _ in os.walk(folder, topdown=False):
            _remove_one(Path(child), deadline)
        for parent in folder.relative_to(hierarchy).parents[:-1]:
            try:
                (hierarchy / parent).rmdir()
            except OSError:
                break  # of other clusters as well


def _remove_one(folder: Path, deadline: float) -> None:
    while True:
        try:
            folder.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError as error:
            # Killed processes leave their cgroup a moment after they have ended.
            if time.monotonic() > deadline:
                raise UserError(
                    f"cannot remove the cgroup {folder}: {error}; its processes: "
                    + ((folder / "cgroup.procs").read_text().replace("\n", " ") or "none")
                ) from error
            time.sleep(0.01)


def _hierarchies() -> Iterator[Path]:
    """Every mounted hierarchy: the unified one, or those of version 1."""
    if (ROOT / "cgroup.controllers").exists():
        yield ROOT
        return
    seen = set()
    for folder in sorted(ROOT.iterdir()):
        if (folder / "cgroup.procs").exists() and folder.resolve() not in seen:
            seen.add(folder.resolve())
            yield folder


def _delegate(folder: Path) -> None:
    wanted = (folder / "cgroup.controllers").read_text().split()
    have = (folder / "cgroup.subtree_control").read_text().split()
    for controller in wanted:
        if controller not in have:
            (folder / "cgroup.subtree_control").write_text(f"+{controller}")
