"""What a scenario found out, piece by piece: each is there, or there is a reason why it is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from harness.verdict.finding import Blame, FailedError, Finding, JudgementError, UndecidedError

T = TypeVar("T")


class Evidence(Generic[T]):
    """One piece of evidence. Asking for a missing one raises the reason, once and for all."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._found: list[T] = []
        self._reason: JudgementError | None = None

    def found(self, value: T) -> T:
        """Note it."""
        self._found = [value]
        return value

    def missing(self, reason: JudgementError) -> None:
        """Note why it never came; the first reason stays, and what was found stays found."""
        if not self._found and self._reason is None:
            self._reason = reason

    def explain(self, explained: Callable[[Finding], Finding]) -> None:
        """Put beside the reason what else was seen."""
        if isinstance(self._reason, FailedError | UndecidedError):
            self._reason.finding = explained(self._reason.finding)

    def known(self) -> T | None:
        """It, if it is there."""
        return self._found[0] if self._found else None

    def get(self) -> T:
        """It.

        Raises:
            JudgementError: it is not there, for this reason.
        """
        if self._found:
            return self._found[0]
        if self._reason is not None:
            raise self._reason
        head = f"{self.what} was never looked for"
        raise UndecidedError(Finding(head, self.what, "nothing", Blame.SUITE))
