"""A relay between the kubelet and an unmodified DRA driver that can alter what the kubelet gets.

It registers under the driver's own name as a second instance, as a driver does during a rolling
update, and the kubelet uses the instance that connected last (KEP-4381, Kubernetes 1.33 and later).
Every call is passed on to the real driver; when the relay goes, the kubelet returns to the driver.
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import yaml

KUBELET = Path("var/lib/kubelet")
SECONDS = 30

_numbers = itertools.count(1)


def _nothing(_: Any) -> None:
    """Leave it as the driver made it."""


@dataclass(frozen=True)
class Alteration:
    """What the relay changes after the driver has prepared a claim."""

    devices: Callable[[Any], None] = _nothing
    """Changes the list of ``Device`` messages of the response (dra/v1 api.proto), in place."""
    cdi: Callable[[dict[str, Any]], None] = _nothing
    """Changes the claim's CDI specification, in place; the file is written before the response."""


@contextmanager
def relay(node: Path, driver: str, protocol: Path, alteration: Alteration) -> Iterator[None]:
    """Stand between the kubelet and ``driver`` for the duration of a ``with`` block.

    Args:
        node: the node's root directory as seen from here.
        driver: name of the driver, also of its folder below the kubelet's plugins.
        protocol: folder with the kubelet's ``.proto`` files.
        alteration: what to change.
    """
    messages = _protocol(protocol)
    name = f"relay-{next(_numbers)}"
    folder = node / KUBELET / "plugins" / name
    registration = node / KUBELET / "plugins_registry" / f"{name}-reg.sock"
    real = node / KUBELET / "plugins" / driver / "dra.sock"
    folder.mkdir()
    server = grpc.server(ThreadPoolExecutor(4))
    with grpc.insecure_channel(f"unix:{real}") as channel:
        grpc.channel_ready_future(channel).result(SECONDS)
        plugin = _Plugin(messages, channel, node, alteration)
        messages.dra_services.add_DRAPluginServicer_to_server(plugin, server)
        server.add_insecure_port(f"unix:{folder}/dra.sock")
        registrar = _Registration(messages, driver, f"/{KUBELET}/plugins/{name}/dra.sock")
        messages.registration_services.add_RegistrationServicer_to_server(registrar, server)
        server.add_insecure_port(f"unix:{registration}")
        server.start()
        try:
            registrar.wait()
            yield
        finally:
            # First the socket by which the kubelet knows us: it returns to the driver at once.
            registration.unlink(missing_ok=True)
            server.stop(grace=None).wait()
            (folder / "dra.sock").unlink(missing_ok=True)
            folder.rmdir()


@dataclass(frozen=True)
class _Protocol:
    dra: Any
    dra_services: Any
    registration: Any
    registration_services: Any


def _protocol(folder: Path) -> _Protocol:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    return _Protocol(
        *grpc.protos_and_services("dra_v1.proto"),
        *grpc.protos_and_services("pluginregistration_v1.proto"),
    )


class _Registration:
    """The side that the kubelet's plugin watcher talks to (pluginregistration/v1)."""

    def __init__(self, messages: _Protocol, driver: str, endpoint: str) -> None:
        self._messages = messages
        self._driver = driver
        self._endpoint = endpoint
        self._answered = threading.Event()
        self._error = ""

    def wait(self) -> None:
        if not self._answered.wait(SECONDS):
            raise TimeoutError(f"the kubelet did not register the relay within {SECONDS} s")
        if self._error:
            raise RuntimeError(f"the kubelet refused the relay: {self._error}")

    def GetInfo(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - the protocol's name
        return self._messages.registration.PluginInfo(
            type="DRAPlugin",
            name=self._driver,
            endpoint=self._endpoint,
            supported_versions=["v1.DRAPlugin"],
        )

    def NotifyRegistrationStatus(self, request: Any, _context: Any) -> Any:  # noqa: N802
        self._error = "" if request.plugin_registered else request.error
        self._answered.set()
        return self._messages.registration.RegistrationStatusResponse()


class _Plugin:
    """The DRA service (dra/v1): asks the real driver, then alters what it answered."""

    def __init__(
        self, messages: _Protocol, channel: grpc.Channel, node: Path, alteration: Alteration
    ) -> None:
        self._real = messages.dra_services.DRAPluginStub(channel)
        self._node = node
        self._alteration = alteration

    def NodePrepareResources(self, request: Any, _context: Any) -> Any:  # noqa: N802
        response = self._real.NodePrepareResources(request, timeout=SECONDS)
        for uid, claim in response.claims.items():
            if not claim.error:
                self._alter_cdi(uid)
                self._alteration.devices(claim.devices)
        return response

    def NodeUnprepareResources(self, request: Any, _context: Any) -> Any:  # noqa: N802
        return self._real.NodeUnprepareResources(request, timeout=SECONDS)

    def _alter_cdi(self, uid: str) -> None:
        for file in (self._node / "run" / "cdi").glob(f"*{uid}*"):
            before = file.read_text()
            spec = yaml.safe_load(before)
            self._alteration.cdi(spec)
            if spec != yaml.safe_load(before):
                new = file.with_name(f".{file.name}.new")
                new.write_text(yaml.safe_dump(spec))
                new.rename(file)
