"""What somebody would see of a cluster on this machine."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from embedded.layout import states

CGROUPS = Path("/sys/fs/cgroup")


def as_on_a_terminal() -> None:
    """For ``preexec_fn``: what a shell starts in the background would ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def host() -> dict[str, set[str]]:
    """What a cluster must not change at all: nothing of it carries a cluster's name."""
    return {
        "mounts": set(Path("/proc/mounts").read_text().splitlines()),
        "network devices": set(os.listdir("/sys/class/net")),
        "device nodes": {name for name in os.listdir("/dev") if "nvidia" in name},
        "temporary files": {
            name
            for name in os.listdir("/tmp")
            # Tests of the simulated hardware, which may run beside this, have theirs there.
            if "dra-" in name and not name.startswith("dra-hardware-")
        },
        "kernel settings": {
            f"{name} {Path('/proc/sys', name).read_text()}"
            for name in ("kernel/panic", "vm/overcommit_memory", "kernel/panic_on_oops")
        },
    }


def of_cluster(name: str) -> list[str]:
    """Processes, cgroups and state of the cluster of that name."""
    state = states() / name
    found = [f"process {pid}: {words}" for pid, words in processes(name)]
    for pattern in (f"dra-conformance/{name}", f"*/dra-conformance/{name}"):
        found += [f"cgroup {path}" for path in CGROUPS.glob(pattern)]
    found += [f"state {path}" for path in (state, state.with_suffix(".starting")) if path.exists()]
    return found


def processes(name: str) -> list[tuple[int, str]]:
    """All processes whose command line names the cluster's state."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_text().replace("\0", " ")
            # Those on a node name no path of the host: they are known by its mounts.
            mounts = (entry / "mountinfo").read_text()
        except OSError:
            continue  # it has ended in the meantime
        if f"{states() / name}/" in words or f"{states() / name}/" in mounts:
            found.append((int(entry.name), words.strip()))
    return found
