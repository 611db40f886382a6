"""The end of pods, claims and namespaces: how a script asks for it, and how it was seen."""

from __future__ import annotations

import time
from collections.abc import Collection

from harness.cluster.kinds import Object, describe_name, name_of, uid_of
from harness.options import Impact
from harness.scenario.by_hand import until_gone
from harness.scenario.evidence import Claim, Container, End, Evidence
from harness.scenario.needs import Needs, needs
from harness.scenario.observed import Observed
from harness.scenario.run import Run
from harness.scenario.waiting import Waiting
from harness.verdict.finding import Blame, UnmetError, counted

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
            lambda: None if there() else True,
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
            lambda: self.run.observer.last(own).gone or None,
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
