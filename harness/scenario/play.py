"""Playing a scenario: making claims and pods, waiting for what they do, keeping what they left.

What came of it is an `Account`, which the checks judge. Playing never raises: a step that fails is
the reason why the evidence after it is missing, and every check that asks for that evidence is told
the reason.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.cluster.budgets import Budget
from harness.cluster.inventory import Device, is_allocated, results
from harness.cluster.kinds import Object, name_of
from harness.cluster.kube import ApiError, UnreachableError
from harness.cluster.logs import LogFollower
from harness.cluster.observe import StoppedError, WaitTimeoutError
from harness.cluster.render import RenderError
from harness.scenario.evidence import Account, Claim, Member
from harness.scenario.launcher import Turn
from harness.scenario.pods import (
    EVIDENCE_LINES,
    cannot_start,
    container_state,
    describe,
    describe_events,
    driver_log,
    has_started,
    termination,
)
from harness.scenario.run import RESTRICTED, SCENARIO_LABEL, Run
from harness.scenario.workload_report import (
    ReportError,
    offer_of,
    parse,
    parse_termination,
    result_line,
)
from harness.verdict import causes
from harness.verdict.finding import (
    Blame,
    FailedError,
    Finding,
    JudgementError,
    UndecidedError,
    UnmetError,
    judge,
)


class Play:
    """Plays one scenario: what a script can do."""

    def __init__(
        self,
        run: Run,
        account: Account,
        turn: Turn | None,
        standard: str = RESTRICTED,
        scenario: str = "",
    ) -> None:
        self.run = run
        self.account = account
        self.nonce = secrets.token_hex(8)
        """The word by which the scenario's offers are told from others."""
        self.standard = standard
        self.turn = turn
        """None for a part of a scenario that uses another's claims."""
        self._scenario = scenario or account.name
        self._kube = run.kube
        self._observer = run.observer
        self._budgets = run.budgets
        self._began = time.monotonic()
        self._created: list[Object] = []

    @property
    def namespace(self) -> str:
        """The run's namespace in which it is played; made when first asked for."""
        return self.run.open_namespace(self.standard)

    @property
    def devices(self) -> int:
        """How many devices of one node may be claimed."""
        return self.turn.devices if self.turn is not None else 0

    # Making objects

    def create(self, template: str, values: Mapping[str, Any]) -> Object:
        """Create an object in the scenario's namespace."""
        obj = self.run.render(template, {"namespace": self.namespace, **values})
        obj["metadata"].setdefault("labels", {})[SCENARIO_LABEL] = self._scenario
        created = self.run.create(obj)
        self._created.append(created)
        return created

    def create_claim(
        self, name: str, requests: Sequence[str], selectors: Sequence[str] = ()
    ) -> Claim:
        """Create a claim.

        Args:
            name: of the claim.
            requests: the names of its requests, each for one device of the driver's class.
            selectors: a CEL expression for each request; none where all devices will do.
        """
        values = {
            "name": name,
            "device_class": self.run.subject.profile.device_class,
            "requests": list(requests),
            "selectors": list(selectors),
        }
        return Claim(self.create("claim.yaml.j2", values), requests)

    def await_allocation(self, claim: Claim, pod: Object) -> None:
        """Wait until a claim is allocated, and tell the pods which devices it got.

        Args:
            claim: the claim.
            pod: the first pod that uses it: its events tell why there is no allocation.
        """

        def allocated() -> Object | None:
            seen = self._observer.last(claim.obj).obj
            return seen if is_allocated(seen) else None

        seen = self.wait(
            "the claim's allocation",
            allocated,
            self._budgets.allocate,
            lambda: f"the claim is not allocated; the {_first(pod)} is {self.at(pod)}",
            Blame.SCHEDULER,
            pod,
        )
        claim.obj, claim.by_request = seen, self.devices_of(seen)
        shown = ", ".join(f"{d.name} ({d.uuid})" for d in claim.devices)
        self.step(f"claim allocated: {shown}")
        if claim.devices and self.turn is not None:
            self.turn.placed(claim.devices[0].node)

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
        self.create(
            "allocation.yaml.j2",
            {"name": allocation_name(claim), "gpus": ",".join(d.uuid for d in claim.devices)},
        )

    def devices_of(self, claim: Object) -> dict[str, Device]:
        """A claim's devices by request, as far as the driver publishes them."""
        known = {device.key: device for device in self.run.devices()}
        return {
            str(result["request"]): known[key]
            for result in results(claim)
            if (key := (result["driver"], result["pool"], result["device"])) in known
        }

    def last_allocated(self, claim: Claim) -> Object:
        """A claim as it was when it last was allocated."""
        versions = reversed(self._observer.versions(claim.obj))
        return next((seen for seen in versions if is_allocated(seen)), claim.obj)

    def refused(self, member: Member, error: ApiError) -> JudgementError:
        """The judgement about a pod that the API server did not take."""
        head = f"the {member.role}'s pod is refused: {error}"
        reason = judge(causes.refusal(head, "the pod is admitted", error))
        member.refused = reason
        member.admitted.missing(reason)
        return reason

    # Waiting for containers

    def await_start(self, member: Member, claims: Sequence[Claim]) -> None:
        """Wait until a member's container runs or ran, and begin to read its log."""
        pod = the_pod(member)

        def started() -> Object | None:
            seen = self._observer.last(pod)
            if has_started(seen.obj, member.role):
                return seen.obj
            reason = cannot_start(seen.obj, self.run.events_of(pod), member.role)
            if reason is not None:
                raise reason
            if seen.gone:
                raise self.undecided(
                    f"the {member.role}'s pod was deleted by somebody else", Blame.CLUSTER
                )
            return None

        try:
            seen = self.wait(
                f"the start of the {member.role}'s container",
                started,
                self._budgets.start,
                lambda: f"{member.role}: {self.at(pod, member.role)}",
                Blame.KUBELET,
                pod,
            )
        except JudgementError as reason:
            member.started.missing(reason)
            raise
        member.started.found(seen)
        member.devices = tuple(
            device
            for claim in claims
            for device in self.devices_of(self.last_allocated(claim)).values()
        )
        self.step(f"{member.role} started on {seen['spec'].get('nodeName')}")
        member.follower = LogFollower(self._kube, self._observer, seen, member.role)

    def await_offer(self, member: Member) -> str | None:
        """The offer in a member's log, as JSON; None if it ended without one."""
        pod, follower = the_pod(member), the_follower(member)

        def offered() -> tuple[str | None] | None:
            lines = follower.lines()
            offer = next((found for line in lines if (found := offer_of(line))), None)
            if offer is not None:
                return (offer,)
            finished = termination(self._observer.last(pod).obj, member.role) is not None
            if finished and (follower.ended() or result_line(lines) is not None):
                return (None,)
            if follower.ended() and follower.trouble:
                raise self.undecided(
                    f"the {member.role}'s log cannot be read: {follower.trouble}", Blame.CLUSTER
                )
            return None

        try:
            (offer,) = self.wait(
                f"the {member.role}'s offer",
                offered,
                self._budgets.workload,
                lambda: (
                    f"the {member.role}'s log ends with: {(follower.lines() or ['(nothing)'])[-1]}"
                ),
                Blame.WORKLOAD,
                pod,
            )
        except JudgementError as reason:
            member.report.missing(reason)
            offer = None
        self.step(f"{member.role} offered {'its memory' if offer else 'nothing'}")
        return None if offer is None else str(offer)

    def end(self, member: Member) -> None:
        """End a container that waits in vain; it reports what it saw so far."""
        follower, pod = the_follower(member), the_pod(member)
        member.ended_by_suite = True
        self._kube.delete(pod)
        self.step(f"{member.role} waits in vain and is ended by the suite")

        def reported() -> bool | None:
            done = result_line(follower.lines()) is not None or follower.ended()
            return True if done and self.has_ended(pod, member.role) else None

        try:
            self._observer.wait(
                f"the {member.role}'s last words", reported, self._budgets.partner, lambda: ""
            )
        except WaitTimeoutError:
            self.step(f"{member.role} says nothing more")

    def has_ended(self, pod: Object, container: str = "") -> bool:
        """Whether a container has ended, or its pod is gone."""
        seen = self._observer.last(pod)
        return seen.gone or termination(seen.obj, container) is not None

    def collect(self, member: Member) -> None:
        """Read what a container left, while its pod is there."""
        if member.pod is None or member.started.known() is None:
            return
        seen = self._observer.last(member.pod)
        member.pod = seen.obj
        end = termination(seen.obj, member.role)
        log = "\n".join(member.lines())
        if not seen.gone and end is not None and result_line(log.splitlines()) is None:
            log = self._kube.log(seen.obj, member.role)
        try:
            member.report.found(parse(log))
        except ReportError as error:
            state = container_state(seen.obj, member.role)
            how = f"exit code {end['exitCode']}, {end.get('reason')}" if end else str(state)
            memory = bool(end) and (end or {}).get("reason") == "OOMKilled"
            member.report.missing(
                UndecidedError(
                    Finding(
                        f"the {member.role} ended without a result ({how})",
                        "the workload's result as the log's last line",
                        f"{error}\n" + "\n".join(log.splitlines()[-EVIDENCE_LINES:]),
                        Blame.CLUSTER if memory else Blame.WORKLOAD,
                        likely="the container ran out of memory" if memory else "",
                    )
                )
            )
            return
        try:
            member.message.found(parse_termination((end or {}).get("message")))
        except ReportError as error:
            member.message.missing(self.undecided(f"the {member.role}: {error}", Blame.WORKLOAD))

    # The end

    def delete_pods(self, pods: Sequence[Object]) -> None:
        """Delete pods that are still there."""
        for pod in pods:
            if not self._observer.last(pod).gone:
                self._kube.delete(pod)

    def await_release(self, claim: Object, pods: Sequence[Object]) -> Object:
        """Wait until pods are gone and their claim is free; answers the claim as it is then."""

        def released() -> Object | None:
            if not all(self._observer.last(pod).gone for pod in pods):
                return None
            seen = self._observer.last(claim).obj
            return None if is_allocated(seen) else seen

        def seen() -> str:
            there = [name_of(pod) for pod in pods if not self._observer.last(pod).gone]
            status = self._observer.last(claim).obj.get("status") or {}
            held = f"claim allocated, reservedFor {status.get('reservedFor') or 'nobody'}"
            return "; ".join([*(f"pod {name} is still there" for name in there), held])

        found: Object = self.wait(
            "the release of the claim", released, self._budgets.release, seen, Blame.KUBELET, *pods
        )
        self.step("pods gone, claim deallocated")
        return found

    # Waiting and explaining

    def wait(
        self,
        what: str,
        ready: Callable[[], Any],
        budget: Budget,
        seen: Callable[[], str],
        blame: Blame,
        *about: Object,
        hopeless: bool = False,
    ) -> Any:
        """Wait as the observer does; a time-out becomes a finding.

        Args:
            what: what is awaited.
            ready: answers it, or None.
            budget: how long.
            seen: what there was instead.
            blame: who is to blame when no event tells of another cause.
            about: objects whose events tell of causes.
            hopeless: go on after a time-out, which is noted as a step.
        """
        try:
            return self._observer.wait(what, ready, budget, seen)
        except WaitTimeoutError as error:
            if hopeless:
                self.step(str(error))
                return None
            cause = self.run.cause_of(*about)
            raise judge(
                Finding(
                    head=f"{what} did not come within {budget.seconds:g} s: {error.seen}",
                    expected=f"{what} within {budget.seconds:g} s (budget {budget.name})",
                    observed=error.seen,
                    blame=cause.blame if cause else blame,
                    likely=cause.text if cause else "",
                    next=cause.next if cause else "",
                )
            ) from error

    def attempt(self, part: Callable[[], None], missing: Callable[[JudgementError], None]) -> None:
        """Run a part; whatever ends it is the reason for what it did not bring.

        Args:
            part: what to do.
            missing: told the reason.
        """
        try:
            part()
        except JudgementError as error:
            reason = error
        except StoppedError:
            reason = UnmetError("the run was ended before")
        except UnreachableError as error:
            reason = self.undecided(str(error), Blame.CLUSTER)
        except ApiError as error:
            head = f"the API server refuses: {error}"
            reason = UndecidedError(causes.refusal(head, "that the scenario goes on", error))
        except (RenderError, WaitTimeoutError) as error:
            reason = self.undecided(str(error), Blame.SUITE)
        else:
            return
        self.step(f"stopped: {reason}")
        missing(reason)

    def undecided(self, head: str, blame: Blame = Blame.SUITE) -> UndecidedError:
        """A judgement that says nothing about the driver."""
        return UndecidedError(Finding(head, "that the scenario goes on", head, blame))

    def at(self, pod: Object, container: str = "") -> str:
        """What a pod is at, in a few words."""
        seen = self._observer.last(pod)
        return "gone" if seen.gone else describe(seen.obj, container)

    def step(self, text: str) -> None:
        """Note what happened, with its time."""
        self.account.steps.append(f"{time.monotonic() - self._began:5.1f} s  {text}")
        self.run.journal.write("step", form=self.account.name, text=text)

    def patience(self) -> list[str]:
        """The workload's option for how long it waits: its partner may have to start first."""
        seconds = self._budgets.start.seconds + self._budgets.workload.seconds
        return ["--patience", f"{seconds:g}"]

    def keep_evidence(self, pods: Sequence[Object], claims: Sequence[Claim]) -> None:
        """Keep events and the driver's log for findings."""
        about = [*pods, *(claim.obj for claim in claims)]
        self.account.events = describe_events(self.run.events_of(*about))[-EVIDENCE_LINES:]
        self.account.driver_log = driver_log(
            self.run,
            nodes={device.node for claim in claims for device in claim.devices},
            about=[claim.obj["metadata"]["uid"] for claim in claims],
            seconds=int(time.monotonic() - self._began) + 2,
        )


def allocation_name(claim: Claim) -> str:
    """The ConfigMap that tells a claim's pods which GPUs it was allocated."""
    return f"allocation-{claim.name}"


def the_pod(member: Member) -> Object:
    """A member's pod.

    Raises:
        UndecidedError: it was not created.
    """
    if member.pod is None:
        head = f"the {member.role}'s pod was not created"
        raise UndecidedError(Finding(head, "a pod", "none", Blame.SUITE))
    return member.pod


def the_follower(member: Member) -> LogFollower:
    """The reader of a member's log.

    Raises:
        UndecidedError: its container did not start.
    """
    if member.follower is None:
        head = f"the {member.role}'s container did not start"
        raise UndecidedError(Finding(head, "a running container", "none", Blame.SUITE))
    return member.follower


def _first(pod: Object) -> str:
    return str(pod["spec"]["containers"][0]["name"])
