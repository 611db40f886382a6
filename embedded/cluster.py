"""Embedded clusters on this machine: up, down, status.

Nothing but the processes themselves says whether a cluster runs: they are found by the plan they
were started with. So a ``kill -9`` at any moment leaves nothing that ``down`` does not find.
"""

from __future__ import annotations

import fcntl
import functools
import os
import select
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import urllib3

from building import artifacts
from building.binaries import RELEASES, RUNTIME, Release
from building.errors import UserError, must_be_of
from building.progress import Progress
from building.tree import COMMAND
from embedded import cgroups, machine_check
from embedded.api import Api, Object
from embedded.deaths import known, told
from embedded.drivers import DRIVERS, reference
from embedded.drivers.driver import Driver
from embedded.hardware import real
from embedded.hardware.artifact import HARDWARE
from embedded.layout import (
    API_SERVICE,
    CONTROL_PLANE,
    VOLUME,
    VOLUMES,
    Gpus,
    NodePlan,
    Plan,
    states,
)
from embedded.machine import RESTART_KUBELET, answers, environment, unshared
from embedded.options import (
    DEFAULT_GPUS,
    DEFAULT_NAME,
    DEFAULT_NODES,
    flag,
    gpus_of_nodes,
    switches,
)
from embedded.options import Options as Options  # noqa: PLC0414 - part of this module's API
from embedded.pki import Authority
from images.pause import PAUSE_IMAGE
from images.workload import WORKLOAD_IMAGE, WORKLOAD_IMAGE_NAME

START_SECONDS = 120
"""So long a slow machine may take; what dies or cannot work ends the start before."""
WORD_SECONDS = 5
"""So soon after a component's death there is word of it."""
_MARK = ".starting"
_NOW = fcntl.LOCK_EX | fcntl.LOCK_NB

_started: dict[Path, subprocess.Popen[bytes]] = {}
"""What this very process started, to be reaped by it; nothing else depends on it."""


@dataclass(frozen=True)
class Cluster:
    """A running embedded cluster."""

    name: str
    kubeconfig: Path
    workload_image: str
    description: str
    """For the first line of a report."""
    hardware: str
    next_image: str = ""
    """The next version of the driver under test, which the nodes have; empty: it is the newest."""


def up(options: Options, progress: Progress) -> Cluster:
    """Bring a cluster up and return when its nodes are Ready and its driver has published slices.

    Raises:
        UserError: it cannot be; nothing of it is left then.
    """
    _check_options(options)
    nodes = planned_nodes(options)
    machine_check.check(len(nodes))
    state = states() / options.name
    if _processes(state):
        raise _in_use(options.name)
    drivers = [DRIVERS[name] for name in options.driver.split(",")]
    kubernetes = RELEASES[options.kubernetes]
    images, components = _images(drivers), _components(kubernetes)
    built = artifacts.obtain(parts(drivers, kubernetes), progress)
    sweep()
    plan = Plan(
        name=options.name,
        state=state,
        nodes=nodes,
        artifacts={item.name: built[item.name] for item in components},
        hardware=options.hardware,
        images=tuple(built[item.name] / "image.tar" for item in images),
        feature_gates={**kubernetes.feature_gates, **switches(options.feature_gates)},
        runtime_config={**kubernetes.runtime_config, **switches(options.runtime_config)},
    )
    with progress.step("starting the embedded cluster"), _starting(state):
        try:
            with _explained(plan, options):
                api = _wait_for_api(plan, _start(plan, options.tied))
                if options.fault:
                    _wait_for_nodes(plan, api)  # their folders are their own by then
                    set_fault(options.name, options.fault)
                api.create(_volumes(nodes))
                for driver in drivers:
                    api.create(driver.objects(built, kubernetes))
                _wait_for_nodes(plan, api)
                for driver in drivers:
                    _wait_for_driver(plan, api, driver, kubernetes, options.fault)
        except BaseException:
            down(options.name)
            raise
    return Cluster(
        name=options.name,
        kubeconfig=plan.kubeconfig,
        workload_image=WORKLOAD_IMAGE_NAME,
        description=(
            f"embedded cluster, Kubernetes v{kubernetes.version}, "
            f"{' and '.join(driver.description for driver in drivers)}, "
            f"{_described(nodes)}"
        ),
        hardware=options.hardware,
        next_image=drivers[0].next_image,
    )


