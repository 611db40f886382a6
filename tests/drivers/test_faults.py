"""Each fault of the reference driver does what its sentence says, when it is switched on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from building.errors import UserError
from embedded.drivers.reference import CHANNELS, set_fault
from embedded.drivers.reference.kubelet_plugin import DRIVER
from embedded.drivers.reference.kubelet_plugin.faults import (
    FAULTS,
    FILE,
    FaultError,
    Faults,
    Point,
    switch,
)
from tests.drivers.api_server import NODE, SECONDS
from tests.drivers.node import Node
from tests.zoo.breaks import RUNS


def test_every_fault_has_a_sentence() -> None:
    """Which is what people read when they choose one."""
    assert {
        "no-slices",
        "never-prepares",
        "env-only",
        "one-too-many",
        "forgets-after-restart",
    } <= set(FAULTS)
    assert all(one.sentence[:1].isupper() and one.sentence.endswith(".") for one in FAULTS.values())


def test_the_documentation_lists_every_fault() -> None:
    """With its sentence, word for word, in their order; what the contract permits by itself."""
    page = (Path(__file__).parents[2] / "docs" / "reference-driver.md").read_text()
    for benign in (False, True):
        rows = [
            f"| `{name}` | {one.sentence} |\n"
            for name, one in FAULTS.items()
            if one.benign == benign
        ]
        assert f"|---|---|\n{''.join(rows)}\n" in page


def test_the_documentation_lists_what_goes_through_the_relay() -> None:
    """With all checks that are red because of it."""
    page = (Path(__file__).parents[2] / "docs" / "reference-driver.md").read_text()
    red: dict[str, set[str]] = {}
    relayed = (one for run in RUNS for one in run.breaks if one.fault and not one.hardware)
    for one in relayed:
        name = f"`{one.name}`" if one.name in FAULTS else one.name
        red.setdefault(name, set()).update(one.red)
    rows = {f"| {name} | {', '.join(sorted(checks))} |" for name, checks in red.items()}
    assert rows <= set(page.splitlines())
    assert len(rows) >= 15


def test_never_prepares(node: Node) -> None:
    """An error for the claim; the driver is alive otherwise, and behaves when told to."""
    with node.driver() as driver:
        claim = node.allocate("one", "gpu-0")
        node.fault("never-prepares")
        assert "fault never-prepares" in driver.refusal(claim)
        assert driver.plugin.answers()
        assert not driver.unprepare(claim)[claim[2]].error
        node.fault(None)
        driver.prepared(claim)


def test_never_unprepares(node: Node) -> None:
    """An error for the claim, which stays prepared until the driver behaves."""
    with node.driver() as driver:
        claim = node.allocate("one", "gpu-0")
        driver.prepared(claim)
        node.fault("never-unprepares")
        assert "fault never-unprepares" in driver.unprepare(claim)[claim[2]].error
        assert node.specifications()
        node.fault(None)
        assert not driver.unprepare(claim)[claim[2]].error


def test_env_only(node: Node) -> None:
    """Variables, but nothing that could be used."""
    with node.driver() as driver:
        node.fault("env-only")
        injected = driver.prepared(node.allocate("two", "gpu-0", "gpu-1"))
    assert len(injected["env"]) == 2
    assert not injected["deviceNodes"]
    assert not injected["mounts"]


def test_one_too_many(node: Node) -> None:
    """A GPU that the answer to the kubelet does not name."""
    with node.driver() as driver:
        node.fault("one-too-many")
        claim = node.allocate("two", "gpu-0", "gpu-1")
        injected = driver.prepared(claim)
        assert len(driver.prepare(claim)[claim[2]].devices) == 2
        driver.unprepare(claim)
        every = driver.prepared(node.allocate("all", *(gpu.name for gpu in node.gpus)))
    gpus = [path for path in injected["deviceNodes"] if path[-1].isdigit()]
    assert gpus == ["/dev/nvidia0", "/dev/nvidia1", "/dev/nvidia2"]
    assert len([path for path in every["deviceNodes"] if path[-1].isdigit()]) == len(node.gpus)


def test_forgets_after_restart(node: Node) -> None:
    """The specification is gone, and preparing again claims success without it."""
    claim = node.allocate("one", "gpu-0")
    node.fault("forgets-after-restart")
    with node.driver() as driver:
        driver.prepared(claim)
    with node.driver() as driver:
        answer = driver.prepare(claim)[claim[2]]
        assert not answer.error
        assert answer.devices
        assert not node.specifications()
        node.fault(None)
        driver.prepared(claim)
        assert node.specifications()


def test_keeps_cdi_files_after_restart(node: Node) -> None:
    """Of claims that an earlier instance prepared; their devices are free all the same."""
    node.fault("keeps-cdi-files-after-restart")
    earlier, later = (node.allocate(name, "gpu-0") for name in ("earlier", "later"))
    with node.driver() as driver:
        driver.prepared(earlier)
    with node.driver() as driver:
        assert not driver.unprepare(earlier)[earlier[2]].error
        (left,) = node.specifications()
        driver.prepared(later)
        driver.unprepare(later)
        assert list(node.specifications()) == [left]


def test_unprepare_after_restart_needs_the_claim(node: Node) -> None:
    """Of a claim that this instance has prepared itself it needs nothing."""
    node.fault("unprepare-after-restart-needs-the-claim")
    earlier, later = (node.allocate(name, gpu) for name, gpu in (("a", "gpu-0"), ("b", "gpu-1")))
    with node.driver() as driver:
        driver.prepared(earlier)
    with node.driver() as driver:
        driver.prepared(later)
        node.api.claims.clear()
        assert not driver.unprepare(later)[later[2]].error
        assert "not found" in driver.unprepare(earlier)[earlier[2]].error
        node.fault(None)
        assert not driver.unprepare(earlier)[earlier[2]].error


def test_refuses_long_names(node: Node) -> None:
    """Of 56 characters and more."""
    node.fault("refuses-long-names")
    with node.driver() as driver:
        driver.prepared(node.allocate("n" * 55, "gpu-0"))
        assert "too long for a label" in driver.refusal(node.allocate("n" * 56, "gpu-1"))


def test_prepares_too_late(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was unprepared meanwhile is prepared all the same, until the fault is gone."""
    late: list[Callable[[], None]] = []

    class Timer(threading.Timer):
        def start(self) -> None:
            late.append(self.function)

    monkeypatch.setattr("embedded.drivers.reference.kubelet_plugin.faults.threading.Timer", Timer)
    node.fault("prepares-too-late")
    with node.driver() as driver:
        claim = node.allocate("one", "gpu-0")
        assert "still being prepared" in driver.refusal(claim)
        assert not driver.unprepare(claim)[claim[2]].error
        late[0]()
        assert node.specifications()
        assert driver.prepare(claim)[claim[2]].devices
        node.fault(None)
        del node.api.claims["default/one"]
        driver.claims.tidy()
        assert not node.specifications()


