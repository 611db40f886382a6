"""One run against one cluster: what it knows, what it created, and how it leaves."""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import INTERNAL_SERVER_ERROR
from operator import attrgetter
from pathlib import Path
from typing import Any

from harness.cluster import journal
from harness.cluster.anchor import (
    RUN_LABEL,
    Renewal,
    anchor_name,
    lease_values,
    owner_reference,
)
from harness.cluster.features import State
from harness.cluster.inventory import Device, devices, holders, is_allocated
from harness.cluster.journal import Journal
from harness.cluster.kinds import (
    CLAIM,
    EVENT,
    NAMESPACE,
    NODE,
    POD,
    SLICE,
    Kind,
    Object,
    kind_of,
    name_of,
    namespace_of,
    uid_of,
    without_images,
)
from harness.cluster.kube import ApiError, Kube, UnreachableError
from harness.cluster.observe import Budgets, Observer
from harness.cluster.profile import Profile
from harness.cluster.render import Manifests, admissible, merge_patch, tolerations_of
from harness.options import USER, Options
from harness.scenario import program
from harness.scenario.changes import Changes, Means
from harness.scenario.pods import EVIDENCE_LINES, has_run, without_setup
from harness.verdict import causes
from harness.verdict.causes import Cause
from harness.verdict.finding import Blame, SkipKind, UnmetError
from harness.verdict.invariants import Invariants
from harness.verdict.outcome import Record

_UNREADABLE = "(cannot be read:"
SCENARIO_LABEL = "dra-conformance.io/scenario"
ADMIN_ACCESS = {"resource.kubernetes.io/admin-access": "true"}
"""The label of a namespace in which claims may have admin access."""
LATE_SECONDS = 5
"""So much later than it was written an event may be seen; a kubelet tries no sooner again."""
RESTRICTED = "restricted"
PRIVILEGED = "privileged"


def new_run_id() -> str:
    """A name for a run: sorts by time, fits into labels and names of objects."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


@dataclass(frozen=True)
class ClusterInfo:
    """Which cluster a run works on, for the first line of every report."""

    description: str
    hardware: str
    """``simulated``, ``real``, or ``the cluster's`` where the suite cannot know."""
    own: bool
    """Whether the run started the cluster."""
    image: str = ""
    """A workload image that its nodes have."""
    driver: str = ""
    """The driver that it was brought up with."""
    driver_version: str = ""
    """That driver's version, ``+VARIANT`` behind it where it is installed so; empty: not known."""
    volume_class: str = ""
    """A StorageClass of its volumes; empty: its default one, if it has one."""
    next_image: str = ""
    """The image of another version of it that its nodes have; empty: there is none."""
    restart_kubelet: Callable[[str], None] | None = None
    """Restarts the kubelet of a node; None: that takes a pod on it."""


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
    """Feature gates of the API server (`harness.cluster.features.gates`)."""
    program: str = ""
    """The ConfigMap that brings the workload to its pods; empty: their image has it."""
    shell: bool = False
    """Whether what is brought is for a shell, as their image has no Python."""
    user: int | None = USER
    """Of the pods that ask for none of their own; None: the cluster, or the image, says."""


