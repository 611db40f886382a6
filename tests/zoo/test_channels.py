"""The reference driver misbehaves with IMEX channels, and the check of them finds it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from embedded.drivers.reference import CHANNELS
from tests.test_main_job import RUN

pytestmark = [pytest.mark.embedded, pytest.mark.matrix]

OF_CHANNELS = ",".join(f"IPC-0{number}" for number in (*range(23, 31), 35))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("", ""),
        ("no-channel-node", "has 0 IMEX channels, its claim 1"),
        ("a-channel-too-many", "has 2 IMEX channels, its claim 1"),
    ],
)
def test_a_fault_of_channels_turns_their_check_red(fault: str, words: str, tmp_path: Path) -> None:
    """And no other; without one, memory is shared by fabric handles, too."""
    cluster = ("--embedded-nodes", "1", "--embedded-driver", "nvidia,channels")
    named = ("--embedded-fault", fault) if fault else ()
    chosen = ("--dra-channel-class", CHANNELS.name, "--dra-check", OF_CHANNELS)
    done = subprocess.run(
        [RUN, "dra", *cluster, *named, *chosen, f"--dra-output={tmp_path}"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == bool(fault), done.stdout[-5000:]
    (path,) = tmp_path.glob("*/results.json")
    results = json.loads(path.read_text())["results"]
    red = [one["headline"] for one in results if one["outcome"] in ("fail", "error")]
    assert [words in headline for headline in red] == [True] * bool(fault)
    of_fabric = {one["id"]: one["outcome"] for one in results if one["variant"] == "fabric"}
    assert of_fabric["IPC-023"] == ("skip" if fault == "no-channel-node" else "pass")
