"""A run's anchor: what owns everything of the run, and the Lease that says for how long.

Everything that a run creates in a cluster hangs on its anchor by owner references, which carry a
UID and so cannot mean anything else: when the anchor goes, Kubernetes itself removes the rest.
Usually the anchor is a namespace of its own, which holds the Lease and nothing else; where the run
is confined to a namespace that exists (``--dra-namespace``) it is the Lease.

The Lease is renewed while the run lives. Its annotations say whose it is and name the anchor by
name and UID. A sweep believes only that: labels, names and a copy's annotations are anybody's.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import CONFLICT
from socket import gethostname
from typing import Any

from harness.cluster.journal import Journal
from harness.cluster.kinds import LEASE, NAMESPACE, Object, name_of, namespace_of, uid_of
from harness.cluster.kube import ApiError, Kube, UnreachableError

DOMAIN = "dra-conformance.io"
RUN_LABEL = f"{DOMAIN}/run"
PREFIX = "dra-conformance"

RENEW_SECONDS = 20.0
LEASE_SECONDS = 120
"""A run that has not renewed its Lease for so long is taken for dead."""

_RUN, _HOST, _STARTED = RUN_LABEL, f"{DOMAIN}/host", f"{DOMAIN}/started"
_CHANGES = f"{DOMAIN}/changes"
_ANCHOR, _ANCHOR_UID = f"{DOMAIN}/anchor", f"{DOMAIN}/anchor-uid"


def anchor_name(run_id: str) -> str:
    """The name of a run's anchor, which all its namespaces begin with."""
    return f"{PREFIX}-{run_id}"


def moment(seconds: float) -> str:
    """Seconds since 1970 as a MicroTime of the API."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def owner_reference(owner: Object) -> dict[str, Any]:
    """What an owned object says of its owner."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name_of(owner),
        "uid": uid_of(owner),
    }


def is_owned_by(obj: Object, owner: Object) -> bool:
    """Whether an object says so, by UID."""
    references = obj["metadata"].get("ownerReferences") or []
    return any(reference.get("uid") == uid_of(owner) for reference in references)


def lease_values(run_id: str, namespace: str, anchor: Object | None, now: float) -> dict[str, Any]:
    """The values of the template of a run's Lease.

    Args:
        run_id: the run.
        namespace: where the Lease is made.
        anchor: what it belongs to; None when that is the Lease, which has no UID yet.
        now: by the API server's clock, in seconds since 1970.
    """
    return {
        "name": anchor_name(run_id),
        "namespace": namespace,
        "holder": f"{gethostname()}/{os.getpid()}",
        "seconds": LEASE_SECONDS,
        "now": moment(now),
        "annotations": {
            _RUN: run_id,
            _HOST: gethostname(),
            _STARTED: moment(now),
            **(naming(anchor) if anchor is not None else {}),
        },
    }


def naming(anchor: Object) -> dict[str, str]:
    """The annotations by which a Lease names the anchor that it belongs to."""
    return {_ANCHOR: f"{anchor['kind']}/{name_of(anchor)}", _ANCHOR_UID: uid_of(anchor)}


class Renewal(threading.Thread):
    """Keeps a Lease from expiring while the run lives."""

    def __init__(self, kube: Kube, journal: Journal, lease: Object) -> None:
        super().__init__(name="renew lease", daemon=True)
        self._kube = kube
        self._journal = journal
        self._lease = lease
        self._changing = threading.Lock()
        self._ended = threading.Event()

    def name_itself(self) -> None:
        """Write into the Lease that it is the anchor, now that it has a UID.

        Raises:
            ApiError: the API server refuses.
            UnreachableError: it does not answer.
        """
        self._change(naming(self._lease))

    def note(self, changes: str) -> None:
        """Write into the Lease what the run is about to change that is not its own.

        Raises:
            ApiError: the API server refuses.
            UnreachableError: it does not answer.
        """

        try:
            self._change({_CHANGES: changes})
        except ApiError as error:
            if error.status != CONFLICT:
                raise
            self._look_again()
            self._change({_CHANGES: changes})

    def run(self) -> None:
        """Renew until closed, or until the Lease is gone."""
        while not self._ended.wait(RENEW_SECONDS):
            try:
                self._change({})
            except ApiError as error:
                self._journal.write("trouble", where="lease", text=str(error))
                if error.status == 404:
                    return
                self._look_again()
            except UnreachableError as error:
                self._journal.write("trouble", where="lease", text=str(error))

    def close(self) -> None:
        """Renew no more."""
        self._ended.set()
        if self.is_alive():
            self.join()

    def _change(self, annotations: Mapping[str, str]) -> None:
        with self._changing:
            self._lease["spec"]["renewTime"] = moment(self._kube.server_time())
            self._lease["metadata"]["annotations"].update(annotations)
            self._lease = self._kube.update(self._lease)

    def _look_again(self) -> None:
        """Somebody else changed the Lease: go on from what it is now, if it still is ours."""
        try:
            found = self._kube.get(LEASE, name_of(self._lease), namespace_of(self._lease))
        except (ApiError, UnreachableError):
            return
        if uid_of(found) == uid_of(self._lease):
            with self._changing:
                self._lease = found


