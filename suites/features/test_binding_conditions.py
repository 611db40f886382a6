"""A device that has to be made ready between its allocation and the start of its pod."""

from __future__ import annotations

from collections.abc import Iterable

from harness.checks.check import check
from harness.cluster.inventory import key_of, results
from harness.cluster.kinds import Object
from harness.scenario.evidence import Claim, Evidence
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps
from harness.verdict.finding import Blame
from suites.allocation.seen import must_see, showing
from suites.features.offers import one_of


def met(claim: Object) -> bool:
    """Whether a claim's status says that all binding conditions of its devices are met."""
    devices = (claim.get("status") or {}).get("devices") or []
    said = {
        (key_of(device), condition["type"])
        for device in devices
        for condition in device.get("conditions") or []
        if condition["status"] == "True"
    }
    return said.issuperset(
        (key_of(one), name) for one in results(claim) for name in one.get("bindingConditions") or []
    )


def failed(claim: Object) -> bool:
    """Whether a claim's status says that a device of it could not be made ready."""
    devices = (claim.get("status") or {}).get("devices") or []
    names = {name for one in results(claim) for name in one.get("bindingFailureConditions") or []}
    return any(
        condition["type"] in names and condition["status"] == "True"
        for device in devices
        for condition in device.get("conditions") or []
    )


def _first(versions: Iterable[Object]) -> int:
    """The earliest of some states of an object, in the order of all changes of the cluster."""
    return min(int(one["metadata"]["resourceVersion"]) for one in versions)


@scenario()
def bound_when_ready(steps: Steps) -> None:
    """A pod uses a device that has binding conditions."""
    device = one_of(
        *(steps, "DRADeviceBindingConditions", "with binding conditions"),
        lambda one: bool(one.entry.get("bindingConditions")),
    )
    claim = steps.claim(of=[device])
    (user,) = steps.create_pod("user", [showing(steps, "user")], claim)
    _await_ready(steps, claim)
    steps.await_start(user)
    pods, claims = steps.run.observer.versions, steps.run.observer.versions(claim.obj)
    steps.evidence.noted = {
        "bound": _first(one for one in pods(user.the_pod()) if one["spec"].get("nodeName")),
        "ready": _first(one for one in claims if results(one) and met(one)),
        "failed": any(map(failed, claims)),
        "given back": any(map(_given_back, claims, claims[1:])),
    }
    steps.await_report(user)


def _given_back(before: Object, after: Object) -> bool:
    return bool(results(before)) and not results(after)


def _await_ready(steps: Steps, claim: Claim) -> None:
    """Wait until the driver says that the conditions are met."""
    (result,) = results(claim.allocated.get())
    wanted = result.get("bindingConditions") or []

    def ready() -> bool:
        seen = steps.run.observer.last(claim.obj).obj
        return bool(results(seen)) and met(seen)

    def told() -> str:
        devices = (steps.run.observer.last(claim.obj).obj.get("status") or {}).get("devices") or []
        said = [f"{c['type']} {c['status']}" for d in devices for c in d.get("conditions") or []]
        return ", ".join(said) or "its status says nothing of the device"

    steps.wait(
        "the device's binding conditions to be met",
        ready,
        steps.run.budgets.start,
        told,
        Blame.DRIVER,
    )
    steps.step(f"met: {', '.join(wanted)}")


@check(id="ALLOC-032", level=3, source="ALLOC-32", scenario=bound_when_ready)
def test_a_pod_is_bound_when_its_device_is_ready(evidence: Evidence) -> None:
    """The driver MUST say that the binding conditions of an allocated device are met; its pod MUST
    be bound then, not before, and have it. A device that cannot be made ready MUST be given back.
    """
    user, claim = evidence.container("user"), evidence.claim("gpus")
    user.started.get()
    bound, ready = evidence.noted["bound"], evidence.noted["ready"]
    if bound < ready:
        evidence.fail(
            f"the pod was bound before {claim.devices[0].name} was ready for it",
            expected="the binding after the conditions in the claim's status",
            observed=f"bound at resourceVersion {bound}, ready at {ready}",
            blame=Blame.SCHEDULER,
        )
    if evidence.noted["failed"] and not evidence.noted["given back"]:
        evidence.fail(
            f"{claim.devices[0].name} could not be made ready and was not given back",
            expected="the claim is deallocated, and its pod tried again",
            observed="it stayed allocated",
            blame=Blame.SCHEDULER,
        )
    must_see(evidence, "user", claim.devices)
