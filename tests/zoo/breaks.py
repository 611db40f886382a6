"""The zoo: what can be wrong, what must be noticed of it, and in which words.

For each break the set of red checks is declared: more red is as wrong as less, because one cause
has to turn one check red in each form of the scenario that it concerns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.zoo.relay import Alteration

PRIVILEGED, HOSTPID, RESTRICTED, EQUAL = "privileged", "hostpid", "restricted", "equal-pids"
SHARING = (PRIVILEGED, HOSTPID, RESTRICTED)
UNPRIVILEGED = (HOSTPID, RESTRICTED, EQUAL)
EVERY = (*SHARING, EQUAL)


@dataclass(frozen=True)
class Break:
    """One thing that is wrong, and what must be found."""

    name: str
    red: Mapping[str, tuple[str, ...]]
    """The forms in which a check must be red, by the check's ID; no other may be."""
    head: str
    """What the first line of every finding must match (a regular expression)."""
    alteration: Alteration | None = None
    """Made by the relay between kubelet and driver."""
    workload: str = ""
    """Python run in the workload's interpreter before the program."""
    outcomes: frozenset[str] = field(default_factory=lambda: frozenset({"fail"}))
    """``fail`` blames the driver; ``error`` says that it is not to blame."""


def _drop_first(devices: Any) -> None:
    del devices[0]


def _device_nodes(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The device nodes of the claim's GPUs in its CDI specification."""
    return [node for device in spec["devices"] for node in device["containerEdits"]["deviceNodes"]]


def _move(node: dict[str, Any], minor: int) -> dict[str, Any]:
    """A device node of another GPU of the machine."""
    host = str(node["hostPath"]).rpartition("/")[0]
    name = f"nvidia{minor}"
    return {**node, "path": f"/dev/{name}", "hostPath": f"{host}/{name}", "minor": minor}


def _unallocated(spec: dict[str, Any]) -> int:
    """The minor number of a GPU that is not in the claim; there are four."""
    return min({0, 1, 2, 3} - {int(node.get("minor", 0)) for node in _device_nodes(spec)})


def _add_one(spec: dict[str, Any]) -> None:
    extra = _move(_device_nodes(spec)[0], _unallocated(spec))
    if extra["path"] not in {node["path"] for node in _device_nodes(spec)}:
        spec["devices"][0]["containerEdits"]["deviceNodes"].append(extra)


def _swap_one(spec: dict[str, Any]) -> None:
    nodes = spec["devices"][0]["containerEdits"]["deviceNodes"]
    nodes[0] = _move(nodes[0], _unallocated(spec))


def _drop_ldcache_hook(spec: dict[str, Any]) -> None:
    edits = spec["containerEdits"]
    edits["hooks"] = [hook for hook in edits["hooks"] if "update-ldcache" not in hook["args"]]


BREAKS = (
    Break(
        "one GPU of two is injected",
        {"ISO-003": UNPRIVILEGED},
        r"saw 1 of the 2 allocated GPUs: GPU-\w+… missing",
        Alteration(devices=_drop_first),
    ),
    Break(
        "one GPU too many is injected",
        {"ISO-003": UNPRIVILEGED},
        r"saw 1 GPUs? that (is|are) not allocated to it: GPU-\w+…",
        Alteration(cdi=_add_one),
    ),
    Break(
        "the wrong GPU is injected",
        {"ISO-003": UNPRIVILEGED},
        r"saw 1 of the 2 allocated GPUs: GPU-\w+… missing, GPU-\w+… instead",
        Alteration(cdi=_swap_one),
    ),
    Break(
        "the ldcache hook is dropped",
        {"NODE-029": EVERY},
        r"the (producer|consumer) does not find libcuda.so.1 in its container",
        Alteration(cdi=_drop_ldcache_hook),
    ),
    Break(
        "one word of the buffer outside the first 4 KiB is flipped",
        {"IPC-011": SHARING},
        r"1 of \d+ words",
        workload="""
from workload import producer
fill = producer._fill
def flip(buffer):
    checksum = fill(buffer)
    buffer._context.write(buffer._address + 8 * 100_003, 0)
    return checksum
producer._fill = flip
""",
    ),
    Break(
        "the exporter dies",
        {"IPC-015": EVERY},
        r"the producer ended without a result \(exit code 137",
        workload="""
import os, select
from workload import exchange
publish, take = exchange.ProducerSide.publish, exchange.ConsumerSide.take
def publish_and_die(self, offer, log):
    publish(self, offer, log)
    while self._offer is not None and self._unread():
        pass
    os._exit(137)
def unread(self):
    import array, fcntl, termios
    waiting = array.array("i", [0])
    fcntl.ioctl(self._offer, termios.FIONREAD, waiting)
    return waiting[0]
def take_and_wait_for_the_death(self, waiting):
    offer = take(self, waiting)
    death = select.poll()
    death.register(self._offer, 0)
    death.poll()
    return offer
exchange.ProducerSide.publish, exchange.ProducerSide._unread = publish_and_die, unread
exchange.ConsumerSide.take = take_and_wait_for_the_death
""",
        outcomes=frozenset({"error"}),
    ),
    Break(
        "the consumer never starts",
        {"IPC-015": EVERY},
        r"the consumer ended without a result \(exit code 1",
        workload="""
import os, sys
if "consume" in sys.orig_argv:
    os._exit(1)
""",
        outcomes=frozenset({"error"}),
    ),
    Break(
        "the handle is stale",
        {"IPC-001": SHARING},
        r"CUDA_ERROR_INVALID_VALUE",
        workload="""
from workload import cuda
export = cuda.Context.export
def export_freed(self, address):
    with self.allocated(2 << 20) as other:
        return export(self, other)
cuda.Context.export = export_freed
""",
    ),
)
