"""Claims that are of other drivers, too: each driver does its own part."""

from __future__ import annotations

from harness.checks.check import check
from harness.cluster.inventory import driver_names, results
from harness.cluster.kinds import DEVICE_CLASS, SLICE, name_of
from harness.scenario.claim_spec import Parameters, Request
from harness.scenario.evidence import Evidence
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps
from harness.verdict.finding import UnsupportedError
from suites.allocation.seen import must_see, show

OTHER = "gpu.other.dra-conformance.example"
"""A driver that is nowhere."""
FOREIGN = {"apiVersion": f"{OTHER}/v1", "kind": "Foreign", "of": "another driver"}


@scenario()
def devices_of_two_drivers(steps: Steps) -> None:
    """A pod uses a claim of a device of the driver, and one of another driver."""
    subject, slices = steps.run.subject, steps.run.observer.objects(SLICE)
    # By custom a driver's class is called as the driver.
    classes = {name_of(one) for one in steps.run.kube.list(DEVICE_CLASS)[0]}
    others = [name for name in driver_names(slices) if name != subject.driver and name in classes]
    if not others:
        raise UnsupportedError("no other driver publishes devices and has a class of its name")
    requests = [Request("theirs", device_class=others[0]), Request("ours")]
    show(steps, "user", steps.claim(requests=requests))


@check(id="ALLOC-018", level=2, source="ALLOC-18", scenario=devices_of_two_drivers)
def test_a_driver_leaves_devices_of_others_alone(evidence: Evidence) -> None:
    """Of a claim that has devices of two drivers, a driver MUST prepare its own and leave the
    others alone.
    """
    claim = evidence.claim("gpus")
    if {one["request"] for one in results(claim.allocated.get())} != {"ours", "theirs"}:
        raise UnsupportedError("the claim was not allocated devices of two drivers")
    must_see(evidence, "user", claim.devices, "its own in the claim")


@scenario()
def parameters_for_another(steps: Steps) -> None:
    """A pod uses a claim with parameters for another driver."""
    show(steps, "user", steps.claim(1, parameters=[Parameters(FOREIGN, driver=OTHER)]))


@check(
    id="NEG-011", level=2, source="NEG-11", scenario=parameters_for_another, after=("ALLOC-007",)
)
def test_a_driver_ignores_parameters_for_another(evidence: Evidence) -> None:
    """A driver MUST prepare a claim that has parameters for another driver as if it had none."""
    evidence.container("user").started.get()
    must_see(evidence, "user", evidence.claim("gpus").devices)
