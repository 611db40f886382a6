"""The driver's pods, their rights, and who else offers the same devices; all of it only read."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator

from harness.checks.check import check
from harness.cluster.inventory import quantity
from harness.cluster.kinds import Object, name_of, namespace_of
from harness.scenario.pods import describe, has_started, is_ready
from harness.scenario.published import Published, Wrong
from harness.verdict.finding import Blame, UnsupportedError

WRITES = ("create", "update", "patch", "delete")
TOO_MUCH = (
    ("*", "*", "*", "may do everything"),
    ("get", "", "secrets", "may read every Secret"),
    ("create", "", "pods", "may create pods in every namespace"),
    ("delete", "", "nodes", "may delete nodes"),
    ("bind", "rbac.authorization.k8s.io", "clusterroles", "may give itself every right"),
    ("impersonate", "", "users", "may act as anybody"),
)
"""Verb, API group and resource of rights that preparing devices never takes, in words."""
_ACCOUNT = re.compile(r"system:serviceaccount:[-.:\w]+")


@check(id="DISC-004", level=0, source="DISC-4")
def test_the_pods_of_the_driver_are_ready(published: Published) -> None:
    """On every node that the driver's DaemonSet selects, its pod MUST be ready."""
    container = published.profile.plugin_container
    pods = [*published.driver_pods.get().values(), *published.unscheduled]
    bad = [pod for pod in pods if not is_ready(pod)]
    wrong = []
    for pod in bad:
        where, name = pod["spec"].get("nodeName") or "", f"{namespace_of(pod)}/{name_of(pod)}"
        on = f"on {where}" if where else "that no node has"
        text = f"{name}: {describe(pod, container)}"
        wrong.append(Wrong(where, f"the driver's pod {on} is not ready", text))
    # One that never came up, because its image is missing say, is nothing that the driver did.
    started = any(has_started(pod, container) for pod in bad)
    blame = Blame.DRIVER if started else Blame.CLUSTER
    published.none_of(wrong, "each pod of the driver ready", blame)


@check(id="DISC-011", level=0, source="DISC-11")
def test_one_version_of_the_driver_runs(published: Published) -> None:
    """The driver SHOULD run from the same image on all nodes, or what is said of it is said of no
    one version.
    """
    images: dict[str, list[str]] = defaultdict(list)
    for node, pod in published.driver_pods.get().items():
        for container in pod["spec"]["containers"]:
            if container["name"] == published.profile.plugin_container:
                images[container["image"]].append(node)
    if len(images) < 2:
        return
    rarest = min(images, key=lambda image: len(images[image]))
    published.fail_of(
        images[rarest][:1],
        f"{len(images)} images of the driver run, such as {rarest} on {images[rarest][0]}",
        expected="one image",
        observed="\n".join(f"{image} on {len(nodes)} nodes" for image, nodes in images.items()),
    )


@check(id="DISC-012", level=0, source="DISC-12")
def test_no_device_plugin_offers_the_same_gpus(published: Published) -> None:
    """No device plugin MUST offer what the driver publishes of a node: neither knows what the other
    gave away.
    """
    kind, _, vendor = published.driver.partition(".")
    extended = {
        str(one["spec"].get("extendedResourceName"))
        for name, one in published.classes.get().items()
        if name == published.profile.device_class
    }

    def same(resource: str) -> bool:
        domain, _, name = resource.partition("/")
        of_driver = domain == published.driver or (domain == vendor and kind in name)
        return of_driver or resource in extended

    have = published.nodes_with_devices()
    wrong = []
    for name, node in published.nodes.get().items():
        offered = (node.get("status") or {}).get("allocatable") or {}
        for resource, amount in offered.items() if name in have else ():
            if same(resource) and quantity(amount) > 0:
                head = f"a device plugin offers {amount} {resource} on {name}, beside the driver"
                wrong.append(Wrong(name, head, f"{name}: allocatable {resource} is {amount}"))
    published.none_of(wrong, "either a device plugin or DRA on a node", Blame.CLUSTER)


def _accounts(published: Published) -> Iterator[tuple[str, str, str]]:
    """Namespace, name and a node of each service account that the driver's pods have."""
    seen = set()
    for node, pod in published.driver_pods.get().items():
        account = (str(namespace_of(pod)), pod["spec"].get("serviceAccountName") or "default")
        if account not in seen:
            seen.add(account)
            yield (*account, node)


@check(id="DISC-013", level=0, source="DISC-13")
def test_the_driver_may_write_slices_of_its_node_only(published: Published) -> None:
    """An admission policy SHOULD keep the driver's account from writing ResourceSlices of another
    node than its pod's: rights alone cannot.
    """
    wrong, may_write = [], False
    for namespace, account, node in _accounts(published):
        user = f"system:serviceaccount:{namespace}:{account}"
        verbs = [
            verb
            for verb in WRITES
            if published.may(user, verb, "resource.k8s.io", "resourceslices")
        ]
        may_write = may_write or bool(verbs)
        policies = published.policies.get()
        if verbs and not any(_confines(policy, user) for policy in policies):
            head = "no policy keeps the driver's account from writing slices of other nodes"
            names = ", ".join(map(_described, filter(_is_of_slices, policies)))
            text = f"{user} may {', '.join(verbs)} all; policies for slices: {names or 'none'}"
            wrong.append(Wrong(node, head, text))
    published.none_of(wrong, "a ValidatingAdmissionPolicy, bound to deny, that names the account")
    if not may_write:
        raise UnsupportedError("the driver's account may write no slices: something else publishes")


def _is_of_slices(policy: Object) -> bool:
    rules = (policy["spec"].get("matchConstraints") or {}).get("resourceRules") or []
    return any({"resourceslices", "*"} & {*rule.get("resources", ())} for rule in rules)


def _described(policy: Object) -> str:
    """A policy's name, and the accounts that it names."""
    accounts = _ACCOUNT.findall(json.dumps(policy["spec"]))
    return f"{name_of(policy)} (names {', '.join(sorted({*accounts})) or 'no account'})"


def _confines(policy: Object, user: str) -> bool:
    """Whether a policy is one for slices and this account, as far as its text tells."""
    text = json.dumps(policy["spec"])
    whole = re.escape(user) + r"(?![-.\w])"
    named = re.search(whole, text) is not None or "system:serviceaccount:" not in text
    return _is_of_slices(policy) and named and "node" in text.lower()


@check(id="SEC-007", level=0, source="SEC-7")
def test_the_driver_has_no_rights_that_devices_never_take(published: Published) -> None:
    """The driver's account on the nodes SHOULD NOT have rights to read all Secrets, create pods
    anywhere, delete nodes, or give itself others: who breaks into one node has them.
    """
    wrong = []
    for namespace, account, node in _accounts(published):
        user = f"system:serviceaccount:{namespace}:{account}"
        for verb, group, resource, words in TOO_MUCH:
            if published.may(user, verb, group, resource):
                text = f"{user} {words}"
                wrong.append(Wrong(node, f"the driver's {namespace}/{account} {words}", text))
    published.none_of(wrong, "no such right of the account of the driver's pods on the nodes")
