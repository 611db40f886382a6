"""What becomes of claims and slices when the kubelet restarts.

It comes before everything that restarts the driver: with some helper libraries slices that are
deleted within a minute of their last update do not come back (kubernetes/kubernetes#140063).
"""

from __future__ import annotations

from harness.checks.check import check
from harness.scenario.driver import Driver
from harness.scenario.evidence import Evidence
from harness.scenario.node import Kubelet, Node
from harness.scenario.scenario import scenario
from harness.scenario.slice_writes import DELETED, devices_by_name
from harness.scenario.steps import Steps
from harness.verdict.finding import Blame, UnsupportedError
from suites.node.pods import on_one_node, see_same_devices


@scenario(most=4, uses=(Kubelet.restart, Node.wipe, Driver.restart))
def kubelet_restart(steps: Steps) -> None:
    """The kubelet restarts while pods run, one ends, and one's CDI file is gone; then the driver.

    What a kubelet has prepared it knows in memory only: for a pod that comes later and uses the
    same claim it asks the driver once more.
    """
    with on_one_node(steps, "repeated", "ends", "kept", "wiped") as pods:
        pods.start("repeated", "ends", "kept", "wiped")
        if "wiped" in pods.claims:
            steps.node(pods.node).wipe(pods.claims["wiped"], "wiped")

        def meanwhile() -> None:
            pods.end("ends")
            pods.late("repeats", "repeated")
            pods.late("restored", "wiped")
            with steps.together():
                pods.await_gone("ends")
                pods.await_reports("repeats", "restored")

        with steps.slices():
            steps.kubelet.restart(pods.node, meanwhile)
        steps.evidence.nodes["restarted"] = pods.node
        steps.driver.restart(pods.node)
        pods.late("inherits", "kept")  # before that, the driver's predecessor could prepare it
        pods.await_reports("inherits")


@check(id="DISC-006", level=2, source="DISC-6", scenario=kubelet_restart)
def test_a_kubelet_that_has_restarted_finds_the_driver(evidence: Evidence) -> None:
    """A kubelet that has restarted MUST find the driver again, without its help: pods with claims
    start and end on the node.
    """
    repeats = evidence.container("repeats")
    if repeats.started.known() is None and evidence.container("ends").gone.known() is None:
        repeats.started.get()


@check(id="NODE-003", level=2, source="NODE-3", scenario=kubelet_restart, after=("DISC-006",))
def test_a_claim_can_be_prepared_once_more(evidence: Evidence) -> None:
    """A claim that is prepared already MUST be prepared once more with the same answer."""
    see_same_devices(evidence, "repeated", "repeats", "the kubelet's restart")


@check(id="NODE-005", level=2, source="NODE-5", scenario=kubelet_restart, after=("NODE-003",))
def test_a_claim_that_is_prepared_once_more_gets_its_cdi_file_again(evidence: Evidence) -> None:
    """A claim that is prepared once more MUST have its CDI devices then, even if its file was lost
    with the node's /run.
    """
    evidence.container("restored")
    if not evidence.files("wiped"):
        raise UnsupportedError("no CDI file of the node is called after the claim's UID")
    see_same_devices(evidence, "wiped", "restored", "the loss of its CDI file")


@check(id="NODE-012", level=2, source="NODE-12", scenario=kubelet_restart, after=("DISC-006",))
def test_a_kubelet_that_has_restarted_ends_what_it_began(evidence: Evidence) -> None:
    """A claim that was prepared when the kubelet restarted MUST be unprepared when its pod ends
    after that: the pod goes.
    """
    evidence.container("ends").gone.get()


@check(id="SLICE-014", level=2, source="SLICE-14", scenario=kubelet_restart)
def test_slices_come_back_after_a_restart_of_the_kubelet(evidence: Evidence) -> None:
    """A kubelet that starts withdraws the slices of its node, and of no other; the driver MUST
    publish the same devices again.
    """
    every = evidence.slices.get()
    node = evidence.node("restarted")
    there, others = every.of_node(node), [w for w in every.writes if w.event == DELETED]
    others = [write for write in others if write not in there.writes]
    if others:
        evidence.fail(
            f"the kubelet of {node} has withdrawn a ResourceSlice of another node",
            expected=f"it withdraws those of {node}",
            observed="\n".join(map(str, others)),
            blame=Blame.KUBELET,
        )
    before, after = devices_by_name(there.before), devices_by_name(there.after)
    if before.keys() != after.keys():
        evidence.fail(
            f"after the kubelet's restart {len(after)} devices are published instead of"
            f" {len(before)}",
            expected=", ".join(sorted(before)),
            observed=", ".join(sorted(after)) or "none",
        )


@check(
    id="NODE-004",
    level=2,
    source="NODE-4",
    scenario=kubelet_restart,
    after=("DISC-006", "SLICE-014"),
)
def test_a_driver_prepares_what_its_predecessor_prepared(evidence: Evidence) -> None:
    """A driver that has restarted MUST prepare a claim that its predecessor prepared with the same
    answer.
    """
    see_same_devices(evidence, "kept", "inherits", "the driver's restart")
