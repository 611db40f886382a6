"""A machine that cannot run the cluster is told what is missing and what to do."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from building import artifacts
from building.artifacts import Artifact, Build, BuildError
from building.errors import UserError
from building.progress import Progress
from embedded import cluster, machine_check
from embedded.machine import MachineError

GIB = 1 << 30


class Usage(NamedTuple):
    """As shutil has it."""

    total: int
    used: int
    free: int


def refused() -> str:
    """What the check says of this machine."""
    with pytest.raises(UserError) as error:
        machine_check.check(2)
    return str(error.value)


def test_another_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    """The binaries are for x86_64."""
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert "runs on Linux on x86_64; this is Linux on aarch64" in refused()


def test_another_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """And for Linux."""
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert "runs on Linux on x86_64; this is Darwin on" in refused()


def test_no_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before anything is tried."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "needs root" in refused()
    assert "sudo" in refused()


def test_no_inotify_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several clusters on one machine use them up; a kubelet then ends at its start."""
    # By the limit of files, so as to take none from clusters that run beside this test.
    monkeypatch.setattr(machine_check, "NODE_WATCHES", 1000)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, hard))
    try:
        said = refused()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "more instances of inotify can be had, 2 nodes need 2008: " in said
    assert "sysctl fs.inotify.max_user_instances" in said


def test_everything_that_is_missing_is_said_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Programs with their packages, disk with the variable that moves it, memory, cgroups."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda program: None if program == "unshare" else "/x")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(8 * GIB, 7 * GIB, GIB // 2))
    monkeypatch.setattr(machine_check, "_free_memory", lambda: GIB)
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    monkeypatch.setenv("DRA_CACHE", str(tmp_path / "cache"))
    said = refused()
    assert "the program 'unshare' is missing: install the package util-linux" in said
    assert "0.5 GiB free, what is built needs 6 GiB: make room or set DRA_CACHE" in said
    assert "0.5 GiB free, a cluster's state needs 2 GiB: make room or set DRA_STATE" in said
    assert "1.0 GiB of memory are free, 2 nodes need 1.7 GiB" in said
    assert "--embedded-nodes" in said
    assert "/sys/fs/cgroup is not writable" in said


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, 4 * GIB),
        (
            {"memory.max": "max", "memory.current": "1", "memory.stat": "file 0"},
            4 * GIB,
        ),
        (
            {
                "memory.max": str(3 * GIB),
                "memory.current": str(2 * GIB),
                "memory.stat": f"anon 1\nfile {GIB}",
            },
            2 * GIB,
        ),
        (
            {
                "memory/memory.limit_in_bytes": str(2 * GIB),
                "memory/memory.usage_in_bytes": str(GIB),
                "memory/memory.stat": "cache 1\ntotal_cache 0",
            },
            GIB,
        ),
    ],
)
def test_a_containers_limit_is_the_machines(
    files: dict[str, str], free: int, tmp_path: Path
) -> None:
    """With cgroup v1 and v2; what is only cache can be had."""
    (tmp_path / "meminfo").write_text(f"MemTotal: 9 kB\nMemAvailable: {4 * GIB >> 10} kB\n")
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert machine_check._free_memory(tmp_path, tmp_path) == free


def fails(*_: object) -> None:
    """What a kernel without it does."""
    raise MachineError("`mount -t overlay` failed: unknown filesystem type 'overlay'")


@pytest.mark.parametrize(
    ("attempt", "words"),
    [
        ("_try_tmpfs", "a tmpfs cannot be mounted (`mount -t overlay` failed: unknown filesystem"),
        ("_try_overlay", "load the module overlay; if the folder itself is on an overlay"),
        ("_try_network", "no veth devices or bridges"),
        ("_try_device", "run with CAP_MKNOD"),
    ],
)
def test_what_the_kernel_lacks(
    attempt: str, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By what was tried and what it said."""
    for name in ("_try_tmpfs", "_try_overlay", "_try_network", "_try_device"):
        monkeypatch.setattr(machine_check, name, fails if name == attempt else lambda _folder: None)
    (problem,) = machine_check._try(tmp_path)
    assert words in problem


def test_refused_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """In an unprivileged container, for one."""
    refusal = "unshare: unshare failed: Operation not permitted"
    monkeypatch.setattr(
        subprocess,
        "run",
        lambda command, **_: subprocess.CompletedProcess(command, 1, "", refusal),
    )
    (problem,) = machine_check._kernel()
    assert problem.startswith(f"the kernel refuses namespaces ({refusal}): run with CAP_SYS_ADMIN")


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """What is said of a build whose command says something and fails."""
    monkeypatch.setenv("DRA_CACHE", str(tmp_path))

    def failed(said: str) -> str:
        def build(build: Build) -> None:
            build.run("sh", "-c", f"echo {said!r}; exit 3")

        with pytest.raises(BuildError) as error:
            artifacts.obtain([Artifact("part", (said,), build)], Progress())
        assert not list(tmp_path.glob("artifacts/part-*[!.lock]"))
        return str(error.value)

    return failed


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        (
            "dial tcp: lookup proxy on 10.0.0.1:53: no such host",
            "a package registry is not reached",
        ),
        ("Failed to establish a new connection: [Errno 101]", "HTTPS_PROXY, GOPROXY, PIP_INDEX"),
        ("tls: failed to verify certificate: x509", "SSL_CERT_FILE"),
        ("cgo: C compiler gcc not found: exec: executable file not found in $PATH", "install it"),
        ("write /out: no space left on device", "set DRA_CACHE to a folder on another disk"),
    ],
)
def test_a_failed_build_says_what_to_do(
    said: str, advice: str, build: Callable[[str], str]
) -> None:
    """Beside the end of its log."""
    text = build(said)
    assert text.startswith("building part failed: `sh -c")
    assert said in text
    assert advice in text.splitlines()[-1]


def test_a_failed_build_that_nobody_knows_is_not_explained(build: Callable[[str], str]) -> None:
    """Its log speaks for itself."""
    assert build("undefined: x").splitlines()[-1].strip() == "undefined: x"


def test_a_name_that_is_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has it keeps it, even one that has no process yet."""
    monkeypatch.setenv("DRA_STATE", str(tmp_path))
    (tmp_path / "taken").mkdir()
    with (
        pytest.raises(UserError, match=r"'taken' is up or being started already; `./run cluster"),
        cluster._starting(tmp_path / "taken"),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_sweep_waits_for_nobody_and_keeps_out_who_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is being started stays; what is left of killed starts goes, the mark alone, too."""
    monkeypatch.setenv("DRA_STATE", str(tmp_path / "states"))
    with cluster._starting(tmp_path / "states" / "new"):
        (tmp_path / "states" / "old").mkdir()
        (tmp_path / "states" / "older.starting").touch()
        cluster.sweep()
        assert sorted(path.name for path in (tmp_path / "states").iterdir()) == [
            "new",
            "new.starting",
        ]
    cluster.sweep()
    assert not (tmp_path / "states").exists()