class Run:
    """A run's connections and possessions."""

    def __init__(
        self,
        *,
        run_id: str,
        options: Options,
        manifests: Path,
        kube: Kube,
        cluster: ClusterInfo,
        record: Record,
    ) -> None:
        self.id = run_id
        self.options = options
        self.folder = options.output / run_id
        self.kube = kube
        self.cluster = cluster
        self.budgets = Budgets(options.timeout_scale)
        self.journal = Journal(self.folder / journal.NAME)
        self.observer = Observer(kube, self.journal, self._is_foreign)
        self.record = record
        self.started = time.time()
        self._manifests = Manifests(manifests)
        self._subject: Subject | None = None
        self._namespaces: dict[str, Object] = {}
        self._opening = threading.Lock()
        self.driver_back: dict[str, float] = {}
        """When the run last saw that the driver serves again after it was disturbed, by node."""
        self.driver_away: dict[str, Callable[[], str]] = {}
        """Where the run disturbed the driver and did not see it serve again, by node: what tells
        how it is now there; nothing if it serves."""
        self._programs: dict[str, Object] = {}
        """What brought the workload's program to a namespace."""
        self.confined_to = options.namespace
        """The namespace that exists and that the run keeps to; empty when it makes its own."""
        self.anchor: Object | None = None
        """What owns everything of the run; None while there is nothing."""
        self.runtimes: dict[str, Cause | None] = {}
        """Why containers have nothing of their claims, by node; None: it is not the runtime."""
        self.looks_at_runtimes = threading.RLock()
        """Who finds nothing in a container waits until it is known why."""
        self._renewal: Renewal | None = None
        self._invariants: Invariants | None = None
        self.created: list[Object] = []
        """Everything created, oldest first."""
        self.unanswered: list[Object] = []
        """What the API server was asked to create and did not say whether it did."""
        self.changes = Changes(
            Means(kube, self.observer, self.budgets.release, self.create),
            self.journal,
            self._note_changes,
        )
        """What the run changes that is not its own."""

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

    def devices(self) -> list[Device]:
        """What the driver publishes now."""
        slices = self.observer.objects(SLICE)
        return devices(slices, self.subject.driver, self.subject.profile)

    def free(self, reserved: Mapping[str, tuple[str, int]]) -> dict[str, int]:
        """How many devices of each node nobody holds now, as far as the run may know.

        Args:
            reserved: node and number of devices that scenarios being played may use, by the
                scenario's name, whether they hold them at this moment or not.
        """
        free = dict(self.subject.slots)
        for node, devices_of_node in reserved.values():
            free[node] = free.get(node, 0) - devices_of_node
        own = set(map(name_of, self.namespaces()))
        left = holders(
            claim
            for claim in self.observer.objects(CLAIM)
            if claim["metadata"].get("namespace") in own
            and claim["metadata"].get("labels", {}).get(SCENARIO_LABEL) not in reserved
        )
        for device in self.devices():
            if device.key in left:
                free[device.node] = free.get(device.node, 0) - 1
        return free

    # Objects

    def observe_cluster(self) -> None:
        """See what others do, as far as it may be seen: all claims, and the nodes.

        What may not be seen of the whole cluster is watched in the run's namespaces.
        """
        for kind in (CLAIM, NODE):
            try:
                self.observer.observe(kind)
            except (ApiError, UnreachableError) as error:
                self.journal.write("trouble", where=f"{kind.plural} of all", text=str(error))

    def seen(self, kind: Kind) -> list[Object]:
        """All objects of a kind in the cluster: as a watch shows them, else as a list does.

        Raises:
            ApiError: they may not be listed.
            UnreachableError: the API server does not answer.
        """
        if self.observer.observes(kind):
            return self.observer.objects(kind)
        cut = without_images if kind == NODE else None
        return self.kube.list(kind, cut=cut)[0]

    def judge_invariants(self) -> Invariants:
        """Judge from now on, by all that is seen, what must hold all through the run."""
        if self._invariants is None:
            self._invariants = Invariants(
                self.kube,
                self.journal,
                self.subject.driver,
                self.is_mine,
                true_history=self.observer.observes(CLAIM),
            )
            self.observer.listen(self._invariants.saw)
            self._invariants.start()
        return self._invariants

    def open_namespace(self, standard: str) -> str:
        """The run's namespace that enforces a Pod Security Standard; made when first asked for.

        With ``--dra-namespace`` it is that one, whatever it enforces.
        """
        with self._opening:
            anchor = self._open_anchor()
            if self.confined_to:
                return self.confined_to
            if standard not in self._namespaces:
                name = f"{name_of(anchor)}-{standard}"
                values = {"name": name, "standard": standard}
                namespace = self.render("namespace.yaml.j2", values)
                if self.options.admin:
                    namespace["metadata"]["labels"].update(ADMIN_ACCESS)
                self._namespaces[standard] = self.create(namespace)
                self._observe_namespace(name)
            return name_of(self._namespaces[standard])

    def own_namespace(self, scenario: str, labels: Mapping[str, str] | None = None) -> Object:
        """Make a namespace for one scenario only, which may delete it; it enforces ``restricted``.

        Args:
            scenario: its name.
            labels: of the namespace, beside those of all.

        Raises:
            UnmetError: the run is confined to a namespace.
        """
        with self._opening:
            name = f"{name_of(self._open_anchor())}-{scenario}"
            values = {"name": name, "standard": RESTRICTED}
            namespace = self.render("namespace.yaml.j2", values)
            namespace["metadata"]["labels"].update(labels or {})
            made = self._namespaces[scenario] = self.create(namespace)
            self._observe_namespace(name)
            return made

    def bring_program(self, namespace: str) -> Object | None:
        """Bring the workload's program to a namespace, once, if the image is without it.

        Returns:
            What brought it, as it was sent; None: the image has it.
        """
        with self._opening:
            if self.subject.program and namespace not in self._programs:
                brought = program.values(self.subject.program, shell=self.subject.shell)
                values = {"namespace": namespace, **brought}
                sent = self.render(program.TEMPLATE, values)
                self.create(sent)
                self._programs[namespace] = sent
            return self._programs.get(namespace)

    def _open_anchor(self) -> Object:
        if self.anchor is not None:
            return self.anchor
        if self.confined_to:
            lease = self._create_lease(self.confined_to, None)
            self.anchor = lease
            self._observe_namespace(self.confined_to)
        else:
            self.observer.observe(NAMESPACE, labels=f"{RUN_LABEL}={self.id}")
            values = {"name": anchor_name(self.id), "standard": RESTRICTED}
            self.anchor = self.create(self.render("namespace.yaml.j2", values))
            lease = self._create_lease(name_of(self.anchor), self.anchor)
        self._renewal = Renewal(self.kube, self.journal, lease)
        if self.confined_to:
            self._renewal.name_itself()
        self._renewal.start()
        return self.anchor

    def _create_lease(self, namespace: str, anchor: Object | None) -> Object:
        values = lease_values(self.id, namespace, anchor, self.kube.server_time())
        return self.create(self.render("lease.yaml.j2", values))

    def _observe_namespace(self, name: str) -> None:
        for kind in (POD, CLAIM, EVENT):
            if not self.observer.observes(kind):
                self.observer.observe(kind, name)

    def _note_changes(self, changes: str) -> None:
        with self._opening:
            self._open_anchor()
        if self._renewal is not None:
            self._renewal.note(changes)

    def stop_renewing(self) -> None:
        """Let the Lease expire; what is left then may be swept."""
        if self._renewal is not None:
            self._renewal.close()

    def close(self) -> None:
        """End everything that goes on beside the run."""
        self.stop_renewing()
        self.observer.close()
        if self._invariants is not None:
            self._invariants.close()
        self.journal.close()

    def namespaces(self) -> list[Object]:
        """The namespaces that the run made, its anchor first."""
        own = [self.anchor] if self.anchor is not None and not self.confined_to else []
        return [*own, *self._namespaces.values()]

    def is_mine(self, obj: Object) -> bool:
        """Whether an object is the run's own: by its namespace, UID, owner, or label."""
        namespace = namespace_of(obj)
        if namespace is not None and not self.confined_to:
            return namespace in set(map(name_of, self.namespaces()))
        if (obj["metadata"].get("labels") or {}).get(RUN_LABEL) == self.id:
            return True
        # What controllers make of the run's objects has no label of the run.
        owners = [owner["uid"] for owner in obj["metadata"].get("ownerReferences") or []]
        mine = set(map(uid_of, self.created))
        return not mine.isdisjoint([uid_of(obj), *owners])

    def render(self, template: str, values: Mapping[str, Any]) -> Object:
        """An object from a template; a pod so that the cluster admits it, with the user's patch."""
        obj = self._manifests.one(template, values)
        if obj["kind"] != POD.name:
            return obj
        pod = admissible(
            obj,
            tolerations=tolerations_of(self._nodes_with_devices()),
            node_selector=self.options.node_selector,
            image_pull_secret=self.options.image_pull_secret,
        )
        patched: Object = merge_patch(pod, self.options.pod_patch)
        return patched

    def _nodes_with_devices(self) -> list[Object]:
        """As far as nodes may be seen; else what the profile says has to do."""
        if not self.has_subject():
            return []
        used = set(map(attrgetter("node"), self.devices()))
        return [node for node in self.observer.objects(NODE) if name_of(node) in used]

    def _is_foreign(self, obj: Object) -> bool:
        if obj["kind"] == NODE.name:
            return True
        namespace = namespace_of(obj)
        in_sight = namespace is None or namespace == self.confined_to
        return not in_sight and not self.is_mine(obj)

    def create(self, obj: Object) -> Object:
        """Create an object of the run, and note its UID on disk before it is used.

        It gets the run's label, and what is not in a namespace of the run gets its anchor as owner.

        Raises:
            ApiError: the API server refuses.
            UnreachableError: it does not answer.
            UnmetError: it is an object of the cluster, and the run is confined to a namespace.
        """
        self.mark(obj)
        self.journal.possess("creating", kind=obj["kind"], name=name_of(obj), ns=namespace_of(obj))
        # Ctrl-C and a lost answer can come at any point in between.
        self.unanswered.append(obj)
        try:
            created = self.kube.create(obj)
        except ApiError as error:
            if error.status < INTERNAL_SERVER_ERROR:
                self.unanswered.remove(obj)
            raise
        self.created.append(created)
        self.unanswered.remove(obj)
        self.journal.possess("created", object=created)
        self.observer.known(created)
        return created

    def mark(self, obj: Object) -> None:
        """Give an object that is to be created the run's label and, where it takes one, its owner.

        Kubernetes removes it with the anchor then, unless its namespace does that.

        Raises:
            UnmetError: it is an object of the cluster, and the run is confined to a namespace.
        """
        obj["metadata"].setdefault("labels", {})[RUN_LABEL] = self.id
        of_cluster = not kind_of(obj).namespaced
        if of_cluster and self.confined_to:
            raise UnmetError(
                f"it creates a {obj['kind']} of the whole cluster, and --dra-namespace keeps the"
                f" run to {self.confined_to}",
                SkipKind.NOT_ALLOWED,
            )
        if self.anchor is not None and (of_cluster or self.confined_to):
            obj["metadata"]["ownerReferences"] = [owner_reference(self.anchor)]

    def _has_run_on(self, nodes: Collection[str]) -> bool:
        """Whether a pod of the run with a claim has run on one of some nodes."""
        return any(
            seen["spec"].get("nodeName") in nodes and has_run(seen)
            for pod in list(self.created)
            if pod["kind"] == POD.name and pod["spec"].get("resourceClaims")
            for seen in self.observer.versions(pod)
        )

    def has_used_a_claim(self) -> bool:
        """Whether a claim of the run was used by a pod that ran, and is free again.

        A pod alone says less: it goes without the driver while another one uses its claim.
        """
        created = list(self.created)
        free = {
            (namespace_of(obj), name_of(obj))
            for obj in created
            if obj["kind"] == CLAIM.name
            and (self.observer.last(obj).gone or not is_allocated(self.observer.last(obj).obj))
        }
        for pod in created:
            if pod["kind"] == POD.name and self.observer.last(pod).gone:
                claims = pod["spec"].get("resourceClaims") or []
                used = {(namespace_of(pod), claim.get("resourceClaimName")) for claim in claims}
                if used & free and any(map(has_run, self.observer.versions(pod))):
                    return True
        return False

    def events_of(self, *objects: Object) -> list[Object]:
        """The events about objects, oldest first."""
        uids = set(map(uid_of, objects))
        events = [
            event
            for event in self.observer.objects(EVENT)
            if (event.get("involvedObject") or {}).get("uid") in uids
        ]
        return sorted(events, key=lambda event: str(event["metadata"].get("creationTimestamp")))

    def driver_lines(self, *, nodes: Collection[str], seconds: int | None = None) -> list[str]:
        """What the driver's pods say.

        Args:
            nodes: the nodes on which it happened; empty: any.
            seconds: how long ago it began; None: whenever.
        """
        profile = self.subject.profile
        lines: list[str] = []
        try:
            for pod in self.driver_pods(nodes):
                log = self.kube.log(pod, profile.plugin_container, since_seconds=seconds)
                lines += log.splitlines()
        except (ApiError, UnreachableError) as error:
            return [f"{_UNREADABLE} {error})"]
        return lines

    def driver_pods(self, nodes: Collection[str] = ()) -> list[Object]:
        """The driver's pods, by the labels that its profile names.

        Args:
            nodes: those on some nodes; empty: on any, or none.

        Raises:
            ApiError: they may not be listed.
            UnreachableError: the API server does not answer.
        """
        labels = self.subject.profile.plugin_selector
        pods, _ = self.kube.list(POD, labels=labels, cut=without_setup)
        return [pod for pod in pods if not nodes or pod["spec"].get("nodeName") in nodes]

    def _since_deletion(self, *objects: Object) -> list[Object]:
        """The events about objects, without those from before their deletion: they do not say why
        something stays.

        All times are this machine's, as nodes and API server may have another. What came in the
        second of the deletion is left out, too; what still is so is said again.
        """
        asked = {uid_of(obj): self.observer.last(obj).ends_since for obj in objects}
        return [
            event
            for event in self.events_of(*objects)
            if (ends := asked[causes.about(event)]) is None
            or self.observer.last(event).at > ends + 1
        ]

    def _is_outdated(self, event: Object, objects: Iterable[Object]) -> bool:
        """Whether a kubelet said that it could not prepare the claims of a pod before the driver of
        its node was back: it says so again if that still is so.
        """
        specs = (obj.get("spec") or {} for obj in objects if uid_of(obj) == causes.about(event))
        node = next((str(spec.get("nodeName")) for spec in specs), "")
        since = self.driver_back.get(node, -math.inf) + LATE_SECONDS
        return event.get("reason") == causes.NOT_PREPARED and self.observer.last(event).at < since

    def cause_of(self, *objects: Object) -> Cause | None:
        """The likely cause why objects do not get on: what events tell, or who is silent."""
        pods = [self.observer.last(obj) for obj in objects if obj["kind"] == POD.name]
        there = [seen for seen in pods if not seen.gone]
        ends = (causes.of_end(seen.obj, time.time() - seen.at) for seen in there)
        if end := next(filter(None, ends), None):
            return end
        now = [self.observer.last(obj).obj for obj in objects]
        every = self._since_deletion(*objects)
        telling = [event for event in every if not self._is_outdated(event, now)]
        found = causes.of_events(telling)
        if found is None and len(telling) < len(every):
            return causes.NOT_ASKED_AGAIN
        if found is causes.TAINTED:
            # The scheduler does not say which; nodes that are not Ready have taints, too.
            lost = list(map(causes.of_node, self._nodes_with_devices()))
            return next((cause for cause in lost if cause is not None), found)
        if found is not None and found.blame is Blame.DRIVER:
            specs = [obj.get("spec") or {} for obj in now if obj["kind"] == POD.name]
            with suppress(ApiError, UnreachableError):
                nodes_of = {str(spec["nodeName"]) for spec in specs if "nodeName" in spec}
                cause = causes.of_driver(self.driver_pods(nodes_of), found)
                # A kubelet that has known the driver looks in the right folder.
                knew = cause is causes.UNKNOWN_TO_THE_KUBELET and self._has_run_on(nodes_of)
                return found if knew else cause
            return found
        nodes = {name_of(node): node for node in self.observer.objects(NODE)}
        for obj in objects:
            if found is None and obj["kind"] == POD.name:
                pod = self.observer.last(obj).obj
                node = nodes.get(str((pod.get("spec") or {}).get("nodeName")))
                found = causes.of_silence(pod, self.events_of(pod), node)
        return found


def telling(lines: Iterable[str], about: Sequence[str]) -> list[str]:
    """Choose of the driver's lines what may explain something: the last of them.

    Args:
        lines: all of them.
        about: words that a line of interest has; those that tell of errors have it anyway.
    """
    found = [line for line in lines if line.startswith(_UNREADABLE) or _tells(line, about)]
    return [line[:400] for line in found[-EVIDENCE_LINES:]]


def _tells(line: str, about: Sequence[str]) -> bool:
    concerned = any(word in line for word in about)
    return line.startswith(("E", "F")) or concerned or "error" in line.lower()
