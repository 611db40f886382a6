"""What is refused or has to wait: asking for it, and who says so."""

from __future__ import annotations

import re
from collections.abc import Callable

from harness.cluster.kinds import Object, name_of
from harness.cluster.kube import ApiError
from harness.scenario.evidence import Container, Observed
from harness.scenario.pods import has_started
from harness.scenario.verbs import Deleting
from harness.verdict.finding import Blame, JudgementError

NOT_SCHEDULED = "FailedScheduling"
NOT_GENERATED = "FailedResourceClaimCreation"
"""Reasons of events: of the scheduler, and of the controller that generates claims."""


class Refusals:
    """Asks for what cannot be."""

    def __init__(self, steps: Deleting) -> None:
        self._steps = steps
        self._run = steps.run

    def ask(self, name: str, create: Callable[[], object]) -> None:
        """Create something that the API server has to refuse, and note what it answers.

        Args:
            name: what the evidence calls the answer.
            create: creates it, by the steps of the scenario.
        """
        answer: Observed[ApiError | None] = Observed(f"the API server's answer to {name}")
        self._steps.evidence.answers[name] = answer
        self._steps.script.say("the API server has to refuse what follows")
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


def _is_held(claim: Object) -> bool:
    return bool((claim.get("status") or {}).get("allocation"))
