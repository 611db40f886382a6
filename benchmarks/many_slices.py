"""``./run bench slices``: what a run that only reads takes in a cluster of thousands of nodes.

There are no nodes: an etcd gets the objects that such a cluster would have, and an API server shows
them. A list of the same slices and claims, page by page, is measured beside it: what a run takes
says something only beside that.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from building import artifacts
from building.binaries import RELEASES, RUNTIME
from building.progress import Progress
from embedded.pki import Authority
from harness.cluster.versions import SHAPE
from harness.verdict.outcome import Exit

ROOT = Path(__file__).parents[1]
DRIVER = "gpu.nvidia.com"
API = f"resource.k8s.io/{SHAPE}"
LABELS = {"dra-driver-nvidia-gpu-component": "kubelet-plugin"}
OBJECTS_AT_A_TIME = 100
"""Of one transaction of etcd, which takes 128 operations."""
PAGE = 500
READY_SECONDS = 120.0
IMAGES, NODE_LABELS = 50, 40
"""Of each node: a kubelet names 50 images, feature discovery sets dozens of labels."""
LIST = f"""
import sys
from pathlib import Path
from harness.cluster.kubeconfig import from_kubeconfig
kube = from_kubeconfig([Path(sys.argv[1])], "", "bench")
kept = []
for path in ("/apis/{API}/resourceslices", "/apis/{API}/resourceclaims"):
    more = ""
    while more is not None:
        answer = kube.document(f"{{path}}?limit={PAGE}" + (f"&continue={{more}}" if more else ""))
        kept += answer["items"]
        more = answer["metadata"].get("continue")
print(len(kept), "objects")
"""
Object = dict[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Make the objects, read them in both ways, print both."""
    parser = argparse.ArgumentParser(prog="./run bench slices", description=__doc__)
    for option, number in {"nodes": 5000, "devices": 8, "claims": 10000}.items():
        parser.add_argument(f"--{option}", type=int, default=number, help="default: %(default)s")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="dra-bench-") as place:
        folder = Path(place)
        made = objects(given.nodes, given.devices, given.claims)
        with api_server(folder, made) as kubeconfig:
            listed = _measured([sys.executable, "-c", LIST, str(kubeconfig)], folder)
            run = _measured(
                [
                    *(sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "-q"),
                    *("-m", "dra", "--dra-cluster", "kubeconfig", "--dra-level", "0"),
                    *(f"--dra-output={folder / 'out'}", str(ROOT / "suites")),
                ],
                folder,
                KUBECONFIG=str(kubeconfig),
            )
    print(run[3])
    devices = given.nodes * given.devices
    print(f"{given.nodes} nodes, {devices} devices, {given.claims} claims")
    print(f"  {'':<14} {'wall, s':>10} {'CPU, s':>10} {'memory, MB':>10}")
    for what, (*numbers, _) in {"paged list": listed, "--dra-level 0": run}.items():
        print(f"  {what:<14} " + " ".join(f"{number:10.1f}" for number in numbers))
    ratios = (one / other for one, other in zip(run[:3], listed[:3], strict=True))
    print(f"  {'ratio':<14} " + " ".join(f"{ratio:10.1f}" for ratio in ratios))
    return Exit.OK


