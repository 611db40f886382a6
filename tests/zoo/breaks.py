"""The zoo: what can be wrong, what must be noticed of it, and in which words.

For each break the set of red checks is declared: more red is as wrong as less, because one cause
has to turn one check red in each form of the scenario that it concerns. Breaks that do not get in
each other's way are made in one run.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from embedded.drivers.reference.kubelet_plugin.faults import FAULTS, Fault, Point
from tests.zoo.caught import ROWS

PRIVILEGED, HOSTPID, RESTRICTED, EQUAL = "privileged", "hostpid", "restricted", "equal-pids"
ONE_GPU = "one-gpu"
SHARING = (PRIVILEGED, HOSTPID, RESTRICTED, ONE_GPU)
UNPRIVILEGED_TWO = (HOSTPID, RESTRICTED, EQUAL)
UNPRIVILEGED = (*UNPRIVILEGED_TWO, ONE_GPU)
EVERY = (*SHARING, EQUAL)


ONCE = (None,)
"""The form of a check that is made in one form only."""
ALL_OF_SHARING = ()
"""Instead of the IDs of checks: those of the shared claim, with the privileged forms."""


@dataclass(frozen=True)
class Break:
    """One thing that is wrong, and what must be found."""

    name: str
    red: Mapping[str, tuple[str | None, ...]]
    """The forms in which a check must be red, by the check's ID; no other may be."""
    head: str
    """What the first line of every finding must match (a regular expression)."""
    fault: Fault | None = None
    """Made by the relay between kubelet and driver."""
    workload: str = ""
    """Python run in the workload's interpreter before the program."""
    hardware: str = ""
    """What is wrong with the simulated GPUs: a fault of docs/simulated-hardware.md."""
    outcomes: frozenset[str] = field(default_factory=lambda: frozenset({"fail"}))
    """``fail`` blames the driver; ``error`` says that it is not to blame."""


@dataclass(frozen=True)
class Run:
    """Breaks that are made together, and the checks that are to notice them."""

    breaks: tuple[Break, ...]
    checks: tuple[str, ...] = ALL_OF_SHARING
    allow: str = ""
    """The impacts that the checks have; those of the shared claim are allowed theirs."""
    sample: bool = True
    """Whether it is made each time."""
    with_channel: bool = False
    """Whether containers with GPUs get an IMEX channel, too: fabric handles need one."""

    @property
    def name(self) -> str:
        """All that is wrong."""
        return ", ".join(dict.fromkeys(broken.name for broken in self.breaks))

    @property
    def faults(self) -> list[Fault]:
        """What the relay does."""
        channel = [_injects(_add_channel)] if self.with_channel else []
        return channel + list(dict.fromkeys(one.fault for one in self.breaks if one.fault))

    @property
    def red(self) -> set[tuple[str, str | None]]:
        """Every check that must be red, with its form."""
        return {
            (check, form)
            for broken in self.breaks
            for check, forms in broken.red.items()
            for form in forms
        }

    @property
    def workload(self) -> str:
        """Python run in the workload's interpreter, each break's in a scope of its own."""
        return "".join(
            f"def break_{number}():\n{textwrap.indent(broken.workload, '    ')}\nbreak_{number}()\n"
            for number, broken in enumerate(self.breaks)
            if broken.workload
        )

    def by(self, check: str, form: str | None) -> Break:
        """The break that a check is red by."""
        return next(one for one in self.breaks if form in one.red.get(check, ()))


def _injects(change: Callable[[dict[str, Any]], None]) -> Fault:
    """Change the CDI specification of each claim, in place."""

    def alter(spec: dict[str, Any], _gpus: object) -> dict[str, Any]:
        change(spec)
        return spec

    return Fault("", Point.INJECT, alter, benign=False)


def _drop_first(response: Any, _gpus: object) -> Any:
    for claim in response.claims.values():
        del claim.devices[:1]
    return response


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


def _add_node_of_no_gpu(spec: dict[str, Any]) -> None:
    node = _device_nodes(spec)[0]
    extra = {**node, "path": "/dev/nvidia9", "minor": 9}  # there are four
    spec["devices"][0]["containerEdits"]["deviceNodes"].append(extra)


