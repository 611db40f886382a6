"""Manifests: a value never becomes structure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.cluster.kinds import Object
from harness.cluster.render import Manifests, RenderError, admissible, merge_patch, tolerations_of

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ name }}}\ndata: {{ data }}\n"


def manifests(folder: Path, text: str = CONFIG) -> Manifests:
    """One template, ``it.yaml.j2``."""
    (folder / "it.yaml.j2").write_text(text)
    return Manifests(folder)


def test_values_are_written_as_data(tmp_path: Path) -> None:
    """Newlines, quotes, and words that YAML takes for something else."""
    name = 'c\nlabels: {"a": true}'
    values = {"name": name, "data": {"yes": "no", "n": "1"}}
    obj = manifests(tmp_path).one("it.yaml.j2", values)
    assert obj["metadata"] == {"name": name}
    assert obj["data"] == {"yes": "no", "n": "1"}


def test_a_missing_value_is_named(tmp_path: Path) -> None:
    """Nothing is rendered with holes."""
    with pytest.raises(RenderError, match=r"it\.yaml\.j2: 'data' is undefined"):
        manifests(tmp_path).one("it.yaml.j2", {"name": "c"})


@pytest.mark.parametrize("text", ["kind: Secret\napiVersion: v1\n", "just text", "a: [", "{{ a"])
def test_what_is_no_object_is_refused(text: str, tmp_path: Path) -> None:
    """And the template is named."""
    with pytest.raises(RenderError, match=r"it\.yaml\.j2: "):
        manifests(tmp_path, text).one("it.yaml.j2", {})


@pytest.mark.parametrize(
    ("target", "patch", "merged"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patches_are_those_of_the_rfc(target: object, patch: object, merged: object) -> None:
    """Examples of RFC 7396, appendix A."""
    before = yaml.safe_dump(target)
    assert merge_patch(target, patch) == merged
    assert yaml.safe_dump(target) == before


# Admissible pods


def pod_of(**spec: Any) -> Object:
    """A pod as a template makes it."""
    return {"kind": "Pod", "metadata": {"name": "p"}, "spec": spec}


def node_with(*taints: dict[str, str]) -> Object:
    """A node."""
    return {"spec": {"taints": list(taints)}}


GPU_TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
GPU_TOLERATION = {**GPU_TAINT, "operator": "Equal"}


def admitted(pod: Object, **changes: Any) -> Object:
    """A pod with what lets it in."""
    given: dict[str, Any] = {"tolerations": (), "node_selector": {}, "image_pull_secret": ""}
    return admissible(pod, **{**given, **changes})


def test_taints_that_reserve_a_node_are_tolerated() -> None:
    """Not those that say that it cannot be used just now."""
    nodes = [
        node_with(GPU_TAINT, {"key": "team", "effect": "NoExecute"}),
        node_with(
            {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"},
            {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"},
            {"key": "ToBeDeletedByClusterAutoscaler", "value": "1", "effect": "NoSchedule"},
            {"key": "busy", "effect": "PreferNoSchedule"},
        ),
        {"spec": {}},
    ]
    team = {"key": "team", "operator": "Exists", "effect": "NoExecute"}
    assert tolerations_of(nodes) == [GPU_TOLERATION, team]


def test_tolerations_are_added_to_those_of_the_template() -> None:
    """Each once; a pod that tolerates everything needs no more."""
    own = {"key": "own", "operator": "Exists"}
    pod = admitted(pod_of(tolerations=[own]), tolerations=[GPU_TOLERATION, own, GPU_TOLERATION])
    assert pod["spec"]["tolerations"] == [own, GPU_TOLERATION]
    everything = pod_of(tolerations=[{"operator": "Exists"}])
    assert admitted(everything, tolerations=[GPU_TOLERATION])["spec"] == everything["spec"]
    assert "tolerations" not in admitted(pod_of())["spec"]


def test_sidecars_are_kept_out() -> None:
    """They would keep the pod from ending; a template that wants one says so."""
    metadata = admitted(pod_of())["metadata"]
    assert metadata["labels"] == {"sidecar.istio.io/inject": "false"}
    assert metadata["annotations"]["linkerd.io/inject"] == "disabled"
    wants = pod_of()
    wants["metadata"]["annotations"] = {"linkerd.io/inject": "enabled"}
    assert admitted(wants)["metadata"]["annotations"]["linkerd.io/inject"] == "enabled"


def test_node_selector_and_secret_are_the_users() -> None:
    """A pod that is for one node stays there."""
    pod = admitted(pod_of(), node_selector={"pool": "gpu"}, image_pull_secret="pull")
    assert pod["spec"]["nodeSelector"] == {"pool": "gpu"}
    assert pod["spec"]["imagePullSecrets"] == [{"name": "pull"}]
    pinned = admitted(pod_of(nodeName="node-1"), node_selector={"pool": "gpu"})
    assert "nodeSelector" not in pinned["spec"]
    assert "imagePullSecrets" not in pinned["spec"]


def test_the_template_stays_as_it_was() -> None:
    """What is changed is a copy."""
    pod = pod_of(tolerations=[])
    before = yaml.safe_dump(pod)
    admitted(pod, tolerations=[GPU_TOLERATION], node_selector={"a": "b"})
    assert yaml.safe_dump(pod) == before
