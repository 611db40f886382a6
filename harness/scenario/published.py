"""What the driver under test publishes, beside the nodes there are and where it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import islice
from typing import Any, NoReturn

from harness.cluster.inventory import Pool, current, devices, driver_names, pools
from harness.cluster.kinds import (
    ACCESS_REVIEW_OF_OTHERS,
    CLAIM,
    DEVICE_CLASS,
    NODE,
    POD,
    POLICY,
    POLICY_BINDING,
    SLICE,
    Kind,
    Object,
    has_labels,
    name_of,
    namespace_of,
)
from harness.cluster.kube import ApiError, UnreachableError
from harness.cluster.observe import Budget, WaitTimeoutError
from harness.cluster.profile import NO_POD
from harness.scenario.evidence import EvidenceBase, Observed
from harness.scenario.pods import describe, has_started, is_ready
from harness.scenario.run import Run, telling
from harness.verdict import causes
from harness.verdict.finding import (
    Blame,
    Finding,
    InconclusiveError,
    SkipKind,
    UnmetError,
    UnsupportedError,
)

ACCOUNT_GROUPS = ("system:serviceaccounts", "system:authenticated")
"""The groups of every service account."""
LOOK_SECONDS = 1.0
SHOWN = 5
"""How many of the same faults a finding shows in full."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One device as it is published."""

    item: Object
    """Its slice."""
    device: Object

    @property
    def name(self) -> str:
        """Its name in the pool."""
        return str(self.device["name"])

    @property
    def node(self) -> str:
        """The node that it is on; empty: it is on several."""
        return node_of(self.item) or str(self.device.get("nodeName") or "")

    @property
    def driver(self) -> str:
        """Whose it is."""
        return str(self.item["spec"]["driver"])

    @property
    def pool(self) -> str:
        """The pool that it is in."""
        return str(self.item["spec"]["pool"]["name"])

    @property
    def where(self) -> str:
        """Which device it is, for people."""
        return f"{self.name} of {self.node or f'pool {self.pool}'}"

    @property
    def attributes(self) -> Mapping[str, Mapping[str, Any]]:
        """Its attributes as they are published: each with its type and value."""
        return self.device.get("attributes") or {}

    @property
    def capacity(self) -> Mapping[str, Mapping[str, Any]]:
        """Its capacities as they are published."""
        return self.device.get("capacity") or {}


@dataclass(frozen=True, slots=True)
class Wrong:
    """One thing that is not as it must be."""

    node: str
    """Empty: it is of no one node."""
    head: str
    """In one line, for strangers."""
    observed: str


