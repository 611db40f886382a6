"""A folder of a node, made by a pod's hostPath volume; it has to be removed by a pod, too."""

from __future__ import annotations

from pathlib import PurePosixPath

from harness.cluster.anchor import anchor_name
from harness.scenario.changes import FolderChange
from harness.scenario.run import SCENARIO_LABEL, Run

PARENT = PurePosixPath("/tmp")
REMOVE = """\
import os, shutil, sys
if os.path.exists(sys.argv[1]):
    shutil.rmtree(sys.argv[1])
"""


def node_folder(run: Run, scenario: str, namespace: str) -> FolderChange:
    """Name the run's own folder for a scenario, and note what removes it; a pod makes it.

    Args:
        run: the run.
        scenario: the scenario's name.
        namespace: where the pod that removes it runs.
    """
    path = PARENT / f"{anchor_name(run.id)}-{scenario}"
    values = {
        "name": f"folder-removal-{scenario}",
        "namespace": namespace,
        "node": "",
        "image": run.subject.image,
        "parent": str(PARENT),
        "command": ["python", "-c", REMOVE, f"/parent/{path.name}"],
    }
    removal = run.render("folder-removal.yaml.j2", values)
    removal["metadata"].setdefault("labels", {})[SCENARIO_LABEL] = scenario
    run.mark(removal)
    return run.changes.folder(str(path), removal)