def _measured(
    command: Sequence[str], folder: Path, **variables: str
) -> tuple[float, float, float, str]:
    """Seconds, seconds of CPU, peak of resident memory in megabytes, and output of a process."""
    began = time.monotonic()
    with (folder / "output").open("w+", encoding="utf-8") as output:
        environment = {**os.environ, **variables}
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT, text=True
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        output.seek(0)
        text = output.read()
    if os.waitstatus_to_exitcode(status) not in (Exit.OK, Exit.FAILED):
        raise SystemExit(f"error: {' '.join(command)} ended wrongly:\n{text[-4000:]}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text


# What there is


def objects(nodes: int, devices: int, claims: int) -> Iterator[tuple[str, Object]]:
    """Every object of the cluster, with its key in etcd; as large as objects there are."""
    for key, obj in _bare_objects(nodes, devices, claims):
        fields = {f"f:{name}": _fields(obj[name]) for name in ("spec", "status") if name in obj}
        owner = {"manager": "bench", "operation": "Update", "fieldsType": "FieldsV1"}
        obj["metadata"]["managedFields"] = [{**owner, "apiVersion": API, "fieldsV1": fields}]
        yield key, obj


def _fields(value: Any) -> Object:
    """Which fields somebody wrote, as ``managedFields`` has them; lists are one each."""
    if not isinstance(value, dict):
        return {}
    return {f"f:{name}": _fields(inner) for name, inner in value.items()}


def _bare_objects(nodes: int, devices: int, claims: int) -> Iterator[tuple[str, Object]]:
    made = "2026-01-01T00:00:00Z"

    def metadata(name: str, **more: Any) -> Object:
        uid = str(uuid.uuid5(uuid.NAMESPACE_OID, name))
        return {"name": name, "uid": uid, "creationTimestamp": made, **more}

    yield (
        f"deviceclasses/{DRIVER}",
        {
            "apiVersion": API,
            "kind": "DeviceClass",
            "metadata": metadata(DRIVER),
            "spec": {
                "selectors": [
                    {
                        "cel": {
                            "expression": f"device.driver == '{DRIVER}'"
                            f" && device.attributes['{DRIVER}'].type == 'gpu'"
                        }
                    }
                ]
            },
        },
    )
    labels = {f"feature.example.com/cpu-{one}.present": "true" for one in range(NODE_LABELS)}
    images = [
        {"names": [_image(one, f"@sha256:{one:064x}"), _image(one, ":v1")], "sizeBytes": 10**8}
        for one in range(IMAGES)
    ]
    volumes = [{"name": f"v{one}", "hostPath": {"path": f"/var/lib/v{one}"}} for one in range(8)]
    for number in range(nodes):
        node = f"node-{number:05}"
        yield (
            f"minions/{node}",
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": metadata(node, labels=labels),
                "status": {
                    "allocatable": {"cpu": "192", "memory": "2113378844Ki", "pods": "110"},
                    "images": images,
                    "conditions": [
                        {"type": kind, "status": "False", "reason": "Kubelet", "message": kind * 3}
                        for kind in ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
                    ],
                },
            },
        )
        owner = {"apiVersion": "v1", "kind": "Node", "name": node, "uid": metadata(node)["uid"]}
        yield (
            f"resourceslices/{node}-slice",
            {
                "apiVersion": API,
                "kind": "ResourceSlice",
                "metadata": metadata(f"{node}-slice", ownerReferences=[owner]),
                "spec": {
                    "driver": DRIVER,
                    "nodeName": node,
                    "pool": {"name": node, "generation": 1, "resourceSliceCount": 1},
                    "devices": [_device(number, gpu) for gpu in range(devices)],
                },
            },
        )
        yield (
            f"pods/gpu/plugin-{node}",
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": metadata(f"plugin-{node}", namespace="gpu", labels=LABELS),
                "spec": {
                    "nodeName": node,
                    "serviceAccountName": "plugin",
                    "containers": [
                        {
                            "name": "gpus",
                            "image": "example.com/plugin:1",
                            "env": [{"name": f"SETTING_{one}", "value": "1"} for one in range(20)],
                            "volumeMounts": [
                                {"name": volume["name"], "mountPath": f"/{volume['name']}"}
                                for volume in volumes
                            ],
                        }
                    ],
                    "volumes": volumes,
                },
                "status": {
                    "phase": "Running",
                    "conditions": [{"type": "Ready", "status": "True"}],
                    "containerStatuses": [
                        {"name": "gpus", "ready": True, "state": {"running": {"startedAt": made}}}
                    ],
                },
            },
        )
    for number in range(claims):
        of, gpu = divmod(number, devices)
        result = {
            "request": "gpu",
            "driver": DRIVER,
            "pool": f"node-{of % nodes:05}",
            "device": f"gpu-{gpu}",
        }
        name = f"train-{number:05}"
        yield (
            f"resourceclaims/team/{name}",
            {
                "apiVersion": API,
                "kind": "ResourceClaim",
                "metadata": metadata(name, namespace="team"),
                "spec": {
                    "devices": {
                        "requests": [{"name": "gpu", "exactly": {"deviceClassName": DRIVER}}]
                    }
                },
                "status": {
                    "allocation": {"devices": {"results": [result]}},
                    "reservedFor": [
                        {"resource": "pods", "name": name, "uid": metadata(f"pod-{name}")["uid"]}
                    ],
                },
            },
        )


def _image(number: int, version: str) -> str:
    return f"registry.example.com/team-{number}/image{version}"


