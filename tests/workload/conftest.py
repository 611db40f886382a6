"""Fixtures: simulated nodes on which workload processes run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from building.artifacts import obtain
from building.progress import Progress
from tests.hardware.conftest import (  # noqa: F401 - fixtures that these use
    driver_root,
    new_machine,
    node_folder,
)
from tests.hardware.machines import NewMachine
from tests.workload.image import WORKLOAD_PYTHON
from tests.workload.processes import PYTHON, Node


@pytest.fixture(scope="session")
def workload_python() -> Path:
    """The image's interpreter, as it runs on this machine."""
    return obtain([WORKLOAD_PYTHON], Progress())[WORKLOAD_PYTHON.name] / PYTHON


@pytest.fixture
def new_node(new_machine: NewMachine, workload_python: Path) -> Iterator[Callable[..., Node]]:  # noqa: F811
    """Make nodes: `new_node(product, count)`, two H100 by default."""
    made: list[Node] = []

    def make(*which: object, **how: object) -> Node:
        made.append(Node(new_machine(*which, **how), workload_python, []))
        return made[-1]

    yield make
    for node in made:
        for process in node.started:
            process.close()


@pytest.fixture
def node(new_node: Callable[..., Node]) -> Node:
    """Two H100 with NVLink between them."""
    return new_node()


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder that both processes see."""
    folder = tmp_path / "shared"
    folder.mkdir()
    return folder