def _add_channel(spec: dict[str, Any]) -> None:
    """An IMEX channel: any node that opens is one to the simulated CUDA."""
    node = _device_nodes(spec)[0]
    extra = {**node, "path": "/dev/nvidia-caps-imex-channels/channel0"}
    spec["containerEdits"].setdefault("deviceNodes", []).append(extra)


def _close_channel(spec: dict[str, Any]) -> None:
    """IMEX channels are there, but only root may open them."""
    for node in spec["containerEdits"]["deviceNodes"]:
        if "imex-channels" in node["path"]:
            node.update(fileMode=0o600, uid=0, gid=0)


def _give_all_to_each(spec: dict[str, Any]) -> None:
    """A container that names one device of the claim gets the others, too."""
    every = {node["path"]: node for node in _device_nodes(spec)}
    for device in spec["devices"]:
        device["containerEdits"]["deviceNodes"] = list(every.values())


def _drop_ldcache_hook(spec: dict[str, Any]) -> None:
    edits = spec["containerEdits"]
    edits["hooks"] = [hook for hook in edits["hooks"] if "update-ldcache" not in hook["args"]]


SHARING_BREAKS = (
    Break(
        "one GPU of two is injected",
        # With the only one its libraries are missing, too.
        {"ISO-003": UNPRIVILEGED_TWO, "NODE-029": (ONE_GPU,)},
        r"saw 1 of the 2 allocated GPUs: GPU-\w+… missing|does not find libcuda.so.1",
        Fault("", Point.ANSWER, _drop_first, benign=False),
    ),
    Break(
        "one GPU too many is injected",
        {"ISO-003": UNPRIVILEGED},
        r"saw 1 GPUs? that (is|are) not allocated to it: GPU-\w+…",
        _injects(_add_one),
    ),
    Break(
        "the wrong GPU is injected",
        {"ISO-003": UNPRIVILEGED},
        r"saw [01] of the [12] allocated GPUs: GPU-\w+… missing, GPU-\w+… instead",
        _injects(_swap_one),
    ),
    Break(
        "the ldcache hook is dropped",
        {"NODE-029": EVERY},
        r"the (producer|consumer) does not find libcuda.so.1 in its container",
        _injects(_drop_ldcache_hook),
    ),
    Break(
        "one word of the buffer outside the first 4 KiB is flipped",
        {"IPC-011": SHARING},
        r"1 of \d+ words",
        workload="""
from workload.buffer import Buffer
prepare = Buffer.prepare
def flip(buffer):
    checksum = prepare(buffer)
    buffer._context.write(buffer._address + 8 * 100_003, 0)
    return checksum
Buffer.prepare = flip
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
def publish_and_die(self, *given):
    publish(self, *given)
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


def _misreads(which: str) -> str:
    """Python by which an importer reports a word wrong of transfers, and goes on as if none was.

    Args:
        which: an expression of a transfer ``one``, and of the ``importer``.
    """
    return f"""
import os, sys
from dataclasses import replace
from workload import consumer
run = consumer._Consumer.run
def run_and_miss_one(importer, held):
    run(importer, held)
    importer._result.transfers = tuple(
        replace(one, wrong_words=1, first_wrong=5)
        if {which}
        else one
        for one in importer._result.transfers
    )
consumer._Consumer.run = run_and_miss_one
"""


FORM_BREAKS = (
    Break(
        "the other GPU's driver does not open what is imported",
        {"IPC-004": (HOSTPID,)},
        r"could not open the memory on the other GPU: CUDA_ERROR_UNKNOWN \(999\)$",
        workload="""
import os, sys
from dataclasses import replace
from workload import consumer, result
run = consumer._Consumer.run
def run_without_the_other(importer, held):
    run(importer, held)
    if os.getpid() in (1, 300) or "--folder" in sys.orig_argv:
        return
    why = result.Problem("cuIpcOpenMemHandle", "", 999, "CUDA_ERROR_UNKNOWN")
    importer._result.transfers = tuple(
        replace(one, opened=False, error=why) if one.path == "cross" else one
        for one in importer._result.transfers
    )
consumer._Consumer.run = run_without_the_other
""",
    ),
    Break(
        "a word of imported memory is another one on the other GPU",
        {"IPC-012": (RESTRICTED,)},
        r"the consumer read 1 of \d+ words wrong on the other GPU$",
        workload=_misreads('one.path == "cross" and os.getpid() == 300'),
    ),
    Break(
        "the other GPU leaves out the last word that it writes",
        {"IPC-013": (PRIVILEGED,)},
        r"producer saw 1 of \d+ words wrong that the consumer wrote, the first at \d+$",
        workload="""
import sys
from workload import buffer
fill = buffer.Buffer.fill
def fill_but_one(self, part, step):
    left_out = step == 2 and "consume" in sys.orig_argv and "--folder" in sys.orig_argv
    fill(self, part[:-1] if left_out else part, step)
buffer.Buffer.fill = fill_but_one
""",
    ),
    Break(
        "equal own PIDs are refused with another error",
        {"IPC-002": (EQUAL,)},
        r"opening failed with CUDA_ERROR_INVALID_VALUE \(1\), not with 201$",
        workload="""
import os
from dataclasses import replace
from workload import consumer
transfer = consumer._Consumer._transfer
def refuse_otherwise(importer, gpu, stack):
    done = transfer(importer, gpu, stack)
    if os.getpid() != 1 or done.error is None:
        return done
    return replace(done, error=replace(done.error, code=1, name="CUDA_ERROR_INVALID_VALUE"))
consumer._Consumer._transfer = refuse_otherwise
""",
    ),
    Break(
        "GPUs are not seen when they are claimed again",
        {"LIFE-005": (HOSTPID, RESTRICTED, ONE_GPU)},  # a privileged one has no such duty
        r"GPUs claimed again are not seen: ",
        workload="""
import sys
from workload import cuda
set_up = cuda.Cuda.__init__
def set_up_blind(self):
    set_up(self)
    if sys.orig_argv[-1] == "inventory":
        self.gpus = []
cuda.Cuda.__init__ = set_up_blind
""",
    ),
    Break(
        "producers have no seccomp filter",
        {"SEC-008": (RESTRICTED, ONE_GPU, EQUAL)},
        r"the producer is not restricted: its seccomp is 0$",
        workload="""
import sys
from dataclasses import replace
from workload import process
describe = process.describe
def describe_unfiltered():
    found = describe()
    return replace(found, seccomp=0) if "produce" in sys.orig_argv else found
process.describe = describe_unfiltered
""",
        outcomes=frozenset({"error"}),
    ),
)
"""Each of the last step of one form, so that they do not get in each other's way."""


ONE_AND_TWO = ("inventory-of-one", "inventory-of-two")
"""A claim of every GPU takes ``--dra-allow exhaust``, and leaves no GPU to be injected wrongly."""

WORKLOAD_BREAKS = (
    Break(
        "NVML names the GPUs otherwise than CUDA",
        {"CUDA-002": ONE_AND_TWO},
        r"the name of GPU-\w+… differs: slice and CUDA NVIDIA H100 80GB HBM3, NVML NVIDIA A100$",
        workload="""
from dataclasses import replace
from workload import nvml
shown = nvml._Nvml._gpu
nvml._Nvml._gpu = lambda *arguments: replace(shown(*arguments), name="NVIDIA A100")
""",
    ),
    Break(
        "kernels leave out the last word",
        {"CUDA-004": ("compute-on-one", "compute-on-two")},
        r"1 of \d+ words are wrong on GPU-\w+…, the first at \d+$",
        workload="""
from workload import compute
start = compute._Part.start
def start_and_leave_one_out(part, seed, foreign):
    fill = part._context.start_fill
    if foreign is None:  # two pods at once are another check's matter
        part._context.start_fill = lambda address, first, words, seed: fill(
            address, first, words - 1, seed
        )
    start(part, seed, foreign)
compute._Part.start = start_and_leave_one_out
""",
    ),
    Break(
        "GPUs keep the memory of processes that have ended",
        {"ISO-009": ONCE},
        r"fresh memory of the third held \d+ words that another pod had written$",
        hardware="keeps-memory",
    ),
    Break(
        "the exporter frees its small allocations",
        {"IPC-020": ("many",)},
        r"many: cuIpcOpenMemHandle gave CUDA_ERROR_INVALID_VALUE \(1\)$",
        workload="""
from contextlib import contextmanager
from dataclasses import replace
from workload import producer
extras = producer._extras
@contextmanager
def extras_with_freed_ones(*arguments):
    with extras(*arguments) as freed:
        pass
    with extras(*arguments) as offered:
        yield replace(offered, small=freed.small)
producer._extras = extras_with_freed_ones
""",
    ),
    Break(
        "freed memory opens",
        {"IPC-021": ("freed",)},
        r"freed: cuIpcOpenMemHandle opened what cannot be shared$",
        workload="""
from workload import probe
changed = probe._Prober._changed
probe._Prober._changed = lambda prober, name: changed(prober, "" if name == "freed" else name)
""",
    ),
    Break(
        "mappings go with their exporter",
        {"IPC-016": ONCE},
        r"memory mapped before could not be read after its exporter's end: CUDA_ERROR_ILLEGAL_ADD",
        workload="""
import ctypes
from workload import consumer
verify = consumer._Consumer._once_more
def unmap_and_verify(importer, buffer, transfer):
    address = ctypes.c_uint64(buffer._address)
    buffer._context.call("unmap", "cuIpcCloseMemHandle", address)
    return verify(importer, buffer, transfer)
consumer._Consumer._once_more = unmap_and_verify
""",
    ),
)

IMPORT_BREAKS = (
    Break(
        "memory opens whatever became of its exporter, and of whose GPU it is",
        {"IPC-008": ONCE, "IPC-010": ONCE},
        r"memory (of a process that had ended \(exit\)|on a GPU of another pod's claim) was op",
        workload="""
import sys
from dataclasses import replace
from workload import probe
attempt = probe._Prober.attempt
def open_anything(prober, name):
    done = attempt(prober, name)
    return replace(done, code=0, error=None) if "--attempt" in sys.orig_argv else done
probe._Prober.attempt = open_anything
""",
    ),
    Break(
        "the last of several importers reads a word wrong",
        {"IPC-017": ONCE},
        r"the importer-2 read 1 of \d+ words wrong on the same GPU$",
        workload=_misreads('"--index" in sys.orig_argv and importer._options.index == 2'),
    ),
    Break(
        "memory of one of two GPUs is read wrong on the other",
        {"IPC-019": ONCE},
        r"the importer-[12] read 1 of \d+ words wrong on the other GPU$",
        workload=_misreads(
            '"--gpus" in sys.orig_argv and one.path == "cross" and one.exporter > one.importer'
        ),
    ),
    Break(
        "kernels leave out the last word beside another pod's",
        {"CUDA-005": ONCE},
        r"1 of \d+ words are wrong on GPU-\w+…, the first at \d+$",
        workload="""
from workload import compute
start = compute._Part.start
def start_and_leave_one_out(part, seed, foreign):
    fill = part._context.start_fill
    if foreign is not None:
        part._context.start_fill = lambda address, first, words, seed: fill(
            address, first, words - 1, seed
        )
    start(part, seed, foreign)
compute._Part.start = start_and_leave_one_out
""",
    ),
)

MECHANISMS = ("descriptor", "fabric", "pool-descriptor", "pool-fabric")

MECHANISM_BREAKS = (
    Break(
        "the other GPU gets no access to shared memory",
        {"IPC-024": MECHANISMS},
        r"the importer could not open the memory: CUDA_ERROR_PEER_ACCESS_UNSUPPORTED \(217\)$",
        hardware="refuses-peers",
    ),
    Break(
        "a page that importers write stays theirs",
        {"IPC-025": MECHANISMS},
        r"the exporter saw 512 of \d+ words wrong that the \S+ wrote$",
        hardware="loses-writes",
    ),
    Break(
        "importers with PID 1 are refused",
        {"IPC-026": MECHANISMS},
        r"the importer-same-pid could not open the memory: CUDA_ERROR_INVALID_CONTEXT \(201\)$",
        hardware="refuses-pid-1",
    ),
    Break(
        "descriptors open without the exporter's GPU",
        {"IPC-027": ("descriptor",)},
        r"memory opened in a container that was not given its GPU$",
        hardware="opens-any-gpu",
    ),
)

LONELY_MECHANISM_BREAKS = (
    Break(
        "no handle can be imported",
        {"IPC-023": MECHANISMS},
        r"the importer could not open the memory: CUDA_ERROR_NOT_SUPPORTED \(801\)$",
        hardware="refuses-imports",
    ),
    Break(
        "a page of imported memory is another one",
        {"IPC-023": MECHANISMS},
        r"the importer opened the memory, of \d+ words: 512 wrong$",
        hardware="loses-a-page",
    ),
    Break(
        "the last page of imported memory is not there",
        {"IPC-023": MECHANISMS},
        r"the importer opened the memory, of 0 words: CUDA_ERROR_ILLEGAL_ADDRESS \(700\)$",
        hardware="lacks-a-page",
    ),
    Break(
        "IMEX channels are root's",
        {"IPC-023": ("fabric", "pool-fabric")},
        r"the exporter could not share memory: CUDA_ERROR_NOT_PERMITTED \(800\)$",
        _injects(_close_channel),
    ),
    Break(
        "a container gets the GPU of its neighbour",
        {"IPC-027": ("descriptor", "fabric")},
        r"memory opened in a container that was not given its GPU$",
        _injects(_give_all_to_each),
    ),
    Break(
        "shared memory goes with its exporter",
        {"IPC-029": MECHANISMS},
        r"memory that was open did not outlive its exporter: CUDA_ERROR_ILLEGAL_ADDRESS \(700\)$",
        hardware="ends-with-exporter",
    ),
    Break(
        "descriptors of a process that has ended show nothing",
        {"IPC-030": ("descriptor",)},
        r"memory opened after its exporter's end: \d+ of \d+ words wrong$",
        hardware="clears-late",
    ),
)
OF_ROUNDS = ("IPC-033", "IPC-034")
LEAK = Break(
    "memory that is freed is kept",
    {"IPC-033": (*MECHANISMS, "ipc")},
    r"400 MiB did not come back of 50 times 8 MiB$",
    hardware="leaks-memory",
)
LOST_SIGNALS = Break(
    "signals of streams are lost",
    {"IPC-034": ("ipc", "descriptor", "fabric")},
    r"the exporter's stream never saw the importer's signal$",
    hardware="loses-signals",
)
LOST_DESCRIPTORS = Break(
    "other files come over a volume than were sent",
    {"IPC-036": ("descriptor", "pool-descriptor")},
    r"the importer could not open the memory: CUDA_ERROR_\w+ \(\d+\)$",
    workload="""
import os, socket
receive = socket.recv_fds
def receive_others(*how):
    text, files, *more = receive(*how)
    return text, [os.open("/dev/null", os.O_RDWR) for _ in files], *more
if os.environ.get("HOSTNAME", "").endswith("-shared-volume"):
    socket.recv_fds = receive_others
""",
)
OF_MECHANISMS = tuple(f"IPC-0{number}" for number in range(23, 31))

PAIR_BREAKS = (
    Break(
        "two GPUs with NVLink have no peer access",
        {"CUDA-007": ONCE},
        r"gpu-[01] has no peer access to gpu-[01], with NV18 between them \(and 1 other pair\)$",
        hardware="denies-a-peer",
    ),
    Break(
        "what one GPU writes to another's memory is lost",
        {"IPC-032": ONCE},
        r"what gpu-\d wrote to gpu-\d's memory did not arrive: (\d+) of \1 words wrong$",
        workload="""
from workload import every_pair
fill = every_pair.Buffer.fill
def fill_but_not_all(buffer, part, step):
    if step != 2 or len(part) == len(buffer.words):
        fill(buffer, part, step)
every_pair.Buffer.fill = fill_but_not_all
""",
    ),
)
A_REFUSED_PAIR = Break(
    "a GPU does not open another one's memory",
    {"IPC-031": ONCE},
    r"gpu-[01]'s memory on gpu-[01]: CUDA_ERROR_PEER_ACCESS_UNSUPPORTED \(217\) \(and 1 other",
    hardware="refuses-a-peer",
)
OF_PAIRS = ("IPC-031", "IPC-032", "CUDA-007", "SLICE-038")

IN_THE_HANDLE = Break(
    "the PID in the handle is not the exporter's",
    {
        "SEC-001": (
            *("restricted-1-1", "other-uid-1-1", "two-containers"),
            *("restricted-1-300", "other-uid-1-300", "writable-root-1-300"),
            "two-containers-1-300",
        )
    },
    r"PID 1 in the handle, own (1: it opened, not 201|300: CUDA_ERROR_INVALID_CONTEXT \(201\))$",
    workload="""
import os
from workload import cuda, result
export = cuda.Context.export
def with_the_pid_of_another(context, address):
    handle = export(context, address)
    return result.with_pid(handle, 300) if os.getpid() == 1 else handle
cuda.Context.export = with_the_pid_of_another
""",
)


def _relayed(*names: str, sample: bool = False) -> Run:
    """Faults of the reference driver in NVIDIA's: the same checks are red, in the same words."""
    breaks = tuple(
        Break(name, {check: ONCE}, re.escape(words), FAULTS[name])
        for name in names
        for fault, check, words in ROWS
        if fault == name
    )
    checks = tuple(check for broken in breaks for check in broken.red)
    return Run(breaks, checks, "privileged,exhaust,disrupt", sample)


RELAYED = (
    _relayed(
        *("fails-now-and-then", "keeps-records", "leaves-a-file-each-time"),
        *("devices-of-one-name", "half-a-cdi-file", "keeps-cdi-files"),
        sample=True,
    ),
    _relayed("another-gpu-at-restart", sample=True),
    _relayed("one-container-of-a-pod"),
    _relayed("no-restart-beside-another"),
    _relayed("two-starts-a-container"),
    _relayed("four-pods-a-claim"),
    _relayed("ends-with-its-first-pod"),
    _relayed("nobody-joins-later"),
    _relayed("one-life-a-claim"),
    _relayed("takes-claims-by-name"),
    _relayed("first-claim-only", "refuses-long-names"),
    _relayed("refuses-generated-claims"),
    _relayed("gives-a-device-once"),
    _relayed("unprepare-needs-a-prepare"),
    _relayed("keeps-devices-of-deleted-claims"),
    _relayed("unprepare-needs-the-claim", "unprepares-what-is-allocated"),
    _relayed("refuses-two-at-once"),
    _relayed("first-claim-for-all"),
    _relayed("last-device-overwrites"),
    _relayed("two-devices-at-most"),
)


def _in_a_container(role: str) -> str:
    """Python by which the workload finds a GPU's device node in the container of this role."""
    return f"""
import sys
from workload import nodes
names = nodes.names
if {role!r} in sys.orig_argv:
    nodes.names = lambda: (*names(), "nvidia9")
"""


ISOLATION = ("ISO-001", "ISO-002", "ISO-005", "ISO-010", "ISO-011", "ISO-012")
ISOLATION_RUNS = (
    (
        Break(
            "a pod without a claim has a GPU",
            {"ISO-001": ONCE},
            r"a pod without a claim has /dev/nvidia9$",
            workload=_in_a_container("alone"),
        ),
    ),
    (
        Break(
            "a container without the claim has a GPU",
            {"ISO-002": ONCE},
            r"a container that does not name its pod's claim has /dev/nvidia9$",
            workload=_in_a_container("other"),
        ),
    ),
    (
        Break(
            "an init container without the claim has a GPU",
            {"ISO-010": ONCE},
            r"an init container that does not name its pod's claim has /dev/nvidia9$",
            workload=_in_a_container("init-other"),
        ),
        Break(
            "a variable brings all GPUs",
            {"ISO-005": ONCE},
            r"by NVIDIA_VISIBLE_DEVICES=all a container has /dev/nvidia9, too$",
            workload=_in_a_container("asking-user"),
        ),
    ),
)
"""One after the other: a GPU in every container is no matter of single ones."""

A_GPU_AT_RESTART = Break(
    "a container without the claim has a GPU when it starts again",
    {"ISO-011": ONCE},
    r"after its restart a container that does not name the claim has /dev/nvidia9$",
    workload="""
import os, sys
from workload import nodes
names, mark = nodes.names, "/dev/shm/started"  # of the pod: it outlives the container
if "other" in sys.orig_argv:
    if os.path.exists(mark):
        nodes.names = lambda: (*names(), "nvidia9")
    open(mark, "w").close()
""",
)

SEEN = ("CUDA-001", "CUDA-003", "ISO-004", "SHARE-008")

RUNS = (
    *(Run((broken,)) for broken in SHARING_BREAKS),
    Run(FORM_BREAKS, sample=False),
    Run(
        IMPORT_BREAKS,
        tuple(check for broken in IMPORT_BREAKS for check in broken.red),
        sample=False,
    ),
    Run(
        (
            Break(
                "a GPU too many is injected everywhere",
                {"CUDA-001": ONE_AND_TWO, "ISO-004": ONCE, "SHARE-008": ONCE},
                r"CUDA shows [23] GPUs, allocated: [12]; GPU-\w+… not allocated$"
                r"|the (exporter|stranger) saw 2 GPUs; its claim holds GPU-\w+…$"
                r"|container [12] saw 2 GPUs; its request gpu-[12] was allocated GPU-\w+…$",
                _injects(_add_one),
            ),
        ),
        SEEN,
    ),
    Run(
        (
            Break(
                "the wrong GPU is injected everywhere",
                {"CUDA-001": ONE_AND_TWO, "ISO-004": ONCE, "SHARE-008": ONCE},
                r"CUDA shows [12] GPUs?, allocated: [12]; GPU-\w+… missing, GPU-\w+… not allocated$"
                r"|the exporter saw GPU-\w+…; its claim holds GPU-\w+…$"
                r"|container [12] saw GPU-\w+…; its request gpu-[12] was allocated GPU-\w+…$",
                _injects(_swap_one),
            ),
        ),
        SEEN,
    ),
    Run(
        (
            Break(
                "a device node of no GPU is injected",
                {"CUDA-003": ONE_AND_TWO},
                r"the container has (nvidia\d, )+nvidia9 below /dev, its GPUs are nvidia\d",
                _injects(_add_node_of_no_gpu),
            ),
        ),
        SEEN,
    ),
    Run(
        (*WORKLOAD_BREAKS, *MECHANISM_BREAKS),
        (*(check for broken in WORKLOAD_BREAKS for check in broken.red), *OF_MECHANISMS),
        with_channel=True,
    ),
    *(
        Run((broken,), OF_MECHANISMS, sample=False, with_channel=True)
        for broken in LONELY_MECHANISM_BREAKS
    ),
    Run(PAIR_BREAKS, OF_PAIRS, "exhaust"),
    Run((A_REFUSED_PAIR,), OF_PAIRS, "exhaust", sample=False),
    *(
        Run((broken,), OF_ROUNDS, sample=False, with_channel=True)
        for broken in (LEAK, LOST_SIGNALS)
    ),
    Run((LOST_DESCRIPTORS,), ("IPC-036",), sample=False, with_channel=True),
    Run((IN_THE_HANDLE,), ("SEC-001",)),
    *RELAYED,
    *(Run(breaks, ISOLATION) for breaks in ISOLATION_RUNS),
    Run((A_GPU_AT_RESTART,), ISOLATION, sample=False),
)
