"""The images as they are built."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from building.architecture import AMD64, ARM64, Architecture
from building.artifacts import Artifact, cache
from embedded.drivers.nvidia import NVIDIA
from embedded.hardware import machine as hardware
from embedded.hardware.artifact import HARDWARE, LIBRARIES
from embedded.hardware.products import DRIVER_VERSION
from images import elf
from images.pause import ARCHIVE, PAUSE_IMAGE
from images.pause import NAME as PAUSE_NAME
from images.workload import (
    ENTRYPOINT,
    PYTHON,
    WORKLOAD_IMAGE,
    WORKLOAD_IMAGE_NAME,
    base_for,
    image_for,
)
from tests.images.archives import config, digests

(NVIDIA_DRIVER_IMAGE,) = NVIDIA.images

T = TypeVar("T")
Directory = Callable[[Artifact], Path]

X86_64, AARCH64 = 62, 183
"""``e_machine`` of ELF files."""

CHROOT = shutil.which("chroot") or "chroot"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="chroot and namespaces need root")


@pytest.mark.parametrize(
    "artifact",
    [PAUSE_IMAGE, WORKLOAD_IMAGE, image_for(ARM64), NVIDIA_DRIVER_IMAGE],
    ids=lambda item: item.name,
)
def test_second_build_has_the_same_digest(
    artifact: Artifact, obtained: Directory, built_again: Directory
) -> None:
    """Built again elsewhere, an image is the same to the last byte."""
    first = digests(obtained(artifact) / ARCHIVE)
    assert first == digests(built_again(artifact) / ARCHIVE)
    assert len(first) == 1


def test_interpreter_and_bytecode_are_the_same_again(
    obtained: Directory, built_again: Directory
) -> None:
    """The largest layer: every file of it, bytecode included."""

    def content(root: Path) -> dict[str, bytes]:
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file()
        }

    again = content(built_again(base_for(AMD64)))
    assert content(obtained(base_for(AMD64))) == again
    assert any(name.endswith(".pyc") for name in again)


each_architecture = pytest.mark.parametrize(
    "architecture", [AMD64, ARM64], ids=lambda item: item.name
)


@each_architecture
def test_workload_runs_with_an_old_glibc(architecture: Architecture, unpacked: Directory) -> None:
    """Nothing outside of glibc itself and its compiler's libraries asks for more than 2.28."""
    root = unpacked(image_for(architecture))
    binaries = [path for path in (root / PYTHON).rglob("*") if elf.is_elf(path)]
    assert len(binaries) > 5
    newer = {
        (path.name, version)
        for path in binaries
        for _, version in elf.read(path).versions
        if version.startswith("GLIBC_") and _number(version) > (2, 28)
    }
    assert newer == set()


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.removeprefix("GLIBC_").split("."))


@pytest.mark.parametrize(
    ("artifact", "foreign"),
    [
        (WORKLOAD_IMAGE, {"libcuda.so.1"}),
        (image_for(ARM64), {"libcuda.so.1"}),
        (NVIDIA_DRIVER_IMAGE, set[str]()),
    ],
    ids=lambda item: getattr(item, "name", ""),
)
def test_every_library_is_there(artifact: Artifact, foreign: set[str], unpacked: Directory) -> None:
    """What a program or library of the image loads is in the image, but the GPU driver's."""
    root = unpacked(artifact)
    binaries = [path for path in root.rglob("*") if elf.is_elf(path)]
    present = {path.name for path in binaries}
    wanted = {soname.rpartition("/")[2] for path in binaries for soname in elf.read(path).needed}
    assert wanted - present == foreign
    for path in binaries:
        interpreter = elf.read(path).interpreter
        assert interpreter is None or _inside(root, interpreter).is_file(), path


def _inside(root: Path, name: str) -> Path:
    """Follow a path of the image, links and all, within its root."""
    path = root
    for part in Path(name).parts[1:]:
        path /= part
        if path.is_symlink():
            target = path.readlink()
            path = _inside(root, str(target)) if target.is_absolute() else path.parent / target
    return path


