"""A pod that is deleted by force: its claims are free before its node has ended it."""

from __future__ import annotations

from harness.checks.check import check
from harness.cluster.kinds import uid_of
from harness.scenario.evidence import Evidence
from harness.scenario.node import Node
from harness.scenario.node_watch import states
from harness.scenario.pod_spec import resting
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps
from harness.verdict.finding import UnmetError, UnsupportedError

LINGERS = 3
"""Seconds for which the pod runs on: its kubelet is asked for the next claims in the meantime."""


@scenario(devices=2, uses=(Steps.force_delete, Node.watch))
def forced_deletion(steps: Steps) -> None:
    """A pod with two claims is deleted by force, and one of the claims, too. Others want both
    devices at once; the second by a claim with the name of the one that is gone.
    """
    kept, lost = steps.claim(1, "kept"), steps.claim(1, "lost")
    (user,) = steps.start_pod("user", [resting("user")], kept, lost, lingers=LINGERS)
    heir = steps.claim(name="heir", of=kept.devices)
    (waiting,) = steps.submit_pod("heir", [resting("heir")], heir)
    with steps.node(kept.devices[0].node).watch("cdi", "cdi") as cdi:
        steps.delete(lost)
        steps.force_delete(user)
        steps.await_gone(user, lost)
        same = steps.claim(name="same", of=lost.devices, like=lost)
        (first,) = steps.create_pod("first", [resting("first")], same)
        steps.await_allocation(waiting)
        # The scheduler holds a device for others while it waits for the device's binding
        # conditions, even if the pod is gone: pods that come next could find too few.
        steps.await_binding(first)
        for container, before in ((waiting, kept), (first, lost)):
            steps.await_taken(container)
            held = states(cdi.changes(), [uid_of(before.obj)])[-1]
            steps.evidence.noted[container.role] = bool(held)
        old = uid_of(kept.obj), uid_of(lost.obj)
        cdi.await_without(*old)
        # The kubelet tries again after a minute and more what it could not do before; but at once
        # for a new pod. It lets none have a claim with the name of another before the driver has
        # answered that the other, and all else that its pod had, is unprepared: once this pod runs,
        # a file that is left was left by the driver, however slow everything is.
        steps.start_pod("second", [resting("second")], same)
        cdi.await_without(*old)


def prepared(evidence: Evidence, *names: str) -> list[set[str]]:
    """Tell which claims had a CDI file, at first and after each change of the files."""
    uids = {uid_of(evidence.claim(name).obj): name for name in names}
    seen = [{uids[u] for u in one} for one in states(evidence.changed("cdi"), list(uids))]
    if not any(names[0] in state for state in seen):
        raise UnsupportedError("no CDI file of the node names the claim by its UID")
    return seen


@check(
    id="NODE-009", level=2, source="NODE-9, NODE-8", scenario=forced_deletion, after=("NODE-006",)
)
def test_the_claim_of_a_pod_deleted_by_force_is_unprepared(evidence: Evidence) -> None:
    """When a pod is deleted by force, its claim MUST be unprepared soon, though it is already
    deallocated.
    """
    if "kept" in prepared(evidence, "kept")[-1]:
        evidence.fail(
            "the claim of a pod that was deleted by force still has its CDI file",
            expected="no CDI file that names the claim",
            observed=evidence.claim("kept").name,
        )


@check(
    id="NODE-017", level=2, source="NODE-17, NODE-9", scenario=forced_deletion, after=("NODE-006",)
)
def test_a_claim_whose_object_is_gone_is_unprepared(evidence: Evidence) -> None:
    """A claim MUST be unprepared even if its object is gone, as it can be after its pod was deleted
    by force.
    """
    if "lost" in prepared(evidence, "lost")[-1]:
        evidence.fail(
            "a claim whose object is gone still has its CDI file",
            expected="no CDI file that names the claim",
            observed=evidence.claim("lost").name,
        )


@check(id="NODE-016", level=2, source="NODE-16", scenario=forced_deletion, after=("NODE-006",))
def test_no_device_is_prepared_for_two_claims(evidence: Evidence) -> None:
    """A device MUST NOT be prepared for a claim while it is prepared for another, as it is for a
    while after its pod was deleted by force.
    """
    asked = False
    for pair, pod in ((("kept", "heir"), "heir"), (("lost", "same"), "first")):
        if evidence.claim(pair[0]).devices != evidence.claim(pair[1]).devices:
            raise UnsupportedError("a claim cannot ask for one device by its UUID")
        if any(one.is_shareable for one in evidence.claim(pair[0]).devices):
            raise UnsupportedError("several claims can have this device at a time")
        if set(pair) in prepared(evidence, *pair):
            evidence.fail(
                "a device is prepared for a claim before it is unprepared for the one before",
                expected="an error for the second claim, until the first one is unprepared",
                observed=f"CDI files for both: {', '.join(pair)}",
            )
        asked = asked or evidence.noted[pod]
    if not asked:
        raise UnmetError("each device was unprepared before the kubelet had the next pod for it")


@check(
    id="NODE-010",
    level=2,
    source="NODE-10",
    scenario=forced_deletion,
    after=("NODE-009", "NODE-017"),
)
def test_a_new_claim_with_the_name_of_another_is_prepared(evidence: Evidence) -> None:
    """A claim MUST be prepared for itself, even if one of the same name was prepared before."""
    evidence.container("second").started.get()
