"""What the kubelet calls, over gRPC on two Unix sockets.

It finds the registration socket in ``plugins_registry``, asks it who we are, and from then on talks
to the socket that it is told of. Messages and stubs are generated from the kubelet's own protocol
files, a pair of modules for each: ``dra_v1_pb2`` and ``dra_v1_pb2_grpc``.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import dra_health_v1_pb2  # type: ignore[import-not-found]
import dra_health_v1_pb2_grpc  # type: ignore[import-not-found]
import dra_health_v1alpha1_pb2  # type: ignore[import-not-found]
import dra_health_v1alpha1_pb2_grpc  # type: ignore[import-not-found]
import dra_v1_pb2  # type: ignore[import-not-found]
import dra_v1_pb2_grpc  # type: ignore[import-not-found]
import dra_v1beta1_pb2  # type: ignore[import-not-found]
import dra_v1beta1_pb2_grpc  # type: ignore[import-not-found]
import grpc
import pluginregistration_v1_pb2  # type: ignore[import-not-found]
import pluginregistration_v1_pb2_grpc  # type: ignore[import-not-found]

from . import DRIVER
from .api import ApiError
from .cdi import device_id
from .claims import Claims, PrepareError
from .faults import FaultError, Point

SERVICES = (
    # The kubelet takes the first that it knows: newest first.
    "v1.DRAPlugin",
    "v1beta1.DRAPlugin",
    "v1.DRAResourceHealth",
    "v1alpha1.DRAResourceHealth",
)
HEALTH_SECONDS = 10
"""How often health is reported; a device of which nothing is heard for 30 s becomes Unknown."""

_FAILURES = (PrepareError, FaultError, ApiError, OSError)
"""What can be wrong with a single claim; anything else is a bug and fails the call."""

log = logging.getLogger(__name__)


class Plugin:
    """The gRPC server with all services, on both sockets."""

    def __init__(
        self,
        folder: Path,
        registry: Path,
        claims: Claims,
        devices: Iterable[str],
        tell: Callable[[str, str], None],
    ) -> None:
        """Prepare to serve.

        Args:
            folder: the driver's own, ``/var/lib/kubelet/plugins/DRIVER``.
            registry: ``/var/lib/kubelet/plugins_registry``.
            claims: what the services work on.
            devices: names of the devices whose health is reported.
            tell: gets namespace and name of each claim that was prepared, to say so.
        """
        self.socket = folder / "dra.sock"
        self._registration_socket = registry / f"{DRIVER}-reg.sock"
        self._faults = claims.faults
        registration = Registration(str(self.socket), claims)
        self.registered = registration.registered
        """Set while the kubelet has us registered."""
        self._server = grpc.server(ThreadPoolExecutor(64, thread_name_prefix="grpc"))
        pluginregistration_v1_pb2_grpc.add_RegistrationServicer_to_server(
            registration, self._server
        )
        for messages, services in (
            (dra_v1_pb2, dra_v1_pb2_grpc),
            (dra_v1beta1_pb2, dra_v1beta1_pb2_grpc),
        ):
            services.add_DRAPluginServicer_to_server(
                DraPlugin(messages, claims, tell), self._server
            )
        names = tuple(devices)
        self._health = []
        for messages, services in (
            (dra_health_v1_pb2, dra_health_v1_pb2_grpc),
            (dra_health_v1alpha1_pb2, dra_health_v1alpha1_pb2_grpc),
        ):
            health = ResourceHealth(messages, claims, names)
            services.add_DRAResourceHealthServicer_to_server(health, self._server)
            self._health.append(health)

    def start(self) -> None:
        """Serve; the kubelet's socket comes last, because it is used at once.

        gRPC replaces sockets that a killed instance left.
        """
        for path in (self.socket, self._registration_socket):
            path.parent.mkdir(parents=True, exist_ok=True)
            left = path == self._registration_socket and path.exists()
            if left and not self._faults.alter(Point.REPLACE, True):
                path.unlink()
            else:
                self._server.add_insecure_port(f"unix:{path}")
        self._server.start()

    def stop(self) -> None:
        """Deregister (gRPC removes the sockets), finish the calls that are under way, and go."""
        for health in self._health:
            health.stop()
        self._server.stop(grace=5).wait()

    def report_health(self) -> None:
        """Report the health of all devices now: it may have changed."""
        for health in self._health:
            health.report()

    def answers(self) -> bool:
        """Whether the DRA service answers on its socket; asked to prepare nothing."""
        with grpc.insecure_channel(f"unix:{self.socket}") as channel:
            stub = dra_v1_pb2_grpc.DRAPluginStub(channel)
            try:
                stub.NodePrepareResources(dra_v1_pb2.NodePrepareResourcesRequest(), timeout=2)
            except grpc.RpcError:
                return False
        return True


class Registration:
    """Tells the kubelet's plugin watcher who we are (pluginregistration/v1)."""

    def __init__(self, endpoint: str, claims: Claims) -> None:
        self.registered = threading.Event()
        self._claims = claims
        self._info = pluginregistration_v1_pb2.PluginInfo(
            type="DRAPlugin", name=DRIVER, endpoint=endpoint, supported_versions=SERVICES
        )

    def GetInfo(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - the protocol's names
        """Also the kubelet's way to see that we live, again and again."""
        self._claims.faults.alter(Point.REGISTER, self.registered.is_set())
        return self._info

    def NotifyRegistrationStatus(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """How the registration went; a refused one is retried by the kubelet."""
        if request.plugin_registered:
            log.info("registered with the kubelet")
            if self.registered.is_set():
                self._claims.meet_kubelet()
            self.registered.set()
        else:
            log.error("the kubelet refused to register this driver: %s", request.error)
            self.registered.clear()
        return pluginregistration_v1_pb2.RegistrationStatusResponse()


class DraPlugin:
    """The DRA service. v1 differs from v1beta1 in that it knows shares of devices."""

    def __init__(self, messages: Any, claims: Claims, tell: Callable[[str, str], None]) -> None:
        self._tell = tell
        self._messages = messages
        self._knows_shares = "share_id" in messages.Device.DESCRIPTOR.fields_by_name
        self._claims = claims

    def NodePrepareResources(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """Every claim of the request gets an answer of its own: one that fails stops no other."""
        response = self._messages.NodePrepareResourcesResponse()
        self._claims.collect()
        for claim in self._claims.faults.alter(Point.REQUEST, list(request.claims)):
            answer = response.claims[claim.uid]
            try:
                devices = self._claims.prepare(claim.namespace, claim.name, claim.uid)
            except _FAILURES as error:
                log.warning("%s/%s: not prepared: %s", claim.namespace, claim.name, error)
                answer.error = str(error)
                continue
            log.info("%s/%s: prepared", claim.namespace, claim.name)
            self._tell(claim.namespace, claim.name)
            for device in devices:
                answer.devices.add(
                    request_names=[device.request],
                    pool_name=self._claims.node,
                    device_name=device.name,
                    cdi_device_ids=[device_id(claim.uid, device.unit)],
                    **({"share_id": device.share} if device.share and self._knows_shares else {}),
                )
        return self._claims.faults.alter(Point.ANSWER, response)

    def NodeUnprepareResources(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """The opposite; an answer without error for claims that were never prepared."""
        response = self._messages.NodeUnprepareResourcesResponse()
        for claim in request.claims:
            answer = response.claims[claim.uid]  # looking it up makes the entry
            try:
                self._claims.unprepare(claim.uid)
            except _FAILURES as error:
                log.warning("%s/%s: not unprepared: %s", claim.namespace, claim.name, error)
                answer.error = str(error)
        return response


class ResourceHealth:
    """Tells the kubelet how the devices are, for the status of their pods (KEP-4680)."""

    def __init__(self, messages: Any, claims: Claims, devices: tuple[str, ...]) -> None:
        self._messages = messages
        self._claims = claims
        self._devices = devices
        self._fault_at_start = claims.faults.active()
        self._watchers: set[SimpleQueue[bool]] = set()
        """Each is told when to report (True), and when to end (False)."""

    def stop(self) -> None:
        """End all streams: they would last as long as the kubelet wants."""
        for watcher in list(self._watchers):
            watcher.put(False)

    def report(self) -> None:
        """Report at once to everybody who watches."""
        for watcher in list(self._watchers):
            watcher.put(True)

    def NodeWatchResources(self, _request: Any, context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: N802
        """The complete list at once, and again before the kubelet takes it for stale."""
        watcher: SimpleQueue[bool] = SimpleQueue()

        def leave() -> None:
            watcher.put(False)
            self._watchers.discard(watcher)

        self._watchers.add(watcher)
        context.add_callback(leave)
        faults, first, goes_on = self._claims.faults, True, True
        while goes_on:
            response, _ = faults.alter(Point.HEALTH, (self._all_healthy(), first))
            if self._claims.held and faults.active() == self._fault_at_start:
                response = faults.alter(Point.HEALTH_AGAIN, response)
            yield response
            first = False
            try:
                goes_on = watcher.get(timeout=HEALTH_SECONDS)
            except Empty:
                pass

    def _all_healthy(self) -> Any:
        """What is reported; simulated GPUs never break."""
        response = self._messages.NodeWatchResourcesResponse()
        for name in self._devices:
            entry = response.devices.add(
                health=self._messages.HEALTHY,
                last_updated_time=int(time.time()),
                health_check_timeout_seconds=3 * HEALTH_SECONDS,
            )
            entry.device.pool_name, entry.device.device_name = self._claims.node, name
        return response
