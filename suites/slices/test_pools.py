"""Pools of devices beside what else the cluster knows: allocations, nodes, the driver's pods."""

from __future__ import annotations

from harness.checks.check import check
from harness.cluster.inventory import key_of, results
from harness.cluster.kinds import describe_place
from harness.scenario.published import Published, Wrong, node_of
from harness.verdict.finding import Blame, UnsupportedError

UNSET_SECONDS = 120.0
"""How long after its allocation nobody may have said a word of a binding condition."""


@check(id="SLICE-010", level=0, source="SLICE-10, SLICE-9")
def test_pools_are_whole(published: Published) -> None:
    """A pool MUST have as many slices of its newest generation as each of them says, none of an
    older one, and each device once; the scheduler allocates nothing from another.
    """
    published.none_of(
        (
            Wrong(
                node_of(pool.slices[0]),
                f"pool {pool.name} is not whole: {pool.problem}",
                f"pool {pool.name}: {pool.problem}",
            )
            for pool in published.pools
            if pool.problem
        ),
        "as many slices of one generation as they say, and each device in one of them",
    )


@check(id="SLICE-024", level=0, source="SLICE-24")
def test_allocated_devices_are_published(published: Published) -> None:
    """A device MUST stay published, under its name, while a claim has it allocated."""
    there = {(entry.pool, entry.name) for entry in published.devices}
    pools = {item["spec"]["pool"]["name"]: node_of(item) for item in published.slices}
    held = [
        (claim, result)
        for claim in published.claims
        for result in results(claim)
        # A pool that is gone as a whole went with its node or its driver.
        if result["driver"] == published.driver and result["pool"] in pools
    ]
    if not held:
        raise UnsupportedError(
            "no claim had a device of the driver allocated when slices were read"
        )
    published.none_of(
        (
            Wrong(
                pools[result["pool"]],
                f"{result['device']} of pool {result['pool']} is allocated, but not published",
                f"{describe_place(claim)} has {result['device']} of pool {result['pool']}",
            )
            for claim, result in held
            if (result["pool"], result["device"]) not in there
        ),
        "each allocated device in a slice of its pool",
    )


@check(id="SLICE-035", level=0, source="SLICE-13", judges_driver=False)
def test_published_devices_have_a_driver(published: Published) -> None:
    """On a node whose devices are published the driver MUST run: the kubelet withdraws the slices
    of a driver that has been away for 30 s.
    """
    published.driver_pods.get()
    published.none_of(
        (
            Wrong(
                node,
                f"devices of {node} are published, but no pod of the driver is there",
                f"{node}: its slices are there, a pod {published.profile.plugin_selector} is not",
            )
            for node in sorted(published.nodes_without_driver())
        ),
        "slices only of nodes where the driver runs, or has for less than 30 s not run",
        Blame.KUBELET,
    )


@check(id="SLICE-020", level=0, source="SLICE-20")
def test_somebody_sets_binding_conditions(published: Published) -> None:
    """Of each binding condition of an allocated device somebody SHOULD have said within two minutes
    how it is; its pod waits for that.
    """
    waiting = [
        (claim, result)
        for claim in published.claims
        for result in results(claim)
        if result["driver"] == published.driver and result.get("bindingConditions")
    ]
    if not waiting:
        raise UnsupportedError("no allocated device of the driver has binding conditions")
    wrong = []
    for claim, result in waiting:
        key = key_of(result)
        said = {
            condition["type"]
            for one in claim["status"].get("devices") or []
            if key_of(one) == key
            for condition in one.get("conditions") or []
        }
        unsaid = [name for name in result["bindingConditions"] if name not in said]
        age = published.seconds_since(claim["status"]["allocation"].get("allocationTimestamp"))
        if unsaid and age > UNSET_SECONDS:
            head = f"nobody sets {unsaid[0]} of {result['device']} of pool {result['pool']}"
            where = describe_place(claim)
            wrong.append(Wrong("", head, f"{where}: allocated {age:.0f} s ago, unset: {unsaid}"))
    published.none_of(wrong, f"a condition of that name within {UNSET_SECONDS:.0f} s")