@dataclass(frozen=True)
class Claimant:
    """What a Lease says of a run."""

    run_id: str
    holder: str
    started: str
    expires: float
    """By the API server's clock, in seconds since 1970."""
    anchor: Mapping[str, str]
    """How it names its anchor (`naming`)."""
    changes: str
    """What it has changed that is not its own, and not put back yet; empty: nothing."""


def claimant(lease: Object) -> Claimant | None:
    """What a Lease says; None when it is not such a Lease."""
    annotations: Mapping[str, str] = lease["metadata"].get("annotations") or {}
    spec = lease.get("spec") or {}
    try:
        renewed = datetime.fromisoformat(str(spec["renewTime"]))
        return Claimant(
            run_id=annotations[_RUN],
            holder=str(spec["holderIdentity"]),
            started=annotations[_STARTED],
            expires=renewed.timestamp() + int(spec["leaseDurationSeconds"]),
            anchor={name: annotations[name] for name in (_ANCHOR, _ANCHOR_UID)},
            changes=annotations.get(_CHANGES, ""),
        )
    except (KeyError, TypeError, ValueError):
        return None


@dataclass(frozen=True)
class Candidate:
    """What looks like a run's anchor, and whether a sweep may remove it."""

    anchor: Object
    run_id: str
    keep: str
    """Why it must stay; empty when it may go."""
    alive: str = ""
    """Whose run it is that goes on; empty when none does."""
    changes: str = ""
    """What its Lease says that it has changed and not put back (`Claimant.changes`)."""


def candidates(kube: Kube, namespace: str = "") -> list[Candidate]:
    """What looks like the anchor of a run.

    Args:
        kube: the cluster.
        namespace: look for Leases that are anchors in this namespace; empty: for namespaces.

    Raises:
        ApiError: the API server refuses a list.
        UnreachableError: it does not answer.
    """
    if namespace:
        leases, _ = kube.list(LEASE, namespace, labels=RUN_LABEL)
        return [_judged(lease, lease, kube.server_time()) for lease in leases]
    found, _ = kube.list(NAMESPACE, labels=RUN_LABEL)
    uids = set(map(uid_of, found))
    judged = []
    for item in found:
        references = item["metadata"].get("ownerReferences") or []
        if any(reference.get("uid") in uids for reference in references):
            continue  # it goes, or stays, with its owner
        lease = kube.find(LEASE, name_of(item), name_of(item))
        judged.append(_judged(item, lease, kube.server_time()))
    return judged


def _judged(anchor: Object, lease: Object | None, now: float) -> Candidate:
    run_id = str((anchor["metadata"].get("labels") or {}).get(RUN_LABEL, ""))
    said = claimant(lease) if lease is not None else None
    alive = ""
    if said is None:
        keep = "no Lease of a run names it"
    elif said.anchor != naming(anchor):
        whose, uid = said.anchor.values()
        keep = f"its Lease is that of {whose} with UID {uid}: it is a copy"
    elif said.run_id != run_id or name_of(anchor) != anchor_name(run_id):
        keep = f"its Lease is that of run {said.run_id}, its name and label are not"
    elif now < said.expires:
        alive = f"run {run_id} of {said.holder}, begun {said.started}"
        keep = f"{alive}, lives: its Lease expires in {said.expires - now:.0f} s"
    else:
        keep = ""
    return Candidate(anchor, run_id, keep, alive, said.changes if said is not None else "")