def parts(drivers: Sequence[Driver], kubernetes: Release) -> list[artifacts.Artifact]:
    """All that has to be built for a cluster with these drivers on this release."""
    manifests = [part for one in drivers for part in one.manifests(kubernetes)]
    return [*_components(kubernetes), *manifests, *_images(drivers)]


def _volumes(nodes: Iterable[NodePlan]) -> list[Object]:
    """A StorageClass, and a volume of each node: a folder of it, for one claim, once."""
    made: list[Object] = [
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": VOLUMES},
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "WaitForFirstConsumer",
        }
    ]
    for node in nodes:
        here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node.name]}
        spec = {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": VOLUMES,
            "local": {"path": VOLUME},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        }
        volume = {"apiVersion": "v1", "kind": "PersistentVolume", "spec": spec}
        made.append({**volume, "metadata": {"name": f"{VOLUMES}-{node.name}"}})
    return made


def _components(kubernetes: Release) -> tuple[artifacts.Artifact, ...]:
    return (kubernetes.binaries, RUNTIME, HARDWARE)


def _images(drivers: Sequence[Driver]) -> list[artifacts.Artifact]:
    of_drivers = dict.fromkeys(image for one in drivers for image in one.images)
    return [PAUSE_IMAGE, *of_drivers, WORKLOAD_IMAGE]


@contextmanager
def running(
    options: Options, progress: Progress, died: Callable[[str], None] | None = None
) -> Iterator[Cluster]:
    """A cluster of this process's own for a ``with`` block; it ends with the process, too.

    Args:
        options: what cluster; its name is chosen here.
        progress: where to say what takes long.
        died: called from another thread when a component of the cluster has ended by itself, with
            how it ended and the end of its log.
    """
    own = replace(options, tied=True, name=f"run-{os.getpid()}")
    cluster = up(own, progress)
    state = states() / own.name

    def whole() -> str:
        return f"the embedded cluster {own.name!r} ended as a whole\n{_end_of_its_log(state)}"

    try:
        with told(state / "deaths", _processes(state), died, whole) if died else nullcontext():
            yield cluster
    finally:
        with progress.step("ending the embedded cluster"):
            down(own.name)


def sweep() -> None:
    """Remove what killed runs left: state and cgroups of clusters that have no process."""
    marks = {mark.with_suffix("").name for mark in states().glob(f"*{_MARK}")}
    for name in {*names(), *marks}:
        state = states() / name
        if _processes(state):
            continue
        try:
            # Held until all is removed: who begins a cluster of that name waits for it.
            with _marked(state, _NOW):
                if not _processes(state):
                    down(name)
        except BlockingIOError:
            continue  # it is being started
    _remove_if_empty(states())


def down(name: str = DEFAULT_NAME) -> bool:
    """End a cluster and remove all that is left of it.

    Returns:
        Whether there was anything to end or remove.

    Raises:
        UserError: something could not be removed; the message names it.
    """
    state = states() / name
    found = _processes(state)
    for pid in found:
        _kill(pid)
    if process := _started.pop(state, None):
        process.wait()
    cgroups.remove(f"dra-conformance/{name}")
    _remove_mark(state)
    existed = state.exists()
    if existed:
        mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        if inside := [at for at in mounted if Path(at).is_relative_to(state)]:
            raise UserError(f"not removing {state}: {inside[0]} is mounted in it")
        shutil.rmtree(state, onerror=_unless_gone)
    _remove_if_empty(states())
    return existed or bool(found)


def names() -> list[str]:
    """The clusters that have state on this machine."""
    return sorted(path.name for path in states().glob("*") if path.is_dir())


def is_running(name: str) -> bool:
    """Whether the cluster has processes."""
    return bool(_processes(states() / name))


def deaths(name: str) -> list[str]:
    """What components of the cluster ended by themselves, each with the end of its log."""
    return known(states() / name / "deaths")


def _end_of_its_log(state: Path) -> str:
    """What the first process of the whole cluster said last."""
    return (state / "logs" / "control-plane.log").read_text(errors="replace")[-2000:]


