"""What is refused or has to wait: asking for it, who says so, and what changes that."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from functools import cached_property
from http.client import FORBIDDEN

from harness.cluster.anchor import anchor_name
from harness.cluster.kinds import DEVICE_CLASS, Object, Rule, name_of
from harness.cluster.kube import ApiError
from harness.scenario.deleting import Deleting
from harness.scenario.evidence import Container
from harness.scenario.needs import Needs, Verbs, needs
from harness.scenario.observed import Observed
from harness.scenario.pods import has_started
from harness.scenario.steps import Reservation
from harness.verdict.finding import Blame, JudgementError, SkipKind, UnmetError

NOT_SCHEDULED = "FailedScheduling"
NOT_GENERATED = "FailedResourceClaimCreation"
"""Reasons of events: of the scheduler, and of the controller that generates claims."""

_CLASS = Rule(
    *(DEVICE_CLASS, ("create", "delete", "get"), "a DeviceClass of the run's own"),
    anywhere=True,
    needed=False,
)


class Refusals(Verbs):
    """Asks for what cannot be."""

    def __init__(
        self, steps: Deleting, uses: Collection[Needs], reservation: Reservation | None
    ) -> None:
        super().__init__(steps, uses)
        self._script = steps
        self._reservation = reservation

    def ask(self, name: str, create: Callable[[], object]) -> None:
        """Create something that the API server has to refuse, and note what it answers.

        Args:
            name: what the evidence calls the answer.
            create: creates it, by the steps of the scenario.
        """
        answer: Observed[ApiError | None] = Observed(f"the API server's answer to {name}")
        self._script.evidence.answers[name] = answer
        try:
            create()
        except (ApiError, JudgementError) as error:
            refusal = error if isinstance(error, ApiError) else error.__cause__
            if not isinstance(refusal, ApiError):
                raise
            answer.found(refusal)
        else:
            answer.found(None)

    def await_word(self, container: Container, reason: str, words: str, blame: Blame) -> None:
        """Wait for the event that says why a pod does not run, and note what it says (`told`).

        If none says what is expected, it is the last one; nothing is noted of a pod that runs.

        Args:
            container: of the pod.
            reason: the event's.
            words: what it is expected to say (a regular expression): at first there may be another
                reason, such as that others hold all devices.
            blame: who has to say it.
        """
        pod = container.the_pod()

        def said() -> list[str]:
            events = (e for e in self._run.events_of(pod) if e.get("reason") == reason)
            return [str(event.get("message")) for event in events]

        def told() -> str | None:
            running = has_started(self._run.observer.last(pod).obj, container.role)
            expected = (text for text in said() if re.search(words, text))
            return "" if running else next(expected, None)

        try:
            found = self._steps.wait(
                f"an event {reason} of the {container.role}'s pod",
                lambda: None if (words := told()) is None else (words,),
                self._run.budgets.allocate,
                lambda: self._steps.at(pod),
                blame,
            )
        except JudgementError as missing:
            container.told.missing(missing)
            found = tuple(said()[-1:])
        for text in found:
            container.told.found(text)
            self._steps.step(f"{container.role} {'waits: ' + text if text else 'runs'}")

    def look(self, *containers: Container) -> None:
        """Note whether pods wait now and hold no device (`waits`)."""
        last = self._run.observer.last
        for one in containers:
            pod = last(one.the_pod()).obj
            held = [name_of(claim.obj) for claim in one.claims if _is_held(last(claim.obj).obj)]
            node = str((pod.get("spec") or {}).get("nodeName") or "")
            one.waits.found(", ".join([*([f"on {node}"] if node else []), *held]))

    def give_back(self, *containers: Container) -> None:
        """Delete pods and wait for their end; nobody else gets their devices before the next claim
        of this scenario.
        """
        if self._reservation is not None:
            self._reservation.hold_off_others()
        self._script.delete(*containers)
        self._script.await_gone(*containers)

    @cached_property
    def class_name(self) -> str:
        """The DeviceClass of the scenario's own, which does not exist until `make_class`."""
        return f"{anchor_name(self._run.id)}-{self._steps.name}"

    @needs("", (), _CLASS)
    def make_class(self) -> None:
        """Make a DeviceClass that selects what the driver's does.

        Raises:
            UnmetError: the run may not, or is confined to a namespace.
        """
        self._declared(Refusals.make_class)
        wanted = self._run.subject.profile.device_class
        try:
            known = self._run.kube.get(DEVICE_CLASS, wanted)
            made: Object = {
                "apiVersion": DEVICE_CLASS.api_version,
                "kind": DEVICE_CLASS.name,
                "metadata": {"name": self.class_name},
                "spec": known["spec"],
            }
            self._run.create(made)
        except ApiError as error:
            if error.status != FORBIDDEN:
                raise
            raise UnmetError(f"it makes a DeviceClass: {error}", SkipKind.NOT_ALLOWED) from error
        self._steps.step(f"DeviceClass {self.class_name} created")


def _is_held(claim: Object) -> bool:
    return bool((claim.get("status") or {}).get("allocation"))
