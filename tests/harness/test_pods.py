"""What a pod's status says of a container that is started again and again."""

from __future__ import annotations

from typing import Any

import pytest

from harness.cluster.kinds import Object
from harness.scenario.pods import (
    cannot_restart,
    cannot_start,
    has_started,
    why_not_prepared,
    without_setup,
)
from harness.verdict.finding import Blame, InconclusiveError

BACK_OFF = {"waiting": {"reason": "CrashLoopBackOff"}}


def pod(state: dict[str, Any], last: dict[str, Any]) -> Object:
    """A pod with one container in this state, which ended like this before."""
    status = {"name": "one", "state": state, "lastState": {"terminated": last} if last else {}}
    return {"spec": {"containers": [{"name": "one"}]}, "status": {"containerStatuses": [status]}}


def test_of_the_drivers_pods_what_runs_where_is_kept() -> None:
    """Not what they mount, which is most of a pod."""
    containers = [{"name": "gpus", "image": "plugin:1", "env": [{"name": "NODE"}]}]
    spec = {"nodeName": "node-1", "volumes": [{"name": "sys"}], "containers": containers}
    whole = {"metadata": {"name": "plugin"}, "spec": spec, "status": {"phase": "Running"}}
    kept = {"nodeName": "node-1", "containers": [{"name": "gpus", "image": "plugin:1"}]}
    assert without_setup(whole) == {**whole, "spec": kept}


def test_a_container_that_crashed_has_started() -> None:
    """Also while it waits for its next start."""
    crashed = pod(BACK_OFF, {"reason": "Error", "exitCode": 137})
    assert has_started(crashed)
    assert cannot_start(crashed, []) is None


def test_a_pod_that_has_failed_starts_no_container_again() -> None:
    """What ended it is why."""
    crashed = pod(BACK_OFF, {"reason": "Error", "exitCode": 137})
    assert cannot_restart(crashed, "one") is None
    message = "Pod was active on the node longer than the specified deadline"
    crashed["status"] |= {"phase": "Failed", "reason": "DeadlineExceeded", "message": message}
    reason = cannot_restart(crashed, "one")
    assert isinstance(reason, InconclusiveError)
    assert reason.finding.blame is Blame.CLUSTER
    assert reason.finding.head.startswith(
        f"the one's container cannot start again: DeadlineExceeded: {message}"
    )
    assert "activeDeadlineSeconds" in reason.finding.likely


def test_a_container_that_never_ran_has_not_started() -> None:
    """The kubelet tries again, but what the runtime said will not change."""
    never = pod(BACK_OFF, {"reason": "StartError", "message": "hook #0: exit status 1"})
    assert not has_started(never)
    assert "StartError: hook #0: exit status 1" in str(cannot_start(never, []))


def test_a_cdi_device_that_stays_away_keeps_a_container_from_starting() -> None:
    """Once or twice the runtime may not have noticed its file yet."""
    said = "CDI device injection failed: unresolvable CDI devices vendor/class=one"
    waits = pod({"waiting": {"reason": "CreateContainerError", "message": said}}, {})
    event: Object = {"reason": "Failed", "message": f"Error: {said}", "count": 2}
    assert cannot_start(waits, [event]) is None
    never = cannot_start(waits, [event, {**event, "count": 1}])
    assert "cannot start: CreateContainerError: CDI device injection failed" in str(never)


def test_a_cdi_device_of_another_container_does_not_count() -> None:
    """Each container of a pod is tried as often as the only one of another pod."""
    said = "CDI device injection failed: unresolvable CDI devices vendor/class=one"
    waits = pod({"waiting": {"reason": "CreateContainerError", "message": said}}, {})
    events: list[Object] = [
        {"message": said, "count": 2, "involvedObject": {"fieldPath": f"spec.containers{{{name}}}"}}
        for name in ("one", "two")
    ]
    assert cannot_start(waits, events) is None
    assert cannot_start(waits, [*events, {**events[0], "count": 1}]) is not None


def test_what_a_driver_said_last_is_told_without_the_kubelets_words() -> None:
    """Also what the kubelet says itself, and nothing where nothing failed."""
    before = "Failed to prepare dynamic resources: prepare dynamic resources: "
    of_driver = f'{before}NodePrepareResources failed for ResourceClaim a: two devices "gpu-0"'
    of_kubelet = f"{before}NodePrepareResources failed: rpc error: code = Unavailable"
    events: list[Object] = [
        {"reason": "FailedPrepareDynamicResources", "message": message}
        for message in (of_kubelet, of_driver)
    ]
    assert why_not_prepared([]) == ""
    assert why_not_prepared([{"reason": "Pulled", "message": "there"}]) == ""
    assert why_not_prepared(events) == 'two devices "gpu-0"'
    assert why_not_prepared(events[:1]) == "rpc error: code = Unavailable"


@pytest.mark.parametrize(("again", "told"), [("07", "too early"), ("09", "")])
def test_what_a_driver_said_before_it_prepared_is_not_told(again: str, told: str) -> None:
    """The last event counts, also where it was said before: then something else holds the pod."""
    minute = "2026-11-23T00:00"
    events: list[Object] = [
        {"reason": "FailedPrepareDynamicResources", "message": "too early"},
        {"reason": "Pulling", "message": "image"},
        {"reason": "Scheduled", "message": "to node-1"},
    ]
    moments = ("08", again, "09")
    for event, moment in zip(events, moments, strict=True):
        event["lastTimestamp"] = f"{minute}:{moment}Z"
    assert why_not_prepared(events) == told
