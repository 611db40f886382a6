"""The shared buffer: its layout, its content, and the doorbell in it.

    | data: pattern(seed, index) in every 64-bit word | control page, 2 MiB |

The first words of the control page are the doorbells, one a consumer. They are in device memory, so
that hearing one proves that the consumer's writes reach the producer. Sizes are multiples of 2 MiB:
CUDA shares whole blocks of that size, and a smaller allocation would share its neighbours.
"""

from __future__ import annotations

import enum
import hashlib

from workload.cuda import Context, Findings

PAGE = 2 << 20
"""Bytes."""
DOORBELLS = 16
"""As many consumers can be told from each other; a FIFO holds an offer for each (`exchange`)."""
WORD = 8
"""Bytes."""
_MODULUS = 1 << 64


class Doorbell(enum.IntEnum):
    """What the consumer says when it is done."""

    SAME_WROTE_ALL = 1
    """All data is pattern(seed + 1)."""
    BOTH_WROTE = 2
    """The first half is pattern(seed + 1), the second pattern(seed + 2)."""
    SAME_WROTE_HALF = 3
    """The first half is pattern(seed + 1); the other GPU has no peer access."""
    FAILED = 4
    """The consumer found something wrong; nothing is promised about the data."""
    LOOKED = 5
    """All data is as it was."""
    CROSS_WROTE_ALL = 6
    """All data is pattern(seed + 2): the consumer has another GPU only."""
    WROTE_PART = 7
    """The part of the doorbell's number is pattern(seed + 1 + number) (`workload.every_pair`)."""


def seed_of(nonce: str) -> int:
    """The seed of a run: no buffer of another run has its pattern."""
    return int.from_bytes(hashlib.sha256(nonce.encode()).digest()[:WORD], "little")


def small_seed(seed: int, number: int) -> int:
    """The seed of the n-th small allocation among an offer's extras."""
    return (seed + 100 + number) % _MODULUS


class Buffer:
    """The buffer as one context sees it; the address may be imported."""

    def __init__(self, context: Context, address: int, size: int, seed: int) -> None:
        self._context = context
        self._address = address
        self._doorbells = address + size - PAGE
        self._seed = seed
        self.words = range((size - PAGE) // WORD)
        """Indices of the data's words."""
        middle = len(self.words) // 2
        self.halves = (self.words[:middle], self.words[middle:])

    def part(self, number: int, parts: int) -> range:
        """Which words are the n-th of so many parts."""
        count = len(self.words)
        return self.words[count * number // parts : count * (number + 1) // parts]

    def prepare(self) -> int:
        """Fill everything, verify it, and return the checksum.

        Raises:
            WorkloadError: a word is wrong (checksum-wrong).
        """
        self.silence()
        self.fill(self.words, 0)
        found = self.verify(self.words, 0)
        found.must_be_right("verify the own fill")
        return found.checksum

    def fill(self, part: range, step: int) -> None:
        """Words become pattern(seed + step), by a kernel."""
        self._context.fill(self._address, part.start, len(part), self._stepped(step))

    def verify(self, part: range, step: int) -> Findings:
        """Compare words with pattern(seed + step), by a kernel."""
        return self._context.verify(self._address, part.start, len(part), self._stepped(step))

    def silence(self) -> None:
        """Clear the control page."""
        self._context.clear(self._doorbells, PAGE)

    def ring(self, what: Doorbell, index: int = 0) -> None:
        """Tell the producer, by the doorbell of this index."""
        self._context.write(self._doorbells + index * WORD, self._stepped(what))

    def heard(self, doorbells: int) -> list[Doorbell | None]:
        """What was rung at each of the first doorbells: other runs' words do not count."""
        words = self._context.read(self._doorbells, doorbells)
        meaning = {self._stepped(what): what for what in Doorbell}
        return [meaning.get(word) for word in words]

    def _stepped(self, step: int) -> int:
        return (self._seed + step) % _MODULUS
