"""What a scenario left: claims, containers, what happened, and what each of them reported.

A piece of it is a value that was observed, or the reason why it was not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from harness.cluster.inventory import Device
from harness.cluster.kinds import Object, name_of
from harness.cluster.kube import ApiError
from harness.cluster.observe import LogFollower
from harness.cluster.profile import UNKNOWN
from harness.options import USER
from harness.scenario.by_hand import Script
from harness.scenario.report import Report
from harness.verdict import causes
from harness.verdict.causes import Cause
from harness.verdict.finding import (
    Blame,
    FailedError,
    Finding,
    InconclusiveError,
    JudgementError,
    UnsupportedError,
    judge,
)
from workload.result import Termination, Verdict

if TYPE_CHECKING:
    from harness.scenario.metrics import Metrics
    from harness.scenario.node_files import File
    from harness.scenario.slice_writes import SliceWrites

T = TypeVar("T")


class Observed(Generic[T]):
    """A value, or the reason why there is none; asking for a missing one raises the reason."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._found: list[T] = []
        self._reason: JudgementError | None = None

    def found(self, value: T) -> T:
        """Note the value, and answer it."""
        self._found = [value]
        return value

    def missing(self, reason: JudgementError) -> None:
        """Note why it never came; the first reason stays, and what was found stays found."""
        if not self._found and self._reason is None:
            self._reason = reason

    def explain(self, explained: Callable[[Finding], Finding]) -> None:
        """Put beside the reason what else was seen."""
        if isinstance(self._reason, FailedError | InconclusiveError):
            self._reason.finding = explained(self._reason.finding)

    def known(self) -> T | None:
        """Answer the value, or None."""
        return self._found[0] if self._found else None

    def reason(self) -> str:
        """Say why it is missing; empty when it is there or nobody said."""
        return "" if self._found or self._reason is None else str(self._reason)

    def get(self) -> T:
        """Answer the value.

        Raises:
            JudgementError: the reason why there is none.
        """
        if self._found:
            return self._found[0]
        if self._reason is not None:
            raise self._reason
        head = f"{self.what} was not collected"
        raise InconclusiveError(Finding(head, self.what, "nothing", Blame.SUITE))


HOLDER = "holder"
"""A container that does nothing but keep a claim allocated."""
CHANNEL = "channel"
"""The claim of an IMEX channel."""
REST = "rest"
"""The workload's command that touches no device and leaves no report."""


@dataclass(frozen=True)
class End:
    """How something went that the scenario deleted, as the watch told of it."""

    asked: float
    """When its deletion was asked for, in seconds since 1970."""
    gone: float
    """When it was seen to be gone, in seconds since 1970."""
    versions: tuple[Object, ...]
    """Every state in which it was seen, oldest first."""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.gone - self.asked


@dataclass(frozen=True)
class Change:
    """A file of a node as it was after a change."""

    path: str
    text: str | None
    """Its content; None: it is gone."""

    def mentions(self, word: str) -> bool:
        """Whether it is there and has a word in its name or its content."""
        return self.text is not None and (word in self.path or word in self.text)


class Claim:
    """A claim of the scenario, and what it was allocated."""

    def __init__(self, obj: Object, requests: Sequence[str], template: str = "") -> None:
        self.obj = obj
        self.template = template
        """The ResourceClaimTemplate from which its pod's creation makes it; empty: none."""
        self.call = name_of(obj)
        """What its pods call it."""
        self.requests = tuple(requests)
        self.by_request: Mapping[str, tuple[Device, ...]] = {}
        """Allocated devices that a slice publishes, once allocated."""
        self.node_devices: tuple[Device, ...] = ()
        """Every published device of the node that the allocated devices are on."""
        self.history: tuple[Object, ...] = ()
        """Every state in which it was seen until its pods were deleted, oldest first."""
        self.announced = False
        """Whether its pods were told which devices it got."""
        self.allocated: Observed[Object] = Observed(f"the allocation of claim {self.name}")
        self.in_use: Observed[Object] = Observed(f"claim {self.name} as its pods use it")
        self.released: Observed[Object] = Observed(f"claim {self.name} after its pods are gone")
        self.gone: Observed[End] = Observed(f"the end of claim {self.name}")

    @property
    def name(self) -> str:
        """The claim's name."""
        return name_of(self.obj)

    @property
    def exists(self) -> bool:
        """Whether it was created, by the scenario or for a pod."""
        return "uid" in self.obj["metadata"]

    @property
    def devices(self) -> tuple[Device, ...]:
        """The allocated devices in the order of the requests."""
        return tuple(one for name in self.requests for one in self.by_request.get(name, ()))

    def all(self) -> list[Observed[Any]]:
        """List every piece of evidence."""
        return [self.allocated, self.in_use, self.released, self.gone]


