"""First process of a node: a root of its own, then containerd and the kubelet.

Runs as ``python -m embedded.node PLAN NUMBER`` in namespaces of its own. The root is a tmpfs that
borrows ``/usr`` from the host read-only, so that every path a kubelet, a driver or a hostPath
volume uses (``/var/lib/kubelet``, ``/var/run/cdi``, ``/tmp``, ``/dev``) is the node's own.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 - looked up at the first connection, when the host's files are gone
import json
import os
import socket
import sys
import uuid
from pathlib import Path

import yaml

from embedded import network
from embedded.hardware import machine as simulated
from embedded.hardware import real
from embedded.layout import API_SERVICE, DRIVER_ROOT, SIMULATED_GPUS, NodePlan, Plan
from embedded.machine import RESTART_KUBELET, Machine, MachineError, answers, run

BORROWED_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "kmsg", "fuse")
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
_CONFIGURATION = Path(__file__).parent / "configuration"
CONTAINERD = (_CONFIGURATION / "containerd.toml").read_text()
KUBELET = yaml.safe_load((_CONFIGURATION / "kubelet.yaml").read_text())
"""Read when this is imported: a node has a root of its own soon after."""

KERNEL_TUNABLES = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""What a kubelet sets on the kernel unless it is so already. These are the host's: the node shows
the kubelet files with the values it wants instead."""


def main(plan: Plan, node: NodePlan) -> None:
    """Set the node up, start its components and watch over them until the end."""
    state = plan.node_state(node)
    print("unshared", flush=True)
    if sys.stdin.readline() != "connected\n":
        sys.exit("the control plane ended before this node was connected")
    socket.sethostname(node.name)
    network.set_up_node(node)
    root = state / "root"
    _build_root(root, plan, node)
    _enter(root)
    # Absolute paths are the node's own from here on.
    machine = Machine(node.name, Path("/var/log/components"), Path("/cluster/deaths"))
    try:
        _start_runtime(machine)
        _import_images()
        ca = Path("/cluster/ca.crt").read_text()
        machine.wait_until(
            "the API server", lambda: answers(f"https://{API_SERVICE}/readyz", ca), "containerd"
        )
        _start_kubelet(machine, plan, node)
    except MachineError as error:
        machine.record("start", str(error))
        sys.exit(1)
    machine.restart_on(RESTART_KUBELET, "kubelet")
    machine.supervise()


def _build_root(root: Path, plan: Plan, node: NodePlan) -> None:
    root.mkdir(parents=True)
    run("mount", "-t", "tmpfs", "-o", "mode=755", node.name, root)
    for folder in ("proc", "sys", "dev/pts", "dev/shm", "dev/mqueue", "run", "tmp", "root", "opt"):
        (root / folder).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    for folder in ("usr", "bin", "sbin", "lib", "lib64", "lib32"):
        _borrow(Path("/") / folder, root / folder)
    for name, artifact in plan.artifacts.items():
        _borrow(artifact, root / "opt" / name)
    for number, archive in enumerate(plan.images):
        _borrow(archive, root / "opt" / "images" / f"{number}.tar")
    # Image layers, volumes and logs: on disk, removed with the cluster's state.
    var = plan.node_state(node) / "var"
    for folder in (
        "lib/kubelet",
        "lib/containerd",
        "lib/volume",
        "log/pods",
        "log/components",
        "tmp",
    ):
        (var / folder).mkdir(parents=True)
    (var / "run").symlink_to("/run")
    _bind(var, root / "var")
    _bind(plan.deaths, root / "cluster" / "deaths")
    _bind(plan.state / f"{node.name}.kubeconfig", root / "cluster" / "kubeconfig")
    _bind(plan.pki / "ca.crt", root / "cluster" / "ca.crt")
    for end in ("crt", "key"):
        _bind(plan.pki / f"{node.name}-server.{end}", root / "cluster" / f"server.{end}")
    _write_etc(root / "etc", node)
    _take_systemd(root, plan.node_state(node) / "sbin")
    run("mount", "-t", "proc", "proc", root / "proc")
    run("mount", "-t", "sysfs", "sysfs", root / "sys")
    _bind(Path("/sys/fs/cgroup"), root / "sys/fs/cgroup")
    for tunable, value in KERNEL_TUNABLES.items():
        shown = root / "run" / "kernel-tunables" / tunable
        shown.parent.mkdir(parents=True, exist_ok=True)
        shown.write_text(value + "\n")
        _bind(shown, root / "proc/sys" / tunable)
    # A user namespace may mount /proc only where some /proc shows all (mount_too_revealing in the
    # kernel's fs/namespace.c); the one above has files that hide others. For `hostUsers: false`.
    whole = root / "run" / "whole-proc"
    whole.mkdir()
    run("mount", "-t", "proc", "proc", whole)
    _make_devices(root, plan, node)


