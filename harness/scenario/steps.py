"""The steps of a scenario: what a script can do in the cluster, each in a few words.

A script never has to handle an error: a step that fails ends it, and is the reason why the evidence
after it is missing. Every check that asks for that evidence gets the reason.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from http.client import FORBIDDEN
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Unpack

from harness.cluster.anchor import anchor_name
from harness.cluster.features import State
from harness.cluster.inventory import (
    Device,
    holders,
    is_allocated,
    key_of,
    qualified,
    results,
    selector,
)
from harness.cluster.kinds import (
    CLAIM,
    CLAIM_TEMPLATE,
    DEVICE_CLASS,
    SLICE,
    VOLUME_CLAIM,
    Object,
    Rule,
    name_of,
    namespace_of,
    uid_of,
)
from harness.cluster.kube import ApiError
from harness.cluster.observe import Budget, LogFollower, WaitTimeoutError
from harness.options import Impact
from harness.scenario import by_hand, runtime
from harness.scenario.by_hand import Script
from harness.scenario.changes import REMOVE, FolderChange
from harness.scenario.claim_spec import ClaimSpec, Constraint, Parameters, Request
from harness.scenario.companions import Companions
from harness.scenario.evidence import CHANNEL, HOLDER, REST, Claim, Container, Evidence, Observed
from harness.scenario.pod_spec import (
    POD_TEMPLATE,
    ContainerSpec,
    PodOptions,
    PodSpec,
    Security,
    allocation_name,
    resting,
)
from harness.scenario.pods import (
    EVIDENCE_LINES,
    cannot_restart,
    cannot_start,
    container_state,
    describe_events,
    has_started,
    restarts,
    termination,
    why_not_prepared,
)
from harness.scenario.report import (
    offer_of,
    parse,
    parse_termination,
    result_line,
)
from harness.scenario.run import ADMIN_ACCESS, SCENARIO_LABEL, Run, telling
from harness.scenario.verbs import Deleting, Needs, needs
from harness.verdict import causes
from harness.verdict.finding import (
    Blame,
    FailedError,
    Finding,
    JudgementError,
    SkipKind,
    UnmetError,
    UnsupportedError,
    judge,
)
from workload.reading import ReportError
from workload.result import OFFER_MARK, SCHEMA

if TYPE_CHECKING:
    from harness.scenario.controllers import Controllers
    from harness.scenario.driver import Driver
    from harness.scenario.node import Kubelet, Node
    from harness.scenario.refusals import Refusals
    from harness.scenario.slice_changes import SliceChanges
    from harness.scenario.slice_writes import SliceWrites
    from harness.scenario.taints import Taints

_CDI_DEVICE = re.compile(r"[\w.-]+/[\w.-]+=[\w.:-]*\w")
"""What runtimes call a CDI device."""
NODE_FOLDERS = PurePosixPath("/tmp")
"""Where on a node the folders are that pods share."""
NO_VOLUME = "the cluster has no default StorageClass: --dra-volume-class"
EXTENDED = "extendedResourceClaimStatus"
"""What a pod's status says of the claim for its extended resources."""


@dataclass(frozen=True)
class Reservation:
    """A scenario's permission to use devices of one node."""

    devices: int
    """How many it may claim."""
    allocated_on: Callable[[str], None]
    """Says that the claims are allocated, on this node: now it is known what others can have.

    What was granted stays reserved until the end of the scenario.
    """
    hold_off_others: Callable[[], None]
    """Has no claim of another scenario be allocated until `allocated_on` is called again.

    For a scenario that gives devices back and claims the same ones once more: the number that stays
    reserved says nothing about which ones the scheduler gives to others in between.
    """


