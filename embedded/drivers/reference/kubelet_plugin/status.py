"""What the driver says of devices in the status of their claims (KEP-4817).

A driver may say there what a device is, and how it is, for whoever looks at the claim. What it says
goes with the allocation, which the API server sees to.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from http.client import CONFLICT, NOT_FOUND
from typing import Any
from urllib.parse import quote

from . import DRIVER
from .api import GROUP, Api, ApiError
from .faults import Faults, Point
from .gpus import Gpu

Object = dict[str, Any]

_TRIES = 3
"""Others write to the status, too: the scheduler, and drivers of other devices."""

log = logging.getLogger(__name__)


class Status:
    """Says of the GPUs of one node what they are, once they are prepared for a claim."""

    def __init__(self, api: Api, node: str, gpus: Iterable[Gpu], faults: Faults) -> None:
        self._api = api
        self._node = node
        self._gpus = tuple(gpus)
        self._faults = faults

    def tell(self, namespace: str, name: str) -> None:
        """Write it to a claim's status, unless it is there; a claim is prepared without it, too."""
        data: dict[str, Object] = self._faults.alter(Point.TELL, {}, self._gpus)
        try:
            for _ in range(_TRIES if data else 0):
                if self._write(self._api.claim(namespace, name), data):
                    return
        except ApiError as error:
            log.warning("%s/%s: nothing is said of its devices: %s", namespace, name, error)

    def _write(self, claim: Object, data: dict[str, Object]) -> bool:
        """Write what a claim's status lacks; False if the claim has changed meanwhile."""
        status = claim.get("status", {})
        said = {_key(one): one for one in status.get("devices", ())}
        new = dict(said)
        for result in status.get("allocation", {}).get("devices", {}).get("results", ()):
            key = _key(result)
            if key[:2] == (DRIVER, self._node) and result["device"] in data:
                names = ("driver", "pool", "device", "shareID")
                known = {field: result[field] for field in names if field in result}
                new[key] = {**known, **said.get(key, {}), "data": data[result["device"]]}
        if new == said:
            return True
        version = self._api.version()
        body = {**claim, "status": {**status, "devices": list(new.values())}}
        body |= {"apiVersion": f"resource.k8s.io/{version}", "kind": "ResourceClaim"}
        namespace, name = (quote(claim["metadata"][field]) for field in ("namespace", "name"))
        path = f"{GROUP}/{version}/namespaces/{namespace}/resourceclaims/{name}/status"
        try:
            self._api.request("PUT", path, body)
        except ApiError as error:
            if error.status not in (CONFLICT, NOT_FOUND):
                raise
            return error.status == NOT_FOUND
        return True


def _key(device: Object) -> tuple[str, ...]:
    """What tells a device, or a share of one, from all others."""
    return device["driver"], device["pool"], device["device"], device.get("shareID", "")
