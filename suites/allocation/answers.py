"""What a driver answers when a claim is to be prepared, as far as the kubelet tells."""

from __future__ import annotations

from harness.cluster.kinds import Object
from harness.scenario.evidence import Container
from harness.scenario.pods import has_started
from harness.scenario.steps import Steps
from harness.verdict import causes
from harness.verdict.finding import Blame, one_line

FAILED = "FailedPrepareDynamicResources"
"""The reason of the kubelet's event."""


def answer(steps: Steps, container: Container) -> str:
    """Wait until a pod runs (empty), or an event says why its claim is not prepared."""
    pod, role = container.the_pod(), container.role

    def answered() -> tuple[str] | None:
        if has_started(steps.run.observer.last(pod).obj, role):
            return ("",)
        events = [one for one in steps.run.events_of(pod) if is_refusal(one)]
        return (str(events[-1].get("message")),) if events else None

    (said,) = steps.wait(
        f"the driver's answer to the claim {role}",
        answered,
        steps.run.budgets.start,
        lambda: steps.at(pod, role),
        Blame.KUBELET,
        pod,
    )
    steps.step(f"{role}: {one_line(said) or 'prepared'}")
    return str(said)


def is_refusal(event: Object) -> bool:
    """Whether an event tells what the driver said of a claim, and not that it was not asked."""
    cause = causes.of_events([event])
    return event.get("reason") == FAILED and cause is not None and cause.blame is Blame.DRIVER
