"""What the driver under test publishes, beside the nodes there are and where it runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NoReturn

from harness.cluster.inventory import current, devices
from harness.cluster.kinds import NODE, POD, SLICE, Kind, Object, has_labels, name_of, namespace_of
from harness.cluster.kube import ApiError, UnreachableError
from harness.cluster.observe import WaitTimeoutError
from harness.cluster.profile import NO_POD
from harness.scenario.driver import driver_log
from harness.scenario.evidence import EvidenceBase
from harness.scenario.observed import Observed
from harness.scenario.pods import describe, has_started
from harness.scenario.run import Run
from harness.verdict import causes
from harness.verdict.finding import (
    Blame,
    Finding,
    InconclusiveError,
    SkipKind,
    UnmetError,
    UnsupportedError,
)


class Published(EvidenceBase):
    """The driver's ResourceSlices as they were when a check first asked for them.

    Of the nodes that the run is to use (``--dra-node-selector``), if it is not to use all.
    """

    def __init__(self, run: Run) -> None:
        super().__init__("published")
        self._run = run
        self.nodes: Observed[Mapping[str, Object]] = Observed("the nodes")
        """By name."""
        self.driver_pods: Observed[Mapping[str, Object]] = Observed("the driver's pods")
        """By the node that each is on."""
        self._look_at_nodes()
        self._look_at_driver()
        self._settle()
        self.slices = self._current()
        """Those of each pool's newest generation."""
        subject = run.subject
        self.gpus = devices(self.slices, subject.driver, subject.profile)
        """Whole GPUs, as far as the driver's profile tells them from others."""

    def pieces(self) -> list[Observed[Any]]:
        """What is not published, but there."""
        return [self.nodes, self.driver_pods]

    def nodes_with_devices(self) -> set[str]:
        """The nodes that at least one device is published of."""
        return {node_of(item) for item in self._current() if item["spec"].get("devices")}

    def driver_has_started(self, node: str) -> bool:
        """Whether the driver's container on a node runs, or ran."""
        return has_started(self.driver_pods.get()[node], self._container)

    def driver_at(self, node: str) -> str:
        """What the driver's pod on a node is at."""
        pod = self.driver_pods.get()[node]
        return f"pod {namespace_of(pod)}/{name_of(pod)} is at: {describe(pod, self._container)}"

    @property
    def _container(self) -> str:
        return self._run.subject.profile.plugin_container

    def fail_of(
        self,
        nodes: Collection[str],
        head: str,
        *,
        expected: str,
        observed: str,
        blame: Blame = Blame.DRIVER,
    ) -> NoReturn:
        """End a check: not so, of these nodes; with what the driver says there."""
        self.driver_log = driver_log(self._run, nodes={*nodes} - {""}, about=["ResourceSlice"])
        self.fail(head, expected=expected, observed=observed, blame=blame)

    def _current(self) -> list[Object]:
        found = current(self._run.observer.objects(SLICE), self._run.subject.driver)
        if not self._run.options.node_selector:
            return found
        return [item for item in found if node_of(item) in self.nodes.get()]

    def _look_at_nodes(self) -> None:
        listed = self._list(NODE, self.nodes)
        if listed is not None:
            wanted = self._run.options.node_selector
            self.nodes.found({name_of(n): n for n in listed if has_labels(n, wanted)})

    def _look_at_driver(self) -> None:
        profile = self._run.subject.profile
        if profile.plugin_selector == NO_POD:
            reason = f"profile {profile.name} does not say which pods are the driver's"
            self.driver_pods.missing(UnsupportedError(reason))
            return
        listed = self._list(POD, self.driver_pods, profile.plugin_selector)
        if listed is None:
            return
        nodes = self.nodes.known()
        pods = {
            str(pod["spec"]["nodeName"]): pod
            for pod in listed
            if pod["spec"].get("nodeName") and not pod["metadata"].get("deletionTimestamp")
        }
        if not pods:
            reason = f"no pod has the labels {profile.plugin_selector} (profile {profile.name})"
            self.driver_pods.missing(UnmetError(reason))
            return
        self.driver_pods.found({n: pod for n, pod in pods.items() if nodes is None or n in nodes})

    def _list(self, kind: Kind, into: Observed[Any], labels: str = "") -> list[Object] | None:
        try:
            return self._run.kube.list(kind, labels=labels)[0]
        except UnreachableError as error:
            head = str(error)
            finding = Finding(head, "the API server answers", head, Blame.CLUSTER)
        except ApiError as error:
            if error.status == 403:
                reason = f"list {kind.plural} of the whole cluster"
                into.missing(UnmetError(reason, SkipKind.NOT_ALLOWED))
                return None
            head = f"the API server refuses: {error}"
            finding = causes.refusal(head, f"a list of {kind.plural}", error)
        into.missing(InconclusiveError(finding))
        return None

    def _settle(self) -> None:
        """Give a driver that has just come up the time to publish."""
        wanted = set(self.driver_pods.known() or ())
        try:
            self._run.observer.wait(
                "devices of every node that the driver runs on",
                lambda: wanted <= self.nodes_with_devices() or None,
                self._run.budgets.observe,
                lambda: "",
            )
        except WaitTimeoutError:
            return  # a check says so


def node_of(item: Object) -> str:
    """The node that a slice's devices are on; empty: they are on several."""
    return str(item["spec"].get("nodeName") or "")
