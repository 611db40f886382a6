"""Invariants of a run: histories that break them, and near misses that do not."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from harness.cluster.journal import Journal
from harness.cluster.kinds import CLAIM, POD, SLICE, Object, namespace_of
from harness.cluster.kube import Kube
from harness.cluster.observe import Observer
from harness.verdict.invariants import SETTLED_SECONDS, Invariants
from harness.verdict.outcome import Outcome, Record, Result, Verdict
from tests.harness.fake_api import FakeApi

DRIVER, OTHER_DRIVER = "gpu.nvidia.com", "gpu.example.com"
MINE, THEIRS = "dra-conformance-x", "prod"
VERSIONS = itertools.count(1)


class World:
    """Invariants with a clock that is turned by hand, on a history that is written here."""

    def __init__(self, kube: Kube, *, true_history: bool = True) -> None:
        self.now = 0.0
        self.invariants = Invariants(
            kube,
            Journal(None),
            DRIVER,
            lambda obj: namespace_of(obj) == MINE,
            true_history=true_history,
            clock=lambda: self.now,
        )

    def saw(self, *objects: Object) -> None:
        """These were seen at the same time."""
        self.invariants.saw([(obj, False) for obj in objects])

    def lost(self, *objects: Object) -> None:
        """These went."""
        self.invariants.saw([(obj, True) for obj in objects])

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.invariants.confirm_what_is_due()

    def result(self, invariant: str) -> Result:
        """One case."""
        (found,) = [r for r in self.invariants.results() if r.id == invariant]
        return found


@pytest.fixture
def world(kube: Kube) -> World:
    """All claims come through one watch."""
    return World(kube)


@pytest.fixture
def unordered(kube: Kube) -> World:
    """Each namespace's claims come through a watch of their own."""
    return World(kube, true_history=False)


def result_of(device: str = "gpu-0", **more: Any) -> Object:
    """A device of an allocation."""
    return {"request": "r", "driver": DRIVER, "pool": "node-1", "device": device, **more}


def claim(name: str, *held: Object, namespace: str = MINE, users: tuple[str, ...] = ()) -> Object:
    """A claim that has devices and is reserved for pods."""
    status: Object = {"reservedFor": [user(pod) for pod in users]} if users else {}
    if held:
        status["allocation"] = {"devices": {"results": list(held)}}
    version = str(next(VERSIONS))
    metadata = {"name": name, "namespace": namespace, "uid": f"uid-{namespace}-{name}"}
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {**metadata, "resourceVersion": version},
        "spec": {"devices": {"requests": []}},
        "status": status,
    }


def user(pod: str) -> Object:
    """A pod that uses a claim."""
    return {"resource": "pods", "name": pod, "uid": f"uid-{pod}"}


def pod(name: str) -> Object:
    """A pod of the run."""
    metadata = {"name": name, "namespace": MINE, "uid": f"uid-{name}", "resourceVersion": "1"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}


def slice_of(name: str, generation: int, count: int, *devices: str, driver: str = DRIVER) -> Object:
    """A slice of the pool node-1."""
    pool = {"name": "node-1", "generation": generation, "resourceSliceCount": count}
    version = str(next(VERSIONS))
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceSlice",
        "metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": version},
        "spec": {"driver": driver, "pool": pool, "devices": [{"name": d} for d in devices]},
    }


# A device is in one allocation


