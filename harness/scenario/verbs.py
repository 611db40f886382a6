"""What the verbs of a script are made of: they wait, say what they take, and delete.

A scenario names the verbs that take more than pods of the run's own, ``uses=(Driver.restart,)``;
its impacts and the rights that the run asks for follow from that. A verb that a scenario does not
name ends its script.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from http.client import UNAUTHORIZED
from typing import Any, TypeVar, cast

from harness.cluster.kinds import Object, Rule, describe_name, name_of, uid_of
from harness.cluster.kube import ApiError, UnreachableError
from harness.cluster.observe import Budget, StoppedError, WaitTimeoutError
from harness.cluster.render import RenderError
from harness.options import Impact
from harness.scenario.by_hand import Commands, Script, until_gone
from harness.scenario.evidence import Claim, Container, End, Evidence, EvidenceBase, Observed
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
    counted,
    judge,
)


class Waiting:
    """Waits on behalf of one scenario; a wait that is too long becomes a finding."""

    def __init__(self, run: Run, evidence: EvidenceBase) -> None:
        self.run = run
        self.name = evidence.name
        """The scenario's."""
        self._notes = evidence
        self._began = time.monotonic()
        self._waits_since: float | None = None

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
        self.run.journal.write("step", form=self.name, text=text)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Have the waits of the block begin when it does: for what is under way already, all at
        once. What begins only when something else has come is waited for after the block. What a
        container reports once it has started has its own time.
        """
        outer = self._waits_since
        self._waits_since = outer or time.monotonic()
        try:
            yield
        finally:
            self._waits_since = outer

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
            ready: answers it; nothing, or false, means not yet.
            budget: how long.
            seen: says what there is instead.
            blame: who is to blame when no event tells of another cause.
            about: objects whose events tell of causes.
            optional: go on after a time-out, which is noted as a step; answers None then.
            by_hand: the commands that wait for it (`harness.scenario.by_hand`).

        Raises:
            JudgementError: it did not come in time.
            UnreachableError: it did not come, but the API server was away since it was awaited.
        """
        since, left = time.monotonic(), budget
        if self._waits_since is not None and budget is not self.run.budgets.workload:
            left = Budget(budget.name, budget.seconds - (since - self._waits_since))
            since = self._waits_since
        try:
            self.script.say(f"wait {budget.seconds:g} s at most for: {what}")
            self.script.do(*by_hand)
            return self.run.observer.wait(what, ready, left, seen)
        except WaitTimeoutError as error:
            if self.run.kube.was_away(since):
                said = f"{what} was not seen, as the API server did not answer: {error.seen}"
                raise UnreachableError(said) from error
            if optional:
                self.step(str(WaitTimeoutError(what, budget, error.seen)))
                return None
            cause = self.run.cause_of(*about)
            head = f"{what} did not come within {budget.seconds:g} s: {error.seen}"
            expected = f"{what} within {budget.seconds:g} s (budget {budget.name})"
            finding = Finding(head, expected, error.seen, blame)
            raise judge(causes.because(cause, finding)) from error

    def attempt(self, part: Callable[[], None], missing: Callable[[JudgementError], None]) -> bool:
        """Do a part; whatever ends it is the reason for what it did not bring.

        Args:
            part: what to do.
            missing: gets the reason.

        Returns:
            Whether it came to its end.
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
            return True
        self.step(f"stopped: {reason}")
        missing(reason)
        return False

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


# What verbs take


Verb = Callable[..., Any]
V = TypeVar("V", bound=Verb)
_ATTRIBUTE = "dra_needs"


@dataclass(frozen=True)
class Needs:
    """What a verb takes."""

    verb: str
    """Its name: ``Driver.restart``."""
    does: str
    """What it does that is not the run's own affair, for ``--dra-plan``; empty: it only looks."""
    impacts: frozenset[Impact]
    rules: tuple[Rule, ...]
    """Beyond what every run that creates pods may do."""


def needs(does: str, impacts: Iterable[Impact], *rules: Rule) -> Callable[[V], V]:
    """Declare what a verb takes; only scripts of scenarios that say so can use it.

    Args:
        does: what it does that is not the run's own affair; empty: it only looks.
        impacts: how others can notice it.
        rules: rights beyond those of every run that creates pods.
    """

    def declare(verb: V) -> V:
        taken = Needs(verb.__qualname__, does, frozenset(impacts), rules)

        @wraps(verb)
        def called(self: Any, *args: Any, **options: Any) -> Any:
            steps, name = self._steps if isinstance(self, Verbs) else self, taken.verb
            if taken not in self._uses:  # who allowed the scenario did not allow this
                said = f"the scenario uses {name} and does not say so: uses=({name},)"
                raise steps.inconclusive(said)
            return verb(self, *args, **options)

        setattr(called, _ATTRIBUTE, taken)
        return cast(V, called)

    return declare


def needs_of(verb: Verb) -> Needs:
    """Answer what a verb was declared to take.

    Raises:
        ValueError: it is no such verb.
    """
    found = getattr(verb, _ATTRIBUTE, None)
    if not isinstance(found, Needs):
        raise ValueError(f"{verb} is no verb that says what it needs")
    return found


