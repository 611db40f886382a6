"""Which feature gates of the API server are on, found by asking it, never by its version.

An API server drops a field whose gate is off before it validates and stores an object. So each
probe is an object with one such field, sent as a dry run: the field comes back, or it is gone, or
nothing is left to be valid without it. This tells of the API server only: scheduler and kubelet
have gates of their own, and only what they do tells of those.
(``pkg/registry/resource/*/strategy.go`` of kubernetes: ``dropDisabled…Fields``.)
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from harness.cluster.kinds import Object
from harness.cluster.kube import ApiError, Kube


class State(enum.StrEnum):
    """What is known of a feature gate."""

    ON = "on"
    OFF = "off"
    ABSENT = "absent"
    """The API does not know the field."""
    UNKNOWN = "unknown"
    """The run may not ask, or the answer says nothing."""


@cache
def gates() -> Mapping[str, Any]:
    """What each gate is asked for with, by the name that ``--feature-gates`` has for it."""
    text = Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8")
    found: Mapping[str, Any] = yaml.safe_load(text)
    return found


def find(kube: Kube, namespace: str) -> dict[str, State]:
    """The state of each gate; claims are asked for in a namespace, nothing is stored.

    Asking takes the right to create what is asked with. Where the run has none, which for slices
    and classes is usual, the state is unknown.
    """
    return {gate: _state(kube, probe, namespace) for gate, probe in gates().items()}


def _state(kube: Kube, probe: Mapping[str, Any], namespace: str) -> State:
    obj: Object = probe["object"]
    if obj["kind"] == "ResourceClaim":
        obj = {**obj, "metadata": {**obj["metadata"], "namespace": namespace}}
    try:
        answer: Any = kube.create(obj, dry_run=True)
    except ApiError as error:
        if error.status == 400 and "unknown field" in str(error):
            return State.ABSENT
        refused = State(probe.get("refused", State.UNKNOWN))
        return refused if error.status == 422 else State.UNKNOWN
    for step in probe["field"]:
        try:
            answer = answer[step]
        except (KeyError, IndexError):
            return State.OFF
    return State.ON
