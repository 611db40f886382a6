"""What claims leave on their node: CDI files, and what the driver keeps in folders of its own."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath

from harness.checks.check import check
from harness.cluster.inventory import Device
from harness.cluster.kinds import uid_of
from harness.scenario import cdi_files
from harness.scenario.driver import Driver
from harness.scenario.evidence import Evidence, Observed
from harness.scenario.node import Node
from harness.scenario.node_files import File
from harness.scenario.pod_spec import resting
from harness.scenario.pods import last_termination, restarts
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps
from harness.verdict.finding import UnsupportedError, counted, few_devices, one_line

AT_A_TIME, CLAIMS, SECONDS = 8, 50, 20
"""Claims of a pod at most; so many come and go, or as many as fit into so many seconds."""
HELD, ONCE, OFTEN = "held", "once", "often"
"""When folders are read: while the first claims are held, when those are gone, and when all are."""
ENDS = "ends"
"""How the driver ended the last time, if it did."""
FEWEST = 4
"""Rounds that it takes to tell a file of each from what comes now and then."""


@scenario(most=AT_A_TIME, impacts=("exhaust",), uses=(Node.files, Driver.metrics, Driver.pods))
def claims_leave_files(steps: Steps) -> None:
    """Claims of a node come and go, several with each pod; its folders are read in between."""
    devices = _round(steps, 0, [None] * min(steps.devices, AT_A_TIME))
    with _starts_noted(steps, devices[0].node):
        _come_and_go(steps, devices)


@contextmanager
def _starts_noted(steps: Steps, node: str) -> Iterator[None]:
    """Note how often the driver of a node was started again, before and after."""
    container = steps.run.subject.profile.plugin_container

    def note(when: str) -> None:
        seen: Observed[dict[str, int]] = Observed("the driver's pods")
        steps.evidence.noted[when] = seen

        def look() -> None:
            pods = steps.driver.pods(node)
            steps.evidence.noted[ENDS] = [last_termination(pod, container) for pod in pods]
            seen.found({uid_of(pod): restarts(pod, container) for pod in pods})

        steps.attempt(look, seen.missing)

    note(HELD)
    try:
        yield
    finally:
        note(OFTEN)


def _come_and_go(steps: Steps, devices: Sequence[Device]) -> None:
    node = steps.node(devices[0].node)
    node.files("cdi", HELD)
    metrics = steps.evidence.metrics
    metrics[HELD] = steps.driver.metrics(node.name)
    steps.release()
    node.files("cdi,plugin,registry", ONCE)
    metrics[ONCE] = steps.driver.metrics(node.name)
    began, number = steps.seconds, 0
    while number < FEWEST or (
        len(steps.evidence.claims) < CLAIMS and steps.seconds - began < SECONDS
    ):
        number += 1
        _round(steps, number, devices)
        steps.release()
    node.files("cdi,plugin,registry", OFTEN)
    steps.keep_events()


def _round(steps: Steps, number: int, devices: Sequence[Device | None]) -> list[Device]:
    """Have a pod with a claim for each device; its container has no need of them."""
    claims = [
        steps.claim(1, f"{number}-{place}", of=[device] if device else ())
        for place, device in enumerate(devices)
    ]
    pod = f"round-{number}"
    steps.start_pod(pod, [resting(pod, uses_claims=False)], *claims)
    return [device for claim in claims for device in claim.devices]


class Left:
    """What the scenario left on the node."""

    def __init__(self, evidence: Evidence) -> None:
        """Take it apart.

        Raises:
            JudgementError: the scenario did not come so far.
        """
        self.held = evidence.files(HELD)
        """The CDI folders while claims were held."""
        self.once, self.often = evidence.files(ONCE), evidence.files(OFTEN)
        """All folders, when these claims were gone, and when all were."""
        self.claims = {uid_of(one.obj) for one in evidence.claims.values()}
        self.rounds = len(evidence.containers) - 1
        """How many there were in between."""
        self._cdi = [one.path for one in self.held if one.kind == "folder"]

    def of_claims(self, files: Iterable[File]) -> list[File]:
        """Files that name a claim."""
        return [one for one in files if any(map(one.mentions, self.claims))]

    def is_cdi(self, file: File) -> bool:
        """Whether it is in one of the CDI folders."""
        return any(PurePosixPath(file.path).is_relative_to(folder) for folder in self._cdi)

    def written(self) -> list[File]:
        """CDI files that the driver wrote for the claims: they name one, or did not stay so."""
        stayed = {(one.path, one.sha256) for one in self.once}
        mine = {one.path for one in self.of_claims(self.held)}
        return [
            one
            for one in cdi_files.read(self.held)
            if one.path in mine or (one.path, one.sha256) not in stayed
        ]


@check(id="LIFE-009", level=2, source="LIFE-9", scenario=claims_leave_files, after=("NODE-006",))
def test_no_cdi_file_names_a_claim_that_is_gone(evidence: Evidence) -> None:
    """When a claim is gone, no CDI file of its node MUST name it."""
    left = Left(evidence)
    if not left.of_claims(left.held):
        raise UnsupportedError("no CDI file of the node names a claim by its UID")
    found = {one.path for one in left.of_claims([*left.once, *left.often]) if left.is_cdi(one)}
    if found:
        evidence.fail(
            f"{counted(len(found), 'CDI file')} of claims that are gone: the driver does not remove"
            " them when it unprepares",
            expected="no CDI file that names one of the claims",
            observed="\n".join(sorted(found)),
        )


@check(id="LIFE-020", level=2, source="LIFE-9", scenario=claims_leave_files, after=("NODE-006",))
def test_the_driver_keeps_no_record_of_a_claim_that_is_gone(evidence: Evidence) -> None:
    """When a claim is gone, nothing that the driver keeps on its node MUST have the claim on
    record; what only tells what happened, as a log does, may name it.
    """
    left = Left(evidence)
    found = {
        one.path
        for one in left.of_claims([*left.once, *left.often])
        if not left.is_cdi(one)
        and (_is_record(one) or any(map(one.path.__contains__, left.claims)))
    }
    if found:
        evidence.fail(
            f"{_name(min(found))} in the driver's folder still has claims on record that are gone",
            expected="no file of the driver that has one of the claims on record",
            observed="\n".join(sorted(found)),
        )


@check(id="LIFE-021", level=2, source="LIFE-9", scenario=claims_leave_files, after=("NODE-006",))
def test_folders_do_not_grow_with_each_claim(evidence: Evidence) -> None:
    """What the driver has on a node MUST NOT become more with each claim that comes and goes."""
    left = Left(evidence)
    named = {one.path for one in left.of_claims(left.often)}
    more = sorted({one.path for one in left.often} - {one.path for one in left.once} - named)
    if len(more) >= left.rounds:
        evidence.fail(
            f"{counted(len(more), 'file')} more in the driver's folders after"
            f" {counted(len(left.claims), 'claim')}, such as {_name(more[0])}",
            expected="as many files as before, or a few that do not depend on the claims",
            observed="\n".join(more),
        )


@check(id="NODE-027", level=2, source="NODE-27", scenario=claims_leave_files, after=("NODE-006",))
def test_cdi_files_are_valid(evidence: Evidence) -> None:
    """Every file that the driver puts where runtimes look for CDI files MUST be a whole and valid
    one.
    """
    left = Left(evidence)
    if not left.written():
        raise UnsupportedError("the driver writes no CDI file for a claim")
    wrong = {one.path: what for one in left.written() if (what := cdi_files.problem(one))}
    if wrong:
        evidence.fail(
            f"{counted(len(wrong), 'CDI file')} of the driver cannot be used:"
            f" {one_line(next(iter(wrong.values())), 70)}",
            expected="whole files, as the specification of CDI describes them",
            observed="\n".join(f"{path}: {what}" for path, what in wrong.items()),
        )


@check(id="NODE-040", level=2, source="NODE-27", scenario=claims_leave_files, after=("NODE-006",))
def test_a_cdi_device_is_defined_once(evidence: Evidence) -> None:
    """The CDI devices of two claims MUST have different names: of one that is defined twice no
    container gets anything.
    """
    left = Left(evidence)
    mine = {one.path for one in left.written()}
    if not mine:
        raise UnsupportedError("the driver writes no CDI file for a claim")
    if len(left.claims) == left.rounds + 1:
        raise few_devices(2, 1)
    for name, paths in _definitions(cdi_files.read(left.held)):
        if len(paths) > 1 and not mine.isdisjoint(paths):
            evidence.fail(
                f"CDI device {one_line(name, 60)} is defined in {counted(len(paths), 'file')}",
                expected="each device in one file",
                observed="\n".join(paths),
            )


def _definitions(files: Iterable[File]) -> Iterator[tuple[str, list[str]]]:
    """Each device with the files that define it, of one folder: another folder may overrule it."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for file in files:
        for name in cdi_files.devices(file):
            found[str(PurePosixPath(file.path).parent), name].append(file.path)
    return ((name, paths) for (_, name), paths in found.items())


def _name(path: str) -> str:
    """A file's name, short enough for a first line."""
    return one_line(PurePosixPath(path).name, 36)


def _is_record(file: File) -> bool:
    """Whether a file is one JSON document, which a program reads again; a log is none."""
    try:
        json.loads(file.text or "")
    except ValueError:
        return False
    return True
