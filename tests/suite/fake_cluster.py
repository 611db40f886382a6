"""A cluster in this process: scheduler, kubelet, driver and workload as far as the suite sees them.

Faults are chosen by name, so that for each the set of red checks can be declared.
"""

from __future__ import annotations

import hashlib
import json
import queue
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from harness.cluster.kinds import CLAIM, CONFIG_MAP, KINDS, NAMESPACE, POD, Object
from tests.harness.fake_api import FakeApi, serving

DRIVER = "gpu.nvidia.com"
NODE = "node-1"
PRODUCT = "NVIDIA H100 80GB HBM3"
GPUS = {f"gpu-{n}": f"GPU-{n}0000000-0000-0000-0000-000000000000" for n in range(4)}
WORDS = (62 << 20) // 8
CONTROL = {"cap_eff": "000001ffffffffff", "no_new_privs": 0, "seccomp": 0, "uid": 0}
RESTRICTED = {"cap_eff": "0000000000000000", "no_new_privs": 1, "seccomp": 2, "uid": 1000}
WORKLOAD_GONE = {"step": "open", "code": 400, "name": "CUDA_ERROR_INVALID_HANDLE", "text": "gone"}
SAME_CONTEXT = {
    "step": "open",
    "code": 201,
    "name": "CUDA_ERROR_INVALID_CONTEXT",
    "text": "cuIpcOpenMemHandle failed: invalid device context",
}
FORBIDDEN = (
    "Failed to prepare dynamic resources: prepare dynamic resources: fetch ResourceClaim n/c:"
    ' resourceclaims.resource.k8s.io "c" is forbidden: User "system:node:node-1" cannot get'
    ' resource "resourceclaims" in API group "resource.k8s.io" in the namespace "n": no'
    " relationship found between node 'node-1' and this object"
)
NO_LIBRARY = {
    "step": "load libcuda",
    "code": None,
    "name": None,
    "text": "libcuda.so.1: cannot open shared object file: No such file or directory",
}


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
        if fault != "old-api":
            self.api.documents["/apis/resource.k8s.io"] = {"versions": versions}
        if fault != "no-slices":
            self.api.put(self._slice())
        if fault != "no-class":
            self.api.put(
                {
                    "apiVersion": "resource.k8s.io/v1",
                    "kind": "DeviceClass",
                    "metadata": {"name": driver},
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
                },
            }
            for name, uuid in self.gpus.items()
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
                self._finish(obj, "partner-never-came", 14, {"text": "ended"}, **parts)
            self.api.remove(POD, namespace, name)
        else:
            self.api.remove(KINDS[obj["kind"]], namespace, name)

    def _schedule(self, pod: Object) -> None:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
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
        self._start(pod)

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
            if self.fault != "same-device-twice":
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
            if claim is None or self.fault == "never-deallocated":
                continue
            users = [
                user
                for user in claim["status"]["reservedFor"]
                if user["uid"] != pod["metadata"]["uid"]
            ]
            status = {**claim["status"], "reservedFor": users} if users else {}
            self.api.edit(CLAIM, namespace, claim["metadata"]["name"], status=status)

    # The kubelet

    def _start_waiting(self) -> None:
        for (kind, _, _), pod in list(self.api.objects.items()):
            waiting = (pod.get("status") or {}).get("waits")
            if kind == "Pod" and waiting:
                self._start(pod)

    def _start(self, pod: Object) -> None:
        container = pod["spec"]["containers"][0]
        role, namespace = container["name"], pod["metadata"]["namespace"]
        if self.fault == "image-missing":
            self._state(pod, {"waiting": {"reason": "ErrImagePull", "message": "not found"}})
            return
        if (self.fault == "prepare-fails" and pod["spec"].get("resourceClaims")) or (
            self.fault == "consumer-never-starts" and role == "consumer"
        ):
            self._event(pod, "FailedPrepareDynamicResources", "driver says: checkpoint is broken")
            return
        if self.fault == "claim-forbidden" and pod["spec"].get("resourceClaims"):
            self._event(pod, "FailedPrepareDynamicResources", FORBIDDEN)
            return
        for variable in container.get("env") or []:
            reference = (variable.get("valueFrom") or {}).get("configMapKeyRef")
            if reference and not self.api.get(CONFIG_MAP, namespace, reference["name"]):
                self._edit(pod, status={"waits": True})
                return
        for volume in pod["spec"].get("volumes") or []:
            if volume["hostPath"]["type"] == "DirectoryOrCreate":
                self.folders.add(volume["hostPath"]["path"])
        pod = self._state(pod, {"running": {}})
        self._running[pod["metadata"]["uid"]] = pod
        getattr(self, f"_play_{role}")(pod)

    def _state(self, pod: Object, state: Object) -> Object:
        return self._edit(pod, status={"phase": "Running", "containerStatuses": [{"state": state}]})

    def _edit(self, pod: Object, **fields: Any) -> Object:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        return self.api.edit(POD, namespace, name, **fields) or pod

    def _event(self, pod: Object, reason: str, message: str) -> None:
        metadata = {"namespace": pod["metadata"]["namespace"], "name": f"e{self.api.version}"}
        self.api.put(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": metadata,
                "type": "Warning",
                "reason": reason,
                "message": message,
                "source": {"component": "kubelet"},
                "involvedObject": {
                    "uid": pod["metadata"]["uid"],
                    "name": pod["metadata"]["name"],
                },
            }
        )

    # The workload

    def _play_removal(self, pod: Object) -> None:
        parent = pod["spec"]["volumes"][0]["hostPath"]["path"]
        code = 0
        if self.fault == "folder-stays":
            code = 1
            self.api.write_log(
                pod["metadata"]["namespace"], pod["metadata"]["name"], "not permitted\n"
            )
        else:
            self.folders.discard(f"{parent}/{pod['spec']['containers'][0]['command'][-1][8:]}")
        self._running.pop(pod["metadata"]["uid"])
        self._state(pod, {"terminated": {"exitCode": code}})

    def _play_probe(self, pod: Object) -> None:
        self._running.pop(pod["metadata"]["uid"])
        self._state(pod, {"terminated": {"exitCode": 0}})

    def _play_inventory(self, pod: Object) -> None:
        if self.fault == "again-usage":
            self._finish(pod, "usage", 2, {"step": "options", "text": "unknown option"})
            return
        self._finish(pod, "ok", 0, None)

    def _play_producer(self, pod: Object) -> None:
        if self._rests(pod) or self._ends_early(pod):
            return
        nonce = self._option(pod, "--nonce")
        pid = self._own_pid(pod)
        offer = {
            "nonce": "other" if self.fault == "stale-handle" else nonce,
            "handle": "00" * 64,
            "bytes": 64 << 20,
            "seed": 1,
            "checksum": "ab" * 8,
            "own_pid": pid,
        }
        self._offers[nonce] = {
            "offer": offer,
            "pod": pod,
            "pid": pid,
            "uid": pod["metadata"]["uid"],
        }
        if "--log" in pod["spec"]["containers"][0]["args"]:
            self._say(pod, f"Producer: offer {json.dumps(offer)}")
        if self.fault == "exporter-dies":
            self._running.pop(pod["metadata"]["uid"])
            self._state(pod, {"terminated": {"exitCode": 137, "reason": "Error"}})
            self._log_end(pod)
        early = self._early.pop(nonce, None)
        if early is not None:
            self._play_consumer(early)

    def _play_consumer(self, pod: Object) -> None:
        if self._rests(pod) or self._ends_early(pod):
            return
        if self.fault == "hangs":
            return
        if self.fault == "api-lost":
            self.api.fall_silent()
            return
        if pod["spec"]["containers"][0]["args"][0] == "inventory":
            self._finish(pod, "ok", 0, None)
            return
        nonce = self._option(pod, "--nonce")
        partner = self._offers.get(nonce)
        if partner is None:  # it started before the producer did, and waits for its offer
            self._early[nonce] = pod
            return
        offer, producer = partner["offer"], partner["pod"]
        if self.fault == "stale-handle":
            self._finish(pod, "stale-offer", 16, {"step": "take", "text": "of another run"})
            return
        if self._own_pid(pod) == partner["pid"] or self.fault == "exporter-dies":
            error = SAME_CONTEXT if self.fault != "exporter-dies" else WORKLOAD_GONE
            transfers = [self._transfer("same", opened=False, error=error)]
            self._finish(pod, "not-opened", 12, error, transfers=transfers)
            return
        several = len(self._allocated(pod)) > 1
        peers = several and self.fault != "no-peer-access"
        flipped = self.fault == "flipped-word"
        transfers = [self._transfer("same", wrong=int(flipped))]
        if peers:
            transfers.append(self._transfer("cross", wrong=int(flipped)))
        elif several:
            refused = self._transfer("cross", opened=False, error={"code": 217}, peers=False)
            transfers.append(refused)
        seen = [{"path": "same", "words": WORDS // 2, "wrong_words": 0}]
        if peers:
            seen.append({"path": "cross", "words": WORDS // 2, "wrong_words": 0})
        if self.fault == "write-not-seen":
            seen[0]["wrong_words"] = 3
        if flipped:
            self._finish(pod, "checksum-wrong", 13, {"text": "1 wrong"}, transfers=transfers)
            error = {"text": "the consumer failed"}
            self._finish(producer, "partner-never-came", 14, error, offer=offer)
            return
        self._finish(pod, "ok", 0, None, transfers=transfers)
        wrong = self.fault == "write-not-seen"
        verdict = ("checksum-wrong", 13) if wrong else ("ok", 0)
        self._finish(producer, *verdict, None, offer=offer, seen=seen)

    @staticmethod
    def _rests(pod: Object) -> bool:
        """Whether it touches no GPU and runs until it is deleted."""
        return bool(pod["spec"]["containers"][0]["args"][0] == "rest")

    def _ends_early(self, pod: Object) -> bool:
        allocated = set(self._allocated(pod))
        if self.fault == "no-libcuda":
            self._finish(pod, "no-gpu", 10, NO_LIBRARY)
        elif self.fault == "usage":
            self._finish(pod, "usage", 2, {"step": "options", "text": "unknown option"})
        elif self.fault == "ptx-too-new":
            error = {"step": "load", "code": 222, "text": "unsupported PTX", "blame": "workload"}
            self._finish(pod, "workload-fault", 15, error)
        elif not allocated <= set(self._visible(pod)):
            self._finish(pod, "wrong-gpu", 11, {"step": "look", "text": "not visible"})
        elif self.fault == "crash":
            self._running.pop(pod["metadata"]["uid"])
            self._say(pod, "Segmentation fault")
            self._state(pod, {"terminated": {"exitCode": 139, "reason": "Error"}})
            self._log_end(pod)
        else:
            return False
        return True

    def _transfer(
        self,
        path: str,
        *,
        opened: bool = True,
        wrong: int = 0,
        error: Object | None = None,
        peers: bool | None = None,
    ) -> Object:
        checksum = "ab" * 8
        return {
            "path": path,
            "can_access_peer": peers if path == "cross" else None,
            "opened": opened,
            "words": WORDS if opened else 0,
            "wrong_words": wrong if opened else None,
            "first_wrong": 600 if wrong else None,
            "checksum": ("cd" * 8 if wrong else checksum) if opened else None,
            "expected_checksum": checksum if opened else None,
            "wrote": opened and not wrong,
            "error": error,
        }

    def _allocated(self, pod: Object) -> list[str]:
        claims = pod["spec"].get("resourceClaims") or []
        namespace = pod["metadata"]["namespace"]
        found = [self.api.get(CLAIM, namespace, c["resourceClaimName"]) for c in claims]
        return [self.gpus[r["device"]] for claim in found if claim for r in self._results(claim)]

    def _visible(self, pod: Object) -> list[str]:
        if pod["spec"]["containers"][0].get("securityContext", {}).get("privileged"):
            return list(self.gpus.values())
        allocated = self._allocated(pod)
        others = [uuid for uuid in self.gpus.values() if uuid not in allocated]
        if self.fault == "one-missing":
            return allocated[:-1]
        if self.fault == "one-too-many":
            return [*allocated, others[0]]
        if self.fault == "wrong-one":
            return [*allocated[:-1], others[0]]
        return allocated

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

    def _finish(
        self, pod: Object, verdict: str, code: int, error: Object | None, **parts: Any
    ) -> None:
        self._running.pop(pod["metadata"]["uid"], None)
        args = pod["spec"]["containers"][0].get("args") or ["inventory"]
        role = {"produce": "producer", "consume": "consumer"}.get(args[0], "inventory")
        if "--role" in args:
            role = self._option(pod, "--role")
        blind = verdict == "usage" or (self.fault == "no-libcuda" and verdict == "no-gpu")
        gpus = [] if blind else self._visible(pod)
        name = "A100" if self.fault == "wrong-name" else PRODUCT
        title = role.capitalize()
        self._say(pod, f"{title}: Found {len(gpus)} GPU(s)")
        for number, uuid in enumerate(gpus):
            self._say(pod, f"{title}: GPU {number}: {name} ({uuid}, 0000:17:00.0, 85.0 GB)")
        context = pod["spec"]["containers"][0].get("securityContext") or {}
        process = CONTROL if context.get("privileged") else RESTRICTED
        if self.fault == "privileges-given" and not context.get("privileged"):
            process = {**process, "no_new_privs": 0}
        own_pid = (parts.get("offer") or {}).get("own_pid") or self._own_pid(pod)
        result = {
            "schema": "dra-conformance/workload/v1",
            "role": role,
            "verdict": verdict,
            "exit": code,
            "error": error,
            "process": {**process, "own_pid": own_pid},
            "gpus": [{"uuid": uuid, "name": name} for uuid in gpus],
            **parts,
        }
        line = json.dumps(result)
        self._say(pod, line)
        self._log_end(pod)
        sha256 = hashlib.sha256(line.encode()).hexdigest()
        if self.fault == "log-altered":
            sha256 = re.sub("^.", "x", sha256)
        message = json.dumps({"verdict": verdict, "sha256": sha256})
        self._state(pod, {"terminated": {"exitCode": code, "message": message}})

    def _say(self, pod: Object, line: str) -> None:
        self.api.write_log(pod["metadata"]["namespace"], pod["metadata"]["name"], line + "\n")

    def _log_end(self, pod: Object) -> None:
        self.api.write_log(pod["metadata"]["namespace"], pod["metadata"]["name"], "", complete=True)