def node_root(name: str, number: int = 1) -> Path:
    """A node's root directory as seen from the host, sockets and all.

    Raises:
        UserError: there is no such node.
    """
    for pid, words in _command_lines(states() / name):
        if b"embedded.node" in words and str(number).encode() in words and b"unshare" not in words:
            return Path(f"/proc/{pid}/root")
    raise UserError(f"the cluster {name!r} has no running node {number}")


def restart_kubelet(name: str, node: str) -> None:
    """End the kubelet of a node and start it again; returns before it has.

    Args:
        name: the cluster.
        node: the node's name.

    Raises:
        UserError: there is no such node.
    """
    for planned in Plan.load(states() / name / "cluster.json").nodes:
        if planned.name == node:
            os.kill(int(node_root(name, planned.number).parts[2]), RESTART_KUBELET)
            return
    raise UserError(f"the cluster {name!r} has no node {node}")


def set_fault(name: str, fault: str) -> None:
    """Make the reference driver of a running cluster misbehave; ``none`` ends it.

    Returns when what it publishes is as the fault wants it.

    Raises:
        UserError: there is no such fault, or no such cluster; or the driver does not publish.
    """
    nodes = Plan.load(states() / name / "cluster.json").nodes
    roots = [node_root(name, node.number) for node in nodes]
    for root in roots:
        reference.set_fault(root, None if fault == "none" else fault)
    for root in roots:
        reference.await_fault(root)


def logs(name: str) -> list[Path]:
    """The log files of all components of the cluster."""
    state = states() / name
    return sorted([*state.glob("logs/*.log"), *state.glob("nodes/*/var/log/components/*.log")])


@contextmanager
def _explained(plan: Plan, options: Options) -> Iterator[None]:
    """Add what was asked of Kubernetes, and what the pods said, to why a cluster is not ready."""
    try:
        with _while_it_lives(plan):
            yield
    except UserError as error:
        asked = [
            f"it was asked for {flag(name)} {value}"
            for name in ("feature_gates", "runtime_config")
            if (value := getattr(options, name))
        ]
        said = [
            f"{path.parts[-3].split('_')[1]}/{path.parts[-2]}:\n  "
            + "\n  ".join(path.read_text(errors="replace").splitlines()[-5:])
            for path in sorted(plan.state.glob("nodes/*/var/log/pods/*/*/*.log"))
        ]
        raise UserError("\n".join([str(error), *asked, *said])) from error


def _in_use(name: str) -> UserError:
    return UserError(
        f"the cluster {name!r} is up or being started already; "
        f"`{COMMAND} cluster down --name {name}` ends it, --name NAME makes another"
    )


@contextmanager
def _starting(state: Path) -> Iterator[None]:
    """Make the state folder, marked as in use for as long as there may be no process of it."""
    with _marked(state):
        try:
            state.mkdir(mode=0o700)
        except FileExistsError:
            raise _in_use(state.name) from None
        yield


