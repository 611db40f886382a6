"""Pods of one device each, all on one node, that run, start and end while it is disturbed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial

from harness.cluster.kinds import Object, uid_of
from harness.scenario.driver import published
from harness.scenario.evidence import Claim, Container, Evidence
from harness.scenario.pod_spec import resting
from harness.scenario.pods import describe, has_started, restarts, termination
from harness.scenario.slice_writes import devices_by_name
from harness.scenario.steps import Steps
from harness.verdict.finding import (
    Blame,
    FailedError,
    Finding,
    JudgementError,
    UnsupportedError,
    counted,
    few_devices,
    one_line,
)
from suites.given import WITHOUT, given, see_same


class Pods:
    """The pods of a scenario, each called as its container.

    What does not come in time is noted and ends nothing, so that the rest can be judged.
    """

    def __init__(self, steps: Steps, roles: tuple[str, ...]) -> None:
        """Claim a device for each pod, as many as may be claimed; the last ones are left out.

        Raises:
            FailedError: what was done to the driver before has cost it devices.
        """
        self._steps = steps
        self.node = steps.roomiest_node()
        _see_all_published(steps, self.node)
        self.claims = {role: steps.claim(1, name=role) for role in roles[: steps.devices]}
        self._left_out = steps.evidence.left_out
        for needed, role in enumerate(roles[steps.devices :], steps.devices + 1):
            self._left_out[role] = few_devices(needed, steps.devices)
        self.failed = False
        """Whether something did not come in time."""

    def start(self, *roles: str) -> None:
        """Create pods and wait until they have reported what they were given.

        Raises:
            JudgementError: one does not.
        """
        self.submit(*roles)
        for container in self._there((*roles, WITHOUT)):
            if container.report.known() is None:
                self._await_report(container)

    def submit(self, *roles: str) -> None:
        """Create pods and wait until devices are allocated to them."""
        for role in roles:
            if role in self.claims:
                self._submit(role, self.claims[role])
        for container in self._there(roles):
            self._steps.await_allocation(container)

    def await_binding(self, *roles: str) -> None:
        """Wait until pods are bound to the node; needs the driver where it attaches their devices.

        A pod that is deleted before has never come to the node, and the scheduler keeps its device
        for it, for half a minute and more.
        """
        for container in self._there(roles):
            self._steps.await_binding(container)

    def late(self, role: str, first: str) -> None:
        """Create a pod that uses the claim of another one; wait for nothing."""
        if self._follows(role, first):
            self._submit(role, self.claims[first])

    def claim_again(self, role: str, first: str) -> None:
        """Claim the device of another pod for one that comes later.

        It has to be published now: its slice tells how to ask for it and no other.
        """
        if self._follows(role, first):
            devices = self.claims[first].devices
            self.claims[role] = self._steps.claim(1, name=role, of=devices)

    def again(self, role: str, first: str) -> None:
        """Create a pod with a claim for the device of another one; wait for nothing."""
        if role not in self.claims:
            self.claim_again(role, first)
        if role in self.claims:
            self._submit(role, self.claims[role])

    def end(self, *roles: str) -> None:
        """Delete pods and wait for nothing."""
        self._steps.delete(*self._there(roles))

    def lose(self, role: str) -> None:
        """Delete a pod by force, and its claim."""
        for container in self._there((role,)):
            self._steps.force_delete(container)
            self._steps.delete(self.claims[role])

    def await_reports(self, *roles: str) -> None:
        """Wait until pods have reported what they were given.

        None can start before its devices are allocated, so the starts have their own time.
        """
        containers = self._there(roles)
        with self._steps.together():
            allocated = [
                container
                for container in containers
                if self._try(partial(self._steps.await_allocation, container), container)
            ]
        with self._steps.together():
            for container in allocated:
                self._try(partial(self._await_report, container), container)

    def await_gone(self, *roles: str) -> None:
        """Wait until pods that were deleted are gone."""
        with self._steps.together():
            for container in self._there(roles):
                self._try(partial(self._steps.await_gone, container), container)

    def attempt(self, do: Callable[[], None], *roles: str) -> None:
        """Do something else that may not come in time: then that is why these pods do not start."""
        self._try(do, *self._there(roles))

    def see(self) -> None:
        """Note how the pods are now."""
        for container in self._steps.evidence.containers.values():
            if container.pod is not None:
                container.pod = self._steps.run.observer.last(container.pod).obj

    def _follows(self, role: str, first: str) -> bool:
        """Whether a pod that uses the device of another is there: else both are left out."""
        if first in self._left_out:
            self._left_out[role] = self._left_out[first]
        return first in self.claims

    def _submit(self, role: str, claim: Claim) -> None:
        specs = [resting(role)]
        if WITHOUT not in self._steps.evidence.containers:
            specs.append(resting(WITHOUT, uses_claims=False))
        self._steps.submit_pod(role, specs, claim, node=self.node)

    def _there(self, roles: tuple[str, ...]) -> list[Container]:
        containers = self._steps.evidence.containers
        return [containers[role] for role in roles if role in containers]

    def _await_report(self, container: Container) -> None:
        self._steps.await_start(container)
        self._steps.await_report(container)

    def _try(self, do: Callable[[], None], *containers: Container) -> bool:
        def missing(reason: JudgementError) -> None:
            self.failed = True
            for container in containers:
                for piece in container.all():
                    piece.missing(reason)

        return self._steps.attempt(do, missing)


@contextmanager
def on_one_node(steps: Steps, *roles: str) -> Iterator[Pods]:
    """Have pods on one node; the more important ones first.

    A driver that failed them is restarted at the end: they could not go, and those who come after
    would have no driver.
    """
    pods = Pods(steps, roles)
    try:
        yield pods
    except JudgementError:
        pods.failed = True
        raise
    finally:
        pods.see()
        if pods.failed:
            steps.attempt(lambda: _restart(steps, pods.node), lambda _: None)


def _see_all_published(steps: Steps, node: str) -> None:
    """See that the driver still publishes as many devices of a node as were free at the start."""
    run = steps.run
    wanted = run.subject.slots.get(node, 0)

    def found() -> int:
        return sum(one.node == node for one in run.devices())

    whole = steps.wait(  # it may be about to write them
        f"{counted(wanted, 'device')} of {one_line(node, 40)} in its slices",
        lambda: found() >= wanted,
        run.budgets.allocate,
        lambda: published(run, node),
        Blame.DRIVER,
        optional=True,
    )
    if not whole:
        raise FailedError(
            Finding(
                f"the driver does not publish {wanted - found()} of {counted(wanted, 'device')} of"
                f" {one_line(node, 40)} any more",
                expected="the devices that it published before it, or its kubelet, was restarted",
                observed=published(run, node),
                blame=Blame.DRIVER,
            )
        )


def _restart(steps: Steps, node: str) -> None:
    steps.driver.start_all()
    steps.driver.restart(node)


# What checks ask for


def see_same_devices(evidence: Evidence, first: str, late: str, when: str) -> None:
    """See that a pod has the devices of another one that uses the same claim.

    Args:
        evidence: of the scenario.
        first: the pod that was there before.
        late: the one that came later.
        when: what happened in between.

    Raises:
        JudgementError: it has not, or that cannot be told.
    """
    wanted, found = given(evidence, first), given(evidence, late)
    see_same(evidence, f"after {when} a pod", wanted, found)


def see_unprepared(evidence: Evidence, head: str) -> None:
    """See that the claim of pod ``ends`` is unprepared, no CDI file left, and its device free."""
    evidence.container("ends").gone.get()
    uid = uid_of(evidence.claim("ends").obj)
    looks = (evidence.files("prepared"), evidence.files("unprepared"))
    made, left = ([file.path for file in look if file.mentions(uid)] for look in looks)
    if not made:
        raise UnsupportedError("no CDI file of the node names the claim by its UID")
    if left:
        evidence.fail(
            head,
            expected="no CDI file that names the claim once its pod is gone",
            observed="\n".join(left),
        )
    evidence.container("again").started.get()


def see_runs_on(evidence: Evidence, pod: Object, what: str) -> None:
    """See that pod ``runs``, as it is now, was not ended by what was done to its driver."""
    if termination(pod, "runs") or restarts(pod, "runs") or not has_started(pod, "runs"):
        evidence.fail(
            f"{what} ended a pod that was running with a claim",
            expected="the container runs on",
            observed=describe(pod, "runs"),
        )


def see_published(evidence: Evidence, used: set[str], slices: Iterable[Object], when: str) -> None:
    """See that devices which claims have are in the slices that there are now."""
    names = devices_by_name(slices)
    if hidden := sorted(used - names.keys()):
        evidence.fail(
            f"after {when} the driver does not publish {one_line(hidden[0], 40)}, which is in use",
            expected="every device that a claim has",
            observed=", ".join(names) or "no device",
        )
