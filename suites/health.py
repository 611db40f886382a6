"""The health of devices as the status of their pods tells it; the driver reports it."""

from __future__ import annotations

from datetime import datetime

from harness.cluster.kinds import Object
from harness.cluster.observe import Budget
from harness.scenario.evidence import Container, Evidence
from harness.scenario.pods import UNKNOWN, health, status_of
from harness.scenario.steps import Steps
from harness.verdict.finding import Blame, UnsupportedError

STALE = 30
"""Seconds: for so long a kubelet goes by a report of a device's health that names no other time.
Then it is unknown (DefaultHealthTimeout of pkg/kubelet/cm/dra/healthinfo.go)."""

Health = dict[str, str]
"""By what the status calls each device."""


def is_known(found: Health) -> bool:
    """Whether the health of some device is known: then the driver reports it."""
    return any(one != UNKNOWN for one in found.values())


def outlast_one_report(steps: Steps, container: Container, node: str) -> None:
    """Wait until the driver of a node has run for as long as the kubelet goes by one report.

    What is known of a container's devices then, the driver has told more than once; before that its
    first report may still be valid, or still to come.
    """
    pod, observer = container.the_pod(), steps.run.observer
    name = steps.run.subject.profile.plugin_container
    here = _since(observer.last(pod).obj, container.role)
    # Both moments are of the node's clock.
    ran = min((here - _since(one, name) for one in steps.driver.pods(node)), default=STALE)
    if 0 <= ran < STALE:
        steps.wait(
            "a driver that has just started to have told the health of its devices again",
            lambda: not health(observer.last(pod).obj, container.role),  # never told of any
            Budget("health", STALE - ran),
            lambda: "it has run for less",
            Blame.DRIVER,
            optional=True,
        )


def note_health(steps: Steps, container: Container, name: str, *, like: str = "") -> None:
    """Note every health of a container's devices that was told until now, oldest first.

    Args:
        steps: of the scenario.
        container: which.
        name: what the evidence calls it.
        like: what was noted before; if it was known then, it gets time to be known now.
    """
    pod, observer = container.the_pod(), steps.run.observer
    if any(map(is_known, steps.evidence.noted.get(_called(like), ()))):
        steps.wait(
            f"the health of the {container.role}'s devices",
            lambda: is_known(health(observer.last(pod).obj, container.role)),
            steps.run.budgets.start,  # a slow kubelet has to register the driver again before
            lambda: "it is unknown",
            Blame.DRIVER,
            optional=True,
        )
    told = [found for one in observer.versions(pod) if (found := health(one, container.role))]
    steps.evidence.noted[_called(name)] = told


def noted_health(evidence: Evidence, name: str) -> list[Health]:
    """Find what was noted of a container.

    Raises:
        JudgementError: the scenario did not reach it, or the kubelet tells nothing of health.
    """
    told: list[Health] = evidence.note(_called(name))
    if not told:
        raise UnsupportedError(
            "pods say nothing of health: feature gate ResourceHealthStatus is off"
        )
    return told


def see_reported(told: list[Health]) -> None:
    """See that the driver reports the health of devices.

    Raises:
        UnsupportedError: it was never known.
    """
    if not any(map(is_known, told)):
        raise UnsupportedError("the driver reports no health of its devices")


def _since(pod: Object, container: str) -> float:
    """When a container was started, in seconds since 1970; 0: it does not run."""
    when = (status_of(pod, container).get("state") or {}).get("running", {}).get("startedAt")
    return datetime.fromisoformat(when).timestamp() if when else 0.0


def _called(name: str) -> str:
    return f"health {name}"