class Verbs:
    """Verbs that take more of the cluster than pods of the run's own."""

    def __init__(self, steps: Waiting, uses: Collection[Needs]) -> None:
        """Do nothing yet.

        Args:
            steps: of the scenario.
            uses: what the scenario says that it uses.
        """
        self._steps = steps
        self._run = steps.run
        self._uses = uses


# The end of pods, claims and namespaces


Doomed = Container | Claim
"""A claim, or a pod by one of its containers."""


class Deleting(Waiting):
    """Deletes what the scenario made, while it is in use."""

    def __init__(self, run: Run, evidence: Evidence, uses: Collection[Needs]) -> None:
        super().__init__(run, evidence)
        self.evidence = evidence
        self._uses = uses
        self._asked: dict[str, float] = {}
        """By UID, when its deletion was asked for, in seconds since 1970."""
        self._own: Object | None = None

    def delete(self, *doomed: Doomed) -> None:
        """Ask for the end of pods and claims, one at once after another; see `await_gone`.

        A pod gets its grace period; a claim that is in use goes when it no longer is.
        """
        self._delete(doomed, force=False)

    @needs(
        "pods of the run are deleted by force: others may get their devices too early",
        {Impact.DISRUPT},
    )
    def force_delete(self, *doomed: Container) -> None:
        """Delete pods without waiting for their nodes (grace period 0).

        They are gone at once, though their containers may still run, and their claims may be
        allocated to others.
        """
        self._delete(doomed, force=True)

    def await_gone(self, *doomed: Doomed) -> None:
        """Wait until what was deleted is gone, and note when each of them went (`End`).

        What goes with others, such as a generated claim, need not have been deleted itself.

        Raises:
            JudgementError: something is still there when time is up.
        """
        seen = {uid_of(_object(one)): one for one in doomed}
        for uid in seen:
            self._asked.setdefault(uid, time.time())

        def there() -> list[Object]:
            return [_object(one) for one in seen.values() if not self._note_end(one)]

        kinds = [_object(one)["kind"] for one in seen.values()]
        numbers = [counted(kinds.count(kind), kind.lower()) for kind in dict.fromkeys(kinds)]
        self.wait(
            f"the end of {' and '.join(numbers)}",
            lambda: not there(),
            self.run.budgets.release,
            lambda: "; ".join(self._what_stays(obj) for obj in there()),
            Blame.KUBELET,
            *map(_object, seen.values()),
            by_hand=[until_gone(_object(one), self.run.budgets.release) for one in seen.values()],
        )
        self.step(f"gone: {', '.join(describe_name(_object(one)) for one in seen.values())}")

    def own_namespace(self) -> None:
        """Create everything from now on in a namespace of the scenario's own.

        Raises:
            UnmetError: the run is confined to a namespace.
        """
        self._own = self.run.own_namespace(self.name)
        self.script.apply(self._own)

    def delete_namespace(self) -> None:
        """Delete the scenario's own namespace with all that is in it, and wait for its end.

        Raises:
            JudgementError: it is still there when time is up.
        """
        own = self._own
        if own is None:
            raise UnmetError("the scenario has no namespace of its own")
        claims = [claim for claim in self.evidence.claims.values() if claim.exists]
        containers = [one for one in self.evidence.containers.values() if one.pod is not None]
        inside: list[Doomed] = [*containers, *claims]  # a claim stays because a pod does
        asked = time.time()
        for one in inside:
            self._asked.setdefault(uid_of(_object(one)), asked)
        self.delete_object(own)
        self.step(f"namespace {name_of(own)} deleted")

        def stays() -> str:
            there = [_object(one) for one in inside if not self._note_end(one)]
            return "; ".join(self._what_stays(obj) for obj in there) or "it is empty"

        self.wait(
            "the end of the namespace",
            lambda: self.run.observer.last(own).gone,
            self.run.budgets.reclaim,
            stays,
            Blame.CLUSTER,
            *map(_object, inside),
            by_hand=[until_gone(own, self.run.budgets.reclaim)],
        )
        self.await_gone(*inside)
        self._note(own, asked, self.evidence.namespace)

    def _delete(self, doomed: Collection[Doomed], *, force: bool) -> None:
        for one in doomed:
            obj = _object(one)
            if uid_of(obj) not in self._asked:
                self._asked[uid_of(obj)] = time.time()
                self.delete_object(obj, force=force)
                self.step(f"{describe_name(obj)} deleted" + (" by force" if force else ""))

    def _note_end(self, one: Doomed) -> bool:
        """Note when something that was deleted went; False while it is there."""
        obj = _object(one)
        return self._note(obj, self._asked[uid_of(obj)], one.gone)

    def _note(self, obj: Object, asked: float, into: Observed[End]) -> bool:
        seen = self.run.observer.last(obj)
        if seen.gone and into.known() is None:
            into.found(End(asked, seen.at, tuple(self.run.observer.versions(obj))))
        return seen.gone

    def _what_stays(self, obj: Object) -> str:
        now = self.run.observer.last(obj).obj
        held = ", ".join(now["metadata"].get("finalizers") or ())
        text = f"{describe_name(obj)} is still there" + (f" (finalizers: {held})" if held else "")
        return text if obj["kind"] != "Pod" else f"{text}: {self.at(obj)}"


def _object(one: Doomed) -> Object:
    return one.the_pod() if isinstance(one, Container) else one.obj
