"""What a verb of a script takes: declared beside it, and by the scenarios that use it.

A scenario names the verbs that it uses, ``uses=(Driver.restart,)``; its impacts and the rights that
the run asks for follow from that. A verb that a scenario does not name ends its script.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar, cast

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
