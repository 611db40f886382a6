"""Devices of one claim that have to be alike in an attribute, or to differ in it."""

from __future__ import annotations

from collections import Counter

from harness.checks.check import check
from harness.cluster.features import State
from harness.cluster.inventory import Device, qualified
from harness.scenario.claim_spec import Constraint, Request
from harness.scenario.evidence import Evidence
from harness.scenario.scenario import scenario
from harness.scenario.steps import Steps
from harness.verdict.finding import Blame, UnsupportedError
from suites.allocation.seen import free, must_see, named, show

TWO = (Request("one"), Request("two"))
PCIE_ROOT = "resource.kubernetes.io/pcieRoot"
"""What it is most often asked for: it says which devices are near each other (KEP-4381)."""


def told(device: Device) -> dict[str, str]:
    """What a slice says of a device: each attribute with its type and value, by full name."""
    return {
        qualified(device.driver, name): " ".join(map(str, *value.items()))
        for name, value in device.entry.get("attributes", {}).items()
        if len(value) == 1
    }


def choose(steps: Steps, what: str, *, alike: bool) -> str:
    """Choose an attribute in which two free devices of a node are alike, or differ.

    Args:
        steps: of the scenario.
        what: which one is best, in the words of the driver's profile (to be alike in: the PCIe
            root).
        alike: whether they are to be alike.

    Raises:
        UnsupportedError: there is none.
    """
    devices = [told(device) for device in free(steps)]
    fitting = []
    for name in sorted(set.intersection(*(set(one) for one in devices))):
        times = Counter(one[name] for one in devices)
        if max(times.values()) > 1 if alike else len(times) > 1:
            fitting.append(name)
    if not fitting:
        how = "are alike" if alike else "differ"
        raise UnsupportedError(f"there is no attribute in which two free devices of a node {how}")
    driver, known = steps.run.subject.driver, steps.run.subject.profile.attributes.get(what, "")
    best = [PCIE_ROOT] if alike else []
    best.append(qualified(driver, known))
    chosen = next((name for name in best if name in fitting), fitting[0])
    steps.evidence.noted = {"attribute": chosen}
    return chosen


@scenario(devices=2)
def alike_in_an_attribute(steps: Steps) -> None:
    """A pod uses a claim of two devices that have the same value of an attribute."""
    constraint = Constraint(matches=choose(steps, "product", alike=True))
    both = [constraint, *steps.different()]  # one device is like itself
    show(steps, "user", steps.claim(requests=TWO, constraints=both))


@scenario(devices=2)
def different_in_an_attribute(steps: Steps) -> None:
    """A pod uses a claim of two devices that have different values of an attribute."""
    if steps.run.subject.features.get("DRAConsumableCapacity") is not State.ON:
        raise UnsupportedError("the API server has no distinctAttribute (DRAConsumableCapacity)")
    constraint = Constraint(differs=choose(steps, "uuid", alike=False))
    show(steps, "user", steps.claim(requests=TWO, constraints=[constraint]))


def judge(evidence: Evidence, *, alike: bool) -> None:
    """See that two devices are as constrained, and that the container has both."""
    claim = evidence.claim("gpus")
    claim.allocated.get()
    name = evidence.noted["attribute"]
    found = {device.name: told(device).get(name, "nothing") for device in claim.devices}
    if len(set(found.values())) != (1 if alike else len(TWO)):
        how = "are to be alike" if alike else "have to differ"
        evidence.fail(
            f"{named(claim.devices)} {how} in {name}",
            expected="the same value and type" if alike else "two values",
            observed=", ".join(f"{device}: {value}" for device, value in found.items()),
            blame=Blame.SCHEDULER,
        )
    must_see(evidence, "user", claim.devices)


@check(
    id="ALLOC-011",
    level=2,
    source="ALLOC-11",
    scenario=alike_in_an_attribute,
    after=("ALLOC-007", "ALLOC-004"),
)
def test_devices_that_must_match_are_alike(evidence: Evidence) -> None:
    """Devices that have to match in an attribute MUST have the same value of it, of the same type,
    and their container MUST have them all.
    """
    judge(evidence, alike=True)


@check(
    id="ALLOC-012",
    level=3,
    source="ALLOC-12",
    scenario=different_in_an_attribute,
    after=("ALLOC-007", "ALLOC-004"),
)
def test_devices_that_must_differ_do(evidence: Evidence) -> None:
    """Devices that have to differ in an attribute MUST have different values of it, and their
    container MUST have them all.
    """
    judge(evidence, alike=False)
