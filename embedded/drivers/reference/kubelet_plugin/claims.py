"""Prepares and unprepares ResourceClaims, and remembers on disk what is prepared.

The kubelet knows only in memory which claims are prepared, and asks again when in doubt: after a
timeout, after its own restart, after a reboot. So every operation is idempotent, and preparing a
prepared claim makes true again what was lost meanwhile (``/var/run`` is a tmpfs).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from http.client import NOT_FOUND
from pathlib import Path
from typing import Any

from . import DRIVER
from .api import ApiError
from .cdi import Cdi, write_atomically
from .faults import Faults, Point
from .gpus import Gpu, Part
from .metadata import Metadata
from .parameters import LABEL, TIME_SLICE, TIME_SLICES, ParametersError, settings_of

SCHEMAS = (1, 2)
"""Of the checkpoint: that of the driver's first version, and the one of the second."""


class PrepareError(Exception):
    """Why a claim cannot be prepared; the kubelet shows it in an event of the pod."""


@dataclass(frozen=True)
class Device:
    """One allocated device, as the checkpoint and the kubelet get it."""

    request: str
    """The claim's request that it answers."""
    name: str
    admin: bool
    """Administrators may look at a device that somebody else uses (KEP-5018)."""
    label: str = ""
    """Of its parameters; empty: none."""
    time_slice: str = ""
    """Of its parameters, one of `TIME_SLICES`; empty: as it is."""
    share: str = ""
    """The UID of the share that was allocated; empty: the whole device."""
    memory: str = ""
    """The share's."""

    @property
    def unit(self) -> str:
        """What tells it from every other device and share that is prepared."""
        return f"{self.name}-{self.share}" if self.share else self.name


@dataclass(frozen=True)
class Claim:
    """A prepared claim."""

    namespace: str
    name: str
    devices: tuple[Device, ...]


@dataclass(frozen=True)
class Ending:
    """A claim that is about to be unprepared."""

    uid: str
    claim: Claim | None
    """As it was prepared; None: it was not."""
    read: Callable[[], Mapping[str, Any] | None]
    """Gives the ResourceClaim; None when it is gone."""