class Container:
    """One container of a scenario, in a pod of its own unless others are in it, too."""

    def __init__(self, role: str, args: Sequence[str] = (), claims: Sequence[Claim] = ()) -> None:
        self.role = role
        self.args = tuple(args)
        """What the workload was asked to do."""
        self.claims = tuple(claims)
        self.verdict = Verdict.OK
        """The workload's verdict that shows that all is well."""
        self.pod: Object | None = None
        """As last seen."""
        self.devices: tuple[Device, ...] = ()
        """What its claims held when it started."""
        self.shows_something: bool | None = None
        """Whether it has anything of its claims that is seen; None: it was not to, or left no
        report."""
        self.refused: JudgementError | None = None
        """Why the API server did not take its pod."""
        self.ended_by_suite = False
        """Whether it waited for something that cannot come, and was told to stop."""
        self.follower: LogFollower | None = None
        self.admitted: Observed[Object] = Observed(f"the {role}'s pod")
        self.started: Observed[Object] = Observed(f"the start of the {role}'s container")
        self.report: Observed[Report] = Observed(f"the {role}'s report")
        """Of its last start."""
        self.earlier: list[Observed[Report]] = []
        """The reports of the starts before, oldest first."""
        self.message: Observed[Termination] = Observed(f"the {role}'s termination message")
        self.gone: Observed[End] = Observed(f"the end of the {role}'s pod")
        self.told: Observed[str] = Observed(f"the reason why the {role}'s pod waits")
        """In the words of an event; empty: it runs."""
        self.waits: Observed[str] = Observed(f"the {role}'s pod as it waits")
        """What it has got after all, seen later: a node, or claims; empty: nothing."""

    @property
    def rests(self) -> bool:
        """Whether it only rests, so that it has nothing to report."""
        return self.args[:1] == (REST,)

    def all(self) -> list[Observed[Any]]:
        """List every piece of evidence."""
        reports: list[Observed[Any]] = [*self.earlier, self.report, self.message]
        return [self.admitted, self.started, *reports, self.gone, self.told, self.waits]

    def the_pod(self) -> Object:
        """Answer its pod.

        Raises:
            InconclusiveError: it was not created.
        """
        if self.pod is None:
            head = f"the {self.role}'s pod was not created"
            raise InconclusiveError(Finding(head, "a pod", "none", Blame.SUITE))
        return self.pod

    def the_follower(self) -> LogFollower:
        """Answer the reader of its log.

        Raises:
            InconclusiveError: it did not start.
        """
        if self.follower is None:
            head = f"the {self.role}'s container did not start"
            raise InconclusiveError(Finding(head, "a running container", "none", Blame.SUITE))
        return self.follower

    def lines(self) -> list[str]:
        """Read its log as far as it has come."""
        return self.follower.lines() if self.follower is not None else []