def test_a_device_in_two_allocations_is_found_at_once(world: World) -> None:
    """Between the run's claim and another's; nobody waits for the driver's opinion."""
    world.saw(claim("a", result_of()))
    world.saw(claim("b", result_of(), namespace=THEIRS))
    world.saw(claim("b", namespace=THEIRS))  # it does not matter that it ended
    found = world.result("INV-001")
    assert found.outcome is Outcome.ERROR  # the scheduler's fault is no failure of the driver
    assert found.headline == (
        "INV-001 device gpu-0 of pool node-1 is allocated twice: to dra-conformance-x/a and prod/b"
    )
    assert "responsible scheduler" in found.body


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (result_of("gpu-0"), result_of("gpu-1")),
        (result_of(), result_of(adminAccess=True)),
        (result_of(shareID="a"), result_of(shareID="b")),
        (result_of(), result_of(pool="node-2")),
        (result_of(), result_of(driver=OTHER_DRIVER)),
    ],
)
def test_what_is_no_second_allocation(world: World, one: Object, other: Object) -> None:
    """Another device, another pool, another driver, an administrator's look, another share."""
    world.saw(claim("a", one))
    world.saw(claim("b", other))
    # One allocation that names a device twice is wrong, too, but one check's affair.
    world.saw(claim("c", result_of("gpu-9"), result_of("gpu-9", request="r2")))
    assert world.result("INV-001").outcome is Outcome.PASS


def test_the_same_share_twice_is_a_second_allocation(world: World) -> None:
    """And so is the whole device beside a share of it."""
    world.saw(claim("a", result_of(shareID="s")), claim("b", result_of(shareID="s")))
    world.saw(claim("c", result_of("gpu-1")), claim("d", result_of("gpu-1", shareID="s")))
    assert world.result("INV-001").body.count("request r:") == 4


def test_a_device_that_was_given_back_can_be_allocated_again(world: World) -> None:
    """By deallocation, by deletion, and within one list."""
    first, second, third = claim("a", result_of()), claim("b", result_of()), claim("c", result_of())
    world.saw(first)
    world.saw(claim("a"))
    world.saw(second)
    world.lost(second)
    world.saw(third)
    # A list tells the new holder before it tells that the old one holds it no longer.
    world.invariants.saw([(claim("d", result_of()), False), (claim("c"), False)])
    assert world.result("INV-001").outcome is Outcome.PASS


def test_others_among_themselves_are_a_warning(world: World) -> None:
    """Never a failure of this run."""
    world.saw(claim("a", result_of(), namespace=THEIRS), claim("b", result_of(), namespace=THEIRS))
    found = world.result("INV-001")
    assert (found.outcome, found.advice) == (Outcome.PASS, True)
    assert "prod/a and prod/b" in found.headline


def test_through_several_watches_it_counts_when_it_is_confirmed(
    unordered: World, api: FakeApi
) -> None:
    """Their order among each other is unknown: the first may have been deallocated before."""
    for name in ("a", "b"):
        unordered.saw(api.put(claim(name, result_of())))
    unordered.wait(0)
    assert unordered.result("INV-001").outcome is Outcome.ERROR


def test_through_several_watches_a_late_deallocation_is_none(
    unordered: World, api: FakeApi
) -> None:
    """The near miss of the same."""
    unordered.saw(api.put(claim("a", result_of())))
    api.put(claim("a"))
    unordered.saw(api.put(claim("b", result_of())))
    unordered.wait(0)
    assert unordered.result("INV-001").outcome is Outcome.PASS


def test_what_cannot_be_confirmed_is_asked_again(unordered: World, api: FakeApi) -> None:
    """Silence proves nothing."""
    for name in ("a", "b"):
        unordered.saw(api.put(claim(name, result_of())))
    api.silent = True
    unordered.wait(0)
    assert unordered.result("INV-001").outcome is Outcome.PASS
    api.silent = False
    unordered.wait(60)
    assert unordered.result("INV-001").outcome is Outcome.ERROR


# A claim is reserved for living pods


def test_a_claim_that_stays_reserved_for_a_gone_pod_is_found(world: World, api: FakeApi) -> None:
    """Once nothing has changed for 30 s and a fresh look confirms it."""
    world.saw(pod("p"))
    world.saw(api.put(claim("a", result_of(), users=("p",))))
    world.lost(pod("p"))
    world.wait(SETTLED_SECONDS - 1)
    assert world.result("INV-002").outcome is Outcome.PASS
    world.wait(1)
    found = world.result("INV-002")
    assert found.outcome is Outcome.ERROR
    assert "reserved for pod p, which is gone" in found.headline