def _make_devices(root: Path, plan: Plan, node: NodePlan) -> None:
    """``/dev`` with the GPUs' nodes, and the driver root that makes the GPUs usable."""
    dev = root / "dev"
    for name in BORROWED_DEVICES:
        if (Path("/dev") / name).exists():
            _bind(Path("/dev") / name, dev / name)
    run("mount", "-t", "devpts", "-o", "newinstance,ptmxmode=0666,mode=620", "pts", dev / "pts")
    run("mount", "-t", "tmpfs", "-o", "mode=1777", "shm", dev / "shm")
    (dev / "ptmx").symlink_to("pts/ptmx")
    for name, target in {"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"}.items():
        (dev / name).symlink_to(f"/proc/self/fd{target}")
    driver = root / DRIVER_ROOT.lstrip("/")
    driver.mkdir(parents=True)
    if plan.hardware == "real":
        real.install(driver)
        for folder in (dev, driver / "dev"):
            real.make_device_nodes(folder)
    else:
        gpus: list[simulated.Gpu] = []
        for group in node.gpus:
            gpus += simulated.gpus(node.name, group.product, group.count, first=len(gpus))
        memory = root / SIMULATED_GPUS.lstrip("/")
        memory.mkdir(parents=True)
        run("mount", "-t", "tmpfs", "-o", "mode=755", "simulated-gpus", memory)
        simulated.install(memory, gpus)
        run("cp", "-a", f"{plan.artifacts['hardware']}/.", driver)
        simulated.make_sys(driver / "sys", gpus)
        for folder in (dev, driver / "dev"):
            simulated.make_device_nodes(folder, len(gpus))


def _write_etc(etc: Path, node: NodePlan) -> None:
    etc.mkdir()
    (etc / "cni" / "net.d").mkdir(parents=True)
    (etc / "cdi").mkdir()
    for name, text in {
        "hostname": f"{node.name}\n",
        "hosts": f"127.0.0.1 localhost\n{node.address} {node.name}\n",
        "passwd": "root:x:0:0:root:/root:/bin/sh\n",
        "group": "root:x:0:\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
        "machine-id": uuid.uuid4().hex + "\n",
        "cni/net.d/10-bridge.conflist": json.dumps(_cni(node)),
    }.items():
        (etc / name).write_text(text)
    (etc / "os-release").symlink_to("/usr/lib/os-release")


def _cni(node: NodePlan) -> dict[str, object]:
    bridge = {
        "type": "bridge",
        "bridge": "pods",
        "isGateway": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": node.pod_network}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": "/run/cni",
        },
    }
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge]}


def _take_systemd(root: Path, folder: Path) -> None:
    """Have a systemctl that restarts this node's kubelet where it is looked for first.

    The host's would reach the host's systemd, and a host need not have one.
    """
    folder.mkdir()
    kubelet = f"[ \"$*\" = 'restart kubelet' ] && exec kill -{int(RESTART_KUBELET)} 1"
    stand_in = folder / "systemctl"
    stand_in.write_text(f"#!/bin/sh\n{kubelet}\necho no systemd >&2; exit 1\n")
    stand_in.chmod(0o755)
    run("mount", "--bind", folder, root / "usr/local/sbin")


def _borrow(source: Path, target: Path) -> None:
    """Show a folder or file of the host, read-only; a symbolic link is copied."""
    if source.is_symlink():
        target.symlink_to(os.readlink(source))
    elif source.exists():
        _bind(source, target)
        run("mount", "-o", "remount,bind,ro", target)


def _bind(source: Path, target: Path) -> None:
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    run("mount", "--rbind", source, target)


def _enter(root: Path) -> None:
    """Make ``root`` the root of this mount namespace and forget the host's."""
    old = root / "run" / "host"
    old.mkdir()
    os.chdir(root)
    run("pivot_root", root, old)
    os.chdir("/")
    run("umount", "--lazy", "/run/host")
    # What pods mount with Bidirectional propagation has to reach the node.
    run("mount", "--make-rshared", "/")


def _start_runtime(machine: Machine) -> None:
    path = f"/opt/runtime:{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"
    os.environ["PATH"] = path
    spec = json.loads(run("/opt/runtime/ctr", "oci", "spec"))
    if Path(SIMULATED_GPUS).exists():
        # Their memory; whether a process may use a GPU is decided by its device node.
        spec["mounts"].append(
            {
                "destination": SIMULATED_GPUS,
                "source": SIMULATED_GPUS,
                "type": "bind",
                "options": ["rbind", "rw", "nosuid", "nodev", "noexec"],
            }
        )
    # The limits are for containerd to inherit, as without a base specification.
    spec["process"].pop("rlimits", None)
    Path("/etc/containerd").mkdir()
    Path("/etc/containerd/base-spec.json").write_text(json.dumps(spec))
    Path("/etc/containerd/config.toml").write_text(CONTAINERD)
    machine.start("containerd", ["/opt/runtime/containerd"])
    machine.wait_until("containerd", Path(CONTAINERD_SOCKET).is_socket, "containerd")


def _import_images() -> None:
    for archive in sorted(Path("/opt/images").glob("*.tar")):
        # --local: ctr unpacks the archive, which takes a third less than if containerd does.
        run("/opt/runtime/ctr", "--namespace", "k8s.io", "images", "import", "--local", archive)


def _start_kubelet(machine: Machine, plan: Plan, node: NodePlan) -> None:
    own = {
        "address": node.address,
        "cgroupRoot": f"/{plan.cgroup}/{node.name}",
        "featureGates": plan.feature_gates,
    }
    Path("/etc/kubelet.json").write_text(json.dumps({**KUBELET, **own}))
    machine.start(
        "kubelet",
        [
            "/opt/kubernetes/kubelet",
            "--config=/etc/kubelet.json",
            "--kubeconfig=/cluster/kubeconfig",
            f"--hostname-override={node.name}",
            f"--node-ip={node.address}",
            # NVIDIA's DaemonSet runs where the first label is; the second is for reports.
            f"--node-labels=nvidia.com/gpu.present=true,dra-conformance.io/hardware={plan.hardware}",
            "-v=2",
        ],
    )


if __name__ == "__main__":
    _plan = Plan.load(Path(sys.argv[1]))
    main(_plan, _plan.nodes[int(sys.argv[2]) - 1])
