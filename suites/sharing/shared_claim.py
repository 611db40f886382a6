"""The shared claim: two pods, one claim of GPUs, CUDA IPC between them, in several forms.

It is played once a form. What came of each step is evidence; the checks in ``suites/sharing``
judge it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.checks.check import Impact, Scenario
from harness.cluster.inventory import Device, holders, is_allocated
from harness.cluster.kinds import CLAIM, Object
from harness.cluster.kube import ApiError
from harness.cluster.observe import WaitTimeoutError
from harness.scenario.evidence import Account, Claim, Member
from harness.scenario.launcher import Turn
from harness.scenario.node_folder import NodeFolder
from harness.scenario.observed import Evidence
from harness.scenario.play import Play, allocation_name, the_pod
from harness.scenario.pods import cannot_start, termination
from harness.scenario.run import PRIVILEGED, RESTRICTED, Run
from harness.scenario.steps import FOLDER
from harness.scenario.workload_report import ReportError, WorkloadReport, parse
from harness.verdict.finding import Blame, JudgementError, UnmetError

CLAIM_NAMES = {1: "shared-single-gpu", 2: "shared-dual-gpus"}
REQUESTS = ("gpu-1", "gpu-2")
PRODUCER, CONSUMER = "producer", "consumer"


@dataclass(frozen=True)
class Form(Scenario):
    """How much the pods may do, and how the handle goes from one to the other."""

    devices: int = len(REQUESTS)
    """One for each of the claim's requests, which are the first of `REQUESTS`."""
    standard: str = RESTRICTED
    """The Pod Security Standard of the namespace."""
    template: str = "restricted"
    folder: bool = False
    """The handle goes through a folder of the node; else through the API."""
    sees_all: bool = False
    """A privileged container sees every GPU of the node."""
    own_pids: Mapping[str, int] = field(default_factory=dict)
    """What PID the two processes are to have for themselves; empty: as it comes."""
    equal_own_pids: bool = False

    @property
    def requests(self) -> tuple[str, ...]:
        """The claim's requests, of one device each."""
        return REQUESTS[: self.devices]

    def play(self, run: Run, turn: Turn) -> SharedClaim:
        """Play it."""
        return SharedClaimPlay(run, self, turn).perform()

    def unplayed(self, reason: JudgementError) -> SharedClaim:
        """What came of it when it could not be played."""
        shared = SharedClaim(self)
        shared.without(reason)
        return shared


PRIVILEGED_FORM = Form(
    "privileged",
    Impact.PRIVILEGED,
    standard=PRIVILEGED,
    template="privileged",
    folder=True,
    sees_all=True,
)
HOSTPID_FORM = Form("hostpid", Impact.PRIVILEGED, standard=PRIVILEGED, template="hostpid")
RESTRICTED_FORM = Form("restricted", own_pids={PRODUCER: 1, CONSUMER: 300})
ONE_GPU_FORM = Form("one-gpu", devices=1, own_pids={PRODUCER: 1, CONSUMER: 300})
ANY_DRIVER_FORM = Form("any-driver", devices=1, any_driver=True)
EQUAL_PIDS_FORM = Form("equal-pids", own_pids={PRODUCER: 1, CONSUMER: 1}, equal_own_pids=True)


@dataclass(frozen=True)
class Allocation:
    """What the scheduler allocated."""

    claim: Object
    """As it was when both pods had it."""
    devices: Mapping[str, Device]
    """By request; only those that a slice publishes."""


