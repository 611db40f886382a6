"""Each fault of the reference driver does what its sentence says, when it is switched on."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import pytest

from building.errors import UserError
from embedded.drivers.reference import FAULTS, set_fault
from embedded.drivers.reference.kubelet_plugin import DRIVER
from embedded.drivers.reference.kubelet_plugin.faults import (
    FILE,
    FaultError,
    Faults,
    Point,
    switch,
)
from tests.drivers.api_server import SECONDS
from tests.drivers.node import Node


def test_every_fault_has_a_sentence() -> None:
    """Which is what people read when they choose one."""
    assert {
        "no-slices",
        "never-prepares",
        "env-only",
        "one-too-many",
        "forgets-after-restart",
    } <= set(FAULTS)
    assert all(text[:1].isupper() and text.endswith(".") for text in FAULTS.values())


def test_the_documentation_lists_every_fault() -> None:
    """With its sentence, word for word."""
    page = (Path(__file__).parents[2] / "docs" / "reference-driver.md").read_text()
    rows = {f"| `{name}` | {sentence} |" for name, sentence in FAULTS.items()}
    assert rows <= set(page.splitlines())


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


def test_switching_is_seen_at_once(root: Path) -> None:
    """Without polling, and only when the fault has really changed."""
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
    assert set(seen) <= {"env-only", "one-too-many", ""}
    assert all(earlier != later for earlier, later in itertools.pairwise(seen))


def test_set_fault_writes_to_the_drivers_folder_of_the_node(tmp_path: Path) -> None:
    """Before the driver runs, too."""
    faults = Faults(tmp_path / "var/lib/kubelet/plugins" / DRIVER / FILE)
    assert faults.active() == ""
    for name in FAULTS:
        set_fault(tmp_path, name)
        assert faults.active() == name
    set_fault(tmp_path, None)
    assert faults.active() == ""


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
