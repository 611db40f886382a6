"""The rights that a run says it takes are those that it takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cluster.kinds import Rule
from harness.session.permissions import rights, rules
from tests.harness.fake_api import asked_right
from tests.suite.fake_cluster import FakeCluster
from tests.suite.test_shared_claim import run

IN_TROUBLE = {"get resourceclaims", "get pods", "get namespaces"}
"""Asked for only when an object does not go: then the clean-up looks at it."""
LATER = {"update leases"}
"""Only of a run that takes longer than its Lease may be left alone."""
FOR_EVERYBODY = {"create selfsubjectaccessreviews", "create selfsubjectreviews"}
"""What Kubernetes lets every user do (system:basic-user)."""
TO_ASK = {"create resourceslices", "create deviceclasses"}
"""Dry runs that tell of feature gates, where the user has the right anyway."""


OF_THE_DRIVER = {
    "create subjectaccessreviews",
    "list validatingadmissionpolicies",
    "list validatingadmissionpolicybindings",
}
"""What the driver's account may do, where its pods are known."""
ONLY_IN_TROUBLE = {"list pods", "get pods/log"}
"""Of the driver, when there is something to explain."""
INSTEAD = {"list resourceclaims", "watch resourceclaims"}
"""In the namespace, where the claims of the whole cluster may not be watched."""
TEAM = "team"
CONFINED = ("--dra-namespace", TEAM, "--dra-allow", "none")


def used(requests: list[tuple[str, str, dict[str, str]]], namespace: str = "") -> set[str]:
    """The rights that a run used, as the plan says them; elsewhere than in its namespace if any."""
    rights = (asked_right(*request) for request in requests)
    return {
        f"{verb} {resource}" + (f" in namespace {where}" if where and where == namespace else "")
        for verb, resource, where in filter(None, rights)
    }


def planned(of: tuple[Rule, ...], namespace: str = "") -> set[str]:
    """The rights that a run asks for, as the plan says them."""
    return {str(right) for right in rights(of, namespace)}


def in_namespace() -> FakeCluster:
    """A cluster with a namespace for the run to keep to."""
    cluster = FakeCluster()
    cluster.api.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEAM}})
    return cluster


def test_a_run_uses_the_rights_that_it_asks_for_and_no_others(tmp_path: Path) -> None:
    """Least privilege is a promise that is kept in both directions."""
    cluster = FakeCluster()
    ended = run(cluster, tmp_path)
    assert ended.code == 0, ended.output
    asked_for = planned(rules(creates=True, namespace=""))
    assert used(cluster.api.requests) - FOR_EVERYBODY - TO_ASK <= asked_for
    assert asked_for - used(cluster.api.requests) <= IN_TROUBLE | LATER | OF_THE_DRIVER


def test_a_run_in_a_namespace_uses_the_rights_that_it_asks_for(tmp_path: Path) -> None:
    """Objects are made, changed and deleted in that namespace only, and itself it stays."""
    cluster = in_namespace()
    ended = run(cluster, tmp_path, *CONFINED)
    assert ended.code == 0, ended.output
    asked_for = planned(rules(creates=True, namespace=TEAM), TEAM)
    requests = used(cluster.api.requests, TEAM)
    assert requests - FOR_EVERYBODY - TO_ASK <= asked_for
    unused = {right.removesuffix(f" in namespace {TEAM}") for right in asked_for - requests}
    assert unused <= IN_TROUBLE | ONLY_IN_TROUBLE | INSTEAD | OF_THE_DRIVER
    assert cluster.left() == [f"Namespace/{TEAM}"]


OPTIONAL = {
    (right.verb, right.rule.resource)
    for right in rights(rules(creates=True, namespace=TEAM), TEAM)
    if not right.rule.needed and not right.namespace
}
"""What a run in a namespace may see of the rest of the cluster."""


def test_a_run_goes_on_without_what_is_optional(tmp_path: Path) -> None:
    """What it has to know of the whole cluster it then asks of its namespace, or goes without."""
    cluster = in_namespace()
    cluster.api.denied, cluster.api.confined_to = set(OPTIONAL), TEAM
    ended = run(cluster, tmp_path, *CONFINED)
    assert (ended.code, ended.red()) == (0, {}), ended.output
    (case,) = [entry for entry in ended.results["results"] if entry["id"] == "PF-09"]
    assert case["advice"]
    assert {("list", "nodes"), ("watch", "nodes"), ("watch", "resourceclaims")} <= OPTIONAL
    assert all(f"{verb} {resource}" in case["body"] for verb, resource in OPTIONAL)
    assert cluster.left() == [f"Namespace/{TEAM}"]


def test_no_right_is_more_than_is_needed() -> None:
    """No wildcard, no secrets, no command in a container."""
    for namespace in ("", "mine"):
        for right in rights(rules(creates=True, namespace=namespace), namespace):
            assert "*" not in str(right)
            assert right.rule.resource not in ("secrets", "pods/exec", "pods/attach", "nodes/proxy")
            assert right.verb in ("create", "get", "list", "watch", "update", "delete")
            assert right.verb != "update" or right.rule.resource == "leases"


@pytest.mark.parametrize(
    ("denied", "outcome", "words"),
    [
        (("create", "pods"), 10, "PF-09 tester may not create pods"),
        (("get", "pods/log"), 10, "PF-09 tester may not get pods/log"),
        (("watch", "resourceslices"), 10, "PF-09 tester may not watch resourceslices"),
    ],
)
def test_a_missing_right_ends_the_run_before_anything_is_created(
    denied: tuple[str, str], outcome: int, words: str, tmp_path: Path
) -> None:
    """It is named, and the manifest that gives it lies beside the report."""
    cluster = FakeCluster()
    cluster.api.denied.add(denied)
    ended = run(cluster, tmp_path)
    assert (ended.code, ended.red()) == (outcome, {"PF-09": "error"}), ended.output
    assert ended.first_lines() == [words]
    assert cluster.api.asked_to_create() == []
    (manifest,) = tmp_path.glob("reports/out/*/rbac.yaml")
    assert f"kubectl apply -f {manifest}" in ended.output
    assert 'name: "tester"' in manifest.read_text()