@pytest.mark.parametrize(
    ("architecture", "machine"), [(AMD64, X86_64), (ARM64, AARCH64)], ids=["amd64", "arm64"]
)
def test_workload_image_is_of_its_architecture(
    architecture: Architecture, machine: int, obtained: Directory, unpacked: Directory
) -> None:
    """By its configuration and by each of its programs and libraries."""
    archive = obtained(image_for(architecture)) / ARCHIVE
    described = config(archive, WORKLOAD_IMAGE_NAME)
    assert (described["architecture"], described["os"]) == (architecture.name, "linux")
    root = unpacked(image_for(architecture))
    binaries = [elf.read(path) for path in root.rglob("*") if elf.is_elf(path)]
    assert {item.machine for item in binaries} == {machine}
    assert {item.interpreter for item in binaries} == {None, architecture.loader}


def test_the_program_is_the_same_for_all_architectures(obtained: Directory) -> None:
    """Its layer, bytecode and kernels with it; a registry keeps it once."""
    (*below, program), (*other_below, other_program) = (
        config(obtained(image_for(item)) / ARCHIVE, WORKLOAD_IMAGE_NAME)["rootfs"]["diff_ids"]
        for item in (AMD64, ARM64)
    )
    assert program == other_program
    assert set(below).isdisjoint(other_below)


@each_architecture
def test_workload_image_does_not_tell_where_it_was_built(
    architecture: Architecture, unpacked: Directory
) -> None:
    """No file has the path of the cache or of a build in it."""
    root = unpacked(image_for(architecture))
    told = [
        path
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink()
        if bytes(cache()) in path.read_bytes()
    ]
    assert told == []


@each_architecture
def test_workload_image_is_small_plain_and_without_driver(
    architecture: Architecture, obtained: Directory, unpacked: Directory
) -> None:
    """No LD_LIBRARY_PATH that would hide a broken hook, no root, room for temporary files."""
    archive = obtained(image_for(architecture)) / ARCHIVE
    assert archive.stat().st_size < 150e6
    described = config(archive, WORKLOAD_IMAGE_NAME)["config"]
    assert described["Entrypoint"] == list(ENTRYPOINT)
    assert described["User"] == "1000:1000"
    assert not any(entry.startswith("LD_") for entry in described["Env"])
    assert "HOME=/tmp" in described["Env"]
    assert "libc6=" in described["Labels"]["dra-conformance.host-packages"]
    root = unpacked(image_for(architecture))
    assert (root / "tmp").stat().st_mode & 0o7777 == 0o1777
    assert "workload:x:1000:" in (root / "etc/passwd").read_text()
    assert not [
        path for path in root.rglob("lib*") if path.name.startswith(("libcuda", "libnvidia"))
    ]


@pytest.fixture
def container(unpacked: Directory, tmp_path: Path) -> Path:
    """A copy of the workload's root file system that a test may change."""
    root = tmp_path / "root"
    source = unpacked(WORKLOAD_IMAGE)
    shutil.copytree(source, root, symlinks=True, copy_function=os.link)
    return root


