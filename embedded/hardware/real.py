"""The machine's own NVIDIA driver and GPUs, laid out as the driver root of a node.

Wherever a distribution or a container keeps its libraries, a node has them at one place. So
real and simulated GPUs differ for a DRA driver in the content of its driver root only.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from building.errors import UserError
from embedded.hardware.artifact import LIBRARIES, PROGRAMS

_VERSION = Path("/proc/driver/nvidia/version")
_GPU = re.compile(r"nvidia\d+")
_CONTROL = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")
_FOLDERS = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib64",
    "/usr/local/nvidia/lib64",
    "/usr/lib",
    "/run/nvidia/driver/usr/lib/x86_64-linux-gnu",
    "/run/opengl-driver/lib",
)
"""Where distributions, NVIDIA's installer, container hosts and NixOS keep them."""
_SONAMES = {"libcuda.so": "libcuda.so.1", "libnvidia-ml.so": "libnvidia-ml.so.1"}


def driver_version() -> str:
    """The version of the loaded kernel driver.

    Raises:
        UserError: there is none.
    """
    try:
        text = _VERSION.read_text()
    except OSError as error:
        raise UserError(
            "--embedded-hardware real: no NVIDIA kernel driver is loaded on this machine "
            f"({_VERSION} is missing); use --embedded-hardware simulated"
        ) from error
    found = re.search(r"\s(\d+\.\d+(?:\.\d+)?)\s", text)
    if not found:
        raise UserError(f"{_VERSION} names no version: {text!r}")
    return found[1]


def gpu_nodes() -> list[Path]:
    """The device nodes of the machine's GPUs."""
    return sorted(path for path in Path("/dev").glob("nvidia*") if _GPU.fullmatch(path.name))


def install(driver_root: Path) -> None:
    """Fill a driver root with the machine's driver libraries, ``nvidia-smi`` and ``/sys``.

    Raises:
        UserError: the driver's libraries or program are nowhere.
    """
    version = driver_version()
    folder = _folder(version)
    libraries = driver_root / LIBRARIES
    libraries.mkdir(parents=True)
    for source in folder.glob(f"lib*.so.{version}"):
        shutil.copy2(source, libraries / source.name)
        stem = source.name.removesuffix(f".{version}")
        (libraries / _SONAMES.get(stem, f"{stem}.1")).symlink_to(source.name)
    program = _program()
    (driver_root / PROGRAMS).mkdir(parents=True)
    shutil.copy2(program, driver_root / PROGRAMS / program.name)
    (driver_root / "sys").symlink_to("/sys")


def make_device_nodes(dev: Path) -> None:
    """Make the same device nodes as the machine's ``/dev`` has."""
    dev.mkdir(exist_ok=True)
    for source in _all_nodes():
        target = dev / source.relative_to("/dev")
        target.parent.mkdir(exist_ok=True)
        number = source.stat().st_rdev
        os.mknod(target, stat.S_IFCHR | 0o666, number)
        target.chmod(0o666)  # whatever the umask


def _all_nodes() -> Iterator[Path]:
    yield from gpu_nodes()
    yield from (Path("/dev") / name for name in _CONTROL if (Path("/dev") / name).exists())
    yield from Path("/dev").glob("nvidia-caps/*")


def _folder(version: str) -> Path:
    search = [*os.environ.get("LD_LIBRARY_PATH", "").split(":"), *_FOLDERS]
    for name in search:
        if name and (Path(name) / f"libcuda.so.{version}").is_file():
            return Path(name)
    raise UserError(
        f"--embedded-hardware real: libcuda.so.{version} of the loaded driver is in none of "
        f"{', '.join(_FOLDERS)}; name its folder in LD_LIBRARY_PATH"
    )


def _program() -> Path:
    found = shutil.which("nvidia-smi") or shutil.which("nvidia-smi", path="/usr/local/nvidia/bin")
    if not found:
        raise UserError("--embedded-hardware real: nvidia-smi is not on PATH")
    return Path(found)
