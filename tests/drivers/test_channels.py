"""IMEX channels as the reference driver gives them to containers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from embedded.drivers.reference.kubelet_plugin.cdi import Cdi
from embedded.drivers.reference.kubelet_plugin.channels import Channel, channels

KERNEL = """Character devices:
195 nvidia
{}

Block devices:
  7 loop
"""


def found(folder: Path, line: str) -> tuple[Channel, ...]:
    """Two channels, where the kernel says this of them."""
    kernel = folder / "devices"
    kernel.write_text(KERNEL.format(line))
    return channels(2, kernel)


def test_the_runtime_makes_a_channel_by_its_number(tmp_path: Path) -> None:
    """Which the kernel driver has chosen: the node need not have a device node of it."""
    _, other = found(tmp_path, "242 nvidia-caps-imex-channels")
    path = "/dev/nvidia-caps-imex-channels/channel1"
    number = {"type": "c", "major": 242, "minor": 1}
    assert other.node == {"path": path, "permissions": "rw", "fileMode": 0o666, **number}
    assert other.device() == {
        "name": "channel-1",
        "attributes": {"type": {"string": "channel"}, "id": {"int": 1}},
    }


def test_where_there_is_no_kernel_driver_a_node_stands_for_it(tmp_path: Path) -> None:
    """One that simulated GPUs have."""
    one, _ = found(tmp_path, "511 nvidia-caps")
    assert one.node["hostPath"] == "/dev/nvidiactl"
    assert "major" not in one.node


@pytest.mark.parametrize("line", ["242 nvidia-caps-imex-channels", ""])
def test_a_channel_brings_nothing_of_a_gpu(line: str, tmp_path: Path) -> None:
    """Neither libraries nor device nodes, which the driver of the GPU brings."""
    one, _ = found(tmp_path, line)
    spec = Cdi(tmp_path, None).spec("uid", {one.name: (one, [one.variable])})
    assert spec["containerEdits"] == {}
    (device,) = spec["devices"]
    assert device["containerEdits"]["deviceNodes"] == [one.node]
    assert "libcuda" not in json.dumps(spec)