@needs_root
def test_driver_is_found_only_after_the_ldcache_hook(container: Path, obtained: Directory) -> None:
    """As CDI injects it: the library by its full name, in a directory or another; then ldconfig."""
    driver = obtained(HARDWARE) / LIBRARIES / f"libcuda.so.{DRIVER_VERSION}"

    def inventory() -> dict[str, Any]:
        ended = subprocess.run(
            [
                *("unshare", "--mount", "--pid", "--fork", f"--mount-proc={container}/proc"),
                *("sh", "-c", 'mount --bind /dev "$0/dev" && exec "$@"', container),
                *(CHROOT, "--userspec=1000:1000", container, *ENTRYPOINT, "inventory"),
            ],
            # No device nodes: also where this machine has GPUs.
            env={"PATH": os.environ["PATH"], "SIMULATED_GPUS_DEV": "/tmp"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.stdout, ended.stderr
        result: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
        assert result["exit"] == ended.returncode
        return result

    hardware.install(
        container / "run/simulated-gpus", hardware.gpus("n", "NVIDIA H100 80GB HBM3", 1)
    )

    for directory in ("usr/lib/x86_64-linux-gnu", "usr/lib64"):
        injected = container / directory / driver.name
        shutil.copyfile(driver, injected)
        assert inventory()["error"]["step"] == "load libcuda.so.1", directory
        (container / "etc/ld.so.conf.d/00-nvcr-test.conf").write_text(f"/{directory}\n")
        subprocess.run([CHROOT, container, "/usr/sbin/ldconfig"], check=True)
        found = inventory()
        assert (found["verdict"], found["error"]["code"]) == ("no-gpu", 100), directory
        injected.unlink()
        injected.with_name("libcuda.so.1").unlink()
        (container / "etc/ld.so.cache").unlink()


def test_nvidia_driver_image_has_what_its_chart_calls(
    obtained: Directory, unpacked: Directory
) -> None:
    """Programs at upstream's paths, and all that the init container's script runs."""
    root = unpacked(NVIDIA_DRIVER_IMAGE)
    for name in (
        *("gpu-kubelet-plugin", "nvidia-cdi-hook", "kubelet-plugin-prestart.sh", "bash", "sh"),
        *("ls", "ln", "find", "head", "date", "sleep", "env", "basename"),
    ):
        path = _inside(root, f"/usr/bin/{name}")
        assert path.is_file(), name
        assert path.stat().st_mode & 0o111, name
    archive = obtained(NVIDIA_DRIVER_IMAGE) / ARCHIVE
    (name,) = digests(archive)
    described = config(archive, name)["config"]
    assert described["User"] == "0:0"
    assert "bash=" in described["Labels"]["dra-conformance.host-packages"]


@pytest.fixture
def pause(unpacked: Directory) -> Iterator[Callable[..., tuple[subprocess.Popen[bytes], int]]]:
    """Start pause as PID 1 of a namespace; the process that waits for it, and pause's own PID."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*before: str) -> tuple[subprocess.Popen[bytes], int]:
        program = str(unpacked(PAUSE_IMAGE) / "pause")
        command = ["sh", "-c", " ".join([*before, "exec", program])] if before else [program]
        argv = ["unshare", "--pid", "--fork", "--kill-child", *command]
        process = subprocess.Popen(argv)
        started.append(process)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        number = _wait_for(lambda: next(map(int, children.read_text().split()), None))
        # It takes signals from its first rt_sigtimedwait(2), system call 128, on.
        call = Path(f"/proc/{number}/syscall")
        _wait_for(lambda: call.read_text().startswith("128 ") or None)
        return process, number

    yield start
    for process in started:
        process.kill()
        process.wait()


@needs_root
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_pause_ends_on_a_signal(
    pause: Callable[..., tuple[subprocess.Popen[bytes], int]], number: signal.Signals
) -> None:
    """Also as PID 1, for which signals without handler do nothing."""
    process, pid = pause()
    os.kill(pid, number)
    assert process.wait(timeout=10) == 0


@needs_root
def test_pause_reaps_orphans(pause: Callable[..., tuple[subprocess.Popen[bytes], int]]) -> None:
    """What loses its parent in the pod becomes pause's child, and is gone when it ends."""
    # The shell leaves two children behind and becomes pause, which is then their parent.
    _, pid = pause("sleep", "0.2", "&", "sleep", "3600", "&")
    children = Path(f"/proc/{pid}/task/{pid}/children")
    first, second = map(int, children.read_text().split())
    _wait_for(lambda: str(first) not in children.read_text().split() or None)
    os.kill(second, signal.SIGKILL)
    _wait_for(lambda: not children.read_text().split() or None)


def _wait_for(found: Callable[[], T | None]) -> T:
    """Look again and again, for ten seconds at most."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if (seen := found()) is not None:
            return seen
        os.sched_yield()
    raise AssertionError("waited 10 s in vain")


def test_pause_image_is_one_small_program(obtained: Directory, unpacked: Directory) -> None:
    """Static, run by nobody in particular."""
    root = unpacked(PAUSE_IMAGE)
    assert [path.name for path in root.rglob("*")] == ["pause"]
    assert elf.read(root / "pause").needed == ()
    assert (root / "pause").stat().st_size < 10_000
    described = config(obtained(PAUSE_IMAGE) / ARCHIVE, PAUSE_NAME)["config"]
    assert described["Entrypoint"] == ["/pause"]
