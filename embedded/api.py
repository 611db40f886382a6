"""The little that the embedded cluster asks of its own API server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from kubernetes import config, dynamic

from building.errors import UserError

WATCH_SECONDS = 2
"""How long one watch lasts before the caller looks whether the cluster still lives."""

Object = dict[str, Any]


class Api:
    """The API server behind a kubeconfig."""

    def __init__(self, kubeconfig: Path, still_alive: Callable[[], None], seconds: float) -> None:
        """Connect.

        Args:
            kubeconfig: the credentials.
            still_alive: called now and then; raises when waiting has become pointless.
            seconds: the longest that anything is waited for.
        """
        self._still_alive = still_alive
        self._seconds = seconds
        self._client = dynamic.DynamicClient(
            config.new_client_from_config(config_file=str(kubeconfig))
        )

    def create(self, objects: Iterable[Mapping[str, Any]]) -> None:
        """Create objects in their order."""
        for item in objects:
            kind = self._client.resources.get(api_version=item["apiVersion"], kind=item["kind"])
            kind.create(body=dict(item), namespace=item["metadata"].get("namespace"))

    def wait(self, api_version: str, kind: str, ready: Callable[[list[Object]], bool]) -> None:
        """Watch all objects of a kind until ``ready(objects)``.

        Raises:
            UserError: it took too long.
        """
        resource = self._client.resources.get(api_version=api_version, kind=kind)
        seen: dict[str, Object] = {}
        for _ in range(max(1, round(self._seconds / WATCH_SECONDS))):
            listed = resource.get().to_dict()
            seen = {item["metadata"]["uid"]: item for item in listed["items"]}
            if ready(list(seen.values())):
                return
            for event in resource.watch(
                resource_version=listed["metadata"]["resourceVersion"], timeout=WATCH_SECONDS
            ):
                item = event["raw_object"]
                if event["type"] == "DELETED":
                    seen.pop(item["metadata"]["uid"], None)
                else:
                    seen[item["metadata"]["uid"]] = item
                if ready(list(seen.values())):
                    return
            self._still_alive()
        names = ", ".join(item["metadata"]["name"] for item in seen.values()) or "none"
        raise UserError(f"no fitting {kind} after {self._seconds:.0f} s; there were: {names}")