def alive(world: World, api: FakeApi) -> None:
    """The pod is there."""
    world.saw(pod("p"))
    world.saw(api.put(claim("a", users=("p",))))
    world.wait(SETTLED_SECONDS)


def seen_late(world: World, api: FakeApi) -> None:
    """The claim's watch was faster than the pods'."""
    world.saw(api.put(claim("a", users=("p",))))
    world.wait(1)
    world.saw(pod("p"))
    world.wait(SETTLED_SECONDS)


def unreserved_in_time(world: World, api: FakeApi) -> None:
    """The controller needs a moment."""
    world.saw(pod("p"))
    world.saw(api.put(claim("a", users=("p",))))
    world.lost(pod("p"))
    world.wait(SETTLED_SECONDS - 1)
    world.saw(api.put(claim("a")))
    world.wait(SETTLED_SECONDS)


def still_changing(world: World, api: FakeApi) -> None:
    """Pods come and go; after each change the 30 s begin anew."""
    world.saw(api.put(claim("a", users=("p",))))
    for _ in range(3):
        world.wait(SETTLED_SECONDS - 1)
        world.saw(api.put(claim("a", users=("p",))))


def unreserved_unseen(world: World, api: FakeApi) -> None:
    """The watch lags; the fresh look knows better."""
    world.saw(api.put(claim("a", users=("p",))))
    api.put(claim("a"))
    world.wait(SETTLED_SECONDS)


def pod_unseen(world: World, api: FakeApi) -> None:
    """The pod is there and its watch lags."""
    world.saw(api.put(claim("a", users=("p",))))
    api.put(pod("p"))
    world.wait(SETTLED_SECONDS)


def deleted(world: World, api: FakeApi) -> None:
    """The claim itself is gone."""
    last = claim("a", users=("p",))
    world.saw(last)
    world.lost(last)
    world.wait(SETTLED_SECONDS)


def of_others(world: World, api: FakeApi) -> None:
    """Others' pods are not watched."""
    world.saw(api.put(claim("mine", users=("q",))))
    world.saw(pod("q"))
    world.saw(api.put(claim("a", users=("p",), namespace=THEIRS)))
    world.wait(SETTLED_SECONDS)


@pytest.mark.parametrize(
    "history",
    [
        alive,
        seen_late,
        unreserved_in_time,
        still_changing,
        unreserved_unseen,
        pod_unseen,
        deleted,
        of_others,
    ],
)
def test_what_is_no_reservation_for_a_gone_pod(
    world: World, api: FakeApi, history: Callable[[World, FakeApi], None]
) -> None:
    """Near misses."""
    history(world, api)
    assert world.result("INV-002").outcome is Outcome.PASS


# Pools are whole


@pytest.mark.parametrize(
    ("slices", "words"),
    [
        ([slice_of("a", 1, 2, "gpu-0")], "1 of 2 slices of generation 1 exist"),
        ([slice_of("a", 1, 1, "x"), slice_of("b", 2, 1, "x")], "1 of its slices are older than"),
        (
            [slice_of("a", 1, 1, "x"), slice_of("b", 1, 2, "y")],
            "disagree about their number: 1 and 2",
        ),
        ([slice_of("a", 1, 2, "x"), slice_of("b", 1, 2, "x")], "device x is in it twice"),
        ([slice_of("a", 1, 1, "x", "x")], "device x is in it twice"),
    ],
)
def test_a_pool_that_stays_broken_is_the_drivers_failure(
    world: World, api: FakeApi, slices: list[Object], words: str
) -> None:
    """Once nothing has changed for 30 s and a fresh list confirms it."""
    for item in slices:
        world.saw(api.put(item))
    world.wait(SETTLED_SECONDS - 1)
    assert world.result("INV-003").outcome is Outcome.PASS
    world.wait(1)
    found = world.result("INV-003")
    assert found.outcome is Outcome.FAIL
    assert words in found.headline
    assert len(found.headline) <= 120


