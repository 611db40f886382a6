"""The workload's program, brought in a ConfigMap to pods whose image is without it.

The files are in it as they are, kernels included (``workload/kernels.ptx``), so that who has the
cluster can read what runs there; mounted, they are the package ``workload``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.cluster.anchor import anchor_name

TEMPLATE = "workload.yaml.j2"
COMMAND = ("python3", "-m", "workload")
"""What the entrypoint of our own image runs, too."""
SHELL_COMMAND = ("sh", "/opt/dra-conformance/workload/shell.sh")
"""For an image that has a shell and no Python."""
ENVIRONMENT: Mapping[str, str] = {
    "PYTHONPATH": "/opt/dra-conformance",
    "PYTHONSAFEPATH": "1",
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "HOME": "/tmp",
}
"""As in our own image; there, ``images.workload`` says why."""
MOUNTED = "/opt/dra-conformance/workload"
_SOURCE = Path(__file__).parents[2] / "workload"


def config_map_of(run_id: str) -> str:
    """Name the ConfigMap of a run."""
    return f"{anchor_name(run_id)}-workload"


def values(name: str, *, shell: bool = False) -> dict[str, Any]:
    """Make the values of `TEMPLATE`.

    Args:
        name: of the ConfigMap.
        shell: whether the image has a shell only.
    """
    of_python = (*_SOURCE.glob("*.py"), _SOURCE / "kernels.ptx")
    files = [_SOURCE / "shell.sh"] if shell else sorted(of_python)
    return {"name": name, "files": {path.name: path.read_text(encoding="utf-8") for path in files}}


def does_nothing(*, shell: bool = False) -> list[str]:
    """Command that only shows that the image has what runs the program."""
    return ["sh", "-c", ":"] if shell else ["python3", "-c", "pass"]
