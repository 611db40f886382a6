"""Manifests from Jinja templates, made so that a value can never become structure.

Every scalar is written as JSON (which is YAML), whatever the template says; a name that is not
given is an error; unknown template variables cannot survive.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jinja2
import yaml

from harness.cluster.kinds import Object, kind_of, name_of


class RenderError(Exception):
    """A template and its values do not make valid objects; ``str()`` names template and cause."""


class Manifests:
    """A folder of ``*.yaml.j2`` templates."""

    def __init__(self, folder: Path) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(folder),
            undefined=jinja2.StrictUndefined,
            finalize=_as_json,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            autoescape=False,
        )

    def one(self, template: str, values: Mapping[str, Any]) -> Object:
        """The object of a template.

        Raises:
            RenderError: a value is missing, or what comes out is no object that the suite knows.
        """
        try:
            document: Object = yaml.safe_load(
                self._environment.get_template(template).render(values)
            )
        except (jinja2.TemplateError, yaml.YAMLError, TypeError) as error:
            raise RenderError(f"{template}: {error}") from error
        try:
            kind_of(document)
            name_of(document)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise RenderError(f"{template}: not an object of the API: {error}") from error
        return document


def _as_json(value: Any) -> str:
    if isinstance(value, jinja2.Undefined):
        # Reading an undefined value raises; the name of it is in the message.
        return str(value)
    return json.dumps(value, ensure_ascii=False)


def merge_patch(target: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7396) applied to a copy: null removes, lists are replaced whole."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    merged = dict(copy.deepcopy(target)) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


# What lets a pod in on a cluster that others have arranged

SIDECARS_OFF: Mapping[str, Mapping[str, str]] = {
    # Istio reads the label, older releases the annotation; Linkerd the annotation.
    "labels": {"sidecar.istio.io/inject": "false"},
    "annotations": {"sidecar.istio.io/inject": "false", "linkerd.io/inject": "disabled"},
}
"""A sidecar would run beside the workload, keep its pod from ending, and be counted as a user."""

_TRANSIENT_TAINTS = (
    "node.kubernetes.io/",
    "node.cloudprovider.kubernetes.io/",
    "ToBeDeletedByClusterAutoscaler",
    "DeletionCandidateOfClusterAutoscaler",
)
"""Taints that say that a node cannot be used just now: cordoned, not ready, about to go."""


def tolerations_of(nodes: Iterable[Object]) -> list[dict[str, str]]:
    """Tolerations of the taints that keep nodes for those who ask, such as ``nvidia.com/gpu``."""
    found = []
    for node in nodes:
        for taint in (node.get("spec") or {}).get("taints") or []:
            if taint["effect"] == "PreferNoSchedule" or taint["key"].startswith(_TRANSIENT_TAINTS):
                continue
            value = {"value": taint["value"]} if taint.get("value") else {}
            operator = "Equal" if value else "Exists"
            found.append(
                {"key": taint["key"], "operator": operator, **value, "effect": taint["effect"]}
            )
    return found


def admissible(
    pod: Object,
    *,
    tolerations: Iterable[Mapping[str, str]],
    node_selector: Mapping[str, str],
    image_pull_secret: str,
) -> Object:
    """A pod with what lets it in; what its template says stays.

    Args:
        pod: as its template has it.
        tolerations: of the taints of the nodes that have devices.
        node_selector: labels of the nodes to use.
        image_pull_secret: a secret of the pod's namespace; empty: none.
    """
    changed: Object = copy.deepcopy(pod)
    for part, values in SIDECARS_OFF.items():
        changed["metadata"][part] = {**values, **(changed["metadata"].get(part) or {})}
    spec = changed["spec"]
    wanted = list(spec.get("tolerations") or [])
    if {"operator": "Exists"} not in wanted:
        wanted += map(dict, tolerations)
    known: list[Mapping[str, str]] = []
    for item in wanted:
        if item not in known:
            known.append(item)
    if known:
        spec["tolerations"] = known
    if node_selector and not spec.get("nodeName"):
        spec["nodeSelector"] = {**(spec.get("nodeSelector") or {}), **node_selector}
    if image_pull_secret:
        spec["imagePullSecrets"] = [{"name": image_pull_secret}]
    return changed
