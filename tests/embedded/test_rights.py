"""With exactly the rights that ``--dra-plan`` lists a run passes, and none of them is spare."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import config, dynamic

from embedded.drivers.nvidia import NVIDIA
from harness.cluster.kube import Kube, UnreachableError
from harness.cluster.kubeconfig import from_kubeconfig
from harness.session.permissions import ROLE, Right, manifest, missing, rights, rules
from harness.verdict.finding import SkipKind
from suites.__main__ import checks
from tests.drivers.cluster import DriverCluster, running
from tests.forms import form_names
from tests.known_findings import surprises

pytestmark = pytest.mark.embedded

ROOT = Path(__file__).parents[2]
ACCOUNT = "checker"
SCENARIOS = [
    one for check in checks() for form in form_names(check) if (one := check.scenario_of(form))
]
RULES = rules(
    creates=True,
    namespace="",
    used=[rule for one in SCENARIOS for use in one.uses for rule in use.rules],
)
WITHOUT_SCENARIO = [
    check.id for check in checks() if not any(map(check.scenario_of, form_names(check)))
]
TAKES_EFFECT_SECONDS = 30
"""The API server learns of changed roles as everybody does: by a watch."""


def using_every_verb() -> list[str]:
    """Choose checks whose scenarios together use each verb that takes rights, and a plain one.

    The engine refuses a verb that a scenario does not name, so a right that one of them has is a
    right that all have who use that verb.
    """
    uses = {
        check.id: {
            use
            for form in form_names(check)
            if (one := check.scenario_of(form))
            for use in one.uses
        }
        for check in checks()
    }
    chosen, left = ["ALLOC-003"], set().union(*uses.values())
    while left:
        chosen.append(max(uses, key=lambda name: len(uses[name] & left)))
        left -= uses[chosen[-1]]
    return chosen


class Rbac:
    """The cluster's roles, by its administrator."""

    def __init__(self, cluster: DriverCluster) -> None:
        self._client = dynamic.DynamicClient(config.new_client_from_config(str(cluster.kubeconfig)))

    def kind(self, api_version: str, kind: str) -> Any:
        """A resource."""
        return self._client.resources.get(api_version=api_version, kind=kind)

    def apply(self, text: str) -> None:
        """Create or replace the objects of a manifest."""
        for obj in yaml.safe_load_all(text):
            kind = self.kind(obj["apiVersion"], obj["kind"])
            kind.server_side_apply(
                body=obj, name=obj["metadata"]["name"], field_manager="test", force_conflicts=True
            )


@pytest.fixture(scope="module")
def cluster() -> Iterator[DriverCluster]:
    """One of two nodes: what takes turns on a single one happens on both at the same time."""
    with running("nvidia", nodes=2) as up:
        yield up


@pytest.fixture(scope="module")
def rbac(cluster: DriverCluster) -> Iterator[Rbac]:
    """A service account with the rights of the plan."""
    rbac = Rbac(cluster)
    accounts = rbac.kind("v1", "ServiceAccount")
    accounts.create(body={"metadata": {"name": ACCOUNT}}, namespace="default")
    rbac.apply(manifest(RULES, "", f"system:serviceaccount:default:{ACCOUNT}"))
    yield rbac
    accounts.delete(name=ACCOUNT, namespace="default")
    for kind in ("ClusterRole", "ClusterRoleBinding"):
        rbac.kind("rbac.authorization.k8s.io/v1", kind).delete(name=ROLE)


@pytest.fixture(scope="module")
def kubeconfig(
    cluster: DriverCluster, rbac: Rbac, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The account's kubeconfig."""
    document = yaml.safe_load(cluster.kubeconfig.read_text())
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = (
        rbac.kind("v1", "ServiceAccount")
        .subresources["token"]
        .create(body=request, name=ACCOUNT, namespace="default")
        .status.token
    )
    document["users"][0]["user"] = {"token": token}
    path = tmp_path_factory.mktemp("rights") / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture(scope="module")
def kube(kubeconfig: Path) -> Kube:
    """The account's client."""
    kube = from_kubeconfig([kubeconfig], "", "test")
    await_lacking(kube, [])
    return kube


def await_lacking(kube: Kube, expected: list[Right]) -> None:
    """Wait until exactly these rights are missing."""
    deadline = time.monotonic() + TAKES_EFFECT_SECONDS
    lacking = missing(kube, rights(RULES, ""))
    while lacking != expected and time.monotonic() < deadline:
        lacking = missing(kube, rights(RULES, ""))
    assert lacking == expected


def test_a_run_passes_with_the_rights_of_the_plan(
    cluster: DriverCluster, kubeconfig: Path, kube: Kube, tmp_path: Path
) -> None:
    """Whatever a right is for is done and judged, and nothing was left for lack of one."""
    chosen = [*WITHOUT_SCENARIO, *using_every_verb()]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-m", "dra", "-q"),
            *("--dra-allow", "privileged,exhaust,disrupt", "--dra-check", ",".join(chosen)),
            *("--dra-image", cluster.workload_image, f"--dra-output={tmp_path}"),
        ],
        cwd=ROOT,
        env={**os.environ, "KUBECONFIG": str(kubeconfig)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    (path,) = tmp_path.glob("*/results.json")
    results = json.loads(path.read_text())
    assert surprises(results, NVIDIA.version) == []
    assert results["leftovers"] == []
    assert {entry["id"] for entry in results["results"]} >= {*chosen}
    left_out = {e["skip"] for e in results["results"] if e["skip"]}
    assert left_out <= {SkipKind.UNSUPPORTED, SkipKind.BLOCKED}
    assert "forbidden" not in path.read_text()
    assert "SIMULATED GPUs" in results["place"]


def test_the_authority_of_the_kubeconfig_is_honoured(kubeconfig: Path, tmp_path: Path) -> None:
    """A server that another authority vouches for is no server."""
    document = yaml.safe_load(kubeconfig.read_text())
    del document["clusters"][0]["cluster"]["certificate-authority-data"]
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(UnreachableError, match="certificate verify failed"):
        from_kubeconfig([path], "", "test").document("/version")


@pytest.mark.parametrize("right", list(rights(RULES, "")), ids=str)
def test_any_right_that_is_missing_is_named(rbac: Rbac, kube: Kube, right: Right) -> None:
    """By preflight's own question, whatever else the account may do."""
    (role, _) = yaml.safe_load_all(manifest(RULES, "", "somebody"))
    for rule in role["rules"]:
        if (rule["apiGroups"], rule["resources"]) == ([right.rule.group], [right.rule.resource]):
            rule["verbs"] = [verb for verb in rule["verbs"] if verb != right.verb]
    role["rules"] = [rule for rule in role["rules"] if rule["verbs"]]
    rbac.apply(yaml.safe_dump(role))
    await_lacking(kube, [right])
