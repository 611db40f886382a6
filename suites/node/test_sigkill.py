"""What is left to its successor by a driver that could not say goodbye."""

from __future__ import annotations

from harness.checks.check import check
from harness.scenario.driver import Driver
from harness.scenario.evidence import Evidence
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps
from suites.node.pods import on_one_node


@scenario(most=3, uses=(Driver.kill, Driver.restart))
def driver_killed(steps: Steps) -> None:
    """The driver is killed, perhaps while it prepares two claims; the pod of one of them goes.

    A third pod, with a claim that was prepared long before, ends while there is no driver.
    """
    with on_one_node(steps, "ends", "cut", "dropped") as pods:
        pods.start("ends")
        pods.submit("cut", "dropped")
        pods.await_binding("cut", "dropped")

        def meanwhile() -> None:
            pods.end("ends", "dropped")
            pods.again("again", "ends")
            pods.again("next", "dropped")

        steps.driver.kill(pods.node, meanwhile)
        pods.await_gone("ends", "dropped")
        pods.await_reports("cut", "again", "next")


@check(
    id="DISC-007",
    level=2,
    source="DISC-7",
    scenario=driver_killed,
    after=("SLICE-014", "SLICE-036"),
)
def test_a_driver_that_was_killed_is_registered_again(evidence: Evidence) -> None:
    """A driver that was killed by SIGKILL MUST be registered again when it is back, whatever
    sockets it left: pods with claims start and end on the node.
    """
    ends = evidence.container("ends").gone
    others = (evidence.containers.get(role) for role in ("cut", "again"))
    if ends.known() is None and not any(one and one.started.known() for one in others):
        ends.get()


@check(id="NODE-001", level=2, source="NODE-1", scenario=driver_killed, after=("DISC-007",))
def test_a_prepare_that_was_cut_off_is_completed(evidence: Evidence) -> None:
    """A prepare that ended with the driver's death MUST succeed when it is tried again."""
    evidence.container("cut").started.get()


@check(
    id="NODE-015",
    level=2,
    source="NODE-15",
    scenario=driver_killed,
    after=("DISC-007", "SLICE-017"),
)
def test_a_prepare_that_was_cut_off_holds_nothing(evidence: Evidence) -> None:
    """When a prepare ended with the driver's death and its pod is deleted, the pod MUST go and the
    device be there for another claim.
    """
    evidence.container("dropped").gone.get()
    evidence.container("next").started.get()


@check(id="NODE-011", level=2, source="NODE-11", scenario=driver_killed, after=("DISC-007",))
def test_a_claim_is_unprepared_after_the_driver_was_killed(evidence: Evidence) -> None:
    """A pod that is deleted while the driver is dead MUST go when it is back, and its device be
    there for another claim.
    """
    evidence.container("ends").gone.get()
    evidence.container("again").started.get()