class Published(EvidenceBase):
    """The driver's ResourceSlices as they were before the run changed anything.

    Of the nodes that the run is to use (``--dra-node-selector``), if it is not to use all.
    """

    def __init__(self, run: Run) -> None:
        super().__init__("published")
        self._run = run
        self.nodes: Observed[Mapping[str, Object]] = Observed("the nodes")
        """By name."""
        self.driver_pods: Observed[Mapping[str, Object]] = Observed("the driver's pods")
        """By the node that each is on."""
        self.unscheduled: tuple[Object, ...] = ()
        """Pods of the driver that no node has."""
        self.classes: Observed[Mapping[str, Object]] = Observed("the DeviceClasses")
        """By name."""
        self.policies: Observed[Sequence[Object]] = Observed("the admission policies")
        """Those that are bound to deny."""
        self._look_at_nodes()
        self._look_at_driver()
        self._look_at_classes_and_policies()
        subject = run.subject
        self.profile = subject.profile
        self.driver = subject.driver
        self._settle()
        self.pools = self._pools()
        """The driver's, with what is left of older generations."""
        self.slices = [item for pool in self.pools for item in pool.slices]
        """Those of each pool's newest generation."""
        self.gpus = devices(self.slices, subject.driver, subject.profile)
        """Whole GPUs, as far as the driver's profile tells them from others."""

    @cached_property
    def devices(self) -> tuple[Entry, ...]:
        """Every device of the driver."""
        return tuple(
            Entry(item, device)
            for item in self.slices
            for device in item["spec"].get("devices") or []
        )

    @property
    def all_devices(self) -> Iterator[Entry]:
        """The devices of every driver, this one's among them."""
        every = [*self._of_run()]
        for driver in driver_names(every):
            for item in current(every, driver):
                for device in item["spec"].get("devices") or []:
                    yield Entry(item, device)

    def may(self, user: str, verb: str, group: str, resource: str) -> bool:
        """Ask the API server whether somebody has a right in all namespaces; nothing is stored.

        Raises:
            UnmetError: that may not be asked.
        """
        _, _, namespace, _ = user.split(":")
        groups = [*ACCOUNT_GROUPS, f"{ACCOUNT_GROUPS[0]}:{namespace}"]
        asked = {"verb": verb, "group": group, "resource": resource}
        spec = {"user": user, "groups": groups, "resourceAttributes": asked}
        try:
            return bool(self._run.kube.review(ACCESS_REVIEW_OF_OTHERS, spec).get("allowed"))
        except ApiError as error:
            if error.status != 403:
                raise
            raise UnmetError(
                f"create {ACCESS_REVIEW_OF_OTHERS.plural}", SkipKind.NOT_ALLOWED
            ) from error

    @property
    def claims(self) -> list[Object]:
        """The claims of the whole cluster.

        Raises:
            UnmetError: they may not be seen.
        """
        if not self._run.observer.observes(CLAIM):
            reason = "watch resourceclaims of the whole cluster"
            raise UnmetError(reason, SkipKind.NOT_ALLOWED)
        return self._run.observer.objects(CLAIM)

    def own(self, name: str) -> str:
        """The name of an attribute or capacity without the driver's domain, if it has that."""
        return name.removeprefix(f"{self.driver}/")

    def pieces(self) -> list[Observed[Any]]:
        """What is not published, but there."""
        return [self.nodes, self.driver_pods]

    def nodes_with_devices(self) -> set[str]:
        """The nodes that at least one device is published of."""
        return {node_of(item) for item in self.slices if item["spec"].get("devices")}

    def _nodes_now(self) -> set[str]:
        return {node_of(item) for item in self._current() if item["spec"].get("devices")}

    def nodes_without_driver(self) -> set[str]:
        """The nodes of which devices are published, and on which no pod of the driver is.

        The kubelet has the time that it takes to withdraw what is there of a driver that is away.
        """

        def left() -> set[str]:
            there = self.nodes_with_devices() & self._nodes_now() & self.nodes.get().keys()
            return there - self.driver_pods.get().keys()

        if left():
            budget = self._run.budgets.withdraw
            self._wait("the kubelet to withdraw slices", lambda: not left() or None, budget)
            self._look_at_driver()  # which may be back by now
        return left()

    def seconds_since(self, when: str | None) -> float:
        """How long ago something was by the API server's clock; 0 where that is not known."""
        if not when:
            return 0.0
        return self._run.kube.server_time() - datetime.fromisoformat(when).timestamp()

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
        lines = self._run.driver_lines(nodes={*nodes} - {""})
        self.driver_log = telling(lines, about=["ResourceSlice"])
        self.fail(head, expected=expected, observed=observed, blame=blame)

    def none_of(self, wrong: Iterable[Wrong], expected: str, blame: Blame = Blame.DRIVER) -> None:
        """End a check if anything is wrong: with the first few, and how many there are."""
        found = iter(wrong)
        shown = list(islice(found, SHOWN))
        if not shown:
            return
        number = len(shown) + sum(1 for _ in found)  # hundreds of thousands are only counted
        lines = [one.observed for one in shown]
        self.fail_of(
            {one.node for one in shown},
            shown[0].head + (f", and {number - 1} more" if number > 1 else ""),
            expected=expected,
            observed="\n".join([*lines, *([f"{number} in all"] if number > SHOWN else [])]),
            blame=blame,
        )

    def _pools(self) -> list[Pool]:
        return pools(self._of_run(), self.driver)

    def _current(self) -> list[Object]:
        return current(self._of_run(), self._run.subject.driver)

    def _of_run(self) -> Iterator[Object]:
        """The slices of all drivers, of the nodes that the run is to use."""
        for item in self._run.observer.objects(SLICE):
            if not self._run.options.node_selector or node_of(item) in self.nodes.get():
                yield item

    def _look_at_nodes(self) -> None:
        listed = self._try(NODE, self.nodes, lambda: self._run.seen(NODE))
        if listed is not None:
            wanted = self._run.options.node_selector
            self.nodes.found({name_of(n): n for n in listed if has_labels(n, wanted)})

    def _look_at_driver(self) -> None:
        profile = self._run.subject.profile
        if profile.plugin_selector == NO_POD:
            reason = f"profile {profile.name} does not say which pods are the driver's"
            self.driver_pods.missing(UnsupportedError(reason))
            return
        listed = self._try(POD, self.driver_pods, self._run.driver_pods)
        if listed is None:
            return
        nodes = self.nodes.known()
        staying = [pod for pod in listed if not pod["metadata"].get("deletionTimestamp")]
        self.unscheduled = tuple(pod for pod in staying if not pod["spec"].get("nodeName"))
        pods = {str(pod["spec"]["nodeName"]): pod for pod in staying if pod["spec"].get("nodeName")}
        if not pods:
            reason = f"no pod has the labels {profile.plugin_selector} (profile {profile.name})"
            self.driver_pods.missing(UnmetError(reason))
            return
        self.driver_pods.found({n: pod for n, pod in pods.items() if nodes is None or n in nodes})

    def _look_at_classes_and_policies(self) -> None:
        classes = self._list(DEVICE_CLASS, self.classes)
        if classes is not None:
            self.classes.found({name_of(one): one for one in classes})
        policies = self._list(POLICY, self.policies)
        bindings = self._list(POLICY_BINDING, self.policies)
        if policies is not None and bindings is not None:
            bound = {
                one["spec"]["policyName"]
                for one in bindings
                if "Deny" in (one["spec"].get("validationActions") or ())
            }
            self.policies.found([one for one in policies if name_of(one) in bound])

    def _list(self, kind: Kind, into: Observed[Any]) -> list[Object] | None:
        return self._try(kind, into, lambda: self._run.kube.list(kind)[0])

    def _try(
        self, kind: Kind, into: Observed[Any], listed: Callable[[], list[Object]]
    ) -> list[Object] | None:
        """Objects of a kind; None where they cannot be had, and then that is said."""
        try:
            return listed()
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
        """Give a driver that has just come up the time to publish, and to be ready."""
        # Pods of others may be listed, but not watched: so they are looked at again.
        deadline = time.monotonic() + self._run.budgets.observe.seconds
        while not self._all_ready() and (left := deadline - time.monotonic()) > 0:
            self._wait("ready pods", lambda: None, Budget("look", min(LOOK_SECONDS, left)))
            self._look_at_driver()
        wanted = set(self.driver_pods.known() or ())

        def settled() -> bool:
            whole = not any(pool.problem for pool in self._pools())
            return whole and ("" in (have := self._nodes_now()) or wanted <= have)

        self._wait("whole pools of every node", settled, self._run.budgets.observe)

    def _all_ready(self) -> bool:
        pods = [*(self.driver_pods.known() or {}).values(), *self.unscheduled]
        return all(is_ready(pod) for pod in pods)

    def _wait(self, what: str, ready: Callable[[], bool | None], budget: Budget) -> None:
        """Wait for something; that it does not come, a check says."""
        with suppress(WaitTimeoutError):
            self._run.observer.wait(what, ready, budget, lambda: "")


def node_of(item: Object) -> str:
    """The node that a slice's devices are on; empty: they are on several."""
    return str(item["spec"].get("nodeName") or "")