class EvidenceBase:
    """What a check judges: pieces that were found or not, and what happened meanwhile."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.steps: list[str] = []
        self.events: list[str] = []
        self.driver_log: list[str] = []
        self.driver_lines: list[str] = []
        """All that the driver said meanwhile, where something failed."""
        self.began = time.time()
        """In seconds since 1970."""
        self.script = Script()
        """How to do the same by hand."""

    def pieces(self) -> list[Observed[Any]]:
        """List every piece."""
        raise NotImplementedError

    def without(self, reason: JudgementError) -> None:
        """Note the reason for all that was not found."""
        for piece in self.pieces():
            piece.missing(reason)

    def explained(self, finding: Finding) -> Finding:
        """Put beside a finding what happened, where it has no evidence of its own."""
        return replace(
            finding,
            steps=finding.steps or tuple(self.steps),
            events=finding.events or tuple(self.events),
            driver_log=finding.driver_log or tuple(self.driver_log),
        )

    def fail(
        self,
        head: str,
        *,
        expected: str,
        observed: str,
        cause: Cause | None = None,
        blame: Blame = Blame.DRIVER,
    ) -> NoReturn:
        """End a check with a finding; it is an error, not a failure, if the driver is not to blame.

        Args:
            head: one line that a stranger understands.
            expected: what a correct driver brings about.
            observed: what there was.
            cause: the likely cause, which also says who is to blame.
            blame: who is to blame where no cause says it.
        """
        finding = causes.because(cause, Finding(head, expected, observed, blame))
        if finding.blame is Blame.DRIVER:
            finding = causes.because(self.not_the_drivers(), finding)
        raise judge(self.explained(finding))

    def not_the_drivers(self) -> Cause | None:
        """Say what else than the driver may be the cause of all that is wrong here."""
        return None


class Evidence(EvidenceBase):
    """What a scenario left: its containers by role, its claims by name, its parts by name.

    Asked for something that the scenario did not reach, it raises the reason, a `JudgementError`.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.nodes: dict[str, str] = {}
        """Nodes by what was done to them."""
        self.containers: dict[str, Container] = {}
        self.left_out: dict[str, UnsupportedError] = {}
        """Why containers are not there that a larger cluster has, by role."""
        self.claims: dict[str, Claim] = {}
        self.parts: dict[str, Evidence] = {}
        """What parts of the scenario left, which ran side by side."""
        self.noted: dict[str, Any] = {}
        """What the script noted for its checks, by names of its own."""
        self.looks: dict[str, tuple[File, ...]] = {}
        """What was in folders of nodes, by what each look is called."""
        self.changes: dict[str, tuple[Change, ...]] = {}
        """What became of files of nodes, by what each watch is called."""
        self.answers: dict[str, Observed[ApiError | None]] = {}
        """What the API server said to requests that it has to refuse; None: it did not refuse."""
        self.slices: Observed[SliceWrites] = Observed("the driver's slices over time")
        self.devices: dict[Device, str] = {}
        """What was published when somebody looked, each with the claim that held it, or nothing."""
        self.metrics: dict[str, Observed[Metrics]] = {}
        """What the driver counted, by when."""
        self.times: dict[str, list[float]] = {}
        """Seconds that something took, each time, by what it was."""
        self.ended: Observed[bool] = Observed("the end of the scenario")
        self.namespace: Observed[End] = Observed("the end of the scenario's own namespace")
        self.runtimes: Mapping[str, Cause | None] = {}
        """Why containers have nothing of their claims, by node; None: it is not the runtime."""
        self.simulated = False
        """Whether the GPUs are simulated."""
        self.visible_by = UNKNOWN
        """How a container has a device of the driver: see `harness.cluster.profile.VISIBLE_BY`."""
        self.user: int | None = USER
        """As whom containers run that ask for no other user; None: the cluster chose, not root."""
        self.known: frozenset[str] = frozenset()
        """What of its devices the driver publishes, as its profile says: some of
        `harness.cluster.profile.ATTRIBUTES`."""

    def pieces(self) -> list[Observed[Any]]:
        """List every piece, those of the parts, too."""
        found: list[Observed[Any]] = [self.ended, self.slices, self.namespace]
        found += self.answers.values()
        for claim in self.claims.values():
            found += claim.all()
        for container in self.containers.values():
            found += container.all()
        for part in self.parts.values():
            found += part.pieces()
        return found

    def went_well(self) -> bool:
        """Whether nothing of it, so far, will be of interest to somebody who looks for a fault."""
        for container in self.containers.values():
            report = container.report.known()
            ended_so = container.ended_by_suite or (report and report.verdict == container.verdict)
            if not container.rests and not (report and ended_so):
                return False
        return not self.ended.reason()

    def not_the_drivers(self) -> Cause | None:
        """Say what the runtime has to do with it that no container has anything of its claims."""
        told = [one for one in self.containers.values() if one.shows_something is not None]
        if any(one.shows_something for one in told):
            return None
        nodes = (str(one.the_pod()["spec"].get("nodeName")) for one in told)
        return next((cause for node in nodes if (cause := self.runtimes.get(node))), None)

    def node(self, done: str) -> str:
        """Find the node to which something was done."""
        return self._reached(done, self.nodes)

    def container(self, role: str) -> Container:
        """Find a container by its role.

        Raises:
            JudgementError: the scenario did not reach it, or the cluster is too small for it.
        """
        if role in self.left_out:
            raise self.left_out[role]
        return self._reached(role, self.containers)

    def claim(self, name: str) -> Claim:
        """Find a claim by its name."""
        return self._reached(name, self.claims)

    def note(self, name: str) -> Any:
        """Find what the script noted."""
        return self._reached(name, self.noted)

    def part(self, name: str) -> Evidence:
        """Find what a part left."""
        return self._reached(name, self.parts)

    def answer(self, name: str) -> ApiError | None:
        """Find what the API server said to a request that it has to refuse; None: it took it."""
        return self._reached(name, self.answers).get()

    def files(self, look: str) -> tuple[File, ...]:
        """Find what a look into a folder of a node saw."""
        return self._reached(look, self.looks)

    def changed(self, watch: str) -> tuple[Change, ...]:
        """Find what a watch of a node's folder saw, in its order."""
        return self._reached(watch, self.changes)

    def metric(self, called: str) -> Metrics:
        """Find what the driver counted."""
        return self._reached(called, self.metrics).get()

    def _reached(self, name: str, among: Mapping[str, T]) -> T:
        if name not in among:
            self.ended.get()
            head = f"the scenario {self.name} has no {name}"
            raise InconclusiveError(Finding(head, name, ", ".join(among), Blame.SUITE))
        return among[name]

    def report(self, role: str, start: int = -1) -> Report:
        """Read what a container reported.

        Args:
            role: the container.
            start: at which of its starts, from 0 on; -1: the last one.

        Raises:
            JudgementError: there is no report, or the workload failed before its task.
        """
        container = self.container(role)
        report = [*container.earlier, container.report][start].get()
        if report.at_fault:
            self.fail(
                f"the {role} failed before its task: {report.error_text()}",
                expected="a result about the GPUs",
                observed=report.error_text(),
                cause=causes.of_cuda(report.error, at_fault=True),
            )
        return report