def test_a_driver_that_the_run_disturbs_is_not_judged(world: World, api: FakeApi) -> None:
    """What is broken afterwards counts from then on; claims are judged all the time."""
    world.invariants.disturb()
    world.saw(api.put(slice_of("a", 1, 2, "x")))
    one, other = claim("one", result_of()), claim("other", result_of())
    world.saw(one, other)
    assert world.result("INV-001").red
    world.wait(2 * SETTLED_SECONDS)
    world.invariants.settle()
    world.wait(SETTLED_SECONDS - 1)
    assert world.result("INV-003").outcome is Outcome.PASS
    world.wait(1)
    assert world.result("INV-003").outcome is Outcome.FAIL


def test_a_pool_that_is_being_rewritten_is_not_broken(world: World, api: FakeApi) -> None:
    """A driver writes one slice after the other."""
    old = [api.put(slice_of(name, 1, 2, name)) for name in ("a", "b")]
    world.saw(*old)
    for name in ("a", "b", "c"):
        world.wait(SETTLED_SECONDS - 1)
        world.saw(api.put(slice_of(name, 2, 3, name)))
    world.wait(SETTLED_SECONDS)
    assert world.result("INV-003").outcome is Outcome.PASS


def test_a_watch_that_lags_does_not_break_a_pool(world: World, api: FakeApi) -> None:
    """The fresh list knows better."""
    world.saw(api.put(slice_of("a", 1, 2, "x")))
    api.put(slice_of("b", 1, 2, "y"))
    world.wait(SETTLED_SECONDS)
    assert world.result("INV-003").outcome is Outcome.PASS


def test_a_pool_that_is_withdrawn_is_not_broken(world: World, api: FakeApi) -> None:
    """A driver that leaves takes its slices along, one by one."""
    slices = [slice_of("a", 1, 2, "x"), slice_of("b", 1, 2, "y")]
    world.saw(*slices)
    world.lost(slices[0])
    world.wait(SETTLED_SECONDS - 1)
    world.lost(slices[1])
    world.wait(SETTLED_SECONDS)
    assert world.result("INV-003").outcome is Outcome.PASS


def test_another_drivers_pool_is_a_warning(world: World, api: FakeApi) -> None:
    """It is not under test."""
    world.saw(api.put(slice_of("a", 1, 2, "x", driver=OTHER_DRIVER)))
    world.wait(SETTLED_SECONDS)
    found = world.result("INV-003")
    assert (found.outcome, found.advice) == (Outcome.PASS, True)


# As part of a run


def test_what_was_never_seen_is_not_judged(world: World) -> None:
    """A skip with its reason, never a pass."""
    assert {(r.outcome, r.headline) for r in world.invariants.results()} == {
        (Outcome.SKIP, "no allocation was seen"),
        (Outcome.SKIP, "no claim of the run was reserved for a pod"),
        (Outcome.SKIP, "no ResourceSlice was seen"),
    }


def test_a_breach_decides_the_verdict(world: World, api: FakeApi) -> None:
    """Beside checks that all passed; alone it is no check that was made."""
    record = Record([Result("X-001_x", "x", Outcome.PASS, "X.")])
    world.saw(api.put(slice_of("a", 1, 2, "x")))
    world.wait(SETTLED_SECONDS)
    for result in world.invariants.results():
        record.add(result)
    assert record.verdict() is Verdict.NONCONFORMANT
    assert record.counts()[Outcome.PASS] == 1


def test_they_are_fed_by_the_observer(kube: Kube, api: FakeApi, observer: Observer) -> None:
    """With what there is, and with what comes; and confirm by themselves."""
    invariants = Invariants(kube, Journal(None), DRIVER, lambda _: True, true_history=False)
    api.put(claim("a", result_of()))
    observer.observe(CLAIM)
    observer.listen(invariants.saw)
    invariants.start()
    observer.observe(POD, MINE)
    observer.observe(SLICE)
    api.put(claim("b", result_of()))
    with invariants._changed:
        assert invariants._changed.wait_for(
            lambda: invariants.results()[0].outcome is Outcome.ERROR, 10
        )
    invariants.close()