class SharedClaim(Account):
    """What came of the shared claim in one form."""

    def __init__(self, form: Form) -> None:
        super().__init__(form.name)
        self.form = form
        self.allocation: Evidence[Allocation] = Evidence("the claim's allocation")
        self.sharing: Evidence[Object] = Evidence("the claim as both pods use it")
        self.producer = Member(PRODUCER)
        self.consumer = Member(CONSUMER)
        self.consumer_opens = True
        """False: it only reports what it sees, because the producer offered nothing to open."""
        self.node_devices: tuple[Device, ...] = ()
        """Every device of the node that the claim's devices are on."""
        self.released: Evidence[Object] = Evidence("the claim after its pods are gone")
        self.again: Evidence[tuple[Object, WorkloadReport]] = Evidence("the devices' second use")

    @property
    def members(self) -> tuple[Member, Member]:
        """Producer and consumer."""
        return (self.producer, self.consumer)

    def sharing_evidence(self) -> list[Evidence[Any]]:
        """What the sharing itself should have brought."""
        pieces: list[Evidence[Any]] = [self.allocation, self.sharing]
        for member in self.members:
            pieces += member.all()
        return pieces

    def evidence(self) -> list[Evidence[Any]]:
        """All of it."""
        return [*self.sharing_evidence(), self.released, self.again]

    def went_well(self) -> bool:
        """Whether nothing of it will be of interest to somebody who looks for a fault."""
        if self.form.any_driver:
            return self.sharing.known() is not None
        consumer = self.consumer.report.known()
        if self.form.equal_own_pids:
            return consumer is not None and consumer.verdict == "not-opened"
        complete = all(piece.known() is not None for piece in self.sharing_evidence())
        return complete and consumer is not None and consumer.verdict == "ok"


