"""A folder of a node, made by a pod's hostPath volume; it has to be removed by a pod, too."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from harness.cluster.kinds import Object
from harness.cluster.observe import WaitTimeoutError
from harness.scenario.play import Play
from harness.scenario.pods import termination

PARENT = PurePosixPath("/tmp")
REMOVE = """\
import os, shutil, sys
if os.path.exists(sys.argv[1]):
    shutil.rmtree(sys.argv[1])
"""


class NodeFolder:
    """The run's own folder for one scenario; removed once its pods have ended."""

    def __init__(self, play: Play) -> None:
        self.path = PARENT / f"dra-conformance-{play.run.id}-{play.account.name}"
        self._play = play
        self._removals = 0
        self._chore = f"removal of the folder {self.path} from the nodes"
        self._pods: list[Object] = []

    def used_by(self, pod: Object) -> None:
        """A pod that may have made it; from now on the run's clean-up removes it."""
        self._pods.append(pod)
        self._play.run.chores[self._chore] = self.remove

    def remove(self) -> None:
        """As a whole."""
        self.end_removal(self.begin_removal())

    def begin_removal(self) -> list[Object]:
        """Have it removed from each node that a pod may have made it on; answers the pods."""
        observer = self._play.run.observer
        nodes = {
            str(observer.last(pod).obj["spec"].get("nodeName") or "") for pod in self._pods
        } - {""}
        # A second try, in the clean-up of a run that was ended, meets the first one's pod.
        self._removals += 1
        return [
            self._play.create(
                "folder-removal.yaml.j2",
                {
                    "name": f"folder-removal-{self._play.account.name}-{number}-{self._removals}",
                    "node": node,
                    "image": self._play.run.subject.image,
                    "parent": str(PARENT),
                    "command": ["python", "-c", REMOVE, f"/parent/{self.path.name}"],
                },
            )
            for number, node in enumerate(sorted(nodes))
        ]

    def end_removal(self, pods: Iterable[Object]) -> None:
        """Wait for the removal; a folder that stays is a leftover of the run."""
        run = self._play.run
        for pod in pods:
            why = ""
            try:
                end = run.observer.wait(
                    "the removal of the run's folder",
                    lambda pod=pod: termination(run.observer.last(pod).obj),  # type: ignore[misc]
                    run.budgets.release,
                    lambda pod=pod: self._play.at(pod),  # type: ignore[misc]
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
