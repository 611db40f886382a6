"""Prometheus' text format, as far as the suite reads it."""

from __future__ import annotations

import pytest

from harness.cluster.kube import ApiError
from harness.scenario.metrics import PREPARED, Metrics, asked
from harness.verdict.finding import UnmetError, UnsupportedError

TEXT = """\
# HELP calls How often.
# TYPE calls counter
calls{driver="a, \\"b\\"",failed="true"} 2
calls{driver="c",failed="false"} 3.0 1700000000
devices{node="n"} 4
up 1
nonsense
"""


def test_samples_are_added_up_by_labels() -> None:
    """Those that have all of them."""
    metrics = Metrics(TEXT, prepared="devices")
    assert metrics.total("calls") == 5
    assert metrics.total("calls", failed="true") == 2
    assert metrics.total("calls", failed="maybe") == 0
    assert metrics.total("up") == 1
    assert metrics.total(PREPARED) == 4
    assert metrics.total("nonsense") is None


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (403, UnmetError, "not allowed: read the metrics of the kubelet"),
        (503, UnsupportedError, "unsupported: the metrics of the kubelet cannot be read"),
    ],
)
def test_metrics_that_cannot_be_read_are_missing(
    status: int, kind: type[Exception], words: str
) -> None:
    """With the reason, for whoever asks for them."""

    def ask() -> str:
        raise ApiError(status, "no")

    with pytest.raises(kind, match=words):
        asked("the kubelet", ask).get()