def test_what_takes_its_time_lets_others_go_on(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two claims are prepared and unprepared side by side: else all claims of a node queue up."""
    both = threading.Barrier(2)

    def sleep(_seconds: float) -> None:
        both.wait(SECONDS)

    clock = SimpleNamespace(sleep=sleep)
    monkeypatch.setattr("embedded.drivers.reference.kubelet_plugin.faults.time", clock)
    node.fault("takes-its-time,ends-in-its-own-time")
    claims = [node.allocate("one", "gpu-0"), node.allocate("two", "gpu-1")]
    with node.driver() as driver, ThreadPoolExecutor(2) as pool:
        for call in (driver.prepare, driver.unprepare):
            for claim, answer in zip(claims, pool.map(call, claims), strict=True):
                assert not answer[claim[2]].error


def test_takes_claims_by_name(node: Node) -> None:
    """The second one of a name is answered, and nothing is made for it."""
    node.fault("takes-claims-by-name")
    with node.driver() as driver:
        first = node.allocate("one", "gpu-0")
        driver.prepared(first)
        driver.unprepare(first)
        second = node.allocate("one", "gpu-1")
        assert driver.prepare(second)[second[2]].devices
        assert not node.specifications()


def test_device_in_two_claims(node: Node) -> None:
    """Both are prepared."""
    node.fault("device-in-two-claims")
    with node.driver() as driver:
        for name in ("one", "other"):
            driver.prepared(node.allocate(name, "gpu-0"))


UNPREPARED, LEFT, REFUSED = "unprepared", "left", "refused"


@pytest.mark.parametrize(
    ("fault", "deallocated", "deleted", "gone"),
    [
        ("unprepares-what-is-allocated", LEFT, UNPREPARED, UNPREPARED),
        ("unprepare-needs-the-claim", UNPREPARED, UNPREPARED, REFUSED),
        ("keeps-devices-of-deleted-claims", UNPREPARED, LEFT, UNPREPARED),
        ("cannot-unprepare-deleted-claims", UNPREPARED, REFUSED, UNPREPARED),
        ("frees-devices-with-the-claim", UNPREPARED, UNPREPARED, UNPREPARED),
    ],
)
def test_faults_of_unprepare(
    fault: str, deallocated: str, deleted: str, gone: str, node: Node
) -> None:
    """Each does its harm to claims in one state, and not to a claim as it usually is."""
    node.fault(fault)
    with node.driver() as driver:
        for name, expected in (
            ("usual", UNPREPARED),
            *(("deallocated", deallocated), ("deleted", deleted), ("gone", gone)),
        ):
            claim = node.allocate(name, "gpu-0")
            driver.prepared(claim)
            known = node.api.claims[f"default/{name}"]
            if name == "deallocated":
                known["status"] = {}
            if name == "deleted":
                known["metadata"]["deletionTimestamp"] = "2026-11-23T00:00:00Z"
            if name == "gone":
                del node.api.claims[f"default/{name}"]
            error = driver.unprepare(claim)[claim[2]].error
            left = LEFT if node.specifications() else UNPREPARED
            assert (REFUSED if error else left) == expected, name
            node.fault(None)
            node.api.claims.pop(f"default/{name}", None)
            driver.claims.tidy()
            node.fault(fault)


def test_unprepare_needs_a_prepare(node: Node) -> None:
    """Unlike the contract."""
    node.fault("unprepare-needs-a-prepare")
    with node.driver() as driver:
        claim = node.allocate("one", "gpu-0")
        assert driver.unprepare(claim)[claim[2]].error
        driver.prepared(claim)
        assert not driver.unprepare(claim)[claim[2]].error


def test_refuses_two_at_once(node: Node) -> None:
    """The second one is unprepared later."""
    node.fault("refuses-two-at-once")
    with node.driver() as driver:
        one, other = node.allocate("one", "gpu-0"), node.allocate("other", "gpu-1")
        driver.prepared(one)
        driver.prepared(other)
        answers = driver.unprepare(one, other)
        assert not answers[one[2]].error
        assert "another claim is being unprepared" in answers[other[2]].error


def test_frees_devices_with_the_claim(node: Node) -> None:
    """As long as the object is there, nobody else gets the device."""
    node.fault("frees-devices-with-the-claim")
    with node.driver() as driver:
        first, second = node.allocate("first", "gpu-0"), node.allocate("second", "gpu-0")
        driver.prepared(first)
        assert not driver.unprepare(first)[first[2]].error
        assert not node.specifications()
        assert "in use by ResourceClaim default/first" in driver.refusal(second)
        del node.api.claims["default/first"]
        driver.prepared(second)


def test_drops_deleted_claims(node: Node) -> None:
    """Which the kubelet's next word is the occasion for."""
    node.fault("drops-deleted-claims")
    with node.driver() as driver:
        claim = node.allocate("one", "gpu-0")
        driver.prepared(claim)
        assert driver.plugin.answers()
        assert node.specifications()
        metadata = node.api.claims["default/one"]["metadata"]
        metadata["deletionTimestamp"] = "2026-11-23T00:00:00Z"
        assert driver.plugin.answers()
        assert not node.specifications()


def test_slow_unprepare(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for all claims of a call."""
    slept: list[float] = []
    monkeypatch.setattr("embedded.drivers.reference.kubelet_plugin.faults.time.sleep", slept.append)
    node.fault("slow-unprepare")
    with node.driver() as driver:
        claims = node.allocate("one", "gpu-0"), node.allocate("other", "gpu-1")
        for claim in claims:
            driver.prepared(claim)
        assert not any(answer.error for answer in driver.unprepare(*claims).values())
        assert slept == [35]
        assert not node.specifications()


def test_switching_is_seen_at_once(root: Path) -> None:
    """Without polling, and only when faults were switched."""
    faults = Faults(root / FILE)
    seen: list[str] = []
    enough = threading.Event()

    def follow() -> None:
        for name in faults.changes():
            seen.append(name)
            if not name:
                enough.set()
                return

    thread = threading.Thread(target=follow)
    thread.start()
    # Until the watch is there, what happens is not seen.
    while not seen:
        switch(root, "env-only")
        switch(root, "one-too-many")
    for _ in range(100):
        (root / "checkpoint.json").write_text("not a fault")
    switch(root, None)
    assert enough.wait(SECONDS)
    thread.join()
    assert seen[-1] == ""
    assert set(seen[:-1]) <= {"env-only", "one-too-many"}


def test_set_fault_writes_to_the_drivers_folder_of_the_node(tmp_path: Path) -> None:
    """Before the driver runs, too; what is wrong with channels, to that of the other instance."""
    plugins = tmp_path / "var/lib/kubelet/plugins"
    gpus, channels = (Faults(plugins / name / FILE) for name in (DRIVER, CHANNELS.name))
    assert gpus.active() == channels.active() == ""
    for name in FAULTS:
        set_fault(tmp_path, name)
        of_channels = FAULTS[name].of_channels
        assert (gpus.active(), channels.active()) == (("", name) if of_channels else (name, ""))
    set_fault(tmp_path, None)
    assert gpus.active() == channels.active() == ""
    assert {name for name, one in FAULTS.items() if one.of_channels} == {
        "no-channel-node",
        "a-channel-too-many",
    }


@pytest.mark.parametrize("of_channels", [False, True])
def test_what_a_fault_is_of_does_not_hang_on_its_name(
    of_channels: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be called after channels, or not be."""
    for name in ("leaves-a-channel", "leaves-a-node"):
        fault = replace(FAULTS["no-slices"], of_channels=of_channels)
        monkeypatch.setitem(FAULTS, name, fault)
        set_fault(tmp_path, name)
        folder = tmp_path / "var/lib/kubelet/plugins" / (CHANNELS.name if of_channels else DRIVER)
        assert Faults(folder / FILE).active() == name


def test_several_faults_are_in_force_together(node: Node) -> None:
    """Each acts at its own point."""
    with node.driver() as driver:
        node.fault("one-too-many,env-only")
        injected = driver.prepared(node.allocate("one", "gpu-0"))
        assert not injected["deviceNodes"]
        node.fault("pci-of-nvml,never-prepares")
        assert "fault never-prepares" in driver.refusal(node.allocate("two", "gpu-1"))
    with pytest.raises(ValueError, match="no fault is called 'nope'"):
        node.fault("env-only,nope")


def test_unknown_faults_are_refused(tmp_path: Path) -> None:
    """The message names the option, the value and what would be right; nothing is written."""
    with pytest.raises(UserError, match=r"--embedded-fault 'nope': .* there are: no-slices"):
        set_fault(tmp_path, "nope")
    assert not list(tmp_path.iterdir())
    (tmp_path / FILE).write_text("nope")
    with pytest.raises(FaultError, match="no fault is called 'nope'; there are: "):
        Faults(tmp_path / FILE).alter(Point.INJECT, {})


def shares(node: Node, *uids: str) -> list[tuple[str, str, str]]:
    """Claims of shares of a GPU that have a quarter of its memory each."""
    quarter = {"memory": f"{node.gpus[0].memory >> 22}Mi"}
    share = {"driver": DRIVER, "pool": NODE, "device": "gpu-0", "request": "share"}
    return [
        node.allocate(uid, results=[{**share, "shareID": uid, "consumedCapacity": quarter}])
        for uid in uids
    ]


def test_whole_gpu_for_a_share(node: Node) -> None:
    """A second share is refused, as the first one has the GPU."""
    one, other = shares(node, "one", "other")
    with node.driver() as driver:
        driver.prepared(one)
        driver.prepared(other)
        driver.unprepare(one, other)
        node.fault("whole-gpu-for-a-share")
        driver.prepared(one)
        assert "gpu-0 is in use" in driver.refusal(other)


def test_counts_shares_up_only(node: Node) -> None:
    """The fifth quarter is refused, though four were given back."""
    *four, fifth = shares(node, *map(str, range(5)))
    with node.driver() as driver:
        node.fault("counts-shares-up-only")
        for claim in four:
            driver.prepared(claim)
            driver.unprepare(claim)
        assert "gpu-0 has no memory left" in driver.refusal(fifth)
        node.fault(None)
        driver.prepared(fifth)
