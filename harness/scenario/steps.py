"""Scenarios as scripts: a function of a `ScriptedPlay` that starts pods and waits for their end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from harness.checks.check import Impact, Scenario
from harness.cluster.kinds import Object
from harness.cluster.kube import ApiError
from harness.scenario.evidence import HOLDER, Claim, Member, Played
from harness.scenario.launcher import Turn
from harness.scenario.play import Play, allocation_name, the_pod
from harness.scenario.pods import cannot_start
from harness.scenario.run import RESTRICTED as RESTRICTED_STANDARD
from harness.scenario.run import Run
from harness.scenario.security import RESTRICTED, Security
from harness.verdict import causes
from harness.verdict.finding import Blame, JudgementError, UnmetError

HOLDERS_PATIENCE = "3600"
"""Seconds; it is ended by the suite."""
FOLDER = "/shared"
"""Where containers see the folder that they share."""


@dataclass(frozen=True)
class Container:
    """One container of a pod of the workload."""

    role: str
    args: Sequence[str]
    own_pid: int | None = None
    """What PID it is to have for itself; None: as it comes."""
    requests: Sequence[str] = ()
    """Of the pod's claim, those that it gets; all of them where none is named."""
    waits: bool = True
    """Whether it starts only when it can be told which GPUs were allocated."""
    command: Sequence[str] = ()
    """Instead of the image's own."""


class ScriptedPlay(Play):
    """A play by a script: what most scenarios need, in a few words."""

    def __init__(
        self,
        run: Run,
        account: Played,
        turn: Turn | None,
        standard: str = RESTRICTED_STANDARD,
        scenario: str = "",
    ) -> None:
        super().__init__(run, account, turn, standard, scenario)
        self.played = account
        self._claims_of: dict[str, list[Claim]] = {}

    def perform(self, script: Callable[[ScriptedPlay], None]) -> Played:
        """Play it to its end; never raises but to end the run."""
        played = self.played

        def play() -> None:
            script(self)
            played.ended.found(True)

        self.attempt(play, played.without)
        for member in played.members.values():
            self.attempt(lambda member=member: self._finished(member), played.without)  # type: ignore[misc]
        pods = [member.pod for member in played.members.values() if member.pod is not None]
        if not played.went_well():
            self.attempt(
                lambda: self.keep_evidence(pods, list(played.claims.values())), lambda _: None
            )
        keep = self.run.options.keep
        if keep == "always" or (keep == "failed" and not played.went_well()):
            played.released.missing(UnmetError(f"the pods are kept, as --dra-keep {keep} asks"))
        else:
            self.attempt(lambda: self._release(pods), played.released.missing)
        for member in played.members.values():
            if member.follower is not None:
                member.follower.close()
        for piece in played.evidence():
            piece.explain(played.explained)
        return played

    def claim(self, count: int | None = None, name: str = "gpus") -> Claim:
        """Claim devices of one node, as many as may be claimed unless a number is given."""
        count = self.devices if count is None else count
        requests = [f"gpu-{number}" for number in range(1, count + 1)]
        claim = self.create_claim(f"{name}-{self.account.name}", requests)
        self.played.claims[name] = claim
        return claim

    def start(
        self,
        role: str,
        args: Sequence[str],
        *claims: Claim,
        security: Security = RESTRICTED,
        own_pid: int | None = None,
        folder: PurePosixPath | None = None,
    ) -> Member:
        """Create a pod with one container and wait until it runs.

        Args:
            role: how it is called: container, and pod but for the scenario's name.
            args: the workload's arguments.
            claims: what the pod uses.
            security: what it may do.
            own_pid: what PID its process is to have for itself; None: as it comes.
            folder: a folder of the node to share.
        """
        container = Container(role, args, own_pid)
        (member,) = self.start_pod(
            role, [container], *claims, security=security, folder=bool(folder), host_folder=folder
        )
        return member

    def hold(self, claim: Claim) -> Member:
        """Keep a claim allocated to the same devices, whatever other pods of it end.

        A claim that no living pod uses is deallocated, and may come back with other devices.
        """
        return self.start(HOLDER, ["rest", "--role", HOLDER, "--patience", HOLDERS_PATIENCE], claim)

    def start_pod(
        self,
        name: str,
        containers: Sequence[Container],
        *claims: Claim,
        security: Security = RESTRICTED,
        folder: bool = False,
        host_folder: PurePosixPath | None = None,
    ) -> list[Member]:
        """Create a pod and wait until its containers run.

        Args:
            name: of the pod, but for the scenario's name.
            containers: what runs in it, in this order.
            claims: what it uses.
            security: what it and its containers may do.
            folder: whether its containers share a folder.
            host_folder: the node's folder to share; None for one of the pod's own.
        """
        members = self.create_pod(
            name, containers, *claims, security=security, folder=folder, host_folder=host_folder
        )
        for member in members:
            self.await_start(member, self._claims_of[member.role])
        return members

    def create_pod(
        self,
        name: str,
        containers: Sequence[Container],
        *claims: Claim,
        security: Security = RESTRICTED,
        folder: bool = False,
        host_folder: PurePosixPath | None = None,
    ) -> list[Member]:
        """Create a pod as `start_pod` does, and wait only until its claims are allocated."""
        members = [Member(container.role) for container in containers]
        for member in members:
            self.played.members[member.role] = member
            self._claims_of[member.role] = list(claims)
        values = self.pod_values(name, containers, claims, security)
        values |= {"folder": FOLDER if folder else "", "host_folder": str(host_folder or "")}
        try:
            pod = self.create("pod.yaml.j2", values)
        except ApiError as error:
            reason, *_ = [self.refused(member, error) for member in members]
            raise reason from error
        for member in members:
            member.pod = pod
            member.admitted.found(pod)
        for claim in claims:
            if not claim.by_request:
                self.await_allocation(claim, pod)
                self.tell_allocation(claim)
        return members

    def pod_values(
        self,
        name: str,
        containers: Sequence[Container],
        claims: Sequence[Claim],
        security: Security,
    ) -> dict[str, Any]:
        """The values of the pod's template for a pod without a shared folder."""
        return {
            "name": f"{name}-{self.account.name}",
            "image": self.run.subject.image,
            "tolerations": [dict(item) for item in self.run.subject.profile.tolerations],
            "fields": security.of_pod(),
            "claims": [claim.name for claim in claims],
            "folder": "",
            "host_folder": "",
            "containers": [_container(one, claims, security) for one in containers],
        }

    def offer(self, member: Member) -> str:
        """The offer in a member's log.

        Raises:
            JudgementError: it ended without one; what it reported says why.
        """
        offer = self.await_offer(member)
        if offer is None:
            self._finished(member)
            report = member.report.get()
            self.account.refuse(
                f"the {member.role} could not export its memory: {report.error_text()}",
                expected="an exported handle",
                observed=report.error_text(),
                cause=causes.of_cuda(report.error),
            )
        return offer

    def await_end(self, member: Member) -> None:
        """Wait until a member has ended, with or without a result."""
        pod = the_pod(member)

        def ended() -> bool | None:
            seen, events = self._observer.last(pod).obj, self.run.events_of(pod)
            if (reason := cannot_start(seen, events, member.role)) is not None:
                raise reason
            return self.has_ended(pod, member.role) or None

        self.wait(
            f"the end of the {member.role}'s container",
            ended,
            self._budgets.workload,
            lambda: self.at(pod, member.role),
            Blame.WORKLOAD,
            pod,
        )

    def finish(self, *members: Member) -> None:
        """Wait until members have ended by themselves, and read what they left."""
        for member in members:
            self.await_end(member)
            self._finished(member)
            report = member.report.known()
            self.step(f"{member.role} ended: {report.verdict if report else 'without a result'}")

    def _finished(self, member: Member) -> None:
        """A member has nothing more to say: end it if it still waits, and read what it left."""
        if member.pod is None or member.started.known() is None:
            return
        if member.report.known() is not None:
            return
        if not self.has_ended(member.pod, member.role):
            self.end(member)
        self.collect(member)

    def _release(self, pods: Sequence[Object]) -> None:
        """Delete the pods and see that the claims are free again."""
        self.delete_pods(pods)
        if self.played.claims:
            for claim in self.played.claims.values():
                self.await_release(claim.obj, pods)
                self._kube.delete(claim.obj)
        else:
            # Another play's claims: they are free when its own pods are gone, too.
            self.wait(
                "the end of the pods",
                lambda: all(self._observer.last(pod).gone for pod in pods) or None,
                self._budgets.release,
                lambda: "; ".join(self.at(pod) for pod in pods),
                Blame.KUBELET,
                *pods,
            )
        self.played.released.found(True)


