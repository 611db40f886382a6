"""A folder of a node, made by a pod's hostPath volume; it has to be removed by a pod, too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from harness.cluster.kinds import Object
from harness.cluster.observe import WaitTimeoutError
from harness.scenario.pods import describe, termination
from harness.scenario.run import Run

PARENT = PurePosixPath("/tmp")
REMOVE = """\
import os, shutil, sys
if os.path.exists(sys.argv[1]):
    shutil.rmtree(sys.argv[1])
"""


class NodeFolder:
    """The run's own folder for one scenario; removed once its pods have ended."""

    def __init__(
        self, run: Run, create: Callable[[str, Mapping[str, Any]], Object], scenario: str
    ) -> None:
        """Name a folder; a pod makes it.

        Args:
            run: the run.
            create: creates an object from a template and its values.
            scenario: the scenario's name.
        """
        self.path = PARENT / f"dra-conformance-{run.id}-{scenario}"
        self._run = run
        self._create = create
        self._scenario = scenario
        self._removals = 0
        self._chore = f"removal of the folder {self.path} from the nodes"
        self._pods: list[Object] = []

    def used_by(self, pod: Object) -> None:
        """Note a pod that may have made it; from now on the run's clean-up removes it."""
        self._pods.append(pod)
        self._run.chores[self._chore] = lambda: self.end_removal(self.begin_removal())

    def begin_removal(self) -> list[Object]:
        """Create a pod that removes it on each node that a pod may have made it on."""
        last = self._run.observer.last
        nodes = {str(last(pod).obj["spec"].get("nodeName") or "") for pod in self._pods} - {""}
        # A second try, in the clean-up of a run that was ended, meets the first one's pod.
        self._removals += 1
        return [
            self._create(
                "folder-removal.yaml.j2",
                {
                    "name": f"folder-removal-{self._scenario}-{number}-{self._removals}",
                    "node": node,
                    "image": self._run.subject.image,
                    "parent": str(PARENT),
                    "command": ["python", "-c", REMOVE, f"/parent/{self.path.name}"],
                },
            )
            for number, node in enumerate(sorted(nodes))
        ]

    def end_removal(self, pods: Iterable[Object]) -> None:
        """Wait for the removal; a folder that stays is a leftover of the run."""
        run = self._run
        for pod in pods:
            why = ""
            try:
                end = run.observer.wait(
                    "the removal of the run's folder",
                    lambda pod=pod: termination(run.observer.last(pod).obj),  # type: ignore[misc]
                    run.budgets.release,
                    lambda pod=pod: describe(run.observer.last(pod).obj),  # type: ignore[misc]
                )
            except WaitTimeoutError as error:
                why = str(error)
            else:
                if end["exitCode"] != 0:
                    said = run.kube.log(pod, "removal").strip().splitlines()
                    why = said[-1] if said else f"exit code {end['exitCode']}"
            if why:
                node = pod["spec"]["nodeName"]
                run.record.leftovers.append(f"folder {self.path} on node {node}: {why}")
            run.kube.delete(pod)
        run.chores.pop(self._chore, None)
