"""CUDA's answers to handles of every kind, as measured on hardware, by the GPU driver's version.

A code is evidence of one driver version, no promise of CUDA's: the reference manual lists the codes
that a call may return, not which of them. So an unknown code is advice, never a failure.
"""

from __future__ import annotations

from collections.abc import Mapping

from workload.result import INVALID_CONTEXT

Codes = Mapping[str, frozenset[int]]
"""Answers (0: opened) by the version of the GPU driver they were seen on."""


def _seen(*codes: int, on: str = "580.159.04") -> Codes:
    return {on: frozenset(codes)}


OPEN: Mapping[str, Codes] = {
    "open": _seen(0),
    "reopened": _seen(0),
    "twice": _seen(0),
    "many": _seen(0),
    "interior": _seen(0),
    "pid-of-nobody": _seen(0),
}
"""What must open."""

REFUSED: Mapping[str, Codes] = {
    "freed": _seen(1),
    "garbage-zeros": _seen(1),
    "garbage-random": _seen(1),
    "truncated-32": _seen(1, 400),
    "flags-0": _seen(1),
    "flags-2": _seen(1),
    "own": _seen(INVALID_CONTEXT),
    "pid-of-importer": _seen(INVALID_CONTEXT),
}
"""What must be refused."""

RECORDED: Mapping[str, Codes] = {
    **{f"flip-{byte}": _seen(0) for byte in (0, 1, 4, 8, 12, 16, 63)},
    "flip-24": _seen(1),
    "flip-32": _seen(1),
    "flip-48": _seen(400),
    "event": _seen(205),
}
"""What is not asked for; what happens is recorded.

Handles with one byte changed open all the same where the byte does not matter: they are not
authenticated. An event of another pod does not open: unlike memory it is not shared by GPUs alone.
"""


def known(codes: Codes, driver_version: str | None) -> frozenset[int]:
    """The answers seen on this driver version; on all versions where it was never measured."""
    return codes.get(driver_version or "", frozenset().union(*codes.values()))
