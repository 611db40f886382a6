"""A piece of evidence: a value that was observed, or the reason why it was not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from harness.verdict.finding import Blame, FailedError, Finding, InconclusiveError, JudgementError

T = TypeVar("T")


class Observed(Generic[T]):
    """A value, or the reason why there is none; asking for a missing one raises the reason."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._found: list[T] = []
        self._reason: JudgementError | None = None

    def found(self, value: T) -> T:
        """Note the value, and answer it."""
        self._found = [value]
        return value

    def missing(self, reason: JudgementError) -> None:
        """Note why it never came; the first reason stays, and what was found stays found."""
        if not self._found and self._reason is None:
            self._reason = reason

    def explain(self, explained: Callable[[Finding], Finding]) -> None:
        """Put beside the reason what else was seen."""
        if isinstance(self._reason, FailedError | InconclusiveError):
            self._reason.finding = explained(self._reason.finding)

    def known(self) -> T | None:
        """Answer the value, or None."""
        return self._found[0] if self._found else None

    def reason(self) -> str:
        """Say why it is missing; empty when it is there or nobody said."""
        return "" if self._found or self._reason is None else str(self._reason)

    def get(self) -> T:
        """Answer the value.

        Raises:
            JudgementError: the reason why there is none.
        """
        if self._found:
            return self._found[0]
        if self._reason is not None:
            raise self._reason
        head = f"{self.what} was not collected"
        raise InconclusiveError(Finding(head, self.what, "nothing", Blame.SUITE))
