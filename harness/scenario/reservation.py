"""The devices that a scenario may use."""

from __future__ import annotations

from typing import Protocol


class Reservation(Protocol):
    """A scenario's permission to use devices of one node."""

    @property
    def devices(self) -> int:
        """How many it may claim."""

    def allocated_on(self, node: str) -> None:
        """Say that the claims are allocated, on this node: now it is known what others can have.

        What was granted stays reserved until the end of the scenario.
        """

    def hold_off_others(self) -> None:
        """Have no claim of another scenario be allocated until `allocated_on` is called again.

        For a scenario that gives devices back and claims the same ones once more: the number that
        stays reserved says nothing about which ones the scheduler gives to others in between.
        """
