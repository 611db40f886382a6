"""One run against one cluster: what it knows, what it created, and how it leaves."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.budgets import Budgets
from harness.check import Impact
from harness.features import State
from harness.inventory import Device, devices
from harness.journal import Journal
from harness.kinds import CLAIM, EVENT, NAMESPACE, POD, SLICE, Object, name_of
from harness.kube import Kube
from harness.observe import Observer
from harness.options import Options
from harness.outcome import Record
from harness.profile import Profile
from harness.render import Manifests, merge_patch

RUN_LABEL = "dra-conformance.io/run"
RESTRICTED = "restricted"
PRIVILEGED = "privileged"


def new_run_id() -> str:
    """A name for a run: sorts by time, fits into labels and names of objects."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


@dataclass(frozen=True)
class Place:
    """Which of the places a run can be in, for the first line of every report."""

    kind: str
    """``embedded``, ``kubeconfig`` or ``in-cluster``."""
    description: str
    hardware: str
    """``simulated``, ``real``, or ``the cluster's`` where the suite cannot know."""
    own: bool
    """Whether the run started the cluster."""
    image: str = ""
    """A workload image that its nodes have."""
    driver: str = ""
    """The driver that it was brought up with."""


@dataclass(frozen=True)
class Subject:
    """The driver under test, found by preflight."""

    driver: str
    profile: Profile
    api_version: str
    """Of resource.k8s.io, as the run uses it."""
    image: str
    slots: Mapping[str, int]
    """Free devices of each node at the start."""
    features: Mapping[str, State] = field(default_factory=dict)
    """Feature gates of the API server (`harness.features.GATES`)."""


class Run:
    """A run's connections and possessions."""

    def __init__(
        self,
        *,
        run_id: str,
        options: Options,
        manifests: Path,
        kube: Kube,
        place: Place,
        record: Record,
    ) -> None:
        self.id = run_id
        self.options = options
        self.folder = options.output / run_id
        self.kube = kube
        self.place = place
        self.budgets = Budgets(options.timeout_scale)
        self.journal = Journal(self.folder / "events.jsonl")
        self.observer = Observer(kube, self.journal)
        self.record = record
        self.started = time.time()
        self._manifests = Manifests(manifests)
        self._subject: Subject | None = None
        self._namespaces: dict[str, Object] = {}
        self._opening = threading.Lock()
        self.created: list[Object] = []
        """Everything created, oldest first."""
        self.chores: dict[str, Callable[[], None]] = {}
        """What clean-up has to do once the pods are gone, unless it was done before."""

    @property
    def subject(self) -> Subject:
        """The driver under test; only after preflight."""
        if self._subject is None:
            raise RuntimeError("preflight has not found a driver")
        return self._subject

    @subject.setter
    def subject(self, subject: Subject) -> None:
        self._subject = subject

    def has_subject(self) -> bool:
        """Whether preflight has found a driver."""
        return self._subject is not None

    def allowed(self) -> frozenset[Impact]:
        """The impacts that checks of this run may have."""
        return self.options.allowed(own_cluster=self.place.own)

    def devices(self) -> list[Device]:
        """What the driver publishes now."""
        slices = self.observer.objects(SLICE)
        return devices(slices, self.subject.driver, self.subject.profile)

    # Objects

    def open_namespace(self, standard: str) -> str:
        """The run's namespace that enforces a Pod Security Standard; made when first asked for."""
        with self._opening:
            if standard not in self._namespaces:
                if not self._namespaces:
                    self.observer.observe(NAMESPACE, labels=f"{RUN_LABEL}={self.id}")
                values = {"name": f"dra-conformance-{self.id}-{standard}", "standard": standard}
                namespace = self.create(self.render("namespace.yaml.j2", values))
                for kind in (POD, CLAIM, EVENT):
                    self.observer.observe(kind, name_of(namespace))
                self._namespaces[standard] = namespace
            return name_of(self._namespaces[standard])

    def namespaces(self) -> list[Object]:
        """The run's namespaces."""
        return list(self._namespaces.values())

    def render(self, template: str, values: Mapping[str, Any]) -> Object:
        """An object from a template, with the run's label and, for pods, the user's patch."""
        obj = self._manifests.one(template, values)
        obj["metadata"].setdefault("labels", {})[RUN_LABEL] = self.id
        if obj["kind"] == POD.name and self.options.pod_patch:
            patched: Object = merge_patch(obj, self.options.pod_patch)
            return patched
        return obj

    def create(self, obj: Object) -> Object:
        """Create an object and note its UID on disk before anything is done with it."""
        created = self.kube.create(obj)
        self.created.append(created)
        self.journal.write("created", object=created)
        self.observer.known(created)
        return created

    def events_of(self, *objects: Object) -> list[Object]:
        """The events about objects, oldest first."""
        uids = {obj["metadata"]["uid"] for obj in objects}
        events = [
            event
            for event in self.observer.objects(EVENT)
            if (event.get("involvedObject") or {}).get("uid") in uids
        ]
        return sorted(events, key=lambda event: str(event["metadata"].get("creationTimestamp")))
