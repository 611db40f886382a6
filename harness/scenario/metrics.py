"""What components count, as they tell it to Prometheus."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from http.client import FORBIDDEN

from harness.cluster.kube import ApiError
from harness.scenario.evidence import Observed
from harness.verdict.finding import SkipKind, UnmetError, UnsupportedError

_SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

PREPARED = "prepared devices"
"""The number of devices that a driver has prepared, whatever it calls that."""


class Metrics:
    """The samples of one answer."""

    def __init__(self, text: str, prepared: str = "") -> None:
        """Read Prometheus' text format; lines that are none of it are left out.

        Args:
            text: what was answered.
            prepared: what its component calls the number of prepared devices (`PREPARED`).
        """
        names = {prepared: PREPARED}
        self._samples = [(names.get(name, name), has, v) for name, has, v in _samples(text)]

    def total(self, name: str, **labels: str) -> float | None:
        """Add up the samples of a name that have these labels; None where the name is unknown."""
        found = [sample for sample in self._samples if sample[0] == name]
        fitting = (value for _, has, value in found if labels.items() <= has.items())
        return sum(fitting) if found else None


def _samples(text: str) -> Iterator[tuple[str, Mapping[str, str], float]]:
    for line in text.splitlines():
        match = _SAMPLE.fullmatch(line.strip())
        if match is not None:
            name, labels, value = match.groups()
            yield name, dict(_LABEL.findall(labels or "")), float(value)


def asked(what: str, ask: Callable[[], str], prepared: str = "") -> Observed[Metrics]:
    """Read metrics, or note why there are none: a scenario goes on without them.

    Args:
        what: whose they are.
        ask: answers their text.
        prepared: what they call the number of prepared devices.
    """
    answer: Observed[Metrics] = Observed(f"the metrics of {what}")
    try:
        answer.found(Metrics(ask(), prepared))
    except ApiError as error:
        if error.status == FORBIDDEN:
            answer.missing(UnmetError(f"read the metrics of {what}", SkipKind.NOT_ALLOWED))
        else:
            answer.missing(UnsupportedError(f"the metrics of {what} cannot be read: {error}"))
    return answer
