"""What a change of the driver to another version does to the claims and pods of its node."""

from __future__ import annotations

from harness.checks.check import check
from harness.scenario.driver import Driver
from harness.scenario.evidence import Evidence
from harness.scenario.node import Node
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps
from suites.node.pods import (
    on_one_node,
    see_published,
    see_runs_on,
    see_same_devices,
    see_unprepared,
)


@scenario(most=2, uses=(Driver.upgrade, Driver.restart, Node.files))
def driver_upgrade(steps: Steps) -> None:
    """The driver of a node gets another version while pods run there; drained, it gets the old one
    back.
    """
    steps.driver.other_version()  # where there is none, nothing is begun
    with on_one_node(steps, "ends", "runs") as pods:
        node = steps.node(pods.node)
        pods.start("ends", "runs")
        node.files("cdi", "prepared")
        with steps.slices():
            steps.driver.upgrade(pods.node)
            pods.late("late", "runs")
            pods.end("ends")
            pods.await_gone("ends")
            node.files("cdi", "unprepared")
            pods.again("again", "ends")
            pods.await_reports("late", "again")
        pods.see()
        if "runs" in steps.evidence.containers:
            steps.evidence.noted["running"] = steps.evidence.container("runs").the_pod()
        pods.end("runs", "late", "again")
        pods.await_gone("runs", "late", "again")
        steps.driver.start(pods.node)


@check(
    id="UPG-001",
    level=2,
    source="UPG-1",
    scenario=driver_upgrade,
    after=("NODE-021", "DISC-008", "NODE-033"),
)
def test_a_claim_of_the_version_before_is_unprepared(evidence: Evidence) -> None:
    """A claim that the version before has prepared MUST be unprepared by the new one when its pod
    ends: its CDI file is removed, and its device can be used by another claim.
    """
    see_unprepared(
        evidence, "after an upgrade the driver keeps the CDI file of a claim of the version before"
    )


@check(
    id="UPG-005",
    level=2,
    source="UPG-5",
    scenario=driver_upgrade,
    after=("UPG-001", "SLICE-036", "NODE-030"),
)
def test_claims_outlive_an_upgrade(evidence: Evidence) -> None:
    """A pod that runs while its driver is upgraded MUST run on, its device stay published, and its
    claim be usable by another pod that starts then.
    """
    evidence.container("late")
    if "running" in evidence.noted:
        see_runs_on(evidence, evidence.noted["running"], "an upgrade of the driver")
    see_same_devices(evidence, "runs", "late", "an upgrade")
    used = {device.name for device in evidence.claim("runs").devices}
    see_published(evidence, used, evidence.slices.get().after, "an upgrade")
