"""The nightly run inside a cluster: manifests, and the rights that they give."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from building.artifacts import Artifact
from building.binaries import KUBECTL
from building.tree import ROOT
from delivery import deploy
from embedded.cluster import Cluster
from suites.__main__ import checks

OVERLAYS = [*sorted((ROOT / "deploy" / "overlays").iterdir()), ROOT / "deploy" / "example"]
NAMESPACE = ROOT / "deploy" / "base" / "namespace.yaml"
NEVER = {"secrets", "pods/exec", "pods/attach", "serviceaccounts/token"}

Kubectl = Callable[..., subprocess.CompletedProcess[str]]
Object = Mapping[str, Any]


def call(binary: Path, *words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Call kubectl; the test fails where it does."""
    done = subprocess.run(
        [binary, *words], env={"HOME": "/nonexistent", **variables}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def kubectl(obtained: Callable[[Artifact], Path]) -> Path:
    """The program."""
    return obtained(KUBECTL) / "kubectl"


@pytest.fixture
def objects(kubectl: Path, overlay: Path) -> list[Object]:
    """What kustomize makes of an overlay."""
    return list(yaml.safe_load_all(call(kubectl, "kustomize", overlay).stdout))


def only(objects: list[Object], kind: str) -> Any:
    """The one object of a kind."""
    (found,) = [one for one in objects if one["kind"] == kind]
    return found


@pytest.mark.parametrize("folder", deploy.folders(), ids=lambda path: path.name)
def test_the_rights_are_those_of_the_plan(folder: Path) -> None:
    """`python -m suites` writes them; whoever changes what a check takes calls it."""
    assert (folder / deploy.RBAC).read_text() == deploy.rbac(checks(), folder)


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
class TestOverlay:
    """Each of them, as `kubectl kustomize` builds it."""

    def test_no_right_is_a_wildcard(self, objects: list[Object]) -> None:
        """Nor does one lead to other people's secrets, or into other people's containers."""
        roles = [one for one in objects if one["kind"] in ("Role", "ClusterRole")]
        assert roles
        for rule in (rule for role in roles for rule in role["rules"]):
            assert not any("*" in word for words in rule.values() for word in words)
            assert NEVER.isdisjoint(rule["resources"])

    def test_the_account_gets_each_role(self, objects: list[Object]) -> None:
        """Of its own namespace, in which everything else is, too."""
        account = only(objects, "ServiceAccount")["metadata"]
        for one in objects:
            if one["kind"] in ("RoleBinding", "ClusterRoleBinding"):
                assert one["subjects"] == [
                    {
                        "kind": "ServiceAccount",
                        "name": account["name"],
                        "namespace": account["namespace"],
                    }
                ]
            elif one["kind"] not in ("Namespace", "ClusterRole"):
                assert one["metadata"]["namespace"] == account["namespace"]

    def test_every_variable_is_an_option(self, objects: list[Object]) -> None:
        """A name that is misspelled would be ignored in silence."""
        (options,) = [
            one
            for one in objects
            if one["kind"] == "ConfigMap" and one["metadata"]["name"] == "dra-conformance"
        ]
        assert options["data"].keys() <= deploy.VARIABLES

    def test_the_pod_needs_no_privilege(self, objects: list[Object]) -> None:
        """As the restricted standard wants it, with a root that cannot be written."""
        pod = only(objects, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@pytest.mark.parametrize("overlay", [ROOT / "deploy/overlays/openshift"])
def test_on_openshift_nothing_has_a_fixed_user(objects: list[Object]) -> None:
    """The namespace's range gives it."""
    pod = only(objects, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert only(objects, "ConfigMap")["data"]["DRA_RUN_AS"] == "none"


@pytest.mark.parametrize("overlay", [ROOT / "deploy/overlays/tainted"])
def test_a_taint_is_tolerated(objects: list[Object]) -> None:
    """By the run itself."""
    pod = only(objects, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists"}]


@pytest.fixture(scope="module")
def server(kubectl: Path, cluster: Cluster) -> Iterator[Kubectl]:
    """Kubectl against a cluster that has the namespace."""

    def called(*words: str | Path) -> subprocess.CompletedProcess[str]:
        return call(kubectl, *words, KUBECONFIG=str(cluster.kubeconfig))

    called("apply", "-f", NAMESPACE)
    yield called
    called("delete", "-f", NAMESPACE)


@pytest.mark.embedded
@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_an_api_server_takes_all_without_a_warning(server: Kubectl, overlay: Path) -> None:
    """Pod Security would warn of a pod that it refuses later."""
    done = server("apply", "--dry-run=server", "--validate=strict", "-k", overlay)
    assert "cronjob.batch/dra-conformance created (server dry run)" in done.stdout
    assert "warning" not in done.stderr.lower()