def _container(container: Container, claims: Sequence[Claim], security: Security) -> dict[str, Any]:
    """A container's values for the pod's template."""
    env: list[dict[str, Any]] = []
    if container.waits and claims:
        key = {"name": allocation_name(claims[0]), "key": "gpus"}
        env.append({"name": "DRA_GPUS", "valueFrom": {"configMapKeyRef": key}})
    if container.own_pid is not None:
        env.append({"name": "DRA_OWN_PID", "value": str(container.own_pid)})
    used: list[dict[str, str]] = [{"name": claim.name} for claim in claims]
    if container.requests:
        used = [{"name": claims[0].name, "request": request} for request in container.requests]
    return {
        "role": container.role,
        "args": list(container.args),
        "command": list(container.command),
        "env": env,
        "claims": used,
        "security": security.of_container(),
    }


Script = Callable[[ScriptedPlay], None]


@dataclass(frozen=True)
class Scripted(Scenario):
    """A scenario that a script plays."""

    script: Script = lambda _: None
    standard: str = RESTRICTED_STANDARD
    """The Pod Security Standard of the namespace that it is played in."""

    def play(self, run: Run, turn: Turn) -> Played:
        """Play it."""
        return ScriptedPlay(run, Played(self.name), turn, self.standard).perform(self.script)

    def unplayed(self, reason: JudgementError) -> Played:
        """What came of it when it could not be played."""
        played = Played(self.name)
        played.without(reason)
        return played


def scenario(
    *, devices: int = 1, most: int = 0, impact: str = "none", standard: str = RESTRICTED_STANDARD
) -> Callable[[Script], Scripted]:
    """Make a scenario of a script; it is named as the function.

    Args:
        devices: how many devices of one node it takes at least.
        most: how many it can make use of, where a node has more.
        impact: of everything that it does.
        standard: the Pod Security Standard of the namespace that it is played in.
    """

    def made(script: Script) -> Scripted:
        name = script.__name__.replace("_", "-")
        return Scripted(name, Impact(impact), devices, most, script=script, standard=standard)

    return made
