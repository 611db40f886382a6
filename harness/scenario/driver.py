"""The driver under test over time: its pods, restarted and stopped, and what they say."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Collection
from functools import cached_property
from http.client import FORBIDDEN

from harness.cluster.inventory import Pool, pools
from harness.cluster.kinds import (
    DAEMON_SET,
    POD,
    SLICE,
    Object,
    Rule,
    has_labels,
    name_of,
    namespace_of,
    uid_of,
)
from harness.cluster.kube import ApiError
from harness.cluster.profile import NO_POD
from harness.options import Impact
from harness.scenario import by_hand
from harness.scenario.changes import FieldsChange, value_at
from harness.scenario.daemons import Daemons
from harness.scenario.evidence import Observed
from harness.scenario.metrics import Metrics, asked
from harness.scenario.node_pods import kill_values, run_on
from harness.scenario.pods import (
    describe,
    has_started,
    is_ready,
    restarts,
    status_of,
)
from harness.scenario.run import Run
from harness.scenario.verbs import Needs, Verbs, Waiting, needs
from harness.verdict.finding import Blame, SkipKind, UnmetError, UnsupportedError

STRATEGY, TEMPLATE = "spec.updateStrategy", "spec.template"
AFFINITY = f"{TEMPLATE}.spec.affinity"
NODE_AFFINITY = "requiredDuringSchedulingIgnoredDuringExecution"

_PODS = Rule(POD, ("list", "watch"), "the driver's pods, to see them come and go", anywhere=True)
_DELETED = Rule(POD, ("delete",), "the driver's pod of a node, to restart it", anywhere=True)
_LOGS = Rule(POD, ("get",), "what the driver's pods say", anywhere=True, subresource="log")
_PROXY = Rule(
    *(POD, ("get",), "what the driver's pods count"),
    anywhere=True,
    subresource="proxy",
    needed=False,
)
_DAEMON_SET = Rule(
    *(DAEMON_SET, ("get", "update")),
    "the driver's DaemonSet, to leave out a node or change its image for a while",
    anywhere=True,
)


class Driver(Verbs):
    """The driver under test, by its pods on the nodes."""

    def __init__(self, steps: Waiting, uses: Collection[Needs]) -> None:
        super().__init__(steps, uses)
        self._profile = self._run.subject.profile
        self._name = self._run.subject.driver
        self._changed: dict[str, FieldsChange] = {}

    @needs("", (), _PODS)
    def pods(self, node: str) -> list[Object]:
        """Answer the driver's pods on a node, those on their way out, too.

        Raises:
            JudgementError: the driver's profile does not say which pods are its, or the pods of the
                whole cluster may not be seen.
        """
        return self._of_node(node)

    @needs(
        "the driver of a node is restarted: its pod is deleted, and its DaemonSet makes another",
        {Impact.DISRUPT},
        *(_PODS, _DELETED),
    )
    def restart(self, node: str, meanwhile: Callable[[], object] | None = None) -> float:
        """Delete the driver's pod on a node and wait until its successor serves.

        Args:
            node: which.
            meanwhile: what to do once the pod is asked to end, before it is waited for.

        Returns:
            Seconds from the deletion until then.

        Raises:
            JudgementError: it does not come, or nobody would make it.
        """
        began = time.monotonic()
        self._replace(self._pod(node), meanwhile)
        return time.monotonic() - began

    def _replace(
        self,
        old: Object,
        meanwhile: Callable[[], object] | None = None,
        what: str = "restarted",
        blame: Blame = Blame.DRIVER,
    ) -> None:
        """Delete the driver's pod and wait until its successor serves."""
        node = str(old["spec"]["nodeName"])
        self._maker(old)
        invariants = self._run.judge_invariants()
        invariants.disturb()
        try:
            why = f"for {self._steps.name}; its {self._maker(old)['kind']} makes another"
            self._steps.script.do(self._command(old, "delete"))
            self._run.changes.delete(old, why)
            self._steps.step(f"driver's pod {name_of(old)} on {node} deleted")
            if meanwhile is not None:
                meanwhile()
            self._await(node, after=uid_of(old), what=what, blame=blame)
        finally:
            invariants.settle()

    def other_version(self) -> str:
        """Name the image of another version of the driver that nodes have.

        Raises:
            UnsupportedError: none is known.
        """
        image = self._run.options.upgrade_image or self._run.cluster.next_image
        if not image:
            raise UnsupportedError(
                "no other version of the driver is known that the nodes have: --dra-upgrade-image"
            )
        return image

    @needs(
        "the driver of a node is changed to the image of another version, and back",
        {Impact.DISRUPT},
        *(_PODS, _DELETED, _DAEMON_SET),
    )
    def upgrade(self, node: str) -> None:
        """Have another version of the driver on a node until `start`, which the scenario's end
        does, too: its DaemonSet gets the image of it, and the pod of this node is made anew.

        An older version may not read what a newer one has on record of prepared claims: have none
        on the node before it is put back.

        Raises:
            JudgementError: the new version does not serve, there is none, or no DaemonSet makes it.
        """
        image, pod = self.other_version(), self._pod(node)
        daemon_set = self._daemon_set(pod)
        template = copy.deepcopy(value_at(daemon_set, TEMPLATE))
        spec = template["spec"]
        containers = [*spec["containers"], *(spec.get("initContainers") or [])]
        old = [one["image"] for one in containers if one["name"] == self._profile.plugin_container]
        for one in containers:
            one["image"] = image if one["image"] in old else one["image"]
        self._change(node, daemon_set, {TEMPLATE: template}, f"{image} on {node}")
        self._steps.step(f"driver on {node} changed to {image}")
        # Another version may want other arguments or rights than its DaemonSet has.
        self._replace(pod, what="upgraded", blame=Blame.CLUSTER)
        if self._images(self._pod(node)) == self._images(pod):
            raise self._steps.inconclusive(
                f"the driver on {node} has the same image as before: somebody puts its DaemonSet"
                f" back, or {image} is the version that it had",
                Blame.CLUSTER,
            )

    def _images(self, pod: Object) -> set[str]:
        """What the driver's container on a node is of."""
        containers = pod["spec"]["containers"]
        return {one["image"] for one in containers if one["name"] == self._profile.plugin_container}

    @needs(
        "the driver of a node is killed by SIGKILL, from a privileged pod; the kubelet starts it",
        {Impact.DISRUPT, Impact.PRIVILEGED},
        _PODS,
    )
    def kill(self, node: str, meanwhile: Callable[[], object] | None = None) -> None:
        """Kill the processes of the driver's container on a node and wait until it serves again.

        Args:
            node: which.
            meanwhile: what to do once it is dead, before it is waited for.

        Raises:
            JudgementError: it was not found, or does not come back.
        """
        pod, container = self._pod(node), self._profile.plugin_container
        status = status_of(pod, container)
        identity = str(status.get("containerID") or "").rpartition("/")[2]
        if not identity:
            raise UnmetError(f"the driver's container on {node} does not run")
        before = restarts(pod, container)
        invariants = self._run.judge_invariants()
        invariants.disturb()
        try:
            self._run.changes.act(f"driver on {node} killed (for {self._steps.name})")
            self._steps.script.say(
                f"end all processes of the driver's container on {node} by SIGKILL; the pod below"
                f" did it by the container's ID in their cgroups, {identity} then, another now:"
            )
            self._steps.script.do(self._command(pod, "get --output=yaml"))
            run_on(self._steps, node, "node-root", "driver-kill", kill_values(identity))
            self._steps.step(f"driver on {node} killed")
            if meanwhile is not None:
                meanwhile()
            self._steps.wait(
                f"the driver on {node}, which was killed, to be started again",
                lambda: any(restarts(p, container) > before for p in self._of_node(node)),
                self._run.budgets.start,
                lambda: self._at(node),
                Blame.KUBELET,
            )
            self._await(node, what="killed")
        finally:
            invariants.settle()

    @needs(
        "the driver of a node is stopped for a while: its DaemonSet leaves the node out",
        {Impact.DISRUPT},
        *(_PODS, _DAEMON_SET),
    )
    def stop(self, node: str) -> None:
        """Have no driver on a node until `start`, which the scenario's end does, too.

        Its DaemonSet gets a node affinity. So that the pods on other nodes are not made anew for
        that, it updates none meanwhile.

        Raises:
            JudgementError: the pod does not go, or no DaemonSet makes it.
        """
        daemon_set = self._daemon_set(self._pod(node))
        after = {AFFINITY: without_node(value_at(daemon_set, AFFINITY), node)}
        self._change(node, daemon_set, after, f"no driver on {node}")
        self._steps.wait(
            f"the end of the driver's pod on {node}",
            lambda: not self._of_node(node),
            self._run.budgets.release,
            lambda: self._at(node),
            Blame.CLUSTER,
        )
        self._steps.step(f"driver on {node} stopped")

    def _daemon_set(self, pod: Object) -> Object:
        """What makes the driver's pods."""
        maker = self._maker(pod)
        if maker["kind"] != DAEMON_SET.name:
            raise UnmetError(f"the driver's pods are made by a {maker['kind']}, not a DaemonSet")
        return self._run.kube.get(DAEMON_SET, maker["name"], namespace_of(pod))

    def _change(self, node: str, daemon_set: Object, after: Object, why: str) -> None:
        """Change the driver's DaemonSet until `start`, with no effect yet on pods that are there:
        it updates none meanwhile."""
        after = {STRATEGY: {"type": "OnDelete"}, **after}
        why = f"for {self._steps.name}: {why}"
        self._changed[node] = self._run.changes.fields(daemon_set, after, why)
        self._steps.script.do(by_hand.patch(daemon_set, after))
        self._run.judge_invariants().disturb()

    def start(self, node: str) -> None:
        """Have the driver on a node again as it was, where it was stopped or changed.

        Raises:
            JudgementError: it does not come back.
        """
        change = self._changed.pop(node)
        # One of another version; its DaemonSet replaces it by itself.
        there = map(uid_of, self._of_node(node) if TEMPLATE in change.after else ())
        metadata = {"name": change.name, "namespace": change.namespace}
        maker = {"kind": change.kind, "metadata": metadata}
        self._steps.script.do(by_hand.patch(maker, change.before))
        try:
            if why := self._run.changes.put_back(change):
                raise self._steps.inconclusive(f"the driver was not started again: {why}")
            self._await(node, after=next(there, ""))
        finally:
            self._run.judge_invariants().settle()

    def start_all(self) -> None:
        """Have the driver on every node again as it was; the last one first."""
        for node in reversed(list(self._changed)):
            self.start(node)

    @needs("", (), _PODS, _LOGS)
    def logs(self, node: str, since: float = 0.0) -> list[str]:
        """Read what the driver's pod on a node has said.

        Args:
            node: which.
            since: from when on, in seconds of the scenario (`Steps.seconds`).
        """
        seconds = math.ceil(self._steps.seconds - since) + 1
        container = self._profile.plugin_container
        pod = self._pod(node)
        self._steps.script.do(self._command(pod, f"logs --container={container} --tail=-1"))
        log = self._run.kube.log(pod, container, since_seconds=seconds)
        return log.splitlines()

    @needs("", (), _PODS, _PROXY)
    def metrics(self, node: str) -> Observed[Metrics]:
        """Read what the driver on a node counts, where its profile knows where it tells it.

        Raises:
            JudgementError: no pod of the driver is on the node.
        """
        answer: Observed[Metrics] = Observed("the driver's metrics")
        port, _, path = self._profile.metrics.partition("/")
        if not port:
            reason = f"profile {self._profile.name} does not say where the driver's metrics are"
            answer.missing(UnsupportedError(reason))
            return answer
        pod = self._pod(node)
        there = POD.path(namespace_of(pod), f"{name_of(pod)}:{port}")
        self._steps.script.do(f"kubectl get --raw {there}/proxy/{path}")
        return asked(
            f"the driver on {node}",
            lambda: self._run.kube.text(f"{there}/proxy/{path}"),
            self._profile.prepared,
        )

    def daemons(self, pattern: str) -> Daemons:
        """See the pods that the driver starts for a claim, by a pattern of their names."""
        return Daemons(self._steps, pattern)

    def _command(self, pod: Object, verb: str) -> str:
        """Write a command about the driver's pod that is on a pod's node by then."""
        kubectl = f"kubectl --namespace {namespace_of(pod)}"
        where = f"--selector={self._profile.plugin_selector}"
        node = f"--field-selector=spec.nodeName={pod['spec']['nodeName']}"
        return f'{kubectl} {verb} "$({kubectl} get pod {where} {node} --output=name)"'

    def _pod(self, node: str) -> Object:
        pods = [pod for pod in self._of_node(node) if not pod["metadata"].get("deletionTimestamp")]
        if not pods:
            raise UnmetError(f"no pod of the driver is on {node}")
        return pods[0]

    def _maker(self, pod: Object) -> Object:
        """Who makes a pod again that is deleted."""
        owners = pod["metadata"].get("ownerReferences") or []
        maker = next((owner for owner in owners if owner.get("controller")), None)
        if maker is None:
            raise UnmetError(f"nobody makes the driver's pod {name_of(pod)} again")
        return dict(maker)

    def _of_node(self, node: str) -> list[Object]:
        """The driver's pods on a node, those on their way out, too."""
        parts = (part.partition("=") for part in self._profile.plugin_selector.split(","))
        labels = {key: value.lstrip("=") for key, _, value in parts if value}
        return [
            pod
            for namespace in self._namespaces
            for pod in self._run.observer.objects(POD, namespace)
            if pod["spec"].get("nodeName") == node and has_labels(pod, labels)
        ]

    @cached_property
    def _namespaces(self) -> list[str]:
        """Where the driver's pods are; they are watched there from now on."""
        selector, observer = self._profile.plugin_selector, self._run.observer
        if selector == NO_POD:
            raise UnsupportedError(
                f"profile {self._profile.name} does not say which pods are the driver's"
            )
        try:
            listed, _ = self._run.kube.list(POD, labels=selector)
        except ApiError as error:
            if error.status == FORBIDDEN:
                reason = "list pods of the whole cluster"
                raise UnmetError(reason, SkipKind.NOT_ALLOWED) from error
            raise
        found = sorted({str(namespace_of(pod)) for pod in listed})
        for namespace in found:
            if not observer.observes(POD, namespace):
                observer.observe(POD, namespace, labels=selector)
        return found

    def _await(
        self,
        node: str,
        after: str = "",
        what: str = "restarted",
        blame: Blame = Blame.DRIVER,
    ) -> None:
        """Wait until the driver serves on a node.

        Ready, its pod says by its own probes. The kubelet's registration is seen nowhere in the
        API; it need not be, because the kubelet tries again what it asks of a driver that is not
        registered yet, so nothing that is judged hangs on that moment. Its slices are there when
        every pool of the node is whole, whether they were left by the instance before or not.

        Args:
            node: which.
            after: the UID of the pod before, which has to be gone.
            what: what was done to it, as a participle: "restarted".
            blame: who has to act where it does not serve.
        """
        container = self._profile.plugin_container

        def successors() -> list[Object]:
            pods = self._of_node(node)
            return [] if any(uid_of(pod) == after for pod in pods) else pods

        def serves() -> bool:
            return any(map(is_ready, successors())) and publishes(self._run, node)

        def told() -> str:
            return f"{self._at(node)}; {published(self._run, node)}"

        self._run.driver_away[node] = lambda: "" if serves() else told()
        pod = self._steps.wait(
            f"the driver's new pod on {node}",
            lambda: next((p for p in successors() if has_started(p, container)), None),
            self._run.budgets.start,
            lambda: self._at(node),
            Blame.CLUSTER,
            by_hand=["sleep 10"],
        )
        self._steps.wait(
            f"the return of the {what} driver on {node}",
            serves,
            self._run.budgets.start,
            told,
            blame,
            by_hand=[self._command(pod, "wait --for=condition=Ready --timeout=120s")],
        )
        del self._run.driver_away[node]
        self._run.driver_back[node] = time.time()
        self._steps.step(f"driver on {node} is ready")

    def _at(self, node: str) -> str:
        container = self._profile.plugin_container
        return (
            "; ".join(
                f"pod {name_of(pod)}: {describe(pod, container)}"
                + (", about to go" if pod["metadata"].get("deletionTimestamp") else "")
                + ("" if is_ready(pod) else ", not ready")
                for pod in self._of_node(node)
            )
            or "no pod"
        )


def publishes(run: Run, node: str) -> bool:
    """Whether the driver has slices of a node, and all that their pools have."""
    found = pools_of_node(run, node)
    return bool(found) and all(pool.complete for pool in found)


def published(run: Run, node: str) -> str:
    """What the driver publishes of a node, in a few words."""
    return "; ".join(map(str, pools_of_node(run, node))) or f"no ResourceSlice of {node}"


def pools_of_node(run: Run, node: str) -> list[Pool]:
    """The driver's pools that have slices of a node."""
    return [
        pool
        for pool in pools(run.observer.objects(SLICE), run.subject.driver)
        if any(item["spec"].get("nodeName") == node for item in pool.slices)
    ]


def without_node(affinity: Object | None, node: str) -> Object:
    """Answer an affinity that fits what the one given does, but for one node."""
    made: Object = copy.deepcopy(affinity or {})
    required = made.setdefault("nodeAffinity", {}).setdefault(NODE_AFFINITY, {})
    # One of the terms has to fit.
    for term in required.setdefault("nodeSelectorTerms", [{}]):
        other = {"key": "metadata.name", "operator": "NotIn", "values": [node]}
        term["matchFields"] = [*(term.get("matchFields") or []), other]
    return made
