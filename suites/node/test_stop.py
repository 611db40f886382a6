"""What waits for a driver that is away, and what goes on when it is back."""

from __future__ import annotations

from collections import Counter

from harness.checks.check import check
from harness.cluster.kinds import name_of
from harness.scenario.driver import Driver, pools_of_node, published
from harness.scenario.evidence import Evidence
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps
from harness.scenario.verbs import Deleting
from harness.verdict.finding import Blame, UnsupportedError, one_line
from suites.node.pods import on_one_node

MOST = 2
"""As often a slice may be written in half a minute though nothing has changed: once is a mishap."""


@scenario(most=3, uses=(Driver.stop, Driver.restart, Deleting.force_delete))
def driver_away(steps: Steps) -> None:
    """While the driver is away one pod is to end, one is gone by force with its claim, one is to
    start. It stays away until its slices are withdrawn; then another pod waits for a device. On
    other nodes nothing changes meanwhile.
    """
    with on_one_node(steps, "ends", "lost", "starts") as pods:
        pods.start("ends", "lost")
        pods.claim_again("waits", "ends")
        pods.claim_again("next", "lost")
        steps.driver.stop(pods.node)
        pods.submit("starts")
        pods.end("ends")
        pods.lose("lost")
        with steps.slices():
            steps.wait(
                f"the withdrawal of the ResourceSlices of {pods.node}",
                lambda: not pools_of_node(steps.run, pods.node),
                steps.run.budgets.release,
                lambda: published(steps.run, pods.node),
                Blame.KUBELET,
                optional=True,
            )
        steps.evidence.nodes["stopped"] = pods.node
        pods.again("waits", "ends")
        pods.again("next", "lost")
        pods.attempt(lambda: steps.driver.start(pods.node), "waits")
        pods.await_gone("ends")
        pods.await_reports("starts", "next", "waits")


@check(
    id="SLICE-013",
    level=2,
    source="SLICE-13",
    scenario=driver_away,
    after=("SLICE-036", "DISC-007"),
    judges_driver=False,
)
def test_slices_of_a_driver_that_is_away_are_withdrawn(evidence: Evidence) -> None:
    """The ResourceSlices of a driver that has left a node MUST be withdrawn: the kubelet does it
    after 30 s.
    """
    slices = evidence.slices.get().of_node(evidence.node("stopped"))
    if slices.after:
        evidence.fail(
            "a minute after the driver left the node its ResourceSlices are still there",
            expected="none of a node without the driver",
            observed="\n".join(str(item["metadata"]["name"]) for item in slices.after),
            blame=Blame.KUBELET,
        )


@check(
    id="SLICE-023",
    level=2,
    source="SLICE-23",
    scenario=driver_away,
    after=("SLICE-036", "DISC-007"),
)
def test_slices_are_not_written_while_nothing_changes(evidence: Evidence) -> None:
    """A driver MUST NOT write its ResourceSlices again and again while nothing changes."""
    slices, stopped = evidence.slices.get(), evidence.node("stopped")
    if all(item["spec"].get("nodeName") == stopped for item in slices.before):
        raise UnsupportedError("the driver publishes on no other node")
    last = {name_of(item): _content(item) for item in slices.before}
    idle: Counter[str] = Counter()
    for write in slices.writes:
        name, content = name_of(write.obj), _content(write.obj)
        idle[name] += last.get(name) == content
        last[name] = content
    name, times = max(idle.items(), key=lambda item: item[1], default=("", 0))
    if times > MOST:
        evidence.fail(
            f"ResourceSlice {one_line(name, 44)} was written {times} times though nothing had"
            " changed",
            expected="a slice is written when it has to say something else",
            observed="\n".join(map(str, slices.writes)),
        )


@check(
    id="NODE-022", level=2, source="NODE-22", scenario=driver_away, after=("SLICE-036", "DISC-007")
)
def test_a_pod_that_could_not_end_goes_when_the_driver_is_back(evidence: Evidence) -> None:
    """A pod that is deleted while the driver is away MUST go when it is back."""
    evidence.container("ends").gone.get()


@check(
    id="NODE-032", level=2, source="NODE-1", scenario=driver_away, after=("SLICE-036", "DISC-007")
)
def test_a_pod_that_came_while_the_driver_was_away_starts(evidence: Evidence) -> None:
    """A pod that is on its node already while the driver is away MUST start when it is back."""
    evidence.container("starts").started.get()


@check(
    id="DISC-008", level=2, source="DISC-8", scenario=driver_away, after=("NODE-022", "SLICE-017")
)
def test_a_pod_that_waits_for_the_driver_starts(evidence: Evidence) -> None:
    """A pod that waits for a device of a driver that is not there MUST start once it is."""
    evidence.container("waits").started.get()


@check(id="NODE-033", level=2, source="NODE-17", scenario=driver_away, after=("DISC-008",))
def test_a_device_of_a_claim_that_went_while_the_driver_was_away_is_free(
    evidence: Evidence,
) -> None:
    """When a claim was deleted while the driver was away, and its pod by force, its device MUST be
    there for another claim once the driver is back.
    """
    evidence.container("next").started.get()


def _content(item: dict[str, object]) -> object:
    spec = item["spec"]
    assert isinstance(spec, dict)
    pool = {key: value for key, value in spec["pool"].items() if key != "generation"}
    return {**spec, "pool": pool}