@contextmanager
def _marked(state: Path, lock: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Hold the mark that says that somebody begins or ends a cluster with this state.

    Raises:
        BlockingIOError: somebody else holds it, and the lock is one that does not wait.
    """
    while True:
        states().mkdir(parents=True, exist_ok=True)
        try:
            mark = _mark(state).open("w")
        except FileNotFoundError:
            continue  # somebody has just removed the empty folder
        with mark:
            fcntl.flock(mark, lock)
            if _is_mark(mark, state):
                try:
                    yield
                finally:
                    _mark(state).unlink()
                    _remove_if_empty(states())
                return


def _is_mark(file: IO[str], state: Path) -> bool:
    """Whether the open file is the mark that is there now, not one that its holder has removed."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), _mark(state).stat())
    except FileNotFoundError:
        return False


def _remove_mark(state: Path) -> None:
    """Remove the mark that a killed start left; who starts now keeps it."""
    if _mark(state).exists():
        with suppress(BlockingIOError), _marked(state, _NOW):
            pass


def _mark(state: Path) -> Path:
    return state.with_suffix(_MARK)


def _start(plan: Plan, tied: bool) -> str:
    """Start the control plane's first process, which starts everything else.

    Returns:
        The URL at which the API server will answer.
    """
    for folder in (plan.logs, plan.deaths):
        folder.mkdir()
    authority = Authority(plan.pki)
    door = socket.create_server(("127.0.0.1", 0))
    here = f"https://127.0.0.1:{door.getsockname()[1]}"
    authority.issue(
        "kube-apiserver",
        "kube-apiserver",
        hosts=["127.0.0.1", API_SERVICE, CONTROL_PLANE, "kubernetes.default.svc", "kubernetes"],
    )
    authority.issue("kubelet-client", "kube-apiserver-kubelet-client", "system:masters")
    authority.signing_key("service-accounts")
    inside = f"https://{API_SERVICE}"
    for component in ("kube-controller-manager", "kube-scheduler"):
        authority.kubeconfig(plan.state / f"{component}.kubeconfig", inside, f"system:{component}")
    for node in plan.nodes:
        user = f"system:node:{node.name}"
        authority.kubeconfig(plan.state / f"{node.name}.kubeconfig", inside, user, "system:nodes")
        authority.issue(f"{node.name}-server", user, "system:nodes", [node.name, node.address])
        cgroups.create(f"{plan.cgroup}/{node.name}")
    authority.kubeconfig(plan.kubeconfig, here, "embedded-admin", "system:masters")
    command = unshared("embedded.control_plane", plan.save(), str(door.fileno()))
    if tied:
        command = ["setpriv", "--pdeathsig", "KILL", "--", *command]
    with door, (plan.logs / "control-plane.log").open("wb") as log:
        _started[plan.state] = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment(),
            pass_fds=[door.fileno()],
            start_new_session=True,
        )
    return here


def _still_alive(plan: Plan) -> None:
    """Raise when waiting for the cluster has become pointless."""
    if died := deaths(plan.name):
        raise UserError("the embedded cluster did not start: " + "\n".join(died))
    if not _processes(plan.state):
        raise UserError(
            f"the embedded cluster ended while it started:\n{_end_of_its_log(plan.state)}"
        )


@contextmanager
def _while_it_lives(plan: Plan) -> Iterator[None]:
    """Have a connection to the API server that broke be what broke it."""
    try:
        yield
    except urllib3.exceptions.HTTPError as error:
        deadline = time.monotonic() + WORD_SECONDS
        while time.monotonic() < deadline:
            _still_alive(plan)
            time.sleep(0.05)
        raise UserError(f"the API server broke a connection off: {error}") from error


def _wait_for_api(plan: Plan, server: str) -> Api:
    ca = (plan.pki / "ca.crt").read_text()
    deadline = time.monotonic() + START_SECONDS
    while not answers(f"{server}/readyz", ca):
        _still_alive(plan)
        if time.monotonic() > deadline:
            raise UserError(f"the API server did not answer within {START_SECONDS} s")
        time.sleep(0.05)
    return Api(plan.kubeconfig, functools.partial(_still_alive, plan), START_SECONDS)


def _wait_for_nodes(plan: Plan, api: Api) -> None:
    def ready(nodes: list[Object]) -> bool:
        conditions = [one for node in nodes for one in node.get("status", {}).get("conditions", ())]
        found = [one for one in conditions if (one["type"], one["status"]) == ("Ready", "True")]
        return len(found) == len(plan.nodes)

    api.wait("v1", "Node", ready)


def _wait_for_driver(
    plan: Plan, api: Api, driver: Driver, kubernetes: Release, fault: str | None
) -> None:
    """Wait for the devices of a driver.

    What the reference driver publishes when it is faulty is its own affair: it has done so when
    its pods are ready. Those of one that says that it is not have to publish all devices.
    """

    def runs(daemon_sets: list[Object]) -> bool:
        return any(
            item["metadata"]["namespace"] == reference.NAMESPACES[driver.name]
            and item["status"].get("numberReady") == len(plan.nodes)
            for item in daemon_sets
        )

    def has_published(slices: list[Object]) -> bool:
        found = [item["spec"] for item in slices if item["spec"]["driver"] == driver.name]
        devices = sum(len(spec.get("devices") or ()) for spec in found)
        return devices == sum(
            node.gpu_count if driver.devices is None else driver.devices for node in plan.nodes
        )

    if fault and driver.name in reference.NAMESPACES and not _keeps_unready(fault):
        api.wait("apps/v1", "DaemonSet", runs)
    else:
        api.wait(kubernetes.dra_api, "ResourceSlice", has_published)


