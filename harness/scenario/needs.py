"""What a verb of a script takes: declared beside it, and by the scenarios that use it.

A scenario names the verbs that it uses, ``uses=(Driver.restart,)``; its impacts and the rights that
the run asks for follow from that. A verb that a scenario does not name ends its script.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from harness.cluster.kinds import Rule
from harness.options import Impact
from harness.scenario.waiting import Waiting

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
    """Declare what a verb takes.

    Args:
        does: what it does that is not the run's own affair; empty: it only looks.
        impacts: how others can notice it.
        rules: rights beyond those of every run that creates pods.
    """

    def declare(verb: V) -> V:
        setattr(verb, _ATTRIBUTE, Needs(verb.__qualname__, does, frozenset(impacts), rules))
        return verb

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

    def _declared(self, verb: Verb) -> None:
        """See that the scenario says that it uses a verb.

        Raises:
            InconclusiveError: it does not: who allowed the scenario did not allow this.
        """
        see_declared(verb, self._uses, self._steps)


def see_declared(verb: Verb, uses: Collection[Needs], steps: Waiting) -> None:
    """See that a scenario says that it uses a verb.

    Args:
        verb: which.
        uses: what the scenario says that it uses.
        steps: of the scenario.

    Raises:
        InconclusiveError: it does not: who allowed the scenario did not allow this.
    """
    name = needs_of(verb).verb
    if needs_of(verb) not in uses:
        raise steps.inconclusive(f"the scenario uses {name} and does not say so: uses=({name},)")
