"""A relay between the kubelet and an unmodified DRA driver that misbehaves in its place.

It registers under the driver's own name as a second instance, as a driver does during a rolling
update, and the kubelet uses the instance that connected last (KEP-4381, Kubernetes 1.33 and later).
Calls are passed on to the real driver, and faults of the reference driver act on them; when the
relay goes, the kubelet returns to the driver.
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import grpc
import yaml

from embedded.drivers.reference.kubelet_plugin import faults as reference
from embedded.drivers.reference.kubelet_plugin.cdi import write_atomically
from embedded.drivers.reference.kubelet_plugin.claims import Claim, Device, Ending
from embedded.drivers.reference.kubelet_plugin.faults import Fault, FaultError, Point
from embedded.drivers.reference.kubelet_plugin.gpus import discover
from embedded.layout import SIMULATED_GPUS

KUBELET = Path("var/lib/kubelet")
SECONDS = 30

Read = Callable[[str, str], Mapping[str, Any] | None]
"""Gives the ResourceClaim of a namespace and name; None when there is none."""
Value = TypeVar("Value")

_numbers = itertools.count(1)


@contextmanager
def relay(
    node: Path, driver: str, protocol: Path, faults: Sequence[Fault], read: Read
) -> Iterator[None]:
    """Stand between the kubelet and ``driver`` for the duration of a ``with`` block.

    Args:
        node: the node's root directory as seen from here.
        driver: name of the driver, also of its folder below the kubelet's plugins.
        protocol: folder with the kubelet's ``.proto`` files.
        faults: how to misbehave, at the points that `_Plugin` reaches.
        read: gives faults what the API says of a claim.
    """
    messages = _protocol(protocol)
    own = node / KUBELET / "plugins" / driver
    with (
        grpc.insecure_channel(f"unix:{own}/dra.sock") as channel,
        patch.object(reference, "OWN_FOLDER", own),
    ):
        grpc.channel_ready_future(channel).result(SECONDS)
        plugin = _Plugin(messages, channel, node, faults, read)
        try:
            with _registered(node, driver, messages, plugin):
                yield
        finally:
            plugin.tidy()


@contextmanager
def idle(node: Path, driver: str, protocol: Path) -> Iterator[None]:
    """Have a driver on a node, for the duration of a ``with`` block, that gives nothing to anybody.

    Args:
        node: the node's root directory as seen from here.
        driver: its name.
        protocol: folder with the kubelet's ``.proto`` files.
    """
    messages = _protocol(protocol)
    with _registered(node, driver, messages, _Idle(messages)):
        yield


@contextmanager
def _registered(node: Path, driver: str, messages: _Protocol, plugin: Any) -> Iterator[None]:
    """Have the kubelet know an instance of a driver for the duration of a ``with`` block."""
    name = f"relay-{next(_numbers)}"
    folder = node / KUBELET / "plugins" / name
    registration = node / KUBELET / "plugins_registry" / f"{name}-reg.sock"
    folder.mkdir()
    server = grpc.server(ThreadPoolExecutor(16))
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


class _Idle:
    """The DRA service (dra/v1) of a driver that has nothing to do for its devices."""

    def __init__(self, messages: _Protocol) -> None:
        self._messages = messages.dra

    def NodePrepareResources(self, request: Any, _context: Any) -> Any:  # noqa: N802
        response = self._messages.NodePrepareResourcesResponse()
        for claim in request.claims:
            response.claims[claim.uid].SetInParent()
        return response

    def NodeUnprepareResources(self, request: Any, _context: Any) -> Any:  # noqa: N802
        response = self._messages.NodeUnprepareResourcesResponse()
        for claim in request.claims:
            response.claims[claim.uid].SetInParent()
        return response


class _Plugin:
    """The DRA service (dra/v1): the real driver's, with faults."""

    def __init__(
        self,
        messages: _Protocol,
        channel: grpc.Channel,
        node: Path,
        faults: Sequence[Fault],
        read: Read,
    ) -> None:
        self._messages = messages.dra
        self._real = messages.dra_services.DRAPluginStub(channel)
        self._folder = node / "run" / "cdi"
        self._gpus = discover(node / SIMULATED_GPUS.lstrip("/"))
        self._faults = faults
        self._read = read
        self._claims: dict[str, Claim] = {}
        """What is prepared, as far as the kubelet was told, by UID."""
        self._seen: dict[str, Any] = {}
        """Every claim that was ever asked for, by UID."""
        self._uids: dict[tuple[str, str], str] = {}
        """The UID with which each claim was prepared first, by its namespace and name."""

    def NodePrepareResources(self, request: Any, _context: Any) -> Any:  # noqa: N802
        claims = self._alter(Point.REQUEST, list(request.claims))
        self._seen |= {claim.uid: claim for claim in claims}
        asked = self._messages.NodePrepareResourcesRequest(claims=claims)
        response = self._real.NodePrepareResources(asked, timeout=SECONDS)
        for claim in claims:
            answer = response.claims[claim.uid]
            if not answer.error:
                try:
                    self._prepared(claim, answer.devices)
                except FaultError as error:
                    answer.Clear()
                    answer.error = str(error)
        return self._alter(Point.ANSWER, response)

    def NodeUnprepareResources(self, request: Any, _context: Any) -> Any:  # noqa: N802
        response = self._messages.NodeUnprepareResourcesResponse()
        for claim in request.claims:
            answer = response.claims[claim.uid]  # looking it up makes the entry
            try:
                answer.error = self._unprepare(claim)
            except FaultError as error:
                answer.error = str(error)
        return response

    def tidy(self) -> None:
        """Unprepare what faults have kept: it must not outlive them."""
        every = self._messages.NodeUnprepareResourcesRequest(claims=self._seen.values())
        self._real.NodeUnprepareResources(every, timeout=SECONDS)
        for file in (file for uid in self._seen for file in self._files(uid)):
            file.unlink()

    def _prepared(self, claim: Any, devices: Sequence[Any]) -> None:
        """Misbehave with a claim that the real driver has prepared.

        Raises:
            FaultError: it is to be told as not prepared.
        """
        given = (Device(one.request_names[0], one.device_name, admin=False) for one in devices)
        now = Claim(claim.namespace, claim.name, tuple(given))
        self._alter(Point.PREPARE, now)
        first = self._uids.setdefault((claim.namespace, claim.name), claim.uid)
        whether = first == claim.uid or self._alter(Point.RENEW, True)
        for file in self._files(claim.uid) if claim.uid not in self._claims else ():
            spec = yaml.safe_load(file.read_text())
            before = {file.name: json.dumps(spec)}
            after = self._alter(
                Point.FILES, {file.name: json.dumps(self._alter(Point.INJECT, spec))}
            )
            for name, text in after.items() if before != after else ():
                write_atomically(self._folder / name, text)
            if not whether:
                file.unlink()
        self._claims[claim.uid] = now

    def _unprepare(self, claim: Any) -> str:
        """Unprepare a claim, or misbehave; answers what the real driver says is wrong.

        Raises:
            FaultError: that is to be said instead.
        """
        known = self._claims.get(claim.uid)
        ending = Ending(claim.uid, known, partial(self._object, claim))
        if self._alter(Point.UNPREPARE, ending) is None:
            return ""
        files = {file: file.read_text() for file in self._files(claim.uid)}
        asked = self._messages.NodeUnprepareResourcesRequest(claims=[claim])
        answer = self._real.NodeUnprepareResources(asked, timeout=SECONDS).claims[claim.uid]
        for file, text in files.items() if not answer.error else ():
            if self._alter(Point.ERASE, True):
                file.unlink(missing_ok=True)
            else:
                file.write_text(text)
        self._claims.pop(claim.uid, None)
        return str(answer.error)

    def _object(self, claim: Any) -> Mapping[str, Any] | None:
        found = self._read(claim.namespace, claim.name)
        return found if found and found["metadata"]["uid"] == claim.uid else None

    def _files(self, uid: str) -> list[Path]:
        """The CDI files of a claim."""
        return sorted(self._folder.glob(f"*{uid}*"))

    def _alter(self, point: Point, value: Value) -> Value:
        for fault in self._faults:
            if fault.point is point:
                value = fault.alter(value, self._gpus)
        return value