def _keeps_unready(fault: str) -> bool:
    from embedded.drivers.reference.kubelet_plugin.faults import FAULTS, Point  # noqa: PLC0415

    return any(FAULTS[one].point is Point.READY for one in fault.split(","))


def planned_nodes(options: Options) -> tuple[NodePlan, ...]:
    """The nodes that the options ask for, with their GPUs.

    Raises:
        UserError: the options contradict each other or this machine.
    """
    if options.hardware == "real":
        if options.nodes not in (None, 1):
            raise UserError(
                f"--embedded-nodes {options.nodes}: with --embedded-hardware real there can be one "
                "node, as two would publish the same GPUs"
            )
        version, count = real.driver_version(), len(real.gpu_nodes())
        if options.gpus not in (None, str(count)):
            raise UserError(
                f"--embedded-gpus {options.gpus}: with --embedded-hardware real the node has all"
                f" GPUs of this machine, {count}; leave the option out"
            )
        return (NodePlan(1, (Gpus(count, f"GPU (real, driver {version})"),)),)
    listed = gpus_of_nodes(options.gpus or DEFAULT_GPUS)
    if len(listed) == 1:
        listed *= options.nodes or DEFAULT_NODES
    elif options.nodes not in (None, len(listed)):
        raise UserError(
            f"--embedded-nodes {options.nodes}: --embedded-gpus {options.gpus!r} lists "
            f"{len(listed)} nodes; list as many, or one that all are like"
        )
    return tuple(NodePlan(number, gpus) for number, gpus in enumerate(listed, 1))


def _described(nodes: Sequence[NodePlan]) -> str:
    first = nodes[0].hardware
    if len(nodes) == 1:
        return f"1 node with {first}"
    if all(node.hardware == first for node in nodes):
        return f"{len(nodes)} nodes with {first} each"
    return f"{len(nodes)} nodes: " + ", ".join(
        f"{node.name} with {node.hardware}" for node in nodes
    )


def _check_options(options: Options) -> None:
    for option in Options.on_command_lines():
        value = getattr(options, option.name)
        try:
            if value is not None:
                option.metadata["parse"](value)
        except ValueError as error:
            raise UserError(f"{flag(option.name)} {value!r}: {error}") from error
    drivers = options.driver.split(",")
    must_be_of(DRIVERS, "--embedded-driver", *drivers)
    if len({DRIVERS[name].name for name in drivers}) < len(drivers):
        raise UserError(
            f"--embedded-driver {options.driver!r}: a cluster has one version of a driver; name"
            " each driver once"
        )
    must_be_of(RELEASES, "--embedded-kubernetes", options.kubernetes)
    if options.fault:
        # Only when asked for: there are very many.
        from embedded.drivers.reference.kubelet_plugin.faults import FAULTS  # noqa: PLC0415

        must_be_of(FAULTS, "--embedded-fault", *options.fault.split(","))
    if options.fault and not {"reference", "channels"} & set(drivers):
        raise UserError(
            f"--embedded-fault {options.fault!r}: only the reference driver takes faults; "
            "add --embedded-driver reference"
        )
    if not options.name.replace("-", "").isalnum():
        raise UserError(f"cluster name {options.name!r}: use letters, digits and dashes")


def _processes(state: Path) -> list[int]:
    """The first processes of the cluster with this state: ``unshare`` and what it started."""
    return [pid for pid, words in _command_lines(state) if b"embedded.control_plane" in words]


def _command_lines(state: Path) -> Iterator[tuple[int, list[bytes]]]:
    """Process IDs and command lines of all processes that were started with this state's plan."""
    plan = str(state / "cluster.json").encode()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended in the meantime
        if plan in words:
            yield int(entry.name), words


def _kill(pid: int) -> None:
    """Kill a process and wait until it is gone; the first of a namespace goes last in it."""
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            os.kill(pid, 9)
            select.select([handle], [], [], 30)
        finally:
            os.close(handle)


def _unless_gone(_function: object, _path: str, error: object) -> None:
    """For ``shutil.rmtree``: what somebody else has removed already is removed."""
    if not isinstance(error, tuple) or not issubclass(error[0], FileNotFoundError):
        raise  # noqa: PLE0704 - called while the error is handled


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()
