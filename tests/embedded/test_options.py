"""What cluster can be asked for, and how what cannot be is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from building.binaries import KUBERNETES, RELEASES
from building.errors import UserError
from building.progress import Progress
from embedded import __main__ as command
from embedded import cluster as embedded_cluster
from embedded.drivers import DRIVERS
from embedded.hardware import machine, real
from embedded.layout import Gpus, NodePlan, Plan, states
from embedded.options import Options, gpus_of_nodes, switches

H100, RTX_4090 = "NVIDIA H100 80GB HBM3", "NVIDIA GeForce RTX 4090"


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("4", [[Gpus(4, H100)]]),
        ("0", [[Gpus(0, H100)]]),
        (f"8:{RTX_4090}", [[Gpus(8, RTX_4090)]]),
        (f"2:{H100}+2:{RTX_4090}", [[Gpus(2, H100), Gpus(2, RTX_4090)]]),
        (f"4, 1:{RTX_4090}, 0", [[Gpus(4, H100)], [Gpus(1, RTX_4090)], [Gpus(0, H100)]]),
    ],
)
def test_gpus_are_data(text: str, nodes: list[list[Gpus]]) -> None:
    """Number and product, a mixed node, nodes that differ, nodes without."""
    assert gpus_of_nodes(text) == tuple(map(tuple, nodes))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("many", "expected NUMBER or NUMBER:PRODUCT, .*; 'many' is none"),
        ("", "'' is none"),
        ("2:", "'2:' is none"),
        ("-1", "'-1' is none"),
        ("2+", "'' is none"),
        ("9", "a node has 0 to 8 GPUs of one product, not 9"),
        ("2:Voodoo", f"no simulated GPU is called 'Voodoo'; there are: '{H100}'"),
        (f"2+1:{H100}", "every product of a node once"),
    ],
)
def test_what_is_no_number_of_gpus_is_refused(text: str, message: str) -> None:
    """In words that say what would be right."""
    with pytest.raises(ValueError, match=message):
        gpus_of_nodes(text)


def test_gpus_of_a_mixed_node_are_distinct() -> None:
    """Minor numbers go on, so that device nodes and UUIDs do not collide; nor do PCI addresses."""
    first = machine.gpus("node-1", H100, 8)
    second = machine.gpus("node-1", RTX_4090, 8, first=8)
    assert [gpu.minor for gpu in (*first, *second)] == list(range(16))
    assert len({gpu.uuid for gpu in (*first, *second)}) == 16
    assert len({gpu.pci for gpu in (*first, *second)}) == 16


def test_sys_tells_where_the_gpus_are(tmp_path: Path) -> None:
    """By links of their addresses, as in Linux: two at a PCIe root, all of a root at one CPU."""
    gpus = machine.gpus("node-1", H100, 5)
    machine.make_sys(tmp_path, gpus)
    links = [tmp_path / "bus/pci/devices" / gpu.pci for gpu in gpus]
    assert [link.resolve().name for link in links] == [gpu.pci for gpu in gpus]
    roots = [link.resolve().relative_to(tmp_path / "devices").parts[0] for link in links]
    assert roots == [*["pci0000:10"] * 2, *["pci0000:11"] * 2, "pci0000:12"]
    cpus = [(link / "numa_node").read_text() for link in links]
    assert cpus == ["0\n", "0\n", "0\n", "0\n", "1\n"]


def test_switches() -> None:
    """As Kubernetes writes feature gates and runtime configuration."""
    assert switches("") == {}
    assert switches("DRAConsumableCapacity=true, AllBeta=false") == {
        "DRAConsumableCapacity": True,
        "AllBeta": False,
    }
    for wrong in ("A", "A=1", "=true", "A=true,"):
        with pytest.raises(ValueError, match="NAME=true or NAME=false"):
            switches(wrong)


def test_gates_of_a_release() -> None:
    """What DRA needs, and what shows sooner that a container has ended, where that only hints."""
    gates = {minor: release.feature_gates for minor, release in RELEASES.items()}
    assert gates["1.33"] == {"DynamicResourceAllocation": True}
    assert gates["1.36"] == {}
    assert gates["1.37"] == {"EventedPLEG": True}


def nodes_of(**options: Any) -> list[str]:
    """What each node has that the options ask for."""
    return [node.hardware for node in embedded_cluster.planned_nodes(Options(**options))]


def test_there_are_two_nodes_unless_told_otherwise() -> None:
    """By number, or by what each is to have."""
    assert nodes_of() == [f"4 x {H100}"] * 2
    assert nodes_of(nodes=3, gpus="1") == [f"1 x {H100}"] * 3
    assert nodes_of(gpus="1,0") == [f"1 x {H100}", "no GPU"]
    assert nodes_of(gpus=f"1+2:{RTX_4090}", nodes=1) == [f"1 x {H100} and 2 x {RTX_4090}"]
    with pytest.raises(UserError, match=r"--embedded-nodes 3: --embedded-gpus '1,0' lists 2"):
        nodes_of(nodes=3, gpus="1,0")


def test_real_hardware_is_one_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default; two that were asked for are refused, and so is a part of the GPUs."""
    monkeypatch.setattr(real, "driver_version", lambda: "580.1")
    monkeypatch.setattr(real, "gpu_nodes", lambda: [Path("/dev/nvidia0")])
    assert nodes_of(hardware="real") == ["1 x GPU (real, driver 580.1)"]
    assert nodes_of(hardware="real", nodes=1) == ["1 x GPU (real, driver 580.1)"]
    with pytest.raises(UserError, match="--embedded-nodes 2: with --embedded-hardware real"):
        nodes_of(hardware="real", nodes=2)
    monkeypatch.setattr(real, "gpu_nodes", lambda: [Path("/dev/nvidia0"), Path("/dev/nvidia1")])
    assert nodes_of(hardware="real", gpus="2") == ["2 x GPU (real, driver 580.1)"]
    for gpus in ("1", f"2:{H100}"):
        words = f"--embedded-gpus {gpus}: with --embedded-hardware real .* all GPUs .*, 2; leave"
        with pytest.raises(UserError, match=words):
            nodes_of(hardware="real", gpus=gpus)


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Nodes find their own GPUs in it."""
    plan = Plan(
        name="n",
        state=tmp_path,
        nodes=(NodePlan(1, (Gpus(2, H100), Gpus(1, RTX_4090))), NodePlan(2, ())),
        artifacts={"hardware": tmp_path},
        hardware="simulated",
        images=(tmp_path / "image.tar",),
        feature_gates={"A": True, "B": False},
        runtime_config={"api/all": True},
    )
    assert Plan.load(plan.save()) == plan
    assert plan.gate_flags == ["--feature-gates=A=true,B=false"]
    assert plan.runtime_config_flags == ["--runtime-config=api/all=true"]
    assert [node.gpu_count for node in plan.nodes] == [3, 0]


def test_defaults_are_there() -> None:
    """The options are read without the builds and drivers that their values name."""
    assert Options().kubernetes == KUBERNETES.minor
    assert Options().driver in DRIVERS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gpus": "many"}, "--embedded-gpus 'many': expected NUMBER or NUMBER:PRODUCT"),
        ({"nodes": 0}, "--embedded-nodes 0: expected a whole number from 1 to 200"),
        ({"driver": "other"}, "--embedded-driver 'other': must be one of nvidia"),
        ({"driver": "nvidia@0.3"}, "'nvidia@0.3': must be one of .*nvidia@0.5.0, nvidia@0.4.1"),
        ({"driver": "nvidia,nvidia@0.4.1"}, "a cluster has one version of a driver; name each"),
        ({"kubernetes": "1.12"}, "--embedded-kubernetes '1.12': must be one of 1.38, 1.37"),
        ({"hardware": "none"}, "--embedded-hardware 'none': expected one of simulated, real"),
        ({"fault": "late", "driver": "reference"}, "--embedded-fault 'late': must be one of"),
        ({"fault": "no-slices"}, "only the reference driver takes faults; add --embedded-driver"),
        ({"feature_gates": "A"}, "--embedded-feature-gates 'A': expected NAME=true"),
        ({"runtime_config": "v1=on"}, "--embedded-runtime-config 'v1=on': expected NAME=true"),
        ({"name": "../x"}, "cluster name '../x': use letters, digits and dashes"),
    ],
)
def test_bad_options_are_refused_before_anything_is_made(
    options: dict[str, Any], message: str
) -> None:
    """The message names the option, the value and what would be right."""
    with pytest.raises(UserError, match=message):
        embedded_cluster.up(Options(**{"name": "refused", **options}), Progress())
    assert not (states() / "refused").exists()


def test_the_command_line_says_what_would_be_right(capsys: pytest.CaptureFixture[str]) -> None:
    """``./run cluster up`` refuses what ``./run dra`` refuses, in the same words."""
    with pytest.raises(SystemExit):
        command.main(["up", "--embedded-nodes", "none"])
    wanted = "argument --embedded-nodes: 'none' is wrong: expected a whole number from 1 to 200"
    assert wanted in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fault", "awaited"),
    [
        ("", "ResourceSlice"),
        ("no-slices", "DaemonSet"),
        ("env-only,never-ready", "ResourceSlice"),
    ],
)
def test_a_driver_that_is_never_ready_is_waited_for_by_its_slices(fault: str, awaited: str) -> None:
    """What else is wrong with a driver shows when its pods are ready."""
    waits: list[str] = []

    class Waits:
        def wait(self, _version: str, kind: str, _ready: Any) -> None:
            waits.append(kind)

    wait: Any = embedded_cluster._wait_for_driver
    wait(None, Waits(), DRIVERS["reference"], KUBERNETES, fault)
    assert waits == [awaited]
