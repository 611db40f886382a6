"""A node under the driver: its folders, which are only read, and its kubelet, restarted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from harness.cluster.kinds import NODE, SLICE, Rule, name_of, uid_of
from harness.options import Impact
from harness.scenario.driver import pools_of_node, published, publishes
from harness.scenario.evidence import Claim, Evidence
from harness.scenario.node_files import File, parse
from harness.scenario.node_pods import KUBELET_VALUES, files_values, run_on, wipe_values
from harness.scenario.node_watch import FolderWatch, folder_over_time, watch_values
from harness.scenario.slice_writes import await_rest
from harness.scenario.verbs import Needs, Verbs, Waiting, needs
from harness.verdict.finding import Blame, UnmetError


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
            folder: what the driver's profile calls it: ``cdi``, ``plugin`` or ``registry``, or
                several of them with commas between them.
            called: by which name the evidence has it (`Evidence.files`).

        Raises:
            JudgementError: the pod that reads does not run on the node.
        """
        values = files_values(self._run.subject, folder)
        said = run_on(self._steps, self.name, "node-files", f"reader-{called}", values)
        try:
            found = parse(said)
        except ValueError as error:
            raise self._steps.inconclusive(f"{folder} of {self.name}: {error}") from error
        self._evidence.looks[called] = found
        self._steps.step(f"{folder} of {self.name} ({called}): {len(found)} entries")
        return found

    @needs(
        "CDI files of the run's own claims are removed from a node, as a reboot does, by a"
        " privileged pod",
        {Impact.DISRUPT, Impact.PRIVILEGED},
    )
    def wipe(self, claim: Claim, called: str) -> None:
        """Remove the CDI files of the node that are called after a claim of the run.

        There is nothing to put back: they are the claim's, and go with it.

        Args:
            claim: whose.
            called: by which name the evidence has what was removed (`Evidence.files`).

        Raises:
            JudgementError: the pod that removes does not run.
        """
        uid = uid_of(claim.obj)
        self._run.changes.act(f"CDI files of {claim.name} on {self.name} removed")
        self._steps.script.say(
            f"remove the CDI files of {self.name} that have the claim's UID in their name; the pod"
            f" below did it by that of the run, {uid}"
        )
        values = wipe_values(self._run.subject, "cdi", uid)
        said = run_on(self._steps, self.name, "node-root", "cdi-removal", values)
        removed = tuple(File(path, "file", 0) for path in said.splitlines())
        self._evidence.looks[called] = removed
        self._steps.step(f"CDI files of {claim.name} removed on {self.name}: {len(removed)}")

    @needs("", {Impact.PRIVILEGED})
    @contextmanager
    def watch(self, folder: str, called: str) -> Iterator[FolderWatch]:
        """See every change of the CDI specifications in a folder of the node during a block.

        Args:
            folder: what the driver's profile calls it: ``cdi``.
            called: by which name the evidence has what was seen (`Evidence.changed`).

        Raises:
            JudgementError: the pod that watches does not run on the node.
        """
        values = watch_values(self._run.subject, folder)
        with folder_over_time(self._steps, self.name, f"watch-{called}", values) as seen:
            try:
                yield seen
            finally:
                self._evidence.changes[called] = seen.changes()


class Kubelet(Verbs):
    """The kubelets of the nodes."""

    @needs(
        "the kubelet of a node is restarted, outside the embedded cluster by a privileged pod",
        {Impact.DISRUPT, Impact.PRIVILEGED},
        Rule(NODE, ("list", "watch"), "when a kubelet is back", anywhere=True),
    )
    def restart(self, node: str, meanwhile: Callable[[], object] | None = None) -> None:
        """Restart the kubelet of a node and wait until all is there again.

        It says at its start that the node is ready; later only when something has changed. At its
        start it also removes the ResourceSlices of its node, as their drivers may be gone; a driver
        publishes them again, which takes the usual helper library half a minute. It comes when
        nobody has written them for a minute (`await_rest`).

        Args:
            node: which.
            meanwhile: what to do once the kubelet is back, before slices are waited for.

        Raises:
            JudgementError: it does not come back, the node's systemd does not know it, or the
                driver does not publish again.
        """
        before = self._heartbeat(node)
        if before is None:
            raise UnmetError(f"node {node} is not seen, or its kubelet says nothing")
        await_rest(self._run, node)
        slices = {uid_of(s) for pool in pools_of_node(self._run, node) for s in pool.slices}
        self._run.changes.act(f"kubelet of {node} restarted (for {self._steps.name})")
        self._steps.script.say(f"restart the kubelet of {node}: systemctl restart kubelet there")
        if self._run.cluster.restart_kubelet is not None:
            self._run.cluster.restart_kubelet(node)
        else:
            run_on(self._steps, node, "node-root", "kubelet-restart", KUBELET_VALUES)
        self._await_heartbeat(node, before)
        if meanwhile is not None:
            meanwhile()
        self._await_slices(node, slices)

    def _await_heartbeat(self, node: str, before: str) -> None:
        """Wait for a heartbeat after another one."""
        self._steps.wait(
            f"the kubelet of {node}, which was restarted, to say that the node is ready",
            lambda: (self._heartbeat(node) or before) > before,
            self._run.budgets.start,
            lambda: (
                f"last heard of at {self._heartbeat(node) or 'no time, as the node is unready'}"
            ),
            Blame.KUBELET,
        )
        self._steps.step(f"kubelet of {node} is back")

    def _await_slices(self, node: str, slices: Collection[str]) -> None:
        """Wait for new slices in place of others, if there were any."""
        observer, budgets = self._run.observer, self._run.budgets
        if not slices:
            return
        self._steps.wait(
            "the restarted kubelet to remove the node's ResourceSlices",
            lambda: {uid_of(item) for item in observer.objects(SLICE)}.isdisjoint(slices),
            budgets.observe,
            lambda: "they are there",
            Blame.KUBELET,
            optional=True,
        )
        self._steps.wait(
            f"the driver to publish devices of {node} again, after a restart of the kubelet",
            lambda: publishes(self._run, node),
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
