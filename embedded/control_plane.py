"""First process of the control plane: etcd, API server, controllers, scheduler, and the nodes.

Runs as ``python -m embedded.control_plane PLAN DESCRIPTOR`` in namespaces of its own.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from embedded import network
from embedded.layout import API_SERVICE, CONTROL_PLANE, SERVICE_NETWORK, Plan
from embedded.machine import Machine, MachineError, answers, unshared


def main(plan: Plan, door: int) -> None:
    """Start everything and watch over it until the end.

    Args:
        plan: what to start.
        door: descriptor of the socket that listens on the host.
    """
    machine = Machine("control-plane", plan.logs, plan.deaths)
    try:
        socket.sethostname("control-plane")
        network.set_up_control_plane()
        _start_nodes(machine, plan)
        _start_api(machine, plan, door)
    except MachineError as error:
        machine.record("start", str(error))
        sys.exit(1)
    machine.supervise()


def _start_nodes(machine: Machine, plan: Plan) -> None:
    """Start the nodes: while the API server starts, they import images."""
    for node in plan.nodes:
        state = plan.node_state(node)
        with (plan.logs / f"{node.name}.log").open("ab") as log:
            process = subprocess.Popen(
                unshared("embedded.node", plan.state / "cluster.json", str(node.number)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        machine.adopt(node.name, process)
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline() != b"unshared\n":
            raise MachineError(f"{node.name} did not start; see {state}")
        network.connect(node, process.pid)
        process.stdin.write(b"connected\n")
        process.stdin.close()


def _start_api(machine: Machine, plan: Plan, door: int) -> None:
    kubernetes, pki = plan.artifacts["kubernetes"], plan.pki
    etcd = "http://127.0.0.1:2379"
    machine.start(
        "etcd",
        [
            plan.artifacts["runtime"] / "etcd",
            *("--data-dir", plan.state / "etcd", "--log-level", "warn"),
            *("--listen-client-urls", etcd, "--advertise-client-urls", etcd),
            *("--listen-peer-urls", "http://127.0.0.1:2380"),
            "--unsafe-no-fsync",  # the state does not outlive the cluster
        ],
    )
    machine.start(
        "kube-apiserver",
        [
            kubernetes / "kube-apiserver",
            f"--etcd-servers={etcd}",
            "--bind-address=0.0.0.0",
            "--secure-port=443",
            f"--advertise-address={CONTROL_PLANE}",
            f"--service-cluster-ip-range={SERVICE_NETWORK}",
            f"--tls-cert-file={pki / 'kube-apiserver.crt'}",
            f"--tls-private-key-file={pki / 'kube-apiserver.key'}",
            f"--client-ca-file={pki / 'ca.crt'}",
            # Nothing aggregates APIs here, but controllers and scheduler look for these.
            f"--requestheader-client-ca-file={pki / 'ca.crt'}",
            "--requestheader-allowed-names=none",
            "--requestheader-username-headers=X-Remote-User",
            f"--kubelet-certificate-authority={pki / 'ca.crt'}",
            f"--kubelet-client-certificate={pki / 'kubelet-client.crt'}",
            f"--kubelet-client-key={pki / 'kubelet-client.key'}",
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={pki / 'service-accounts.key'}",
            f"--service-account-signing-key-file={pki / 'service-accounts.key'}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            "--profiling=false",
            *plan.runtime_config_flags,
            *plan.gate_flags,
        ],
    )
    machine.start("relay", [sys.executable, "-P", "-m", "embedded.relay", str(door)], [door])
    ca = (pki / "ca.crt").read_text()
    machine.wait_until(
        "the API server",
        lambda: answers(f"https://{API_SERVICE}/readyz", ca),
        *("etcd", "kube-apiserver"),
    )
    for component, flags in {
        "kube-controller-manager": [
            f"--service-account-private-key-file={pki / 'service-accounts.key'}",
            f"--root-ca-file={pki / 'ca.crt'}",
            "--use-service-account-credentials",
            # Many at once for the lists at the start, later no more than by default: the one of
            # claims adds ended pods to shared claims and takes them out again, without a pause
            # (kubernetes/kubernetes#141274).
            "--kube-api-qps=20",
            "--kube-api-burst=200",
        ],
        "kube-scheduler": [],
    }.items():
        credentials = plan.state / f"{component}.kubeconfig"
        machine.start(
            component,
            [
                kubernetes / component,
                f"--kubeconfig={credentials}",
                f"--authentication-kubeconfig={credentials}",
                f"--authorization-kubeconfig={credentials}",
                "--leader-elect=false",
                "--bind-address=127.0.0.1",
                *flags,
                *plan.gate_flags,
            ],
        )


if __name__ == "__main__":
    main(Plan.load(Path(sys.argv[1])), int(sys.argv[2]))
