"""The devices that a scenario may use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Reservation:
    """A scenario's permission to use devices of one node."""

    devices: int
    """How many it may claim."""
    allocated_on: Callable[[str], None]
    """Says that the claims are allocated, on this node: now it is known what others can have.

    What was granted stays reserved until the end of the scenario.
    """
    hold_off_others: Callable[[], None]
    """Has no claim of another scenario be allocated until `allocated_on` is called again.

    For a scenario that gives devices back and claims the same ones once more: the number that stays
    reserved says nothing about which ones the scheduler gives to others in between.
    """
