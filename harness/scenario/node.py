"""A node under the driver: its folders, which are only read, and its kubelet, restarted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from harness.cluster.kinds import NODE, SLICE, Object, Rule, name_of, uid_of
from harness.options import Impact
from harness.scenario.driver import pools_of_node, published, publishes
from harness.scenario.evidence import Evidence
from harness.scenario.needs import Needs, Verbs, needs
from harness.scenario.node_files import READ, SMALL, File, parse
from harness.scenario.pods import cannot_start, termination
from harness.scenario.run import PRIVILEGED, SCENARIO_LABEL, Subject
from harness.scenario.waiting import Waiting
from harness.verdict.finding import Blame, UnmetError

ROOT = "/node"
"""Where the pod that reads sees the node's files."""
RESTART = """\
import os
os.chroot("/proc/1/root")
os.execvp("systemctl", ["systemctl", "restart", "kubelet"])
"""
"""A program: with the node's PIDs and privileged, it has the node's systemd restart the kubelet."""

KUBELET_VALUES: Mapping[str, Any] = {"command": ["python", "-c", RESTART]}
"""For ``node-kubelet.yaml.j2``, beyond those of every pod on a node."""


def files_values(subject: Subject, folder: str) -> Mapping[str, Any]:
    """Make the values of ``node-files.yaml.j2``, beyond those of every pod on a node.

    Args:
        subject: the driver.
        folder: what its profile calls the folder that is read.
    """
    paths = subject.profile.folders[folder]
    folders = [path.replace("DRIVER", subject.driver) for path in paths]
    return {"command": ["python", "-c", READ, ROOT, str(SMALL), *folders], "root": ROOT}


class Node(Verbs):
    """One node."""

    def __init__(
        self, steps: Waiting, uses: Collection[Needs], evidence: Evidence, name: str
    ) -> None:
        super().__init__(steps, uses)
        self._evidence = evidence
        self.name = name

    @needs("", {Impact.PRIVILEGED})
    def files(self, folder: str, called: str) -> tuple[File, ...]:
        """Read a folder of the node, with all that is in it.

        Args:
            folder: what the driver's profile calls it: ``cdi``, ``plugin`` or ``registry``.
            called: by which name the evidence has it (`Evidence.files`).

        Raises:
            JudgementError: the pod that reads does not run on the node.
        """
        self._declared(Node.files)
        values = files_values(self._run.subject, folder)
        said = run_on(self._steps, self.name, "node-files", f"reader-{called}", values)
        try:
            found = parse(said)
        except ValueError as error:
            raise self._steps.inconclusive(f"{folder} of {self.name}: {error}") from error
        self._evidence.looks[called] = found
        self._steps.step(f"{folder} of {self.name} ({called}): {len(found)} entries")
        return found


class Kubelet(Verbs):
    """The kubelets of the nodes."""

    @needs(
        "the kubelet of a node is restarted, outside the embedded cluster by a privileged pod",
        {Impact.DISRUPT, Impact.PRIVILEGED},
        Rule(NODE, ("list", "watch"), "when a kubelet is back", anywhere=True),
    )
    def restart(self, node: str) -> None:
        """Restart the kubelet of a node and wait until all is there again.

        It says at its start that the node is ready; later only when something has changed. At its
        start it also removes the ResourceSlices of its node, as their drivers may be gone; a driver
        publishes them again, which takes the usual helper library half a minute.

        Raises:
            JudgementError: it does not come back, the node's systemd does not know it, or the
                driver does not publish again.
        """
        self._declared(Kubelet.restart)
        before = self._heartbeat(node)
        if before is None:
            raise UnmetError(f"node {node} is not seen, or its kubelet says nothing")
        slices = {uid_of(s) for pool in pools_of_node(self._run, node) for s in pool.slices}
        self._run.changes.act(f"kubelet of {node} restarted (for {self._steps.name})")
        if self._run.cluster.restart_kubelet is not None:
            self._run.cluster.restart_kubelet(node)
        else:
            run_on(self._steps, node, "node-kubelet", "kubelet-restart", KUBELET_VALUES)
        self._await(node, before, slices)

    def _await(self, node: str, before: str, slices: Collection[str]) -> None:
        """Wait for a heartbeat after another one, and for new slices in place of others."""
        observer, budgets = self._run.observer, self._run.budgets
        self._steps.wait(
            f"the kubelet of {node}, which was restarted, to say that the node is ready",
            lambda: (self._heartbeat(node) or before) > before or None,
            budgets.start,
            lambda: (
                f"last heard of at {self._heartbeat(node) or 'no time, as the node is unready'}"
            ),
            Blame.KUBELET,
        )
        self._steps.step(f"kubelet of {node} is back")
        if not slices:
            return
        self._steps.wait(
            "the restarted kubelet to remove the node's ResourceSlices",
            lambda: {uid_of(item) for item in observer.objects(SLICE)}.isdisjoint(slices) or None,
            budgets.observe,
            lambda: "they are there",
            Blame.KUBELET,
            optional=True,
        )
        self._steps.wait(
            f"the driver to publish devices of {node} again, after a restart of the kubelet",
            lambda: publishes(self._run, node) or None,
            budgets.start,
            lambda: published(self._run, node),
            Blame.DRIVER,
        )
        self._steps.step(f"devices of {node} are published again")

    def _heartbeat(self, node: str) -> str | None:
        """When a kubelet last said that its node is ready; None when it says otherwise."""
        for seen in self._run.observer.objects(NODE):
            for condition in (seen.get("status") or {}).get("conditions") or []:
                ready = condition["type"] == "Ready" and condition["status"] == "True"
                if name_of(seen) == node and ready:
                    return str(condition.get("lastHeartbeatTime") or "")
        return None


def run_on(steps: Waiting, node: str, template: str, name: str, values: Mapping[str, Any]) -> str:
    """Run a pod of one container, called as its template, on a node, and delete it.

    Args:
        steps: of the scenario.
        node: where.
        template: its name without endings.
        name: of the pod, but for the scenario's name.
        values: of the template, beyond name, namespace, node and image.

    Returns:
        What it printed.

    Raises:
        JudgementError: it did not come to a good end.
    """
    run = steps.run
    common = {
        "name": f"{name}-{steps.name}",
        "namespace": run.open_namespace(PRIVILEGED),
        "node": node,
        "image": run.subject.image,
    }
    made = run.render(f"{template}.yaml.j2", {**common, **values})
    made["metadata"].setdefault("labels", {})[SCENARIO_LABEL] = steps.name
    pod = run.create(made)

    def ended() -> Object | None:
        seen = run.observer.last(pod)
        if (reason := cannot_start(seen.obj, run.events_of(pod))) is not None:
            raise reason
        return termination(seen.obj)

    end = steps.wait(
        f"the end of pod {name} on {node}",
        ended,
        run.budgets.start,
        lambda: steps.at(pod),
        Blame.KUBELET,
        pod,
    )
    said = run.kube.log(pod, template)
    run.kube.delete(pod)
    if end["exitCode"]:
        last = (said.strip().splitlines() or [f"exit code {end['exitCode']}"])[-1]
        raise steps.inconclusive(f"pod {name} on {node} failed: {last}", Blame.CLUSTER)
    return said
