"""What came of a scenario: claims, containers, what happened, and what each of them left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from harness.cluster.inventory import Device
from harness.cluster.kinds import Object, name_of
from harness.cluster.logs import LogFollower
from harness.scenario.observed import Evidence
from harness.scenario.workload_report import WorkloadReport
from harness.verdict import causes
from harness.verdict.causes import Cause
from harness.verdict.finding import Blame, Finding, JudgementError, UndecidedError, judge

HOLDER = "holder"
"""A container that does nothing but keep a claim allocated."""


class Claim:
    """A claim of the scenario, and what it was allocated."""

    def __init__(self, obj: Object, requests: Sequence[str]) -> None:
        self.obj = obj
        self.requests = tuple(requests)
        self.by_request: Mapping[str, Device] = {}
        """Allocated devices that a slice publishes, once allocated."""

    @property
    def name(self) -> str:
        """The claim's name; pods call it so, too."""
        return name_of(self.obj)

    @property
    def devices(self) -> tuple[Device, ...]:
        """The allocated devices in the order of the requests."""
        return tuple(self.by_request[name] for name in self.requests if name in self.by_request)


class Member:
    """One container of a scenario, in a pod of its own unless others are in it, too."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.pod: Object | None = None
        """As last seen."""
        self.devices: tuple[Device, ...] = ()
        """What its claims held when its container started."""
        self.refused: JudgementError | None = None
        """Why the API server did not take its pod."""
        self.ended_by_suite = False
        """Whether it waited in vain and was told to stop."""
        self.follower: LogFollower | None = None
        self.admitted: Evidence[Object] = Evidence(f"the {role}'s pod")
        self.started: Evidence[Object] = Evidence(f"the start of the {role}'s container")
        self.report: Evidence[WorkloadReport] = Evidence(f"the {role}'s report")
        self.message: Evidence[Mapping[str, Any]] = Evidence(f"the {role}'s termination message")

    def all(self) -> list[Evidence[Any]]:
        """Every piece of evidence."""
        return [self.admitted, self.started, self.report, self.message]

    def lines(self) -> list[str]:
        """Its log as far as it has come."""
        return self.follower.lines() if self.follower is not None else []


class Account:
    """What came of a scenario; the base of every kind."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.steps: list[str] = []
        self.events: list[str] = []
        self.driver_log: list[str] = []

    def evidence(self) -> list[Evidence[Any]]:
        """All of it."""
        raise NotImplementedError

    def without(self, reason: JudgementError) -> None:
        """Note why what is missing is missing."""
        for piece in self.evidence():
            piece.missing(reason)

    def explained(self, finding: Finding) -> Finding:
        """A finding with what happened beside it."""
        return finding.with_evidence(tuple(self.steps), tuple(self.events), tuple(self.driver_log))

    def refuse(
        self,
        head: str,
        *,
        expected: str,
        observed: str,
        cause: Cause | None = None,
        blame: Blame = Blame.DRIVER,
    ) -> NoReturn:
        """End a check: not so. Who is to blame decides whether that fails the driver."""
        finding = Finding(
            head=head,
            expected=expected,
            observed=observed,
            blame=cause.blame if cause else blame,
            likely=cause.text if cause else "",
            next=cause.next if cause else "",
        )
        raise judge(self.explained(finding))


class Played(Account):
    """What came of a scripted scenario: its members by role, and its claims by name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.members: dict[str, Member] = {}
        self.claims: dict[str, Claim] = {}
        self.notes: dict[str, Any] = {}
        """What a script wants to tell its checks besides."""
        self.ended: Evidence[bool] = Evidence("the end of the scenario")
        self.released: Evidence[bool] = Evidence("the release of the claims")

    def evidence(self) -> list[Evidence[Any]]:
        """All of it."""
        pieces: list[Evidence[Any]] = [self.ended, self.released]
        for member in self.members.values():
            pieces += member.all()
        return pieces

    def went_well(self) -> bool:
        """Whether nothing of it will be of interest to somebody who looks for a fault."""
        reports = [m.report.known() for m in self.members.values() if m.role != HOLDER]
        fine = all(report is not None and report.verdict == "ok" for report in reports)
        return fine and self.ended.known() is not None

    def member(self, role: str) -> Member:
        """A member, or the reason why the script never came to it."""
        if role not in self.members:
            self.ended.get()
            head = f"the scenario {self.name} has no {role}"
            raise UndecidedError(Finding(head, role, ", ".join(self.members), Blame.SUITE))
        return self.members[role]

    def report(self, role: str) -> WorkloadReport:
        """What a member reported, or the reason why it did not.

        Raises:
            JudgementError: there is no report, or the workload did not come to its task.
        """
        report = self.member(role).report.get()
        if report.at_fault:
            self.refuse(
                f"the {role} did not come to its task: {report.error_text()}",
                expected="a result about the GPUs",
                observed=report.error_text(),
                cause=causes.of_cuda({**(report.error or {}), "blame": "workload"}),
            )
        return report
