"""A claim that one instance of the driver prepared, and the next one has to take back."""

from __future__ import annotations

from harness.checks.check import check
from harness.scenario.driver import Driver
from harness.scenario.evidence import Evidence
from harness.scenario.node import Node
from harness.scenario.pod_spec import resting
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps
from harness.verdict.finding import UnsupportedError


@scenario(uses=(Driver.restart, Node.files))
def restart_while_prepared(steps: Steps) -> None:
    """The driver restarts while a pod runs; then the pod ends, and its device is claimed again."""
    claim = steps.claim(1)
    steps.start_pod("user", [resting("user")], claim)
    node = steps.node(claim.devices[0].node)
    node.files("cdi", "prepared")
    steps.driver.restart(node.name)
    steps.release()
    node.files("cdi", "unprepared")
    steps.start_pod("again", [resting("again")], steps.claim(name="again", of=claim.devices))


@check(id="NODE-021", level=2, source="NODE-21", scenario=restart_while_prepared)
def test_a_claim_is_unprepared_after_the_driver_has_restarted(evidence: Evidence) -> None:
    """A claim that was prepared before the driver restarted MUST be unprepared when its pod ends:
    its CDI file is removed, and its device can be used by another claim.
    """
    uid = str(evidence.claim("gpus").obj["metadata"]["uid"])
    looks = (evidence.files("prepared"), evidence.files("unprepared"))
    made, left = ([file.path for file in look if file.mentions(uid)] for look in looks)
    if not made:
        raise UnsupportedError("no CDI file of the node names the claim by its UID")
    if left:
        evidence.fail(
            "after its restart the driver keeps the CDI file of a claim that it prepared before",
            expected="no CDI file that names the claim once its pod is gone",
            observed="\n".join(left),
        )
    evidence.container("again").started.get()
