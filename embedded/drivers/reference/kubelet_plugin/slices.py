"""Publishes the node's GPUs as a ResourceSlice and keeps it as it should be.

A pool is what a driver has on one node; ours is a single slice, as 128 devices fit into one. Level
triggered, as controllers are: look at all there is, put it right, wait until something changes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, urlencode

from . import DRIVER
from .api import GROUP, Api, ApiError, Watch
from .faults import FaultError, Faults, Point
from .gpus import Gpu

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
        pause: float = 1,
    ) -> None:
        """Publish ``gpus`` as the pool of ``node``.

        Args:
            pause: seconds, at least, after an error and between two rounds of changes, whoever
                undoes them: two controllers that disagree must not keep an API server busy.
        """
        self.published = threading.Event()
        """Set once the slices have been right."""
        self._api = api
        self._node = node
        self._devices = [gpu.device() for gpu in gpus]
        self._faults = faults
        self._pause = pause
        self._next_write = 0.0
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._stopping = False
        self._woken = threading.Event()
        self._lock = threading.Lock()
        self._watch: Watch | None = None
        self._written: tuple[Any, Any] = (None, None)

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
            try:
                where = f"{GROUP}/{self._api.version()}/resourceslices"
                seen = self._put_right(where)
                self.published.set()
                pause = self._pause
                self._wait_for_change(where, seen)
            except (ApiError, FaultError) as error:
                log.warning("publishing failed, next try in %g s: %s", pause, error)
                self._woken.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _mine(self) -> dict[str, str]:
        return {"fieldSelector": f"spec.nodeName={self._node},spec.driver={DRIVER}"}

    def _put_right(self, where: str) -> str:
        """Make the server have exactly the slice that should be; returns what version was seen."""
        listed = self._api.request("GET", f"{where}?{urlencode(self._mine())}")
        version = where.split("/")[-2]
        slices: list[dict[str, Any]] = listed["items"]
        devices = self._faults.alter(Point.PUBLISH, self._devices)
        owner = self._owner()
        pool: dict[str, Any] = {"name": self._node, "resourceSliceCount": 1}
        spec: dict[str, Any] = {
            "driver": DRIVER,
            "nodeName": self._node,
            "pool": pool,
            "devices": [_as(version, device) for device in devices or ()],
        }
        # What the server made of it the last time counts as right, too: one that drops or adds a
        # field would otherwise be written to for ever.
        accepted = (spec, self._written[1] if self._written[0] == spec else spec)
        newest = max((item["spec"]["pool"]["generation"] for item in slices), default=0)
        right = [
            item
            for item in slices
            if devices is not None
            and _without_generation(item["spec"]) in accepted
            and item["spec"]["pool"]["generation"] == newest
            and item["metadata"].get("ownerReferences") == [owner]
        ][:1]
        wrong = [item for item in slices if item not in right]
        if not wrong and (right or devices is None):
            return str(listed["metadata"]["resourceVersion"])
        self._wait_for_turn()
        if devices is not None and not right:
            # Whoever changes a pool raises its generation: readers ignore the older ones.
            new = {**spec, "pool": {**pool, "generation": newest + 1}}
            base = next((one for one in wrong if one["spec"]["pool"]["name"] == self._node), None)
            stored = self._write(where, base, owner, new)
            self._written = (spec, _without_generation(stored["spec"]))
            wrong = [item for item in wrong if item is not base]
        for item in wrong:
            self._delete(where, item)
        return str(listed["metadata"]["resourceVersion"])

    def _write(
        self, where: str, base: dict[str, Any] | None, owner: dict[str, Any], spec: dict[str, Any]
    ) -> dict[str, Any]:
        """Update a slice, or create one."""
        if base:
            name = base["metadata"]["name"]
            log.info("updating ResourceSlice %s to generation %d", name, spec["pool"]["generation"])
            metadata = {**base["metadata"], "ownerReferences": [owner]}
            body = {**base, "metadata": metadata, "spec": spec}
            return self._api.request("PUT", f"{where}/{quote(name)}", body)
        log.info("creating a ResourceSlice with %d devices", len(spec["devices"]))
        # Room for the five random characters in the 253 that a name can have.
        name = f"{self._node}-{DRIVER}"[:247] + "-"
        body = {
            "apiVersion": "/".join(where.split("/")[2:4]),
            "kind": "ResourceSlice",
            "metadata": {"generateName": name, "ownerReferences": [owner]},
            "spec": spec,
        }
        return self._api.request("POST", where, body)

    def _delete(self, where: str, item: dict[str, Any]) -> None:
        name = item["metadata"]["name"]
        log.info("deleting ResourceSlice %s", name)
        try:
            self._api.request("DELETE", f"{where}/{quote(name)}")
        except ApiError as error:
            if error.status != 404:  # not found: somebody was faster
                raise

    def _owner(self) -> dict[str, Any]:
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

    def _wait_for_change(self, where: str, seen: str) -> None:
        """Return when a slice of ours differs from what was seen, or when woken.

        What we wrote ourselves counts; the next look then finds that all is well.
        """
        watch = self._api.watch(where, resourceVersion=seen, **self._mine())
        with self._lock:
            self._watch = watch
            if self._woken.is_set():
                watch.close()
        for _ in watch:
            watch.close()
        with self._lock:
            self._watch = None


def _as(version: str, device: dict[str, Any]) -> dict[str, Any]:
    """A device in the shape of an older version: v1beta1 wraps all but the name."""
    if version != "v1beta1":
        return device
    return {"name": device["name"], "basic": {k: v for k, v in device.items() if k != "name"}}


def _without_generation(spec: dict[str, Any]) -> dict[str, Any]:
    pool = {key: value for key, value in spec["pool"].items() if key != "generation"}
    return {**spec, "pool": pool}
