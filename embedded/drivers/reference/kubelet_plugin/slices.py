"""Publishes the node's GPUs as a ResourceSlice and keeps it as it should be.

A pool is what a driver has on one node; ours is a single slice, as 128 devices fit into one, and
another one for the counters where devices draw on some (from Kubernetes 1.35 on, they stand apart
from devices). Level triggered, as controllers are: look at all there is, put it right, wait until
something changes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from . import DRIVER
from .api import GROUP, Api, ApiError, Watch
from .faults import FaultError, Faults, Point
from .gpus import Gpu

Object = dict[str, Any]

_LONGEST_PAUSE = 30

log = logging.getLogger(__name__)


class Publisher:
    """Keeps this driver's slices of one node right, until it is stopped."""

    def __init__(
        self,
        api: Api,
        node: str,
        gpus: Iterable[Gpu],
        faults: Faults,
        *,
        held: Sequence[Gpu] = (),
        first: bool = True,
        pause: float = 1,
    ) -> None:
        """Publish ``gpus`` as the pool of ``node``.

        Args:
            held: GPUs of claims that an earlier instance prepared.
            first: whether no instance was on the node before.
            pause: seconds, at least, after an error and between two writes: whoever undoes them,
                two that disagree must not keep an API server busy.
        """
        self.published = threading.Event()
        """Set once the slices have been right."""
        self.binding = threading.Event()
        """Set while a device is published that has binding conditions."""
        self._api = api
        self._node = node
        self._mine = {"fieldSelector": f"spec.nodeName={node},spec.driver={DRIVER}"}
        self._gpus = tuple(gpus)
        self._faults = faults
        self._held = held
        self._fault_at_start = faults.active()
        self._first = first
        self._pause = pause
        self._next_write = 0.0
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._stopping = False
        self._woken = threading.Event()
        self._lock = threading.Lock()
        self._watch: Watch | None = None
        self._written: list[tuple[Object, Object]] = []

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread.start()

    def wake(self) -> None:
        """Look again: what is to be published may have changed."""
        with self._lock:
            self._woken.set()
            if self._watch:
                self._watch.close()

    def stop(self) -> None:
        """End. The slices stay, as the driver may only be updated; those of a driver that does not
        come back within 30 seconds the kubelet removes."""
        self._stopping = True
        self.wake()
        self._thread.join()

    def _run(self) -> None:
        """Look, put right, wait; after errors with growing pauses."""
        pause = self._pause
        while True:
            self._woken.clear()
            if self._stopping:
                return
            faults = self._faults.state()
            try:
                version = self._api.version()
                seen = self._put_right(version)
                self.published.set()
                self._faults.tell_published(faults)
                pause = self._pause
                self._wait_for_change(version, seen)
            except (ApiError, FaultError) as error:
                if isinstance(error, FaultError) or error.status == HTTPStatus.UNPROCESSABLE_ENTITY:
                    self._faults.tell_published(faults)  # no more than this comes of them
                log.warning("publishing failed, next try in %g s: %s", pause, error)
                self._woken.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _put_right(self, version: str) -> str:
        """Make the server have exactly the slices that should be; returns what version was seen."""
        where = _path(version)
        listed = self._api.request("GET", f"{where}?{urlencode(self._mine)}")
        slices: list[Object] = listed["items"]
        entries = [gpu.device() for gpu in self._gpus]
        devices = self._faults.alter(Point.PUBLISH, entries, self._gpus)
        if self._held and self._faults.active() == self._fault_at_start:
            devices = self._faults.alter(Point.RETURN, devices, self._held)
        if any("bindingConditions" in device for device in devices or ()):
            self.binding.set()
        else:
            self.binding.clear()
        kept = [] if devices is None else self._keep(version, slices, devices)
        for item in slices:
            if item["metadata"]["name"] not in kept:
                self._delete(where, item["metadata"]["name"])
        return str(listed["metadata"]["resourceVersion"])

    def _keep(self, version: str, slices: list[Object], devices: list[Object]) -> list[str]:
        """Find the slices that are as they should be, or make them so; returns their names."""
        owners = self._faults.alter(Point.OWN, [self._owner()])
        specs = self._specs(version, devices)
        newest = max((item["spec"]["pool"]["generation"] for item in slices), default=0)
        adopts = self.published.is_set() or self._faults.alter(Point.ADOPT, True)
        adopts = adopts and not self._faults.alter(Point.REPEAT, False)
        compares = self._faults.alter(Point.COMPARE, True)
        right = []
        for spec in specs:
            # What the server made of it the last time counts as right, too: one that drops or adds
            # a field would otherwise be written to for ever.
            accepted = [spec, *(stored for wanted, stored in self._written if wanted == spec)]
            for item in slices:
                if (
                    adopts
                    and _is_of_counters(item["spec"]) == _is_of_counters(spec)
                    and (_without_generation(item["spec"]) in accepted or not compares)
                    and item["spec"]["pool"]["generation"] == newest
                    and (item["metadata"].get("ownerReferences") or []) == owners
                ):
                    right.append(str(item["metadata"]["name"]))
                    break
        if len(right) == len(specs):
            return right
        if not slices and not self._first and not self._faults.alter(Point.CREATE, True):
            raise FaultError("no ResourceSlice is created after a restart")
        written = []
        self._written = []
        for spec in specs:
            # Whoever changes a pool raises its generation: readers ignore the older ones.
            new = {**spec, "pool": {**spec["pool"], "generation": newest + 1}}
            own = (one for one in slices if one["spec"]["pool"]["name"] == self._node)
            alike = (one for one in own if _is_of_counters(one["spec"]) == _is_of_counters(spec))
            item = self._write(version, next(alike, None), owners, new)
            self._written.append((spec, _without_generation(item["spec"])))
            written.append(str(item["metadata"]["name"]))
        return written

    def _specs(self, version: str, devices: list[Object]) -> list[Object]:
        """What the slices should say: that of the devices, and that of counters if there are."""
        draws = [draw for device in devices for draw in device.get("consumesCounters", ())]
        sets = {draw["counterSet"] for draw in draws}
        counters = [gpu.counters for gpu in self._gpus if gpu.name in sets]
        pool = {"name": self._node, "resourceSliceCount": 2 if counters else 1}
        common: Object = {
            "driver": DRIVER,
            "nodeName": self._node,
            "pool": self._faults.alter(Point.POOL, pool),
        }
        specs = [{**common, "devices": [_as(version, device) for device in devices]}]
        return [*specs, {**common, "sharedCounters": counters}] if counters else specs

    def _write(
        self, version: str, base: Object | None, owners: list[Object], spec: Object
    ) -> Object:
        """Update a slice, or create one."""
        self._wait_for_turn()
        where = _path(version)
        if base:
            name = base["metadata"]["name"]
            log.info("updating ResourceSlice %s to generation %d", name, spec["pool"]["generation"])
            metadata = {**base["metadata"], "ownerReferences": owners}
            return self._api.request(
                "PUT", f"{where}/{quote(name)}", {**base, "metadata": metadata, "spec": spec}
            )
        log.info("creating a ResourceSlice with %d devices", len(spec.get("devices", ())))
        # Room for the five random characters in the 253 that a name can have.
        name = f"{self._node}-{DRIVER}"[:247] + "-"
        return self._api.request(
            "POST",
            where,
            {
                "apiVersion": f"resource.k8s.io/{version}",
                "kind": "ResourceSlice",
                "metadata": {"generateName": name, "ownerReferences": owners},
                "spec": spec,
            },
        )

    def _delete(self, where: str, name: str) -> None:
        self._wait_for_turn()
        log.info("deleting ResourceSlice %s", name)
        try:
            self._api.request("DELETE", f"{where}/{quote(name)}")
        except ApiError as error:
            if error.status != 404:  # not found: somebody was faster
                raise

    def _owner(self) -> Object:
        """The Node, so that the slice goes with it. Its UID changes when it is registered anew."""
        node = self._api.request("GET", f"/api/v1/nodes/{quote(self._node)}")
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "name": self._node,
            "uid": node["metadata"]["uid"],
            "controller": True,
        }

    def _wait_for_turn(self) -> None:
        left = self._next_write - time.monotonic()
        if left > 0:
            time.sleep(left)
        self._next_write = time.monotonic() + self._pause

    def _wait_for_change(self, version: str, seen: str) -> None:
        """Return when a slice of ours is no longer as it was seen, or when woken.

        What we wrote ourselves counts; the next look then finds that all is well.
        """
        if not self._faults.alter(Point.WATCH, True):
            self._woken.wait()
            return
        watch = self._api.watch(_path(version), resourceVersion=seen, **self._mine)
        with self._lock:
            self._watch = watch
            if self._woken.is_set():
                watch.close()
        watch.wait()
        with self._lock:
            self._watch = None


def _path(version: str) -> str:
    return f"{GROUP}/{version}/resourceslices"


def _as(version: str, device: Object) -> Object:
    """A device in the shape of an older version: v1beta1 wraps all but the name."""
    if version != "v1beta1":
        return device
    return {"name": device["name"], "basic": {k: v for k, v in device.items() if k != "name"}}


def _is_of_counters(spec: Object) -> bool:
    return "sharedCounters" in spec


def _without_generation(spec: Object) -> Object:
    pool = {key: value for key, value in spec["pool"].items() if key != "generation"}
    return {**spec, "pool": pool}
