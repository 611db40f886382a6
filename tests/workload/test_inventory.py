"""What a process shows of itself, of its GPUs, and of what they are to each other."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from embedded.hardware.products import H100, RTX_4090
from tests.workload.processes import Node
from workload import nodes


@pytest.mark.parametrize("count", [1, 2, 4])
def test_nvml_and_cuda_show_the_same_gpus(new_node: Callable[..., Node], count: int) -> None:
    """UUIDs, names, PCI addresses, memory and compute capability agree in both."""
    node = new_node(H100.name, count)
    result = node.start("inventory", gpus=tuple(range(count))).end()
    assert result["nvml_error"] is None
    assert result["driver_version"] == "580.159.04"
    assert [gpu["minor"] for gpu in result["nvml"]] == list(range(count))
    shared = ("uuid", "name", "pci", "memory", "compute_capability")
    assert [[gpu[name] for name in shared] for gpu in result["nvml"]] == [
        [gpu[name] for name in shared] for gpu in result["gpus"]
    ]


def test_nvml_names_minors_and_cuda_ordinals(node: Node) -> None:
    """A container with the second GPU only."""
    result = node.start("inventory", gpus=(1,)).end()
    assert [(gpu["index"], gpu["minor"]) for gpu in result["nvml"]] == [(0, 1)]
    assert [gpu["ordinal"] for gpu in result["gpus"]] == [0]
    assert result["peers"] == []


@pytest.mark.parametrize(
    ("product", "peers", "link"), [(H100.name, True, "NVLink"), (RTX_4090.name, False, "PCIe")]
)
def test_every_ordered_pair_of_gpus(
    new_node: Callable[..., Node], product: str, peers: bool, link: str
) -> None:
    """What CUDA and NVML say of each other's memory."""
    node = new_node(product, 4)
    result = node.start("inventory", gpus=(0, 1, 3)).end()
    uuids = [node.machine.gpus[minor].uuid for minor in (0, 1, 3)]
    assert [(peer["importer"], peer["exporter"]) for peer in result["peers"]] == [
        (one, other) for one in uuids for other in uuids if one != other
    ]
    for peer in result["peers"]:
        assert (peer["can_access_peer"], peer["access_supported"]) == (peers, peers)
        assert (peer["native_atomics"], peer["performance_rank"]) == (peers, 0)
        assert peer["link"] == link


def test_without_nvml_cuda_is_shown_all_the_same(node: Node, tmp_path: Path) -> None:
    """A container may get libcuda only; what NVML would have told is null."""
    libraries = Path(node.machine.environment()["LD_LIBRARY_PATH"])
    (tmp_path / "libcuda.so.1").symlink_to(libraries / "libcuda.so.1")
    result = node.start("inventory", LD_LIBRARY_PATH=str(tmp_path)).end()
    assert result["verdict"] == "ok"
    assert (result["nvml"], result["driver_version"]) == (None, None)
    assert "libnvidia-ml.so.1" in result["nvml_error"]
    assert len(result["gpus"]) == 2
    assert {peer["link"] for peer in result["peers"]} == {"unknown"}
    assert {peer["can_access_peer"] for peer in result["peers"]} == {True}


def test_nvml_without_any_gpu(node: Node) -> None:
    """The control node is there, so NVML starts and shows none; CUDA has no device."""
    result = node.start("inventory", gpus=()).end()
    assert (result["verdict"], result["nvml"], result["nvml_error"]) == ("no-gpu", [], None)


def test_nvml_that_does_not_start_says_why(node: Node) -> None:
    """With its code."""
    result = node.start("inventory", SIMULATED_GPUS_ROOT="/nowhere").end()
    assert (result["verdict"], result["nvml"]) == ("no-gpu", None)
    assert result["nvml_error"] == "nvmlInit_v2 failed: Driver Not Loaded (9)"


def test_device_nodes_are_named(tmp_path: Path) -> None:
    """With their folder; links, and what every container has, are not."""
    (tmp_path / "core").symlink_to("null")
    of_all = ("null", "tty", "pts/0", "shm/0", "termination-log")
    for name in (*of_all, "nvidia1", "nvidia0", "nvidia-caps/nvidia-cap1", "dri/renderD128"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    given = ("dri/renderD128", "nvidia-caps/nvidia-cap1", "nvidia0", "nvidia1")
    assert nodes.names(tmp_path) == given


def test_files_that_tell_of_devices_are_read(tmp_path: Path) -> None:
    """By their paths; one that may not be read is empty, and no folder is no file."""
    path = tmp_path / "resourceclaims/gpus/gpu/example.com-metadata.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    path.with_name("nothing").symlink_to("nowhere")
    found = nodes.metadata(tmp_path)
    assert found == {
        "resourceclaims/gpus/gpu/example.com-metadata.json": "{}",
        "resourceclaims/gpus/gpu/nothing": "",
    }
    assert nodes.metadata(tmp_path / "nowhere") == {}


def test_nodes_that_may_not_be_opened_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of NVIDIA's; an error that is not about permission is none."""
    errors = {"nvidia0": errno.EPERM, "nvidia1": errno.ENXIO, "nvidia-uvm": errno.EACCES}

    def refuse(path: Path, _flags: int) -> int:
        raise OSError(errors[path.name], "refused")

    monkeypatch.setattr(os, "open", refuse)
    given = ("nvidia-uvm", "nvidia0", "nvidia1", "watchdog")
    assert nodes.forbidden(given, tmp_path) == ("nvidia-uvm", "nvidia0")


def test_a_process_shows_its_users_and_namespaces(node: Node) -> None:
    """As the kernel shows them to itself."""
    shown = node.start("inventory").end()["process"]
    assert (shown["uid"], shown["gid"]) == (os.getuid(), os.getgid())
    kinds = {"pid": "pid", "ipc": "ipc", "user": "user", "net": "network", "mnt": "mount"}
    for kind, name in kinds.items():
        assert shown[f"{name}_namespace"] == os.readlink(f"/proc/self/ns/{kind}")
    (line,) = shown["uid_map"]
    assert [int(number) for number in line.split(" ")][:2] == [0, 0]
    other = node.start("inventory", namespace=True).end()["process"]
    assert other["pid_namespace"] != shown["pid_namespace"]
    assert other["user_namespace"] == shown["user_namespace"]
