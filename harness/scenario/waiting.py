"""Waiting for what a cluster does, and telling why it did not come."""

from __future__ import annotations

import time
from collections.abc import Callable
from http.client import UNAUTHORIZED
from typing import Any

from harness.cluster.budgets import Budget
from harness.cluster.kinds import Object
from harness.cluster.kube import ApiError, UnreachableError
from harness.cluster.observe import StoppedError, WaitTimeoutError
from harness.cluster.render import RenderError
from harness.scenario.by_hand import Commands, Script
from harness.scenario.evidence import EvidenceBase
from harness.scenario.pods import describe
from harness.scenario.run import Run
from harness.verdict import causes
from harness.verdict.finding import (
    Blame,
    Finding,
    InconclusiveError,
    JudgementError,
    SkipKind,
    UnmetError,
    judge,
)


class Waiting:
    """Waits on behalf of one scenario; a wait that is too long becomes a finding."""

    def __init__(self, run: Run, evidence: EvidenceBase) -> None:
        self.run = run
        self._notes = evidence
        self._began = time.monotonic()

    @property
    def name(self) -> str:
        """The scenario's."""
        return self._notes.name

    @property
    def script(self) -> Script:
        """How to do by hand what the scenario does."""
        return self._notes.script

    def create_object(self, obj: Object) -> Object:
        """Create an object of the run."""
        self.script.apply(obj)
        return self.run.create(obj)

    def delete_object(self, obj: Object, *, force: bool = False) -> None:
        """Ask for the end of an object of the run."""
        self.script.delete(obj, force=force)
        self.run.kube.delete(obj, force=force)

    @property
    def seconds(self) -> float:
        """How long ago the scenario began."""
        return time.monotonic() - self._began

    def step(self, text: str) -> None:
        """Note what happened, with its time."""
        self._notes.steps.append(f"{self.seconds:5.1f} s  {text}")
        self.script.say(f"in the run after {self.seconds:.1f} s: {text}")
        self.run.journal.write("step", form=self._notes.name, text=text)

    def wait(
        self,
        what: str,
        ready: Callable[[], Any],
        budget: Budget,
        seen: Callable[[], str],
        blame: Blame,
        *about: Object,
        optional: bool = False,
        by_hand: Commands = (),
    ) -> Any:
        """Wait until ``ready`` answers something, asked again at each change that is seen.

        Args:
            what: a clause that says what is awaited: "the producer's container started".
            ready: answers it, or None.
            budget: how long.
            seen: says what there is instead.
            blame: who is to blame when no event tells of another cause.
            about: objects whose events tell of causes.
            optional: go on after a time-out, which is noted as a step; answers None then.
            by_hand: the commands that wait for it (`harness.scenario.by_hand`).

        Raises:
            JudgementError: it did not come in time.
            UnreachableError: it did not come, but the API server was away meanwhile.
        """
        began = time.monotonic()
        try:
            self.script.say(f"wait {budget.seconds:g} s at most for: {what}")
            self.script.do(*by_hand)
            return self.run.observer.wait(what, ready, budget, seen)
        except WaitTimeoutError as error:
            if self.run.kube.was_away(began):
                said = f"{what} was not seen, as the API server did not answer: {error.seen}"
                raise UnreachableError(said) from error
            if optional:
                self.step(str(error))
                return None
            cause = self.run.cause_of(*about)
            head = f"{what} did not come within {budget.seconds:g} s: {error.seen}"
            expected = f"{what} within {budget.seconds:g} s (budget {budget.name})"
            finding = Finding(head, expected, error.seen, blame)
            raise judge(causes.because(cause, finding)) from error

    def attempt(self, part: Callable[[], None], missing: Callable[[JudgementError], None]) -> None:
        """Do a part; whatever ends it is the reason for what it did not bring.

        Args:
            part: what to do.
            missing: gets the reason.
        """
        try:
            part()
        except JudgementError as error:
            reason = error
        except StoppedError:
            reason = _ended()
        except UnreachableError as error:
            reason = self._away(self.inconclusive(str(error), Blame.CLUSTER))
        except ApiError as error:
            head = f"the API server refuses: {error}"
            reason = InconclusiveError(causes.refusal(head, "that the scenario goes on", error))
            if error.status == UNAUTHORIZED:
                reason = self._away(reason)
        except (RenderError, WaitTimeoutError) as error:
            reason = self.inconclusive(str(error), Blame.SUITE)
        else:
            return
        self.step(f"stopped: {reason}")
        missing(reason)

    def _away(self, reason: InconclusiveError) -> JudgementError:
        """Answer the reason if the API server comes back; else the run ends, for one reason."""
        return reason if self.run.kube.comes_back() else _ended()

    def inconclusive(self, head: str, blame: Blame = Blame.SUITE) -> InconclusiveError:
        """Make a judgement that says nothing about the driver."""
        return InconclusiveError(Finding(head, "that the scenario goes on", head, blame))

    def at(self, pod: Object, container: str = "") -> str:
        """Describe what a pod is at, in a few words."""
        seen = self.run.observer.last(pod)
        return "gone" if seen.gone else describe(seen.obj, container)


def _ended() -> UnmetError:
    return UnmetError("the run was ended before", SkipKind.NOT_RUN)
