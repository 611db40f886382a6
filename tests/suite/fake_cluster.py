"""A cluster in this process: scheduler, kubelet, driver and workload as far as the suite sees them.

Faults are chosen by name: ``one-missing`` (the driver injects a GPU less than was allocated),
``hangs`` (the consumer neither reports nor ends), ``api-lost`` (the API server falls silent once
the consumer runs), ``user-lost`` (it no longer knows the run from then on), ``never-prepares`` (the
driver refuses to prepare any claim), ``never-unprepares`` (it takes none back from its last pod),
``one-user`` (it refuses to prepare a claim for a second pod), ``stuck-pods`` (pods and namespaces
do not go), ``folder-stays`` (a folder of the node cannot be removed).
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from harness.cluster.kinds import CLAIM, CONFIG_MAP, KINDS, NAMESPACE, POD, SLICE, Object
from tests.harness.fake_api import FakeApi, serving
from workload.result import (
    INVALID_CONTEXT,
    OFFER_MARK,
    Gpu,
    Offer,
    Problem,
    Process,
    Result,
    Seen,
    Transfer,
    Verdict,
    WorkloadError,
)

DRIVER = "gpu.nvidia.com"
NODE = "node-1"
PRODUCT = "NVIDIA H100 80GB HBM3"
GPUS = {f"gpu-{n}": f"GPU-{n}0000000-0000-0000-0000-000000000000" for n in range(4)}
WORDS = (62 << 20) // 8
CHECKSUM = "ab" * 8
CONTROL = Process(0, cap_eff="000001ffffffffff", no_new_privs=0, seccomp=0, uid=0)
RESTRICTED = Process(0, cap_eff="0000000000000000", no_new_privs=1, seccomp=2, uid=1000)
SAME_CONTEXT = WorkloadError(
    Verdict.NOT_OPENED,
    Problem(
        "open",
        "cuIpcOpenMemHandle failed: invalid device context",
        INVALID_CONTEXT,
        "CUDA_ERROR_INVALID_CONTEXT",
    ),
)
NOT_VISIBLE = WorkloadError(Verdict.WRONG_GPU, Problem("look", "not visible"))
GONE = WorkloadError(Verdict.PARTNER_NEVER_CAME, Problem("wait", "ended"))


class FakeCluster:
    """Reacts to what the suite creates, as a cluster does."""

    def __init__(
        self, fault: str = "", gpus: int = 4, dra_api: str = "v1", driver: str = DRIVER
    ) -> None:
        self.api = FakeApi()
        self.api.dra_api = dra_api
        self.fault = fault
        self.driver = driver
        self.gpus = dict(list(GPUS.items())[:gpus])
        self.folders: set[str] = set()
        """Folders on the node."""
        self._todo: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._offers: dict[str, Object] = {}
        self._early: dict[str, Object] = {}
        """Consumers that wait for an offer, by its nonce."""
        self._running: dict[str, Object] = {}
        self._pid = 1000
        self.api.documents["/version"] = {"gitVersion": "v1.37.2"}
        versions = [{"version": "v1alpha3"}, {"version": dra_api}]
        self.api.documents["/apis/resource.k8s.io"] = {"versions": versions}
        self.api.put(self._slice())
        self.api.put(
            {
                "apiVersion": "resource.k8s.io/v1",
                "kind": "DeviceClass",
                "metadata": {"name": driver},
                "spec": {"selectors": [{"cel": {"expression": f'device.driver == "{driver}"'}}]},
            }
        )
        self.api.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})
        self.api.reactions.append(self._noticed)

    @contextmanager
    def up(self, folder: Path) -> Iterator[Path]:
        """Serve it; answers a kubeconfig."""
        worker = threading.Thread(target=self._work, daemon=True)
        worker.start()
        with serving(self.api) as address:
            path = folder / "kubeconfig"
            document = {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "fake",
                "clusters": [{"name": "c", "cluster": {"server": address}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
                "contexts": [{"name": "fake", "context": {"cluster": "c", "user": "u"}}],
            }
            path.write_text(yaml.safe_dump(document))
            yield path
        self._todo.put(None)
        worker.join(5)

    def left(self) -> list[str]:
        """What is neither the cluster's own nor gone."""
        own = {"ResourceSlice", "DeviceClass", "Node"}
        return [f"{kind}/{name}" for (kind, _, name) in self.api.objects if kind not in own] + [
            *self.folders
        ]

    def _slice(self) -> Object:
        devices = [
            {
                "name": name,
                "attributes": {
                    "type": {"string": "gpu"},
                    "uuid": {"string": uuid},
                    "productName": {"string": PRODUCT},
                    "brand": {"string": "Nvidia"},
                    "architecture": {"string": "Hopper"},
                    "cudaComputeCapability": {"version": "9.0.0"},
                    "driverVersion": {"version": "580.159.4"},
                    "cudaDriverVersion": {"version": "13.0.0"},
                    "resource.kubernetes.io/pciBusID": {"string": f"0000:{number:02x}:00.0"},
                },
                "capacity": {"memory": {"value": "80Gi"}},
            }
            for number, (name, uuid) in enumerate(self.gpus.items())
        ]
        pool = {"name": NODE, "generation": 1, "resourceSliceCount": 1}
        return {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "ResourceSlice",
            "metadata": {"name": "slice"},
            "spec": {"driver": self.driver, "nodeName": NODE, "pool": pool, "devices": devices},
        }

    # The control loops

    def _noticed(self, change: str, obj: Object) -> None:
        kind, gone = obj["kind"], change == "DELETED"
        if obj["metadata"].get("deletionTimestamp") and not gone:
            self._todo.put(lambda: self._delete(obj))
        elif kind == "Pod" and change == "ADDED":
            self._todo.put(lambda: self._schedule(obj))
        elif kind == "Pod" and gone:
            self._todo.put(lambda: self._release(obj))
        elif kind == "ConfigMap" and change == "ADDED":
            self._todo.put(self._start_waiting)

    def _work(self) -> None:
        while (job := self._todo.get()) is not None:
            job()

    def _delete(self, obj: Object) -> None:
        namespace, name = obj["metadata"].get("namespace") or "", obj["metadata"]["name"]
        if obj["kind"] == "Namespace":
            if self.fault == "stuck-pods":
                return
            for kind, where, inner in [key for key in self.api.objects if key[1] == name]:
                self.api.remove(KINDS[kind], where, inner)
            self.api.remove(NAMESPACE, "", name)
        elif obj["kind"] == "Pod":
            if self.fault == "stuck-pods":
                return
            uid = obj["metadata"]["uid"]
            if self._running.pop(uid, None) is not None:
                offers = [o["offer"] for o in self._offers.values() if o["uid"] == uid]
                parts = {"offer": offers[0]} if offers else {}
                self._finish(obj, GONE, **parts)
            if not self._keeps(obj):
                self.api.remove(POD, namespace, name)
        else:
            self.api.remove(KINDS[obj["kind"]], namespace, name)

    def _keeps(self, pod: Object) -> bool:
        """Whether a pod stays that is deleted: the driver does not unprepare its claims."""
        if self.fault != "never-unprepares":
            return False
        namespace = pod["metadata"]["namespace"]
        names = [entry["resourceClaimName"] for entry in pod["spec"].get("resourceClaims") or []]
        claims = filter(None, (self.api.get(CLAIM, namespace, name) for name in names))
        users = (claim["status"]["reservedFor"] for claim in claims)
        there = [[self.api.get(POD, namespace, one["name"]) for one in some] for some in users]
        return any(len(list(filter(None, some))) == 1 for some in there)

    def _schedule(self, pod: Object) -> None:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        published = self.api.get(SLICE, "", "slice")
        devices = published["spec"]["devices"] if published else []
        tainted = devices and all(device.get("taints") for device in devices)
        if tainted and pod["spec"].get("resourceClaims"):
            said = {"message": "0/1 nodes are available: 1 cannot allocate all claims."}
            condition = {"type": "PodScheduled", "status": "False", **said}
            self._edit(pod, status={"conditions": [condition]})
            return
        for entry in pod["spec"].get("resourceClaims") or []:
            claim = self.api.get(CLAIM, namespace, entry["resourceClaimName"])
            assert claim is not None
            status = dict(claim.get("status") or {})
            if not status.get("allocation"):
                status["allocation"] = self._allocate(claim)
            user = {"resource": "pods", "name": name, "uid": pod["metadata"]["uid"]}
            status["reservedFor"] = [*(status.get("reservedFor") or []), user]
            self.api.edit(CLAIM, namespace, claim["metadata"]["name"], status=status)
        pod = self._edit(pod, spec={**pod["spec"], "nodeName": NODE})
        if not self._refuses(pod):
            self._start(pod)

    def _refuses(self, pod: Object) -> bool:
        """Whether the driver does not prepare the claims of a pod; an event says so."""
        claims = [
            self.api.get(CLAIM, pod["metadata"]["namespace"], entry["resourceClaimName"])
            for entry in pod["spec"].get("resourceClaims") or []
        ]
        shared = any(len(claim["status"]["reservedFor"]) > 1 for claim in claims if claim)
        refuses = self.fault == "never-prepares" or (self.fault == "one-user" and shared)
        if not (claims and refuses):
            return False
        metadata = {key: pod["metadata"][key] for key in ("name", "namespace")}
        self.api.put(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": metadata,
                "involvedObject": {"kind": "Pod", "uid": pod["metadata"]["uid"], **metadata},
                "type": "Warning",
                "reason": "FailedPrepareDynamicResources",
                "message": "prepare dynamic resources: this driver does not prepare the claim",
                "source": {"component": "kubelet"},
            }
        )
        return True

    def _allocate(self, claim: Object) -> Object:
        taken = {
            result["device"]
            for (kind, _, _), other in list(self.api.objects.items())
            if kind == "ResourceClaim"
            for result in self._results(other)
        }
        found = []
        for request in claim["spec"]["devices"]["requests"]:
            selectors = json.dumps(request["exactly"].get("selectors") or "")
            free = [n for n in self.gpus if n not in taken]
            fitting = [n for n in free if selectors == '""' or self.gpus[n] in selectors]
            device = fitting[0]
            taken.add(device)
            found.append(
                {
                    "request": request["name"],
                    "driver": self.driver,
                    "pool": NODE,
                    "device": device,
                }
            )
        return {"devices": {"results": found}}

    @staticmethod
    def _results(claim: Object) -> list[Object]:
        allocation = (claim.get("status") or {}).get("allocation") or {}
        return list((allocation.get("devices") or {}).get("results") or [])

    def _release(self, pod: Object) -> None:
        namespace = pod["metadata"]["namespace"]
        for entry in pod["spec"].get("resourceClaims") or []:
            claim = self.api.get(CLAIM, namespace, entry["resourceClaimName"])
            if claim is None:
                continue
            held = claim.get("status") or {}
            users = [
                user
                for user in held.get("reservedFor") or []
                if user["uid"] != pod["metadata"]["uid"]
            ]
            status = {**held, "reservedFor": users} if users else {}
            self.api.edit(CLAIM, namespace, claim["metadata"]["name"], status=status)

    # The kubelet

    def _start_waiting(self) -> None:
        for (kind, _, _), pod in list(self.api.objects.items()):
            waiting = (pod.get("status") or {}).get("waits")
            if kind == "Pod" and waiting:
                self._start(pod)

    def _start(self, pod: Object) -> None:
        container, namespace = pod["spec"]["containers"][0], pod["metadata"]["namespace"]
        for variable in container.get("env") or []:
            reference = (variable.get("valueFrom") or {}).get("configMapKeyRef")
            if reference and not self.api.get(CONFIG_MAP, namespace, reference["name"]):
                self._edit(pod, status={"waits": True})
                return
        volumes = pod["spec"].get("volumes") or []
        for config_map in [volume["configMap"] for volume in volumes if "configMap" in volume]:
            if not self.api.get(CONFIG_MAP, namespace, config_map["name"]):
                self._edit(pod, status={"waits": True})
                return
        for folder in [volume["hostPath"] for volume in volumes if "hostPath" in volume]:
            if folder["type"] == "DirectoryOrCreate":
                self.folders.add(folder["path"])
        pod = self._state(pod, {"running": {}})
        self._running[pod["metadata"]["uid"]] = pod
        programs = {
            "removal": self._remove_folder,
            "probe": lambda one: self._exit(one, 0),
            "produce": self._produce,
            "consume": self._consume,
            "inventory": self._look,
        }
        name = container["name"]
        program = programs.get(name if name in programs else (container.get("args") or [name])[0])
        if program is not None:  # else it rests until it is deleted
            program(pod)

    def _state(self, pod: Object, state: Object) -> Object:
        return self._edit(pod, status={"phase": "Running", "containerStatuses": [{"state": state}]})

    def _edit(self, pod: Object, **fields: Any) -> Object:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        return self.api.edit(POD, namespace, name, **fields) or pod

    # The workload

    def _remove_folder(self, pod: Object) -> None:
        parent = pod["spec"]["volumes"][0]["hostPath"]["path"]
        if self.fault == "folder-stays":
            self._say(pod, "not permitted")
            self._exit(pod, 1)
        else:
            self.folders.discard(f"{parent}/{pod['spec']['containers'][0]['command'][-1][8:]}")
            self._exit(pod, 0)

    def _exit(self, pod: Object, code: int) -> None:
        self._running.pop(pod["metadata"]["uid"])
        self._state(pod, {"terminated": {"exitCode": code}})

    def _look(self, pod: Object) -> None:
        if not self._hangs(pod):
            self._finish(pod)

    def _produce(self, pod: Object) -> None:
        if self._ends_early(pod):
            return
        nonce, pid = self._option(pod, "--nonce"), self._own_pid(pod)
        exporter = self._visible(pod)[0]
        offer = Offer(nonce, "00" * 64, 64 << 20, 1, CHECKSUM, exporter, own_pid=pid)
        uid = pod["metadata"]["uid"]
        self._offers[nonce] = {"offer": offer, "pod": pod, "pid": pid, "uid": uid}
        if "--log" in pod["spec"]["containers"][0]["args"]:
            self._say(pod, OFFER_MARK + offer.line())
        early = self._early.pop(nonce, None)
        if early is not None:
            self._consume(early)

    def _consume(self, pod: Object) -> None:
        if self._hangs(pod) or self._ends_early(pod):
            return
        nonce = self._option(pod, "--nonce")
        partner = self._offers.get(nonce)
        if partner is None:  # it started before the producer did, and waits for its offer
            self._early[nonce] = pod
            return
        if self._own_pid(pod) == partner["pid"]:
            refused = Transfer("same", error=SAME_CONTEXT.problem)
            self._finish(pod, SAME_CONTEXT, transfers=(refused,))
            return
        paths = ("same", "cross")[: len(self._allocated(pod))]
        self._finish(pod, transfers=tuple(self._transfer(path) for path in paths))
        seen = tuple(Seen(path, WORDS // 2, 0) for path in paths)
        self._finish(partner["pod"], offer=partner["offer"], seen=seen)

    def _hangs(self, pod: Object) -> bool:
        """Whether a consumer does nothing, for a fault that begins with it."""
        if pod["spec"]["containers"][0]["name"] != "consumer":
            return False
        if self.fault == "api-lost":
            self.api.fall_silent()
        if self.fault == "user-lost":
            self.api.token = "another one"
        return self.fault in ("api-lost", "user-lost", "hangs")

    def _ends_early(self, pod: Object) -> bool:
        """Whether not every allocated GPU is there, which ends the program."""
        if set(self._allocated(pod)) <= set(self._visible(pod)):
            return False
        self._finish(pod, NOT_VISIBLE)
        return True

    @staticmethod
    def _transfer(path: str) -> Transfer:
        return Transfer(
            path,
            can_access_peer=True if path == "cross" else None,
            opened=True,
            words=WORDS,
            wrong_words=0,
            checksum=CHECKSUM,
            expected_checksum=CHECKSUM,
            wrote=True,
        )

    def _allocated(self, pod: Object) -> list[str]:
        claims = pod["spec"].get("resourceClaims") or []
        namespace = pod["metadata"]["namespace"]
        found = [self.api.get(CLAIM, namespace, c["resourceClaimName"]) for c in claims]
        return [self.gpus[r["device"]] for claim in found if claim for r in self._results(claim)]

    def _visible(self, pod: Object) -> list[str]:
        if pod["spec"]["containers"][0].get("securityContext", {}).get("privileged"):
            return list(self.gpus.values())
        allocated = self._allocated(pod)
        return allocated[:-1] if self.fault == "one-missing" else allocated

    def _own_pid(self, pod: Object) -> int:
        environment = pod["spec"]["containers"][0].get("env") or []
        wanted = next((v["value"] for v in environment if v["name"] == "DRA_OWN_PID"), None)
        if wanted is not None:
            return int(wanted)
        self._pid += 1
        return self._pid

    def _option(self, pod: Object, name: str) -> str:
        args = pod["spec"]["containers"][0]["args"]
        return str(args[args.index(name) + 1])

    def _finish(self, pod: Object, error: WorkloadError | None = None, **parts: Any) -> None:
        self._running.pop(pod["metadata"]["uid"], None)
        args = pod["spec"]["containers"][0].get("args") or ["inventory"]
        role = {"produce": "producer", "consume": "consumer"}.get(args[0], "inventory")
        if "--role" in args:
            role = self._option(pod, "--role")
        gpus = self._visible(pod)
        title = role.capitalize()
        self._say(pod, f"{title}: Found {len(gpus)} GPU(s)")
        for number, uuid in enumerate(gpus):
            self._say(pod, f"{title}: GPU {number}: {PRODUCT} ({uuid}, 0000:17:00.0, 85.0 GB)")
        context = pod["spec"]["containers"][0].get("securityContext") or {}
        process = CONTROL if context.get("privileged") else RESTRICTED
        offer: Offer | None = parts.get("offer")
        own_pid = offer.own_pid if offer else self._own_pid(pod)
        shown = (
            Gpu(n, uuid, PRODUCT, "0000:17:00.0", 85 << 30, "9.0") for n, uuid in enumerate(gpus)
        )
        result = Result(role, replace(process, own_pid=own_pid), gpus=tuple(shown), **parts)
        if error is not None:
            result.end(error)
        self._say(pod, result.line())
        self._log_end(pod)
        code, message = result.verdict.exit, result.termination_message()
        self._state(pod, {"terminated": {"exitCode": code, "message": message}})

    def _say(self, pod: Object, line: str) -> None:
        self.api.write_log(pod["metadata"]["namespace"], pod["metadata"]["name"], line + "\n")

    def _log_end(self, pod: Object) -> None:
        self.api.write_log(pod["metadata"]["namespace"], pod["metadata"]["name"], "", complete=True)
