"""What a restart of the driver does to what it publishes and to the pods of its node."""

from __future__ import annotations

from harness.checks.check import check
from harness.scenario.driver import Driver
from harness.scenario.evidence import Evidence
from harness.scenario.node import Node
from harness.scenario.scenario import scenario
from harness.scenario.slice_writes import SliceWrites, devices_by_name
from harness.scenario.steps import Steps
from harness.verdict.finding import UnmetError, UnsupportedError, one_line
from suites.health import note_health, outlast_one_report
from suites.node.pods import (
    on_one_node,
    see_published,
    see_runs_on,
    see_same_devices,
    see_unprepared,
)

KUBELETS_PATIENCE = 25
"""Seconds; after 30 the kubelet removes the slices of a driver that is not back."""


@scenario(most=3, uses=(Driver.pods, Driver.restart, Node.files))
def driver_restart(steps: Steps) -> None:
    """The driver of a node restarts while a pod runs there, one starts and one ends."""
    with on_one_node(steps, "ends", "runs", "starts") as pods:
        node = steps.node(pods.node)
        pods.start("ends", "runs")
        node.files("cdi", "prepared")
        containers = steps.evidence.containers
        if "runs" in containers:
            outlast_one_report(steps, containers["runs"], pods.node)
            note_health(steps, containers["runs"], "before")

        def meanwhile() -> None:
            pods.submit("starts")
            pods.end("ends")

        with steps.slices():
            away = steps.driver.restart(pods.node, meanwhile)
            pods.late("late", "runs")
            pods.again("again", "ends")
            pods.await_gone("ends")
            node.files("cdi", "unprepared")
            pods.await_reports("starts", "late", "again")
            if "late" in containers:
                note_health(steps, containers["late"], "after", like="before")
            if away > KUBELETS_PATIENCE:
                raise UnmetError(f"the driver's new pod was ready after {away:.0f} s: too late")


def _slices(evidence: Evidence) -> SliceWrites:
    """Those of the node that the driver restarted on."""
    every, (device,) = evidence.slices.get(), evidence.claim("ends").devices
    slices = every.of_node(device.node)
    if not slices.before:
        raise UnsupportedError("the driver publishes no ResourceSlice of one node")
    return slices


@check(
    id="SLICE-036",
    level=2,
    source="SLICE-24",
    scenario=driver_restart,
    after=("DISC-006", "SLICE-014"),
)
def test_devices_stay_published_while_they_are_allocated(evidence: Evidence) -> None:
    """A device that is allocated when the driver restarts MUST stay published."""
    slices = _slices(evidence)
    used = {device.name for claim in evidence.claims.values() for device in claim.devices}
    see_published(evidence, used, slices.after, "its restart")


@check(id="SLICE-017", level=2, source="SLICE-17", scenario=driver_restart, after=("SLICE-036",))
def test_devices_keep_their_names_over_a_restart(evidence: Evidence) -> None:
    """A device MUST have the same name before and after a restart of its driver."""
    slices = _slices(evidence)
    before, after = devices_by_name(slices.before), devices_by_name(slices.after)
    moved = [
        f"{name} is now {other}"
        for name, device in before.items()
        for other in after
        if other != name
        and {**after[other], "name": ""}
        == {**device, "name": ""}
        != {**after.get(name, {}), "name": ""}
    ]
    if moved:
        evidence.fail(
            f"a restart of the driver gives devices other names: {one_line(moved[0], 48)}",
            expected="the same names for the same devices",
            observed="\n".join(moved),
        )


@check(
    id="SLICE-012",
    level=2,
    source="SLICE-12",
    scenario=driver_restart,
    after=("SLICE-017", "SLICE-023"),
)
def test_a_restart_of_the_driver_keeps_its_slices(evidence: Evidence) -> None:
    """If nothing else has changed, a restart of the driver MUST leave names, generation and devices
    of its ResourceSlices as they were.
    """
    slices = _slices(evidence)
    if found := slices.differences():
        evidence.fail(
            f"after a restart of the driver {one_line(found[0], 70)}",
            expected="the same ResourceSlices, with the same generation and devices",
            observed="\n".join([*found, *map(str, slices.writes)]),
        )


@check(id="NODE-021", level=2, source="NODE-21", scenario=driver_restart, after=("SLICE-036",))
def test_a_claim_is_unprepared_after_the_driver_has_restarted(evidence: Evidence) -> None:
    """A claim that was prepared before the driver restarted MUST be unprepared when its pod ends:
    its CDI file is removed, and its device can be used by another claim.
    """
    see_unprepared(
        evidence,
        "after its restart the driver keeps the CDI file of a claim that it prepared before",
    )


@check(id="NODE-030", level=2, source="NODE-21", scenario=driver_restart, after=("SLICE-036",))
def test_a_restart_of_the_driver_leaves_running_pods_alone(evidence: Evidence) -> None:
    """A pod that runs while the driver restarts MUST run on, and its claim be usable by another pod
    that starts then.
    """
    runs = evidence.container("runs")
    runs.started.get()
    see_runs_on(evidence, runs.the_pod(), "a restart of the driver")
    see_same_devices(evidence, "runs", "late", "the driver's restart")


@check(id="NODE-031", level=2, source="NODE-1", scenario=driver_restart, after=("SLICE-036",))
def test_a_pod_starts_that_came_while_the_driver_restarted(evidence: Evidence) -> None:
    """A pod that came while the driver restarted MUST start, whatever its first prepare met."""
    evidence.container("starts").started.get()
