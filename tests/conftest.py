"""Fixtures for all tests of the project."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from building.artifacts import Artifact, BuildError, obtain
from building.binaries import KUBERNETES
from building.progress import Progress
from tests.zoo.matrix.rows import SAID, Tell, said

if TYPE_CHECKING:
    from embedded.cluster import Cluster


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what the tests of the zoo know."""
    parser.addoption(
        "--every-check",
        type=int,
        metavar="LEVEL",
        help="zoo: with each fault, run every check up to this level, too",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Bare ``pytest`` never touches a cluster, not even one of its own; ``./run tests`` does."""
    if config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("embedded")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def obtained() -> Callable[[Artifact], Path]:
    """The directory of an artifact, built if it is not there.

    What takes packages that this machine's apt sources do not have (arm64's, on an Ubuntu without
    its ports) skips the test.
    """

    def get(artifact: Artifact) -> Path:
        try:
            return obtain([artifact], Progress())[artifact.name]
        except BuildError as error:
            if "apt got no" in str(error):
                pytest.skip("this machine's apt sources have nothing for another architecture")
            raise

    return get


@pytest.fixture(scope="session")
def kubernetes(pytestconfig: pytest.Config) -> str:
    """The release that ``--embedded-kubernetes`` names, else the default."""
    return pytestconfig.getoption("--embedded-kubernetes") or KUBERNETES.minor


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """Tells the matrix what a run of the suite said, from its results."""
    return lambda results: record_property(SAID, said(results))


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config, kubernetes: str) -> Iterator[Cluster]:
    """A cluster of one node with four simulated GPUs and the NVIDIA driver, in the version that
    ``--embedded-driver`` names, for the session."""
    # Not above: `pytest -m dra` reads this file where the embedded cluster is not installed.
    from embedded import cluster as embedded_cluster  # noqa: PLC0415

    driver = pytestconfig.getoption("--embedded-driver") or "nvidia"
    options = embedded_cluster.Options(nodes=1, driver=driver, kubernetes=kubernetes)
    with embedded_cluster.running(options, Progress()) as running:
        yield running
