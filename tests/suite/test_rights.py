"""The rights that a run says it takes are those that it takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.permissions import Rule, rights, rules
from tests.suite.fake_cluster import FakeCluster
from tests.suite.test_shared_claim import run

VERBS = {"POST": "create", "PUT": "update", "DELETE": "delete"}
IN_TROUBLE = {"get resourceclaims", "get pods", "get namespaces"}
"""Asked for only when an object does not go: then the clean-up looks at it."""
LATER = {"update leases"}
"""Only of a run that takes longer than its Lease may be left alone."""
FOR_EVERYBODY = {"create selfsubjectaccessreviews", "create selfsubjectreviews"}
"""What Kubernetes lets every user do (system:basic-user)."""
TO_ASK = {"create resourceslices", "create deviceclasses"}
"""Dry runs that tell of feature gates, where the user has the right anyway."""


def used(requests: list[tuple[str, str, dict[str, str]]]) -> set[str]:
    """What RBAC calls the requests that a run made of objects."""
    found = set()
    for method, path, query in requests:
        parts = path.strip("/").split("/")
        rest = parts[2:] if parts[0] == "api" else parts[3:]
        if not rest:
            continue  # discovery
        if rest[0] == "namespaces" and len(rest) > 2:
            rest = rest[2:]
        resource = "/".join(filter(None, (rest[0], rest[2] if len(rest) > 2 else "")))
        verb = "watch" if query.get("watch") else "get" if len(rest) > 1 else "list"
        found.add(f"{VERBS.get(method, verb)} {resource}")
    return found


def told(of: tuple[Rule, ...]) -> set[str]:
    """The same, as the plan says it."""
    return {f"{right.verb} {right.rule.resource}" for right in rights(of, "")}


def test_a_run_uses_the_rights_that_it_asks_for_and_no_others(tmp_path: Path) -> None:
    """Least privilege is a promise that is kept in both directions."""
    cluster = FakeCluster()
    ended = run(cluster, tmp_path)
    assert ended.code == 0, ended.output
    planned = told(rules(creates=True, namespace=""))
    assert used(cluster.api.requests) - FOR_EVERYBODY - TO_ASK <= planned
    assert planned - used(cluster.api.requests) <= IN_TROUBLE | LATER


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