class Claims:
    """The claims that are prepared on this node."""

    def __init__(
        self,
        node: str,
        gpus: Iterable[Gpu],
        read: Callable[[str, str], Mapping[str, Any]],
        cdi: Cdi,
        checkpoint: Path,
        boot_id: str,
        faults: Faults,
        schema: int = SCHEMAS[0],
    ) -> None:
        """Load the checkpoint and restore what it says.

        Args:
            node: this node's name, which is its pool's.
            gpus: the node's GPUs.
            read: gives the ResourceClaim of a namespace and name, in any version.
            cdi: where specifications go.
            checkpoint: file that remembers prepared claims.
            boot_id: what changes with every boot of the node.
            faults: how to misbehave.
            schema: of the checkpoint, one of `SCHEMAS`; the older ones are read, too.

        Raises:
            ValueError: the checkpoint cannot be read. Going on without it could give a device away
                that a container uses, so that is for a person to decide.
        """
        self.node = node
        self._gpus = {gpu.name: gpu for gpu in gpus}
        parts = {part.name: part for gpu in self._gpus.values() for part in gpu.parts()}
        self._devices: dict[str, Gpu] = {**self._gpus, **parts}
        """Also those that are not published, as they are only on request."""
        self._read = read
        self._cdi = cdi
        self._checkpoint = checkpoint
        self._metadata = Metadata(checkpoint.with_name("metadata"), node)
        self._boot_id = boot_id
        self.faults = faults
        self._schema = schema
        self._lost: frozenset[str] = frozenset()
        """Claims of an older version's record that a fault has left out."""
        self._lock = threading.Lock()
        self._uids: dict[tuple[str, str], str] = {}
        """The UID with which each claim was prepared last, by its namespace and name."""
        self.first = not checkpoint.exists()
        """Whether no instance was on the node before, as far as the checkpoint tells."""
        self._upgrades = False
        """Whether the record that was found is of an older version."""
        self._claims = self._load()
        self._earlier = frozenset(self._claims)
        held = {device.name for claim in self._claims.values() for device in claim.devices}
        self.held = tuple(gpu for name, gpu in self._gpus.items() if name in held)
        """The GPUs of claims that an earlier instance prepared."""
        self._before: frozenset[str] = frozenset()
        """The claims that were prepared for a kubelet before the one there is."""
        for uid, claim in self._claims.items():
            restores = faults.alter(Point.RESTORE, True)
            if self._upgrades:
                restores = faults.alter(Point.TAKE_OVER, restores)
            if restores:
                self._write_spec(uid, claim)
            else:
                self._remove(uid)

    def prepare(self, namespace: str, name: str, uid: str) -> tuple[Device, ...]:
        """Make the claim's devices available to containers.

        Raises:
            PrepareError: the claim cannot be prepared as it is.
            OSError: the node's disk does not take what has to be written.
        """
        with self._lock:
            claim = Claim(namespace, name, self._allocated(namespace, name, uid))
            self.faults.alter(Point.PREPARE, claim, tuple(self._gpus.values()))
            before = self._uids.setdefault((namespace, name), uid)
            if before != uid and not self.faults.alter(Point.RENEW, True):
                return claim.devices
            self._uids[namespace, name] = uid
            if not self.faults.alter(Point.FREE, True):
                self._drop_what_is_gone()
            new = self._claims.get(uid) != claim
            if new:
                self.faults.alter(Point.SET_UP, partial(self._set_up, uid, claim))
                if self.faults.alter(Point.REFUSE, True):
                    self._refuse_devices_in_use(uid, claim)
                # First on record, then done: a crash in between leaves nothing that nobody knows.
                self._save({**self._claims, uid: claim})
            else:
                if uid in self._earlier:
                    self.faults.alter(Point.INHERIT, self._mark(uid))
                else:
                    self.faults.alter(Point.REPLAY, claim)
                whether = self.faults.alter(Point.RESTORE, True)
                if not self.faults.alter(Point.REWRITE, whether):
                    return claim.devices
            self.faults.alter(Point.HALFWAY, (self._mark(uid), self._lock))
            try:
                self._write_spec(uid, claim)
                for device in claim.devices:
                    self._set_time_slice(device, device.time_slice)
            except OSError:
                if new:
                    self._forget(uid)
                raise
            return claim.devices

    def unprepare(self, uid: str) -> None:
        """Take the devices back; of an unknown claim, nothing, and that is a success.

        All that is needed is the UID: the claim may be deleted by now.
        """
        known = self._claims.get(uid)
        if uid in self._lost:
            return
        ending = Ending(uid, known, partial(self._object, uid, known))
        if self.faults.alter(Point.UNPREPARE, ending) is None:
            return
        with self._lock:
            if uid in self._earlier and uid in self._claims:
                self.faults.alter(Point.TAKE_BACK, ending)
            if uid in self._before:
                self.faults.alter(Point.OUTLIVE, uid)
            forgets = uid not in self._earlier or self.faults.alter(Point.FORGET, True)
            if self.faults.alter(Point.ERASE, forgets):
                self._remove(uid)
            for device in self._claims[uid].devices if uid in self._claims else ():
                self._set_time_slice(device, TIME_SLICES[0])
            if uid in self._claims and self.faults.alter(Point.FREE, True):
                self._forget(uid)

    def count(self) -> int:
        """Count the devices that are prepared, for the metrics."""
        devices = sum(len(claim.devices) for claim in self._claims.values())
        return self.faults.alter(Point.COUNT, devices)

    def meet_kubelet(self) -> None:
        """Note that another kubelet has come in place of the one before."""
        self._before = frozenset(self._claims)

    def collect(self) -> None:
        """Unprepare what a fault takes for garbage."""
        with self._lock:
            for uid, claim in list(self._claims.items()):
                ending = Ending(uid, claim, partial(self._object, uid, claim))
                if self.faults.alter(Point.KEEP, ending) is None:
                    self._remove(uid)
                    self._forget(uid)

    def tidy(self) -> None:
        """Drop claims that are gone: what a fault has kept must not outlive it."""
        with self._lock:
            self._drop_what_is_gone()

    def _drop_what_is_gone(self) -> None:
        for uid, claim in list(self._claims.items()):
            if self._object(uid, claim) is None:
                self._remove(uid)
                self._forget(uid)

    def _object(self, uid: str, claim: Claim | None) -> Mapping[str, Any] | None:
        """Read the ResourceClaim of a prepared claim; None when it is gone, or was not prepared."""
        if claim is None:
            return None
        try:
            found = self._read(claim.namespace, claim.name)
        except ApiError as error:
            if error.status == NOT_FOUND:
                return None
            raise
        return found if found["metadata"]["uid"] == uid else None

    def _set_time_slice(self, device: Device, value: str) -> None:
        """Give a GPU a time slice, if its claim asks for one at all."""
        gpu = self._gpus.get(device.name)
        if device.time_slice and gpu and self.faults.alter(Point.TIME_SLICE, value):
            gpu.set_time_slice(TIME_SLICES.index(value))

    def _mark(self, uid: str) -> Path:
        """Where a fault notes what it is at with a claim."""
        return self._checkpoint.with_name(f"half-{uid}")

    def _forget(self, uid: str) -> None:
        self._save({key: claim for key, claim in self._claims.items() if key != uid})

    def _allocated(self, namespace: str, name: str, uid: str) -> tuple[Device, ...]:
        """What the scheduler allocated: the kubelet says only which claim it is about."""
        claim = self._read(namespace, name)
        self.faults.alter(Point.READ, claim)
        what = f"ResourceClaim {namespace}/{name}"
        if claim["metadata"]["uid"] != uid:
            found = claim["metadata"]["uid"]
            raise PrepareError(f"{what} was replaced: it has the UID {found}, not {uid}")
        allocation = claim.get("status", {}).get("allocation")
        if not allocation:
            raise PrepareError(f"{what} is not allocated")
        # Of the class and of the claim, for all drivers.
        every = self.faults.alter(Point.PARAMETERS, allocation["devices"].get("config", ()))
        parameters = [one for one in every if one.get("opaque", {}).get("driver") == DRIVER]
        # A claim can have devices of several drivers; each prepares its own.
        results = allocation["devices"].get("results", ())
        results = self.faults.alter(Point.RESULTS, results, tuple(self._gpus.values()))
        mine = [one for one in results if one["driver"] == DRIVER]
        for result in mine:
            if result["pool"] != self.node or result["device"] not in self._devices:
                device = f"{result['pool']}/{result['device']}"
                raise PrepareError(f"{what} has {device}, which is not on node {self.node}")
        try:
            settings = {one["request"]: settings_of(one["request"], parameters) for one in mine}
            return tuple(
                Device(
                    # "request/alternative" where the claim lists some (KEP-4816).
                    request=result["request"].partition("/")[0],
                    name=result["device"],
                    admin=bool(result.get("adminAccess")),
                    label=settings[result["request"]].get(LABEL, ""),
                    time_slice=settings[result["request"]].get(TIME_SLICE, ""),
                    share=result.get("shareID", ""),
                    memory=result.get("consumedCapacity", {}).get("memory", ""),
                )
                for result in mine
            )
        except ParametersError as error:
            raise PrepareError(self.faults.alter(Point.REFUSAL, f"{what}: {error}")) from error

    def _set_up(self, uid: str, claim: Claim) -> None:
        """Prepare a claim, for a fault that does so later, whatever has happened meanwhile."""
        with self._lock:
            try:
                self._refuse_devices_in_use(uid, claim)
            except PrepareError:
                return
            self._save({**self._claims, uid: claim})
            self._write_spec(uid, claim)

    def _refuse_devices_in_use(self, uid: str, claim: Claim) -> None:
        """The last line of defence: two claims on one device mean that something went wrong before.

        After a forced deletion the scheduler may give a device away whose container still runs; the
        kubelet retries, and succeeds once it has unprepared the old claim.
        """
        wanted = [device for device in claim.devices if not device.admin]
        for other_uid, other in self._claims.items():
            for device in other.devices:
                clashes = any(map(partial(self._exclude, device), wanted))
                if other_uid != uid and clashes and not device.admin:
                    raise PrepareError(
                        f"{device.name} is in use by ResourceClaim {other.namespace}/{other.name}"
                        f" (UID {other_uid}), which is not unprepared yet"
                    )

    def _exclude(self, one: Device, other: Device) -> bool:
        """Whether two devices cannot both be prepared, as they are one, or one is a part of the
        other; different shares of one can."""
        if one.name == other.name:
            return one.share == other.share or not (one.share and other.share)
        first, second = self._devices.get(one.name), self._devices.get(other.name)
        if first is None or second is None or first.minor != second.minor:
            return False
        return not (isinstance(first, Part) and isinstance(second, Part))

    def _write_spec(self, uid: str, claim: Claim) -> None:
        # One entry a device, even if two requests share it; none for a GPU that broke meanwhile.
        given: dict[str, tuple[Gpu, list[str]]] = {}
        for name, gpu in self._devices.items():
            for device in (one for one in claim.devices if one.name == name):
                label = [gpu.labelled(device.label)] if device.label else []
                share = [gpu.share(device.share, device.memory)] if device.share else []
                given[device.unit] = (gpu, [gpu.variable, *label, *share])
        if given:
            every = tuple(self._gpus.values())
            spec = self._cdi.spec(uid, given, self._describe(uid, claim))
            spec = self.faults.alter(Point.INJECT, spec, every)
            self._cdi.write(self.faults.alter(Point.FILES, self._cdi.files(uid, spec), every))

    def _describe(self, uid: str, claim: Claim) -> dict[str, list[dict[str, Any]]]:
        """Write files that tell containers of their devices, if there are to be some; their mounts
        by the name of the device or share."""
        nothing: dict[str, Any] = {}
        told = self.faults.alter(Point.DESCRIBE, nothing, tuple(self._gpus.values()))
        found = self._object(uid, claim) if told else None
        return self._metadata.write(found, claim, told) if found else {}

    def _remove(self, uid: str) -> None:
        """Remove what containers of a claim were given by."""
        self._cdi.remove(uid)
        self._metadata.remove(uid)

    def _save(self, claims: dict[str, Claim]) -> None:
        # Who has no claim can be replaced by any version.
        schema = self._schema if claims else SCHEMAS[0]
        saved: Any = {uid: asdict(claim) for uid, claim in claims.items()}
        if schema > SCHEMAS[0]:
            saved = [{"uid": uid, **claim} for uid, claim in saved.items()]
        content = {"schema": schema, "bootID": self._boot_id, "claims": saved}
        write_atomically(self._checkpoint, json.dumps(content, indent=1))
        self._claims = claims

    def _load(self) -> dict[str, Claim]:
        try:
            saved = json.loads(self._checkpoint.read_text())
            if saved["schema"] not in SCHEMAS[: self._schema]:
                raise ValueError(f"schema {saved['schema']}, not {self._schema} or older")
            entries = saved["claims"]
            if saved["schema"] > SCHEMAS[0]:
                entries = {entry["uid"]: entry for entry in entries}
            claims = {
                uid: Claim(
                    claim["namespace"],
                    claim["name"],
                    tuple(Device(**device) for device in claim["devices"]),
                )
                for uid, claim in entries.items()
            }
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{self._checkpoint} is not a checkpoint of this driver ({error!r}); drain the"
                " node, then remove the file"
            ) from error
        if saved["bootID"] == self._boot_id:
            self._upgrades = bool(claims) and saved["schema"] < self._schema
            taken = self.faults.alter(Point.UPGRADE, claims) if self._upgrades else claims
            self._lost = frozenset(claims.keys() - taken.keys())
            return taken
        # No container outlives a reboot. The kubelet prepares anew what still has a pod; a claim
        # that lost its pod meanwhile must not keep its devices.
        for uid in claims:
            self._remove(uid)
        return {}
