"""Says when allocated GPUs are ready for their pods (KEP-5007).

A device can have binding conditions: the scheduler allocates it to a pod's claim and binds the pod
to the node only when the driver has said in the claim's status that they are met. So a GPU that has
to be attached first is attached by then, or the pod is tried elsewhere. GPUs that have none, which
is usual, need nothing of this.
"""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime
from http.client import CONFLICT, NOT_FOUND
from typing import Any
from urllib.parse import quote

from . import DRIVER
from .api import GROUP, Api, ApiError
from .faults import FaultError, Faults, Point

Object = dict[str, Any]

_PAUSE = 5
"""Seconds after an error."""

log = logging.getLogger(__name__)


class Binder:
    """Attaches the GPUs of one node to claims that wait for it."""

    def __init__(self, api: Api, node: str, faults: Faults, offered: threading.Event) -> None:
        """Attach GPUs of the pool of ``node``, as long as some are published that need it.

        Args:
            offered: set while there are such.
        """
        self._api = api
        self._node = node
        self._faults = faults
        self._offered = offered

    def run(self) -> None:
        """Look at all claims, say what is to be said, wait until one changes; for ever."""
        while self._offered.wait():
            try:
                version = self._api.version()
                where = f"{GROUP}/{version}/resourceclaims"
                listed = self._api.request("GET", where)
                for claim in listed["items"]:
                    self.look_at(version, claim)
                seen = str(listed["metadata"]["resourceVersion"])
                self._api.watch(where, resourceVersion=seen).wait()
            except (ApiError, FaultError) as error:
                log.warning("binding conditions, next try in %d s: %s", _PAUSE, error)
                threading.Event().wait(_PAUSE)

    def look_at(self, version: str, claim: Object) -> None:
        """Say of a claim's GPUs of this node that they are attached, if somebody waits for it."""
        status = claim.get("status", {})
        allocation, said = status.get("allocation", {}), status.get("devices", [])
        which = f"{claim['metadata'].get('uid')} {allocation.get('allocationTimestamp')}"
        new = []
        for result in allocation.get("devices", {}).get("results", ()):
            if (result["driver"], result["pool"]) == (DRIVER, self._node):
                waiting = (result.get("bindingConditions", []), which)
                wanted, _ = self._faults.alter(Point.BIND, waiting)
                there = next((one for one in said if _key(one) == _key(result)), _key(result))
                known = {condition["type"] for condition in there.get("conditions") or ()}
                if not known.issuperset(wanted):
                    new.append({**there, "conditions": list(map(_met, wanted))})
        if not new:
            return
        names = claim["metadata"]["namespace"], claim["metadata"]["name"]
        kept = [one for one in said if _key(one) not in map(_key, new)]
        body = {**claim, "status": {**status, "devices": [*kept, *new]}}
        body |= {"apiVersion": f"resource.k8s.io/{version}", "kind": "ResourceClaim"}
        namespace, name = map(quote, names)
        path = f"{GROUP}/{version}/namespaces/{namespace}/resourceclaims/{name}/status"
        try:
            self._api.request("PUT", path, body)
        except ApiError as error:
            if error.status not in (CONFLICT, NOT_FOUND):  # it has changed: the watch tells
                raise
        else:
            log.info("%s/%s: attached", *names)


def _key(device: Object) -> Object:
    """What tells a device, or a share of one, from others in a claim's status."""
    return {
        name: device[name] for name in ("driver", "pool", "device", "shareID") if name in device
    }


def _met(condition: str) -> Object:
    """A condition that is met, in the words of Kubernetes."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    what = condition.rpartition("/")[2]
    said = {"reason": "Seen", "message": what, "lastTransitionTime": now}
    return {"type": condition, "status": "True", **said}
