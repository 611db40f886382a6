"""What the embedded cluster needs of this machine, tried out before anything is built or started.

``python -m embedded.machine_check FOLDER`` is the part that runs in namespaces of its own.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import shutil
import stat
import subprocess
import sys
from pathlib import Path

from pyroute2 import IPRoute, NetlinkError

from building import bundle
from building.artifacts import cache
from building.errors import UserError
from embedded import cgroups
from embedded.layout import states
from embedded.machine import MachineError, environment, run, unshared

GIB = 1 << 30
CONTROL_PLANE_GIB, NODE_GIB = 0.7, 0.5
"""Memory: of the control plane, and of each node with its driver and a pair of pods."""
CONTROL_PLANE_WATCHES, NODE_WATCHES = 8, 12
"""Instances of inotify(7): a kubelet holds 6 of them, and ends when it gets none."""
PROGRAMS = {"unshare": "util-linux", "setpriv": "util-linux", "mount": "mount", "cp": "coreutils"}


def check(nodes: int) -> None:
    """Refuse a machine that cannot run it.

    Args:
        nodes: how many nodes the cluster is to have.

    Raises:
        UserError: says everything that is missing, and what to do about it.
    """
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise UserError(
            "the embedded cluster runs on Linux on x86_64; "
            f"this is {platform.system()} on {platform.machine()}"
        )
    if os.geteuid() != 0:
        raise UserError(
            "the embedded cluster needs root: it makes namespaces, mounts and cgroups; "
            "use a root shell or sudo"
        )
    problems = [*_programs(), *_disk(), *_memory(nodes), *_cgroups(), *_watches(nodes)]
    if not problems:
        problems = _kernel()
    if problems:
        raise UserError(
            "this machine cannot run the embedded cluster:\n"
            + "\n".join(f"  - {problem}" for problem in problems)
        )


def _programs() -> list[str]:
    return [
        f"the program {program!r} is missing: install the package {package}"
        for program, package in PROGRAMS.items()
        if not shutil.which(program)
    ]


def _disk() -> list[str]:
    problems = []
    is_built = bundle.unpacked() or (cache() / "artifacts").exists()
    for what, needed, folder, variable in (
        ("what is built", 1 if is_built else 6, cache(), "DRA_CACHE"),
        ("a cluster's state", 2, states(), "DRA_STATE"),
    ):
        existing = _existing(folder)
        free = shutil.disk_usage(existing).free
        if free < needed * GIB:
            problems.append(
                f"{existing} has {free / GIB:.1f} GiB free, {what} needs {needed} GiB: "
                f"make room or set {variable} to another folder"
            )
    return problems


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _memory(nodes: int) -> list[str]:
    needed = CONTROL_PLANE_GIB + nodes * NODE_GIB
    free = _free_memory()
    if free >= needed * GIB:
        return []
    return [
        (
            f"{free / GIB:.1f} GiB of memory are free, {nodes} nodes need {needed:.1f} GiB: "
            "end something, or ask for fewer with --embedded-nodes"
        )
    ]


def _free_memory(proc: Path = Path("/proc"), cgroup: Path = cgroups.ROOT) -> int:
    """Bytes that the machine has, and that the container we may be in lets us have."""
    free = int(_read(proc / "meminfo")["MemAvailable:"]) * 1024
    for folder, limit, usage, cached in (
        (cgroup, "memory.max", "memory.current", "file"),
        (cgroup / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache"),
    ):
        if (folder / limit).exists() and (text := (folder / limit).read_text().strip()) != "max":
            used = int((folder / usage).read_text()) - int(_read(folder / "memory.stat")[cached])
            free = min(free, int(text) - used)
    return free


def _read(path: Path) -> dict[str, str]:
    """The first value of each line of a file, by the line's first word."""
    return {words[0]: words[1] for line in path.read_text().splitlines() if (words := line.split())}


def _cgroups() -> list[str]:
    if not os.access("/sys/fs/cgroup", os.W_OK):
        return ["/sys/fs/cgroup is not writable: give the container a writable cgroup hierarchy"]
    return []


def _watches(nodes: int) -> list[str]:
    """Try to have as many instances of inotify as the cluster: nothing tells how many are left."""
    needed = CONTROL_PLANE_WATCHES + nodes * NODE_WATCHES
    libc = ctypes.CDLL(None, use_errno=True)
    held: list[int] = []
    try:
        while len(held) < needed and (one := libc.inotify_init1(os.O_CLOEXEC)) >= 0:
            held.append(one)
        if len(held) == needed or ctypes.get_errno() != errno.EMFILE:
            return []
    finally:
        for one in held:
            os.close(one)
    return [
        (
            f"{len(held)} more instances of inotify can be had, {nodes} nodes need {needed}: "
            "end something, or raise a limit (sysctl fs.inotify.max_user_instances=1024, ulimit -n)"
        )
    ]


def _kernel() -> list[str]:
    """Try namespaces, and in them what a node does."""
    tried = subprocess.run(
        unshared("embedded.machine_check", _existing(states())),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=environment(),
    )
    if tried.returncode or tried.stderr:
        return [
            (
                f"the kernel refuses namespaces ({tried.stderr.strip()}): "
                "run with CAP_SYS_ADMIN, in a container as a privileged one"
            )
        ]
    return tried.stdout.splitlines()


def _try(folder: Path) -> list[str]:
    """Try what a node does, in namespaces that are thrown away; returns the problems."""
    problems = []
    for what, advice, attempt in (
        ("a tmpfs cannot be mounted", "run with CAP_SYS_ADMIN", _try_tmpfs),
        (
            f"no overlay file system on {folder}",
            (
                "load the module overlay; if the folder itself is on an overlay, as in a "
                "container, set DRA_STATE to one on ext4, xfs or tmpfs"
            ),
            _try_overlay,
        ),
        ("no veth devices or bridges", "load the modules veth and bridge", _try_network),
        ("device nodes cannot be made or opened", "run with CAP_MKNOD", _try_device),
    ):
        try:
            attempt(folder)
        except (OSError, MachineError, NetlinkError) as error:
            problems.append(f"{what} ({error}): {advice}")
    return problems


def _try_tmpfs(_folder: Path) -> None:
    run("mount", "-t", "tmpfs", "tmpfs", "/mnt")


def _try_overlay(folder: Path) -> None:
    """With both layers where containerd will have them."""
    work = folder / f".overlay-{os.getpid()}-{os.urandom(4).hex()}"
    try:
        for name in ("lower", "upper", "work", "merged"):
            (work / name).mkdir(parents=True)
        options = f"lowerdir={work}/lower,upperdir={work}/upper,workdir={work}/work"
        run("mount", "-t", "overlay", "overlay", "-o", options, work / "merged")
        run("umount", work / "merged")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _try_network(_folder: Path) -> None:
    with IPRoute() as ip:
        ip.link("add", ifname="one", kind="veth", peer={"ifname": "other"})
        ip.link("add", ifname="both", kind="bridge")


def _try_device(_folder: Path) -> None:
    node = Path("/mnt/null")
    os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    node.read_bytes()


if __name__ == "__main__":
    for _problem in _try(Path(sys.argv[1])):
        print(_problem)
