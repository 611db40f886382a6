"""Several devices for one pod: by a number, by two claims, and all that a node has."""

from __future__ import annotations

from harness.checks.check import check
from harness.cluster.inventory import free_by_node, key_of, results
from harness.cluster.kinds import CLAIM
from harness.scenario.claim_spec import ALL, Request
from harness.scenario.evidence import Evidence
from harness.scenario.scenario import EVERY_DEVICE, scenario
from harness.scenario.steps import Steps
from harness.verdict.finding import Blame, UnmetError, UnsupportedError, counted
from suites.allocation.seen import must_see, named, show
from suites.counters import counters, fit
from suites.health import note_health

MOST_OF_A_CLAIM = 32
"""More devices than that the API does not allocate to one claim."""


@scenario(devices=2, admin=True)
def two_of_one_request(steps: Steps) -> None:
    """A pod uses a claim with one request, for two devices."""
    user = show(steps, "user", steps.claim(requests=[Request("gpus", 2)]))
    note_health(steps, user, "user")


@check(id="ALLOC-004", level=2, source="ALLOC-4", scenario=two_of_one_request, after=("ALLOC-007",))
def test_a_request_for_two_devices_gets_two(evidence: Evidence) -> None:
    """A request for two devices MUST be allocated two different ones, and its container have
    both.
    """
    claim = evidence.claim("gpus")
    found = results(claim.allocated.get())
    if len(set(map(key_of, found))) != 2:
        evidence.fail(
            f"a request for 2 devices was allocated {named(claim.devices)}",
            expected="two different devices",
            observed=", ".join(f"{one['pool']}/{one['device']}" for one in found) or "nothing",
            blame=Blame.SCHEDULER,
        )
    must_see(evidence, "user", claim.devices)


@scenario(devices=2)
def two_claims_of_a_pod(steps: Steps) -> None:
    """A pod uses two claims of one device each."""
    show(steps, "user", steps.claim(1, "one"), steps.claim(1, "two"))


@check(
    id="ALLOC-005",
    level=2,
    source="ALLOC-5",
    scenario=two_claims_of_a_pod,
    after=("ALLOC-007", "NODE-006"),
)
def test_a_pod_with_two_claims_has_the_devices_of_both(evidence: Evidence) -> None:
    """A container that names two claims MUST have the devices of both, and no others."""
    claims = [evidence.claim(name) for name in ("one", "two")]
    for claim in claims:
        claim.allocated.get()
    must_see(evidence, "user", {device for claim in claims for device in claim.devices})


@scenario(most=EVERY_DEVICE, impacts=["exhaust"])
def all_of_a_node(steps: Steps) -> None:
    """A pod uses a claim of all devices that a node has."""
    devices = steps.run.devices()
    free = free_by_node(devices, steps.run.observer.objects(CLAIM))
    whole = [n for n, ones in free.items() if ones == [d for d in devices if d.node == n]]
    has = counters(steps)
    together = [node for node in whole if fit(free[node], has)]
    if whole and not together:
        raise UnsupportedError(
            "the driver publishes, for each node, devices that draw on the same counters, so that"
            " no claim gets all"
        )
    if not any(len(free[node]) <= MOST_OF_A_CLAIM for node in together):
        raise UnmetError(
            f"no node has all its devices free and at most {MOST_OF_A_CLAIM}, the most of one claim"
        )
    show(steps, "user", steps.claim(requests=[Request("gpus", ALL)]))


@check(
    id="ALLOC-006",
    level=2,
    source="ALLOC-6",
    scenario=all_of_a_node,
    after=("ALLOC-007", "ALLOC-004"),
)
def test_a_request_for_all_devices_gets_those_of_a_node(evidence: Evidence) -> None:
    """A request for all devices MUST be allocated each that its node has, and its container have
    them.
    """
    claim = evidence.claim("gpus")
    claim.allocated.get()
    missing = set(claim.node_devices) - set(claim.devices)
    if missing:
        evidence.fail(
            f"a request for all devices was allocated {len(claim.devices)} of the"
            f" {counted(len(claim.node_devices), 'device')} of its node",
            expected=", ".join(device.name for device in claim.node_devices),
            observed=", ".join(device.name for device in claim.devices) or "nothing",
            blame=Blame.SCHEDULER,
        )
    must_see(evidence, "user", claim.devices)