def _device(node: int, gpu: int) -> Object:
    return {
        "name": f"gpu-{gpu}",
        "attributes": {
            "type": {"string": "gpu"},
            "uuid": {"string": f"GPU-{node:08x}-0000-0000-0000-{gpu:012x}"},
            "productName": {"string": "NVIDIA H200"},
            "brand": {"string": "Nvidia"},
            "architecture": {"string": "Hopper"},
            "addressingMode": {"string": "None"},
            "cudaComputeCapability": {"version": "9.0.0"},
            "driverVersion": {"version": "580.159.4"},
            "cudaDriverVersion": {"version": "13.0.0"},
            "resource.kubernetes.io/pciBusID": {"string": f"0000:{gpu:02x}:00.0"},
            "resource.kubernetes.io/pcieRoot": {"string": f"pci0000:{gpu:02x}"},
        },
        "capacity": {"memory": {"value": "143771Mi"}},
    }


# Where it is


@contextmanager
def api_server(folder: Path, made: Iterable[tuple[str, Object]]) -> Iterator[Path]:
    """An API server that shows objects; answers a kubeconfig."""
    # Here: the rest of the benchmarks does without the packages that a cluster takes.
    from embedded.options import Options  # noqa: PLC0415

    release = RELEASES[Options().kubernetes]
    built = artifacts.obtain([release.binaries, RUNTIME], Progress())
    etcd, door = f"http://127.0.0.1:{_free_port()}", _free_port()
    pki = Authority(folder / "pki")
    certificate, key = pki.issue("kube-apiserver", "kube-apiserver", hosts=["127.0.0.1"])
    accounts = pki.signing_key("service-accounts")
    kubeconfig = pki.kubeconfig(
        folder / "admin.kubeconfig", f"https://127.0.0.1:{door}", "admin", "system:masters"
    )
    commands = (
        [
            built[RUNTIME.name] / "etcd",
            *("--data-dir", folder / "etcd", "--log-level", "error", "--unsafe-no-fsync"),
            *("--listen-client-urls", etcd, "--advertise-client-urls", etcd),
            *("--listen-peer-urls", f"http://127.0.0.1:{_free_port()}"),
        ],
        [
            built[release.binaries.name] / "kube-apiserver",
            *(f"--etcd-servers={etcd}", f"--secure-port={door}", "--bind-address=127.0.0.1"),
            *(f"--tls-cert-file={certificate}", f"--tls-private-key-file={key}"),
            f"--client-ca-file={pki.certificate}",
            "--service-account-issuer=https://kubernetes.default.svc",
            *(f"--service-account-key-file={accounts}", "--authorization-mode=RBAC"),
            f"--service-account-signing-key-file={accounts}",
        ],
    )
    started: list[subprocess.Popen[bytes]] = []
    try:
        with (folder / "log").open("ab") as log:
            started.append(subprocess.Popen(list(map(str, commands[0])), stdout=log, stderr=log))
            _wait(f"{etcd}/health", "true", folder / "log")
            _store(etcd, made)
            started.append(subprocess.Popen(list(map(str, commands[1])), stdout=log, stderr=log))
            _wait_for_api(kubeconfig, folder / "log")
        yield kubeconfig
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()


def _store(etcd: str, made: Iterable[tuple[str, Object]]) -> None:
    """Put objects where the API server keeps them; it reads JSON as well as its own encoding."""
    left = iter(made)
    while some := list(islice(left, OBJECTS_AT_A_TIME)):
        puts = [
            {
                "requestPut": {
                    "key": base64.b64encode(f"/registry/{key}".encode()).decode(),
                    "value": base64.b64encode(json.dumps(obj).encode()).decode(),
                }
            }
            for key, obj in some
        ]
        data = json.dumps({"success": puts}).encode()
        with urllib.request.urlopen(f"{etcd}/v3/kv/txn", data, timeout=60) as answer:
            answer.read()


def _wait(url: str, words: str, log: Path) -> None:
    """Wait until an address answers with some words."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if words in answer.read().decode():
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise SystemExit(f"error: {url} does not answer:\n{log.read_text()[-4000:]}")


def _wait_for_api(kubeconfig: Path, log: Path) -> None:
    from harness.cluster.kube import ApiError, UnreachableError  # noqa: PLC0415
    from harness.cluster.kubeconfig import from_kubeconfig  # noqa: PLC0415

    kube = from_kubeconfig([kubeconfig], "", "bench")
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            kube.document(f"/apis/{API}/resourceslices?limit=1")
            return
        except (ApiError, UnreachableError):
            time.sleep(0.2)
    raise SystemExit(f"error: the API server does not come up:\n{log.read_text()[-4000:]}")


def _free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])
