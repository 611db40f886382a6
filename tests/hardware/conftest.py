"""Fixtures: the built driver, and machines on it."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from building.artifacts import cache, obtain
from building.progress import Progress
from embedded.hardware import machine as hardware
from embedded.hardware.artifact import HARDWARE
from embedded.hardware.products import H100
from images.kernels import PTX, SOURCE
from images.workload import PYTHON
from tests.hardware.machines import Machine, NewMachine
from tests.workload.image import WORKLOAD_PYTHON


@pytest.fixture(scope="session")
def driver_root() -> Path:
    """The simulated driver as it is installed on a node."""
    return obtain([HARDWARE], Progress())["hardware"]


@pytest.fixture(scope="session")
def node_folder() -> Iterator[Path]:
    """A folder where device nodes can be made and opened, by every user."""
    cache().mkdir(parents=True, exist_ok=True)
    reasons = []
    for parent in (Path(tempfile.gettempdir()), cache()):
        folder = Path(tempfile.mkdtemp(prefix="dra-hardware-", dir=parent))
        folder.chmod(0o755)
        if not (reason := _why_no_nodes(folder)):
            yield folder
            shutil.rmtree(folder)
            return
        reasons.append(f"{parent}: {reason}")
        shutil.rmtree(folder)
    pytest.skip("simulated GPUs need device nodes: " + "; ".join(reasons))


def _why_no_nodes(folder: Path) -> str:
    """Why device nodes do not work here; empty if they do."""
    try:
        hardware.make_device_nodes(folder, 1)
        (folder / "nvidia0").open("rb").close()
    except OSError as error:
        if error.errno == errno.ENXIO:  # opened, and no driver behind it
            return ""
        return {errno.EPERM: "mknod is not permitted", errno.EACCES: "mounted nodev"}.get(
            error.errno or 0, str(error)
        )
    finally:
        for node in folder.iterdir():
            node.unlink()
    return "a driver answered"


@pytest.fixture
def new_machine(driver_root: Path, node_folder: Path) -> Iterator[NewMachine]:
    """Make simulated machines: `new_machine(product, count)`, two H100 by default."""
    made: list[Machine] = []

    def make(product: str = H100.name, count: int = 2, **driver: Any) -> Machine:
        folder = Path(tempfile.mkdtemp(dir=node_folder))
        folder.chmod(0o755)
        gpus = hardware.gpus(f"node-{len(made)}", product, count)
        hardware.install(folder / "gpus", gpus, **driver)
        made.append(Machine(folder / "gpus", driver_root, gpus, folder))
        return made[-1]

    yield make
    for machine in made:
        for process in machine.processes:
            process.close()
        shutil.rmtree(machine.folder)


@pytest.fixture
def machine(new_machine: NewMachine) -> Machine:
    """Two H100 with NVLink between them."""
    return new_machine()


@pytest.fixture(scope="session")
def workload_python() -> Path:
    """The Python of the workload's image: an interpreter that has PyCUDA."""
    built = obtain([WORKLOAD_PYTHON], Progress())
    return built[WORKLOAD_PYTHON.name] / PYTHON / "bin" / "python3"


@pytest.fixture(scope="session")
def kernels_ptx() -> Path:
    """The workload's kernels as its image carries them."""
    return SOURCE.with_name(PTX)