class SharedClaimPlay(Play):
    """Plays the scenario in one form."""

    def __init__(self, run: Run, form: Form, turn: Turn) -> None:
        self.outcome = SharedClaim(form)
        super().__init__(run, self.outcome, turn, form.standard)
        self._form = form
        self._claim: Claim | None = None
        self._folder = NodeFolder(self)

    def perform(self) -> SharedClaim:
        """Play it to its end; never raises but to end the run."""
        outcome = self.outcome
        self.attempt(self._share, _to(outcome.sharing_evidence()))
        for member in () if self._form.any_driver else outcome.members:
            self.attempt(lambda member=member: self.collect(member), _to(member.all()))  # type: ignore[misc]
        claims = [self._claim] if self._claim is not None else []
        if not outcome.went_well():
            self.keep_evidence([m.pod for m in outcome.members if m.pod is not None], claims)
        keep = self.run.options.keep
        if keep == "always" or (keep == "failed" and not outcome.went_well()):
            kept = UnmetError(f"the pods are kept, as --dra-keep {keep} asks")
            outcome.released.missing(kept)
            outcome.again.missing(kept)
        else:
            reports = [member.report.known() for member in outcome.members]
            wanted = not self._form.equal_own_pids and all(reports)
            if wanted and self.turn is not None:
                # Else the scheduler may give them to somebody else in between.
                self.attempt(self.turn.keep_others_off, _to([outcome.again]))
            self.attempt(self._release, _to([outcome.released, outcome.again]))
            if wanted and outcome.released.known() is not None:
                self.attempt(self._claim_again, _to([outcome.again]))
        for member in outcome.members:
            if member.follower is not None:
                member.follower.close()
        for piece in outcome.evidence():
            piece.explain(outcome.explained)
        return outcome

    # The scenario's parts

    def _share(self) -> None:
        form = self._form
        claim = self._claim = self.create_claim(
            f"{CLAIM_NAMES[form.devices]}-{form.name}", form.requests
        )
        if form.any_driver:
            self._share_at_rest(claim)
        else:
            self._share_memory(claim)

    def _share_at_rest(self, claim: Claim) -> None:
        """Two pods have the claim and touch no device."""
        members = self.outcome.members
        for member in members:
            self._create_member(member, claim, ["rest", "--role", member.role, *self.patience()])
        self._await_devices(claim)
        for member in members:
            self.await_start(member, [claim])
        self._await_sharing(claim)

    def _share_memory(self, claim: Claim) -> None:
        """Two pods have the claim and share memory of its GPUs."""
        form, outcome = self._form, self.outcome
        self._create_member(outcome.producer, claim, self._produce_args())
        if form.folder:
            self._create_member(outcome.consumer, claim, self._consume_args(None))
        self._await_devices(claim)
        self.tell_allocation(claim)
        self.await_start(outcome.producer, [claim])
        if not form.folder:
            offer = self.await_offer(outcome.producer)
            self._create_member(outcome.consumer, claim, self._consume_args(offer))
        self.await_start(outcome.consumer, [claim])
        self._await_sharing(claim)
        self._await_end()

    def _await_devices(self, claim: Claim) -> None:
        outcome = self.outcome
        self.await_allocation(claim, the_pod(outcome.producer))
        outcome.allocation.found(Allocation(claim.obj, claim.by_request))
        nodes = {device.node for device in claim.devices}
        outcome.node_devices = tuple(d for d in self.run.devices() if d.node in nodes)

    def _await_sharing(self, claim: Claim) -> None:
        """Both pods use the claim: see that the claim says so."""
        if not self.outcome.consumer_opens:
            # The producer ended before, so both never had the claim at the same time.
            return
        observer = self.run.observer
        pods = [the_pod(member) for member in self.outcome.members]
        wanted = {pod["metadata"]["uid"] for pod in pods}

        def reserved() -> Object | None:
            for seen in reversed(observer.versions(claim.obj)):
                users = (seen.get("status") or {}).get("reservedFor") or []
                if wanted <= {user["uid"] for user in users}:
                    return seen
            return None

        def users() -> str:
            status = observer.last(claim.obj).obj.get("status") or {}
            names = [user.get("name", "?") for user in status.get("reservedFor") or []]
            return f"reservedFor {', '.join(names) or 'nobody'}"

        what, budget = "both pods in the claim's reservedFor", self.run.budgets.observe
        try:
            found = self.wait(what, reserved, budget, users, Blame.SCHEDULER, *pods)
        except JudgementError as reason:
            # Both containers started, so the sharing itself can be judged all the same.
            self.outcome.sharing.missing(reason)
        else:
            self.outcome.sharing.found(found)

    def _await_end(self) -> None:
        """Wait until both containers have ended; end those whose partner never can come."""
        outcome, observer = self.outcome, self.run.observer
        pods = {member.role: the_pod(member) for member in outcome.members}

        def ended(role: str) -> dict[str, Any] | None:
            return termination(observer.last(pods[role]).obj)

        def settled() -> bool | None:
            producer, consumer = ended(PRODUCER), ended(CONSUMER)
            failed = [end for end in (producer, consumer) if end and end.get("exitCode") != 0]
            return True if (producer and consumer) or failed else None

        def both_at() -> str:
            return "; ".join(f"{role}: {self.at(pod)}" for role, pod in pods.items())

        self.wait(
            "the end of both containers",
            settled,
            self.run.budgets.workload,
            both_at,
            Blame.WORKLOAD,
            *pods.values(),
            hopeless=True,
        )
        # A consumer that failed has nothing more to tell its producer through the API.
        consumer = ended(CONSUMER)
        alone = not self._form.folder and consumer is not None and ended(PRODUCER) is None
        reporting_only = not outcome.consumer_opens
        if not (alone and (reporting_only or (consumer or {}).get("exitCode") != 0)):
            try:
                observer.wait(
                    "the partner's end",
                    lambda: True if ended(PRODUCER) and ended(CONSUMER) else None,
                    self.run.budgets.partner,
                    both_at,
                )
            except WaitTimeoutError:
                self.step("one of the two waits for a partner that cannot come")
        for member in outcome.members:
            end = ended(member.role)
            if end is None:
                self.end(member)
            else:
                self.step(f"{member.role} ended with exit code {end.get('exitCode')}")

    def _release(self) -> None:
        """Delete the pods and see that the claim is free again."""
        pods = [member.pod for member in self.outcome.members if member.pod is not None]
        self.delete_pods(pods)
        # A container that has ended does not make the folder again.
        at_once = self._form.folder and all(self.has_ended(pod) for pod in pods)
        removals = self._folder.begin_removal() if at_once else []
        if self._claim is not None:
            released = self.await_release(self._claim.obj, pods)
            if self.outcome.allocation.known() is not None:
                self.outcome.released.found(released)
            self.run.kube.delete(self._claim.obj)
        if at_once:
            self._folder.end_removal(removals)
        elif self._form.folder:
            self._folder.remove()

    def _claim_again(self) -> None:
        """Claim the same devices once more and see them from a new pod.

        Only after both pods reported: else what is wrong would be told a second time.
        """
        devices = self._claim.devices if self._claim is not None else ()
        if len(devices) != self._form.devices:
            return
        driver, uuid = self.run.subject.driver, self.run.subject.profile.uuid_attribute
        claim = self.create_claim(
            f"again-{self._form.name}",
            self._form.requests,
            [f'device.attributes["{driver}"].{uuid} == "{device.uuid}"' for device in devices],
        )
        restricted = self._form.standard == RESTRICTED
        values = self._pod_values("inventory", f"again-{self._form.name}", claim, ["inventory"])
        template = "pod-restricted.yaml.j2" if restricted else "pod-hostpid.yaml.j2"
        pod = self.create(f"shared-claim/{template}", values)
        observer = self.run.observer
        unplaced = [self.turn] if self.turn is not None else []

        def ended() -> Object | None:
            if unplaced and is_allocated(observer.last(claim.obj).obj):
                unplaced.pop().placed(devices[0].node)
            seen = observer.last(pod).obj
            reason = cannot_start(seen, self.run.events_of(pod))
            if reason is not None:
                raise reason
            return seen if termination(seen) is not None else None

        try:
            seen = self.wait(
                "the end of the pod that uses the devices again",
                ended,
                self.run.budgets.reclaim,
                lambda: self.at(pod),
                Blame.DRIVER,
                pod,
            )
        except JudgementError:
            self._if_taken_by_others(claim.obj, devices)
            raise
        try:
            report = parse(self.run.kube.log(seen, "inventory"))
        except ReportError as error:
            raise self.undecided(f"the pod that uses the devices again: {error}") from error
        self.outcome.again.found((observer.last(claim.obj).obj, report))
        self.step("the same devices were claimed and seen again")
        self.run.kube.delete(pod)
        self.wait(
            "the end of the pod that used the devices again",
            lambda: True if observer.last(pod).gone else None,
            self.run.budgets.release,
            lambda: self.at(pod),
            Blame.KUBELET,
            pod,
        )
        self.run.kube.delete(claim.obj)

    def _if_taken_by_others(self, claim: Object, devices: tuple[Device, ...]) -> None:
        """Raise an undecided judgement when somebody else has the devices now."""
        if is_allocated(self.run.observer.last(claim).obj):
            return
        claims, _ = self.run.kube.list(CLAIM)
        held = holders(claims)
        for device in devices:
            if device.key in held:
                raise self.undecided(
                    f"device {device.name} was taken by claim {held[device.key]} meanwhile",
                    Blame.CLUSTER,
                )

    # Objects

    def _create_member(self, member: Member, claim: Claim, args: list[str]) -> None:
        values = self._pod_values(member.role, f"{member.role}-{self._form.name}", claim, args)
        if self._form.own_pids:
            values["env"].append(
                {"name": "DRA_OWN_PID", "value": str(self._form.own_pids[member.role])}
            )
        try:
            member.pod = self.create(f"shared-claim/pod-{self._form.template}.yaml.j2", values)
        except ApiError as error:
            raise self.refused(member, error) from error
        member.admitted.found(member.pod)
        if self._form.folder:
            self._folder.used_by(member.pod)

    def _pod_values(self, role: str, name: str, claim: Claim, args: list[str]) -> dict[str, Any]:
        gpus = {"configMapKeyRef": {"name": allocation_name(claim), "key": "gpus"}}
        sharing = role in (PRODUCER, CONSUMER) and not self._form.any_driver
        return {
            "name": name,
            "role": role,
            "claim": claim.name,
            "image": self.run.subject.image,
            "tolerations": [dict(item) for item in self.run.subject.profile.tolerations],
            "folder": str(self._folder.path),
            "args": args,
            "env": [{"name": "DRA_GPUS", "valueFrom": gpus}] if sharing else [],
        }

    def _produce_args(self) -> list[str]:
        way = ["--folder", FOLDER] if self._form.folder else ["--log"]
        return ["produce", "--nonce", self.nonce, *way, *self.patience()]

    def _consume_args(self, offer: str | None) -> list[str]:
        if self._form.folder:
            way = ["--folder", FOLDER]
        elif offer is not None:
            way = ["--offer", offer]
        else:
            # There is nothing to open: then at least see what the container sees.
            self.outcome.consumer_opens = False
            return ["inventory", "--role", CONSUMER]
        return ["consume", "--nonce", self.nonce, *way, *self.patience()]


def _to(pieces: list[Evidence[Any]]) -> Any:
    """What to do with a reason: note it for each piece."""

    def missing(reason: JudgementError) -> None:
        for piece in pieces:
            piece.missing(reason)

    return missing