class Steps(Deleting):
    """What the script of a scenario can do."""

    def __init__(
        self,
        run: Run,
        evidence: Evidence,
        reservation: Reservation | None,
        standard: str,
        scenario: str = "",
        uses: Collection[Needs] = (),
        companions: Companions | None = None,
    ) -> None:
        """Do nothing yet.

        Args:
            run: the run.
            evidence: what is found goes here.
            reservation: how many devices may be claimed; None for a part of a scenario, which uses
                the claims of the whole.
            standard: the Pod Security Standard of the namespace.
            scenario: the name of the scenario that this is a part of, if it is.
            uses: what the verbs take that the scenario says it uses.
            companions: the parts that this one has pods in common with, if there are any.
        """
        super().__init__(run, evidence, uses)
        self.evidence.simulated = self.simulated = run.cluster.hardware == "simulated"
        self.evidence.visible_by = run.subject.profile.visible_by
        self.evidence.user = run.subject.user
        self.evidence.known = frozenset(run.subject.profile.attributes)
        self.evidence.runtimes = run.runtimes
        self.standard = standard
        self.nonce = secrets.token_hex(8)
        """The word by which the scenario's offers are told from others."""
        self._reservation = reservation
        self._scenario = scenario or evidence.name
        self._companions = companions
        self._kube = run.kube
        self._observer = run.observer
        self._budgets = run.budgets
        self._folder: FolderChange | None = None

    # The whole scenario

    def perform(self, script: Callable[[Steps], None]) -> Evidence:
        """Run a script to its end and keep what it left; never raises but to end the run."""
        evidence = self.evidence
        if self.attempt(partial(script, self), evidence.without):
            evidence.ended.found(True)
        for container in list(evidence.containers.values()):
            self._stop_anyway(container)
        if not evidence.went_well():
            self.attempt(self._keep_evidence, lambda _: None)
        self._look_by_hand()
        # What is used of these is made when it is: most scenarios leave slices and driver alone.
        if "slice" in vars(self):
            self.attempt(self.slice.put_back, lambda _: None)
        if "taints" in vars(self):
            self.attempt(self.taints.remove_all, lambda _: None)
        if "driver" in vars(self):
            self.attempt(self.driver.start_all, lambda _: None)  # the end of pods needs it
        self.attempt(self.release, self._not_released)
        for container in evidence.containers.values():
            if container.follower is not None:
                container.follower.close()
        for piece in evidence.pieces():
            piece.explain(evidence.explained)
        return evidence

    def _look_by_hand(self) -> None:
        """Have whoever does the same by hand see what the evidence is."""
        self.script.say("see what there is now")
        pods: dict[str, Object] = {}
        for container in self.evidence.containers.values():
            pod = container.pod
            if pod is not None and not self._observer.last(pod).gone:
                pods[uid_of(pod)] = pod
                if container.started.known() is not None:
                    self.script.do(by_hand.log(pod, container.role))
        for pod in pods.values():
            self.script.do(f"{by_hand.kubectl(pod)} describe {by_hand.named(pod)}")
        for claim in self.evidence.claims.values():
            if claim.exists:
                self.script.do(by_hand.look(claim.obj))
        self.script.do(by_hand.STAY)

    def part(
        self, name: str, script: Callable[[Steps], None], companions: Companions | None = None
    ) -> Evidence:
        """Run a script as a part of this scenario, beside others, on this one's claims.

        Args:
            name: of the part.
            script: what it does.
            companions: see `parts_in_common`.
        """
        evidence = Evidence(name)
        self.evidence.parts[name] = evidence
        evidence.script = Script(self.script.lines)
        part = Steps(
            *(self.run, evidence, None, self.standard, self._scenario, self._uses, companions)
        )
        try:
            return part.perform(script)
        finally:
            if companions is not None:
                companions.leave(name)

    def parts_in_common(self, scripts: Mapping[str, Callable[[Steps], None]]) -> None:
        """Run parts side by side, each by its script, that have pods in common (`start_in_common`).

        The claims of these pods have been allocated and told before.
        """
        companions = Companions(scripts)
        with ThreadPoolExecutor(len(scripts)) as pool:
            list(pool.map(lambda one: self.part(one, scripts[one], companions), scripts))

    @property
    def namespace(self) -> str:
        """The run's namespace for the scenario; made when first asked for."""
        if self._own is not None:
            return name_of(self._own)
        return self.run.open_namespace(self.standard)

    @property
    def devices(self) -> int:
        """How many devices of one node may be claimed."""
        return self._reservation.devices if self._reservation is not None else 0

    # The cluster under the pods

    def roomiest_node(self) -> str:
        """Name the node with the most free devices: there, all of a scenario's find room.

        Pods are kept to it by their option ``node``; else each claim may get another one's.
        """
        free = self.run.free({})
        return max(sorted(free), key=lambda node: free[node])

    @cached_property
    def driver(self) -> Driver:
        """The driver's pods."""
        from harness.scenario.driver import Driver  # noqa: PLC0415 - for those who use it

        return Driver(self, self._uses)

    @cached_property
    def kubelet(self) -> Kubelet:
        """The kubelets of the nodes."""
        from harness.scenario.node import Kubelet  # noqa: PLC0415 - for those who use it

        return Kubelet(self, self._uses)

    @cached_property
    def controllers(self) -> Controllers:
        """What makes pods of the run."""
        from harness.scenario.controllers import Controllers  # noqa: PLC0415 - likewise

        return Controllers(self, self._uses)

    @cached_property
    def refusals(self) -> Refusals:
        """Claims that the driver has to refuse."""
        from harness.scenario.refusals import Refusals  # noqa: PLC0415 - for those who use it

        return Refusals(self)

    @cached_property
    def slice(self) -> SliceChanges:
        """The driver's ResourceSlices."""
        from harness.scenario.slice_changes import SliceChanges  # noqa: PLC0415 - likewise

        return SliceChanges(self, self._uses)

    @cached_property
    def taints(self) -> Taints:
        """Taints of devices that the scenario holds."""
        from harness.scenario.taints import Taints  # noqa: PLC0415 - for those who use it

        return Taints(self, self._uses)

    def node(self, name: str) -> Node:
        """One node."""
        from harness.scenario.node import Node  # noqa: PLC0415 - for those who use it

        return Node(self, self._uses, self.evidence, name)

    @contextmanager
    def slices(self) -> Iterator[SliceWrites]:
        """Note every write of the driver's slices while the block runs."""
        from harness.scenario.slice_writes import slices_over_time  # noqa: PLC0415 - likewise

        with slices_over_time(self.run) as seen:
            yield seen
        self.evidence.slices.found(seen)

    def look_at_devices(self) -> list[Device]:
        """Note every device that is published, and answer those that nobody holds now."""
        held = holders(self._observer.objects(CLAIM))
        self.evidence.devices = {one: held.get(one.key, "") for one in self.run.devices()}
        return [
            one
            for one, holder in self.evidence.devices.items()
            if not holder and one.node in self.run.subject.slots
        ]

    # Claims

    def claim(
        self,
        count: int | None = None,
        name: str = "gpus",
        *,
        of: Sequence[Device] = (),
        requests: Sequence[Request] = (),
        constraints: Sequence[Constraint] = (),
        parameters: Sequence[Parameters] = (),
        like: Claim | None = None,
    ) -> Claim:
        """Claim devices of one node.

        Args:
            count: how many, by a request for each; as many as may be claimed where no number is
                given.
            name: of the claim, but for the scenario's name.
            of: exactly these devices, in this order, if attributes tell them from all others.
            requests: what else than ``count`` or ``of`` to request.
            constraints: what the devices have in common.
            parameters: what drivers are told of how to set them up.
            like: a claim that is gone, or about to go, of which it gets the name in the cluster.
        """
        subject = self.run.subject
        if not requests:
            requests = [
                Request(f"gpu-{number}", selectors=self.selectors(device))
                for number, device in enumerate(of or [None] * (count or self.devices), 1)
            ]
            if len(requests) > 1 and not of and not constraints:
                constraints = self.different()
        if self.run.options.admin:
            requests = [replace(one, admin=True) for one in requests]
        named = like.name if like is not None else f"{name}-{self.evidence.name}"
        spec = ClaimSpec(named, requests, constraints, parameters)
        values = spec.values(subject.driver, subject.profile.device_class)
        claim = Claim(self.create("claim.yaml.j2", values), [one.name for one in requests])
        self.evidence.claims[name] = claim
        return claim

    @needs("", ())
    def channels(self) -> tuple[Claim, ...]:
        """Claim an IMEX channel, where a DeviceClass of them is known; else there is no claim.

        Scenarios that use it then run one after another: there may be one channel only.
        """
        named = self.run.subject.profile.channel_class
        request = Request(CHANNEL, device_class=named)
        return (self.claim(name=CHANNEL, requests=[request]),) if named else ()

    def different(self) -> list[Constraint]:
        """Have a claim get different devices also where claims share them, if there is a way to."""
        subject, found = self.run.subject, self.run.devices()
        if subject.features.get("DRAConsumableCapacity") is not State.ON:
            return []
        if not any(one.is_shareable for one in found):
            return []
        attribute = subject.profile.attributes.get("uuid", "")
        if not attribute or not all(one.uuid for one in found):
            return []
        return [Constraint(differs=qualified(subject.driver, attribute))]

    def selectors(self, device: Device | None) -> list[str]:
        """Select one device, if there is a way to."""
        found = selector(self._observer.objects(SLICE), device) if device is not None else ""
        return [found] if found else []

    @needs(
        "",
        (),
        Rule(
            *(DEVICE_CLASS, ("create", "get", "delete"), "a DeviceClass of the run's own"),
            anywhere=True,
            needed=False,
        ),
    )
    def device_class(
        self,
        name: str,
        *parameters: Parameters,
        selectors: Sequence[str] = (),
        extended_resource: str = "",
    ) -> str:
        """Make a DeviceClass with the devices of the driver's own class, and what that tells it.

        Args:
            name: of the class, but for the run's name.
            parameters: what else the class tells the driver.
            selectors: CEL expressions for other devices than those.
            extended_resource: the resource that pods can ask for in place of a claim; empty: none.

        Returns:
            Its whole name.

        Raises:
            UnmetError: the run may not do that, or is confined to a namespace.
        """
        subject = self.run.subject
        config = [{"opaque": one.values(subject.driver)["opaque"]} for one in parameters]
        try:
            own = self._kube.get(DEVICE_CLASS, subject.profile.device_class)["spec"]
            other = [{"cel": {"expression": text}} for text in selectors]
            spec = {"selectors": other or own.get("selectors") or []}
            if config := [*(own.get("config") or []), *config]:
                spec["config"] = config
            if extended_resource:
                spec["extendedResourceName"] = extended_resource
            values = {"name": self.class_name(name), "spec": spec}
            made = name_of(self.create("device-class.yaml.j2", values))
        except ApiError as error:
            if error.status != FORBIDDEN:
                raise
            reason = "it creates a DeviceClass, which the run may not do"
            raise UnmetError(reason, SkipKind.NOT_ALLOWED) from error
        self.step(f"DeviceClass {made} created")
        return made

    def class_name(self, name: str) -> str:
        """Name the DeviceClass that `device_class` makes of this name, or will make."""
        return f"{anchor_name(self.run.id)}-{name}"

    @needs("", (), Rule(CLAIM_TEMPLATE, ("create", "delete", "get"), "the templates of claims"))
    def generated_claim(
        self, name: str = "gpus", *, like: Claim | None = None, exists: bool = True
    ) -> Claim:
        """Have a claim of one device generated for the pod that uses it, once that is created.

        Args:
            name: what its pod calls it, but for the scenario's name.
            like: another generated claim, of which it gets the template.
            exists: whether its template does; else `make_template` makes it later.
        """
        call = f"{name}-{self.evidence.name}"
        bare: Object = {"kind": CLAIM.name, "metadata": {"name": call}}
        claim = Claim(bare, ["gpu-1"], like.template if like is not None else call)
        self.evidence.claims[name] = claim
        if like is None and exists:
            self.make_template(claim)
        return claim

    def make_template(self, claim: Claim) -> None:
        """Make the template of a claim that is to be generated."""
        subject = self.run.subject
        spec = ClaimSpec(claim.template, [Request("gpu-1")])
        values = spec.values(subject.driver, subject.profile.device_class)
        self.create("claim-template.yaml.j2", values)

    def _await_generation(self, claim: Claim, pod: Object) -> None:
        """Wait until a pod's claim was generated from its template."""

        def generated() -> Object | None:
            status = self._observer.last(pod).obj.get("status") or {}
            names = {s["name"]: s for s in status.get("resourceClaimStatuses") or []}
            name = (names.get(claim.call) or {}).get("resourceClaimName")
            every = self._observer.objects(CLAIM, namespace_of(pod))
            return next((seen for seen in every if name_of(seen) == name), None)

        claim.obj = self.wait(
            "a claim from the pod's template",
            generated,
            self._budgets.allocate,
            lambda: f"none; the {_first(pod)} is {self.at(pod)}",
            Blame.CLUSTER,
            pod,
            by_hand=[by_hand.until(pod, "{.status.resourceClaimStatuses}", self._budgets.allocate)],
        )
        self.step(f"claim {claim.name} generated")

    def extended_claim(self, *containers: Container, name: str = "gpus") -> Claim:
        """Wait for the claim of a submitted pod that asks for an extended resource of a class.

        Args:
            containers: those of the pod.
            name: what the evidence calls the claim.
        """
        pod = containers[0].the_pod()
        bare: Object = {"kind": CLAIM.name, "metadata": {"name": f"{name}-{self.evidence.name}"}}
        claim = self.evidence.claims[name] = Claim(bare, [])

        def made() -> Object | None:
            status = (self._observer.last(pod).obj.get("status") or {}).get(EXTENDED) or {}
            every = self._observer.objects(CLAIM, namespace_of(pod))
            return next((o for o in every if name_of(o) == status.get("resourceClaimName")), None)

        try:
            claim.obj = self.wait(
                "a claim for the pod's extended resource",
                made,
                self._budgets.allocate,
                lambda: f"none; the {_first(pod)} is {self.at(pod)}",
                Blame.SCHEDULER,
                pod,
                by_hand=[by_hand.until(pod, f"{{.status.{EXTENDED}}}", self._budgets.allocate)],
            )
        except JudgementError as reason:
            claim.allocated.missing(reason)
            raise
        claim.requests = tuple(one["name"] for one in claim.obj["spec"]["devices"]["requests"])
        for container in containers:
            container.claims = (claim,)
        self._await_allocation(claim, pod)
        return claim

    @contextmanager
    def admin_namespace(self) -> Iterator[None]:
        """Create everything in the block where claims may have admin access.

        Raises:
            UnmetError: the run is confined to a namespace.
        """
        before = self._own
        self._own = self.run.own_namespace(self.name, ADMIN_ACCESS)
        self.script.apply(self._own)
        try:
            yield
        finally:
            self._own = before

    def hold_off_others(self) -> None:
        """Have no other scenario get devices that this one gives back and then claims again."""
        if self._reservation is not None:
            self._reservation.hold_off_others()

    def claim_again(
        self, claim: Claim, name: str = "again", parameters: Sequence[Parameters] = ()
    ) -> Claim:
        """Give a claim's devices back and claim the same ones once more.

        No other scenario gets them in between.

        Args:
            claim: the claim that is released.
            name: of the new one.
            parameters: of the new one.
        """
        self.hold_off_others()
        self.release()
        return self.claim(name=name, of=claim.devices, parameters=parameters)

    def give_back(self, claim: Claim, *users: Container) -> None:
        """Delete the last pods that use a claim and wait until it is deallocated.

        The next pod that uses it has it allocated anew; no other scenario's claim is, in between.

        Args:
            claim: which.
            users: a container of each of the pods.
        """
        self.hold_off_others()
        self.delete(*users)
        self.await_gone(*users)
        self._await_freed(claim, [user.the_pod() for user in users])
        claim.allocated = Observed(f"the next allocation of claim {claim.name}")

    def hold(self, claim: Claim) -> Container:
        """Keep a claim allocated to the same devices, whatever other pods of it end.

        A claim that no living pod uses is deallocated, and may come back with other devices.
        """
        return self.start_pod(HOLDER, [resting(HOLDER)], claim)[0]

    def await_allocation(self, container: Container) -> None:
        """Wait until the claims of a submitted pod are allocated; see `submit_pod`."""
        for claim in container.claims:
            if claim.allocated.known() is None:
                self._await_allocation(claim, container.the_pod())

    def await_binding(self, container: Container) -> None:
        """Wait until the scheduler has bound a pod to a node."""
        pod = container.the_pod()
        self.wait(
            f"the {container.role}'s pod to be bound to a node",
            lambda: self._observer.last(pod).obj["spec"].get("nodeName"),
            self._budgets.start,
            lambda: self.at(pod),
            Blame.SCHEDULER,
            pod,
        )

    def await_taken(self, container: Container) -> None:
        """Wait until the kubelet has taken a pod: from then on it prepares the pod's claims."""
        pod = container.the_pod()
        self.wait(
            "the kubelet to take the pod",
            lambda: (self._observer.last(pod).obj.get("status") or {}).get("startTime"),
            self._budgets.start,
            lambda: self.at(pod),
            Blame.KUBELET,
            pod,
        )

    def _await_allocation(self, claim: Claim, pod: Object) -> None:
        """Wait until a claim is allocated, and before, if it has to be, generated.

        Args:
            claim: the claim.
            pod: the first pod that uses it: its events tell why there is no allocation.
        """

        def allocated() -> Object | None:
            seen = self._observer.last(claim.obj).obj
            return seen if is_allocated(seen) else None

        try:
            if not claim.exists:
                self._await_generation(claim, pod)
            seen = self.wait(
                "the claim's allocation",
                allocated,
                self._budgets.allocate,
                lambda: f"the claim is not allocated; the {_first(pod)} is {self.at(pod)}",
                Blame.SCHEDULER,
                pod,
                by_hand=[by_hand.until(claim.obj, by_hand.ALLOCATED, self._budgets.allocate)],
            )
        except JudgementError as reason:
            claim.allocated.missing(reason)
            raise
        claim.obj, claim.by_request = claim.allocated.found(seen), self.devices_of(seen)
        nodes = {device.node for device in claim.devices}
        claim.node_devices = tuple(d for d in self.run.devices() if d.node in nodes)
        shown = ", ".join(f"{d.name} ({d.uuid})" for d in claim.devices)
        shown = shown or ", ".join(result["device"] for result in results(seen))
        self.step(f"claim allocated: {shown}")
        if claim.devices and self._reservation is not None:
            self._reservation.allocated_on(claim.devices[0].node)

    def tell_allocation(self, claim: Claim) -> None:
        """Tell the pods which GPUs their claim was allocated: now their containers start."""
        if not claim.devices:
            raise FailedError(
                Finding(
                    "the claim's devices are in none of the driver's ResourceSlices",
                    "an allocation of published devices",
                    str(results(claim.obj)),
                    Blame.DRIVER,
                )
            )
        claim.announced = True
        gpus = ",".join(device.uuid for device in claim.devices)
        values = {"name": allocation_name(claim.call), "gpus": gpus}
        told = self._rendered("allocation.yaml.j2", values)
        attribute = self.run.subject.profile.attributes["uuid"]
        found = by_hand.allocated_gpus(claim.obj, self.run.subject.driver, attribute)
        self.script.say("tell the pods which GPUs their claim has")
        self.script.do(
            f"{by_hand.kubectl(told)} create configmap {name_of(told)}"
            f' --from-literal=gpus="$({found})"'
        )
        self.run.create(told)

    def devices_of(self, claim: Object) -> dict[str, tuple[Device, ...]]:
        """Find a claim's devices by request, as far as the driver publishes them."""
        known = {device.key: device for device in self.run.devices()}
        found: dict[str, tuple[Device, ...]] = {}
        for result in results(claim):
            device = known.get(key_of(result))
            if device is not None:
                request = str(result["request"]).partition("/")[0]  # "request/alternative"
                found[request] = (*found.get(request, ()), device)
        return found

    def await_use(self, claim: Claim, *containers: Container) -> None:
        """Wait until the claim says that the pods of these containers use it, all at once."""
        pods = list(map(Container.the_pod, containers))
        wanted = set(map(uid_of, pods))

        def reserved() -> Object | None:
            for seen in reversed(self._observer.versions(claim.obj)):
                users = (seen.get("status") or {}).get("reservedFor") or []
                if wanted <= {user["uid"] for user in users}:
                    return seen
            return None

        def users() -> str:
            status = self._observer.last(claim.obj).obj.get("status") or {}
            names = [user.get("name", "?") for user in status.get("reservedFor") or []]
            return f"reservedFor {', '.join(names) or 'nobody'}"

        what, budget = "all pods in the claim's reservedFor", self._budgets.observe
        # The containers run, so what they do can be judged all the same.
        try:
            found = self.wait(what, reserved, budget, users, Blame.SCHEDULER, *pods)
        except JudgementError as reason:
            claim.in_use.missing(reason)
        else:
            claim.in_use.found(found)

    # Pods

    def start(
        self,
        role: str,
        args: Sequence[str],
        *claims: Claim,
        own_pid: int | None = None,
        **pod: Unpack[PodOptions],
    ) -> Container:
        """Create a pod with one container and wait until it runs.

        Args:
            role: how it is called: container, and pod but for the scenario's name.
            args: the workload's arguments.
            claims: what the pod uses.
            own_pid: what PID its process is to see of itself; None: as it comes.
            pod: what else there is to say of it (`PodOptions`).
        """
        return self.start_pod(role, [ContainerSpec(role, args, own_pid)], *claims, **pod)[0]

    def start_pod(
        self, name: str, specs: Sequence[ContainerSpec], *claims: Claim, **pod: Unpack[PodOptions]
    ) -> list[Container]:
        """Create a pod and wait until its containers run.

        Args:
            name: of the pod, but for the scenario's name.
            specs: what runs in it, in this order.
            claims: what it uses.
            pod: what else there is to say of it (`PodOptions`).
        """
        containers = self.create_pod(name, specs, *claims, **pod)
        self.await_start(*containers)
        return containers

    def create_pod(
        self, name: str, specs: Sequence[ContainerSpec], *claims: Claim, **pod: Unpack[PodOptions]
    ) -> list[Container]:
        """Create a pod as `start_pod` does, and wait only until its claims are allocated."""
        containers = self.submit_pod(name, specs, *claims, **pod)
        created = containers[0].the_pod()
        for claim in claims:
            if claim.allocated.known() is None:
                self._await_allocation(claim, created)
            if claim is claims[0] and any(s.waits for s in specs) and not claim.announced:
                self.tell_allocation(claim)
        return containers

    def submit_pod(
        self, name: str, specs: Sequence[ContainerSpec], *claims: Claim, **pod: Unpack[PodOptions]
    ) -> list[Container]:
        """Create a pod as `start_pod` does, and wait for nothing."""
        containers = [Container(spec.role, spec.args, claims) for spec in specs]
        for container in containers:
            self.evidence.containers[container.role] = container
        obj = self._pod(f"{name}-{self.evidence.name}", specs, claims, pod)
        self._submit(containers, lambda: self.run.create(obj))
        return containers

    def start_in_common(
        self, role: str, spec: ContainerSpec, *claims: Claim, **pod: Unpack[PodOptions]
    ) -> Container:
        """Start a container in the pod of this role that the part has in common with others.

        The pod is created once each of them has said what it runs there, or is over.

        Args:
            role: what the part calls the container, and all of them the pod.
            spec: the container; its own role tells it from the others'.
            claims: what the pod uses.
            pod: what else there is to say of it (`PodOptions`).
        """
        common = self._companions
        assert common is not None  # `parts_in_common` made this part
        container = self.evidence.containers[role] = Container(spec.role, spec.args, claims)
        specs = common.gather(role, self.evidence.name, spec)
        obj = self._pod(f"{role}-{common.name}", specs, claims, pod)
        self._submit([container], lambda: common.once(role, lambda: self.run.create(obj)))
        self.await_start(container)
        return container

    def _pod(
        self,
        name: str,
        specs: Sequence[ContainerSpec],
        claims: Sequence[Claim],
        options: PodOptions,
    ) -> Object:
        """Write down a pod that is to be created."""
        used = [claim.call for claim in claims]
        templates = {claim.call: claim.template for claim in claims if claim.template}
        values = self.pod_values(PodSpec(name, specs, used, templates=templates, **options))
        obj = self._rendered(POD_TEMPLATE, values)
        self.script.apply(obj)
        return obj

    def _submit(self, containers: Sequence[Container], create: Callable[[], Object]) -> None:
        """Create the pod of containers."""
        try:
            created = create()
        except ApiError as error:
            reason, *_ = [self._refused(container, error) for container in containers]
            raise reason from error
        for container in containers:
            container.pod = container.admitted.found(created)

    def try_pod(self, name: str, *claims: Claim, security: Security) -> None:
        """Create a pod that only rests to see whether it is admitted, and delete it at once.

        Args:
            name: of container and pod.
            claims: what the pod uses.
            security: what it may do.
        """
        container = self.evidence.containers[name] = Container(name, [REST], claims)
        used = [claim.name for claim in claims]
        spec = PodSpec(f"not-{name}-{self.evidence.name}", [resting(name)], used, security=security)
        values = self.pod_values(spec)
        try:
            created = self.create(POD_TEMPLATE, values)
            self.delete_object(container.admitted.found(created))
        except ApiError as error:
            if error.status != FORBIDDEN:
                raise
            self._refused(container, error)

    def node_folder(self) -> PurePosixPath:
        """Name a folder of the node for pods to share; at the end it is removed."""
        if self._folder is None:
            path = NODE_FOLDERS / f"{anchor_name(self.run.id)}-{self._scenario}"
            values = {
                "name": f"folder-removal-{self._scenario}",
                "node": "",
                "image": self.run.subject.image,
                "parent": str(NODE_FOLDERS),
                "command": ["python3", "-c", REMOVE, f"/parent/{path.name}"],
            }
            removal = self._rendered("folder-removal.yaml.j2", values)
            self.run.mark(removal)
            self._folder = self.run.changes.folder(str(path), removal)
        return PurePosixPath(self._folder.path)

    @needs(
        "",
        (),
        Rule(
            *(VOLUME_CLAIM, ("create", "get", "delete"), "a volume that pods of one node share"),
            needed=False,
        ),
    )
    def volume(self) -> str:
        """Claim a volume for pods of one node to share, and answer the claim's name.

        Raises:
            UnmetError: the cluster has none that is known, or its API server refuses to make one.
        """
        wanted = self.run.options.volume_class or self.run.cluster.volume_class
        values = {"name": f"volume-{self.evidence.name}", "storage_class": wanted}
        try:
            made = self.create("volume-claim.yaml.j2", values)
        except ApiError as error:
            if error.status != FORBIDDEN:
                raise
            reason = f"it creates a PersistentVolumeClaim: {error}"
            raise UnmetError(reason, SkipKind.NOT_ALLOWED) from error
        if not made["spec"].get("storageClassName"):
            self.delete_object(made)
            raise UnsupportedError(NO_VOLUME)
        self.step(f"a volume of StorageClass {made['spec']['storageClassName']} claimed")
        return name_of(made)

    def pod_values(self, spec: PodSpec) -> dict[str, Any]:
        """Make the values of a pod's template, once what the pod takes is in its namespace."""
        brought = self.run.bring_program(self.namespace)
        if brought is not None and brought not in self.script.lines:
            self.script.apply(brought)
        return spec.values(self.run.subject)

    def create(self, template: str, values: Mapping[str, Any]) -> Object:
        """Create an object in the scenario's namespace."""
        return self.create_object(self._rendered(template, values))

    def _rendered(self, template: str, values: Mapping[str, Any]) -> Object:
        obj = self.run.render(template, {"namespace": self.namespace, **values})
        obj["metadata"].setdefault("labels", {})[SCENARIO_LABEL] = self._scenario
        return obj

    def _refused(self, container: Container, error: ApiError) -> JudgementError:
        """Note that the API server did not take a pod."""
        head = f"the {container.role}'s pod is refused: {error}"
        reason = judge(causes.refusal(head, "the pod is admitted", error))
        container.refused = reason
        container.admitted.missing(reason)
        return reason

    # Containers

    def await_start(self, *containers: Container) -> None:
        """Wait until containers run or ran, one after another, and begin to read their logs."""
        for container in containers:
            try:
                self._await_start(container)
            except JudgementError as reason:
                container.started.missing(reason)
                raise

    def of_the_runtime(self, reason: JudgementError, pod: Object) -> JudgementError:
        """Look on the node, if the run may, whether a CDI device is there that was not found.

        Then its driver has done its part, and the container runtime looks elsewhere.
        """
        allowed = Impact.PRIVILEGED in self.run.options.allowed()
        if not isinstance(reason, FailedError) or not allowed:
            return reason
        if reason.finding.likely != causes.NO_CDI_DEVICE.text:
            return reason
        from harness.scenario import cdi_files, node_files, node_pods  # noqa: PLC0415 - rare

        where = node_pods.files_values(self.run.subject, "cdi")
        try:
            name, on = f"reader-{name_of(pod)}", str(pod["spec"]["nodeName"])
            found = node_files.parse(node_pods.run_on(self, on, "node-files", name, where))
        except (ApiError, JudgementError, ValueError):
            return reason
        missing = set(_CDI_DEVICE.findall(reason.finding.observed))
        written = {name for file in cdi_files.read(found) for name in cdi_files.devices(file)}
        if missing and missing <= written:
            return judge(causes.because(causes.CDI_ELSEWHERE, reason.finding))
        return reason

    def _await_start(self, container: Container) -> None:
        pod, role = container.the_pod(), container.role

        def started() -> Object | None:
            seen = self._observer.last(pod)
            if has_started(seen.obj, role):
                return seen.obj
            reason = cannot_start(seen.obj, self.run.events_of(pod), role)
            if reason is not None:
                raise self.of_the_runtime(reason, seen.obj)
            if seen.gone:
                raise self.inconclusive(
                    f"the {role}'s pod was deleted by somebody else", Blame.CLUSTER
                )
            return None

        seen = self.wait(
            f"the {role}'s container to start",
            started,
            self._budgets.start,
            lambda: why_not_prepared(self.run.events_of(pod)) or f"{role}: {self.at(pod, role)}",
            Blame.KUBELET,
            pod,
            by_hand=[self._until(pod, role, "containerID", self._budgets.start)],
        )
        container.started.found(seen)
        container.devices = ()
        for claim in container.claims:
            states = reversed(self._observer.versions(claim.obj))
            allocated = next(filter(is_allocated, states), claim.obj)
            for of_request in self.devices_of(allocated).values():
                container.devices += of_request
        self.step(f"{role} started on {seen['spec'].get('nodeName')}")
        container.follower = LogFollower(self._kube, self._observer, seen, role)

    @staticmethod
    def _until(pod: Object, role: str, field: str, budget: Budget, value: object = None) -> str:
        """Write the command that waits for what the kubelet says of a container."""
        return by_hand.until(pod, by_hand.of_container(pod, role, field), budget, value)

    def find_offer(self, container: Container) -> str | None:
        """Wait for the offer in a container's log, as JSON; None if it ended without one."""
        pod, follower, role = container.the_pod(), container.the_follower(), container.role

        def offered() -> tuple[str | None] | None:
            lines = follower.lines()
            offer = next(filter(None, map(offer_of, lines)), None)
            if offer is not None:
                return (offer,)
            finished = termination(self._observer.last(pod).obj, role) is not None
            if finished and (follower.ended() or result_line(lines) is not None):
                return (None,)
            if follower.ended() and follower.trouble:
                raise self.inconclusive(
                    f"the {role}'s log cannot be read: {follower.trouble}", Blame.CLUSTER
                )
            return None

        try:
            (offer,) = self.wait(
                f"the {role}'s offer",
                offered,
                self._budgets.workload,
                partial(_end_of_log, container),
                Blame.WORKLOAD,
                pod,
                by_hand=[by_hand.until_said(pod, role, OFFER_MARK, self._budgets.workload)],
            )
        except JudgementError as reason:
            container.report.missing(reason)
            offer = None
        self.step(f"{role} offered {'its memory' if offer else 'nothing'}")
        return None if offer is None else str(offer)

    def offer(self, container: Container) -> str:
        """Wait for the offer in a container's log.

        Raises:
            JudgementError: it ended without one; what it reported says why.
        """
        offer = self.find_offer(container)
        if offer is None:
            self.stop(container)
            report = container.report.get()
            self.evidence.fail(
                f"the {container.role} could not export its memory: {report.error_text()}",
                expected="an exported handle",
                observed=report.error_text(),
                cause=causes.of_cuda(report.error),
            )
        return offer

    def await_end(self, *containers: Container, optional: bool = False) -> None:
        """Wait until containers have ended, with or without a result; or until one has failed.

        Args:
            containers: what to wait for.
            optional: go on when they have not ended in time, which is noted as a step.
        """

        def settled() -> bool:
            failed = False
            for one in containers:
                pod, role = one.the_pod(), one.role
                seen = self._observer.last(pod).obj
                if (reason := cannot_start(seen, self.run.events_of(pod), role)) is not None:
                    raise reason
                failed = failed or (termination(seen, role) or {}).get("exitCode", 0) != 0
            return failed or all(map(self.has_ended, containers))

        self.wait(
            f"{' and '.join(one.role for one in containers)} to end",
            settled,
            self._budgets.workload,
            lambda: self._all_at(containers),
            Blame.WORKLOAD,
            *map(Container.the_pod, containers),
            optional=optional,
            by_hand=[
                self._until(one.the_pod(), one.role, "state.terminated", self._budgets.workload)
                for one in containers
            ],
        )

    def finish(self, *containers: Container) -> None:
        """Wait until containers have ended by themselves, and read what they left."""
        for container in containers:
            self.await_end(container)
            self.stop(container)
            report = container.report.known()
            self.step(f"{container.role} ended: {report.verdict if report else 'without a result'}")

    def finish_together(self, *containers: Container) -> None:
        """Wait until containers that work with each other have ended, and read what they left.

        When one has failed, the others get time to notice it; then they are ended.
        """
        self.await_end(*containers, optional=True)
        self.wait(
            "their partner's end to be noticed",
            lambda: all(map(self.has_ended, containers)),
            self._budgets.partner,
            lambda: self._all_at(containers),
            Blame.WORKLOAD,
            optional=True,
        )
        for container in containers:
            self._stop_anyway(container)

    def await_report(self, *containers: Container) -> None:
        """Wait for what resting containers report at their start.

        Raises:
            JudgementError: there is none when time is up, or the container has ended.
        """
        for container in containers:
            pod, role = container.the_pod(), container.role
            self.wait(
                f"the {role}'s report",
                partial(self._has_reported, container),
                self._budgets.workload,
                partial(_end_of_log, container),
                Blame.WORKLOAD,
                pod,
                by_hand=[by_hand.until_said(pod, role, SCHEMA, self._budgets.workload)],
            )
            self._collect(container)
            container.report.get()

    def _has_reported(self, container: Container) -> bool:
        """Whether a container has said what it has to say, or will not say it any more."""
        over = self.has_ended(container) and container.the_follower().ended()
        return over or _result_of(container) is not None

    def await_restart(self, container: Container, *, anew: bool = False) -> None:
        """Read what a container reports, and wait until it was started once more.

        Its pod's restartPolicy has to allow it, and something has to end it (`resting`).

        Args:
            container: which.
            anew: whether only a start that is still to come counts.
        """
        pod, role, number = container.the_pod(), container.role, len(container.earlier) + 1
        if anew:
            number = restarts(self._observer.last(pod).obj, role) + 1

        def restarted() -> Object | None:
            seen = self._observer.last(pod)
            if reason := cannot_restart(seen.obj, role):
                raise reason
            again = restarts(seen.obj, role) >= number and has_started(seen.obj, role)
            return seen.obj if again else None

        if container.report.known() is None:
            self.await_report(container)  # before the kubelet removes its log
        container.earlier.append(container.report)
        container.report = Observed(f"the {role}'s report after restart {number}")
        container.the_follower().close()
        container.follower = None  # until it runs again, its log is of what it was before
        seen = self.wait(
            f"restart {number} of the {role}'s container",
            restarted,
            self._budgets.start,
            lambda: self.at(pod, role),
            Blame.KUBELET,
            pod,
            by_hand=[
                self._until(pod, role, "restartCount", self._budgets.start, number),
                by_hand.log(pod, role, previous=True),
            ],
        )
        container.pod = seen
        container.follower = LogFollower(self._kube, self._observer, seen, role)
        self.step(f"{role} started again")

    def has_ended(self, container: Container) -> bool:
        """Whether a container has ended, or its pod is gone."""
        seen = self._observer.last(container.the_pod())
        return seen.gone or termination(seen.obj, container.role) is not None

    def _all_at(self, containers: Sequence[Container]) -> str:
        return "; ".join(f"{one.role}: {self.at(one.the_pod(), one.role)}" for one in containers)

    def patience(self) -> list[str]:
        """The workload's option for how long it waits: its partner may have to start first."""
        seconds = self._budgets.start.seconds + self._budgets.workload.seconds
        return ["--patience", f"{seconds:g}"]

    # What containers left

    def stop(self, container: Container) -> None:
        """Read what a container left; end it first if it still waits for a partner."""
        if container.started.known() is None or container.pod is None:
            return
        if container.report.known() is not None or container.follower is None:
            return
        if not container.rests and not self.has_ended(container):
            self._end(container)
        self._collect(container)

    def _end(self, container: Container) -> None:
        """End a container whose partner cannot come; it reports what it saw so far."""
        follower, pod = container.the_follower(), container.the_pod()
        container.ended_by_suite = True
        if self._companions is not None:
            self._companions.await_over(self.evidence.name)
        self.delete_object(pod)
        self.step(f"{container.role} stopped by the suite")

        def reported() -> bool:
            done = result_line(follower.lines()) is not None or follower.ended()
            return done and self.has_ended(container)

        try:
            self._observer.wait(
                f"the {container.role}'s last words", reported, self._budgets.partner, lambda: ""
            )
        except WaitTimeoutError:
            self.step(f"{container.role}: no further output")

    def _collect(self, container: Container) -> None:
        """Read log and termination message, while the pod is there."""
        pod, role = container.the_pod(), container.role
        seen = self._observer.last(pod)
        container.pod = seen.obj
        end = termination(seen.obj, role)
        log = "\n".join(container.lines())
        if not seen.gone and end is not None and result_line(log.splitlines()) is None:
            log = self._kube.log(seen.obj, role)
        try:
            container.report.found(parse(log))
        except ReportError as error:
            state = container_state(seen.obj, role)
            how = f"exit code {end['exitCode']}, {end.get('reason')}" if end else str(state)
            likely = _why_no_result(end or {})
            finding = Finding(
                f"the {role} ended without a result ({how})",
                "the workload's result as the log's last line",
                f"{error}\n" + "\n".join(log.splitlines()[-EVIDENCE_LINES:]),
                Blame.CLUSTER if likely else Blame.WORKLOAD,
                likely=likely,
                next=_NEXT_OF_NO_RESULT.get(likely, ""),
            )
            reason = judge(causes.because(causes.of_output(log), finding))
            container.report.missing(reason)
            return
        self._see_whether_given(container)
        try:
            container.message.found(parse_termination((end or {}).get("message")))
        except ReportError as error:
            container.message.missing(self.inconclusive(f"the {role}: {error}", Blame.WORKLOAD))

    def _see_whether_given(self, container: Container) -> None:
        """Note of a container whether it has anything of its claims, and if not, why."""
        pod, runtimes = container.the_pod(), self.run.runtimes
        if not container.devices or not runtime.is_asked(pod, container.role):
            return
        node = str(pod["spec"]["nodeName"])
        container.shows_something = runtime.shows_something(container, container.report.get())
        if container.shows_something:
            runtimes[node] = None
            return
        if runtime.named_nothing(pod, container.role):
            return  # so the runtime had nothing to give it
        with self.run.looks_at_runtimes:
            if node not in runtimes:
                runtimes[node] = causes.RUNTIME_OR_DRIVER
                if Impact.PRIVILEGED in self.run.options.allowed():
                    self.attempt(partial(self._look_at_runtime, node, container), lambda _: None)

    def _look_at_runtime(self, node: str, container: Container) -> None:
        """Have one more container use the claims of one that has nothing, and look on its node.

        The first may have ended, and then nothing is left there to be looked at.
        """
        from harness.scenario import node_files, node_pods  # noqa: PLC0415 - rare

        if any(map(runtime.is_of_one_pod, container.claims)):
            return
        role = f"second-{container.role}"
        (second,) = self.start_pod(role, [resting(role)], *container.claims)
        try:
            self.await_report(second)
            values = node_pods.runtime_values(self.run.subject)
            said = node_pods.run_on(self, node, "node-files", f"reader-{role}", values)
            uids = {uid_of(claim.obj) for claim in container.claims}
            found = runtime.why_nothing(uids, node_files.parse(said), second.report.get())
            self.run.runtimes[node] = found
        except ValueError as error:
            self.step(f"what is on {node} cannot be read: {error}")
        finally:
            del self.evidence.containers[role]
            self.delete(second)
            self.await_gone(second)

    def _stop_anyway(self, container: Container) -> None:
        def missing(reason: JudgementError) -> None:
            for piece in container.all():
                piece.missing(reason)

        self.attempt(partial(self.stop, container), missing)

    def keep_events(self) -> None:
        """Keep all warnings about pods and claims; where something failed, the last are kept."""
        pods = [c.pod for c in self.evidence.containers.values() if c.pod is not None]
        claims = [claim.obj for claim in self.evidence.claims.values() if claim.exists]
        self.evidence.events = describe_events(self.run.events_of(*pods, *claims))

    def _keep_evidence(self) -> None:
        """Keep events and the driver's log for findings."""
        claims = [claim for claim in self.evidence.claims.values() if claim.exists]
        self.keep_events()
        self.evidence.events = self.evidence.events[-EVIDENCE_LINES:]
        self.evidence.driver_lines = self.run.driver_lines(
            nodes={device.node for claim in claims for device in claim.devices},
            seconds=int(self.seconds) + 2,
        )
        about = [claim.obj["metadata"]["uid"] for claim in claims]
        self.evidence.driver_log = telling(self.evidence.driver_lines, about)

    # The end

    def release(self) -> None:
        """Delete the pods and see that the claims are free; the end of each scenario does it, too.

        Raises:
            UnmetError: the pods are kept, as ``--dra-keep`` asks.
        """
        containers = [c for c in self.evidence.containers.values() if c.pod is not None]
        pods = list({c.pod["metadata"]["uid"]: c.pod for c in containers if c.pod}.values())
        keep = self.run.options.keep
        keeps = keep == "always" or (keep == "failed" and not self.evidence.went_well())
        if self._companions is not None:
            keeps = self._companions.keep(self.evidence.name, keeps=keeps)
        if keeps:
            raise UnmetError(f"the pods are kept, as --dra-keep {keep} asks")
        for claim in self.evidence.claims.values():
            if claim.exists and not claim.history:
                claim.history = tuple(self._observer.versions(claim.obj))
        folder, changes = self._folder, self.run.changes
        if folder is not None:
            changes.settle(folder, [self._observer.last(pod).obj for pod in pods])
        made = self.controllers if "controllers" in vars(self) else None
        if made is not None:
            made.delete_all()
        # A container that has ended does not make the folder again.
        at_once = folder is not None and all(map(self.has_ended, containers))
        for pod in pods:
            if not self._observer.last(pod).gone and not (made and made.makes(pod)):
                self.delete_object(pod)
        removals = folder.begin(changes.means) if folder is not None and at_once else []
        if not self.evidence.claims:  # else with their release
            self.wait(
                "the end of the pods",
                lambda: self._observer.gone(pods),
                self._budgets.release,
                lambda: "; ".join(map(self.at, pods)),
                Blame.KUBELET,
                *pods,
                by_hand=[by_hand.until_gone(pod, self._budgets.release) for pod in pods],
            )
        for claim in self.evidence.claims.values():
            if claim.exists and claim.released.known() is None:
                found = self._await_freed(claim, pods)
                if claim.allocated.known() is not None:
                    claim.released.found(found)
                self.delete_object(claim.obj)
        if folder is not None:
            begun = removals if at_once else folder.begin(changes.means)
            self.script.say(f"on each node that had one of the pods: rm -r {folder.path}")
            changes.attempt(folder, lambda: folder.end(changes.means, begun))
            self._folder = None

    def _await_freed(self, claim: Claim, pods: Sequence[Object]) -> Object:
        """Wait until pods are over and their claim is free."""

        def released() -> Object | None:
            if not self._observer.over(pods):
                return None
            seen = self._observer.last(claim.obj).obj
            return None if is_allocated(seen) else seen

        def seen() -> str:
            there = [name_of(pod) for pod in pods if not self._observer.over([pod])]
            status = self._observer.last(claim.obj).obj.get("status") or {}
            held = f"claim allocated, reservedFor {status.get('reservedFor') or 'nobody'}"
            return "; ".join([*(f"pod {name} is still there" for name in there), held])

        found: Object = self.wait(
            *("the release of the claim", released, self._budgets.release, seen, Blame.KUBELET),
            *pods,
            by_hand=[
                *(by_hand.until_gone(pod, self._budgets.release) for pod in pods),
                by_hand.look(claim.obj),
            ],
        )
        self.step("pods over, claim deallocated")
        return found

    def _not_released(self, reason: JudgementError) -> None:
        for claim in self.evidence.claims.values():
            claim.released.missing(reason)


def _result_of(container: Container) -> str | None:
    return result_line(container.the_follower().lines())


_OUT_OF_MEMORY = "the container ran out of memory"
_LOG_WAS_CUT = (
    "the workload said its last word, which the log does not have: the kubelet or the runtime has"
    " rotated or cut the log (containerLogMaxSize), or the disk that has it is full"
)
_NEXT_OF_NO_RESULT = {
    _OUT_OF_MEMORY: "--dra-pod-patch can give the pods more memory",
    _LOG_WAS_CUT: "let the node's kubelet keep more of logs; df /var/log/pods on the node",
}


def _why_no_result(end: Object) -> str:
    """Say what else than the workload keeps its result from the log, if something does."""
    if end.get("reason") == "OOMKilled":
        return _OUT_OF_MEMORY
    try:
        parse_termination(end.get("message"))
    except ReportError:
        return ""
    return _LOG_WAS_CUT


def _end_of_log(container: Container) -> str:
    return f"the {container.role}'s log ends with: {(container.lines() or ['(nothing)'])[-1]}"


def _first(pod: Object) -> str:
    return str(pod["spec"]["containers"][0]["name"])
