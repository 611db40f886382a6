"""The kinds of objects that the suite touches: their REST addresses, and rights to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

Object = dict[str, Any]
"""A Kubernetes object as the API server sent it: nothing dropped, nothing renamed."""


@dataclass(frozen=True)
class Kind:
    """One resource of the API."""

    name: str
    api_version: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """The REST path of the collection, or of one object in it."""
        root = "/api/" if "/" not in self.api_version else "/apis/"
        path = root + self.api_version
        if namespace is not None:
            path += f"/namespaces/{quote(namespace)}"
        path += f"/{self.plural}"
        if name is not None:
            path += f"/{quote(name)}"
        return path


NAMESPACE = Kind("Namespace", "v1", "namespaces", namespaced=False)
NODE = Kind("Node", "v1", "nodes", namespaced=False)
POD = Kind("Pod", "v1", "pods")
CONFIG_MAP = Kind("ConfigMap", "v1", "configmaps")
EVENT = Kind("Event", "v1", "events")
LEASE = Kind("Lease", "coordination.k8s.io/v1", "leases")
CLAIM = Kind("ResourceClaim", "resource.k8s.io/v1", "resourceclaims")
CLAIM_TEMPLATE = Kind("ResourceClaimTemplate", "resource.k8s.io/v1", "resourceclaimtemplates")
SLICE = Kind("ResourceSlice", "resource.k8s.io/v1", "resourceslices", namespaced=False)
DEVICE_CLASS = Kind("DeviceClass", "resource.k8s.io/v1", "deviceclasses", namespaced=False)
TAINT_RULE = Kind("DeviceTaintRule", "resource.k8s.io/v1", "devicetaintrules", namespaced=False)
DAEMON_SET = Kind("DaemonSet", "apps/v1", "daemonsets")
DEPLOYMENT = Kind("Deployment", "apps/v1", "deployments")
JOB = Kind("Job", "batch/v1", "jobs")
VOLUME_CLAIM = Kind("PersistentVolumeClaim", "v1", "persistentvolumeclaims")
ACCESS_REVIEW = Kind(
    "SelfSubjectAccessReview",
    "authorization.k8s.io/v1",
    "selfsubjectaccessreviews",
    namespaced=False,
)
SUBJECT_REVIEW = Kind(
    "SelfSubjectReview", "authentication.k8s.io/v1", "selfsubjectreviews", namespaced=False
)

ACCESS_REVIEW_OF_OTHERS = Kind(
    "SubjectAccessReview", "authorization.k8s.io/v1", "subjectaccessreviews", namespaced=False
)
POLICY = Kind(
    "ValidatingAdmissionPolicy",
    "admissionregistration.k8s.io/v1",
    "validatingadmissionpolicies",
    namespaced=False,
)
POLICY_BINDING = Kind(
    "ValidatingAdmissionPolicyBinding",
    "admissionregistration.k8s.io/v1",
    "validatingadmissionpolicybindings",
    namespaced=False,
)

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        *(NAMESPACE, NODE, POD, CONFIG_MAP, EVENT, LEASE, CLAIM, SLICE, DEVICE_CLASS),
        *(CLAIM_TEMPLATE, TAINT_RULE, DAEMON_SET, DEPLOYMENT, JOB, ACCESS_REVIEW, SUBJECT_REVIEW),
        *(ACCESS_REVIEW_OF_OTHERS, POLICY, POLICY_BINDING, VOLUME_CLAIM),
    )
}


@dataclass(frozen=True)
class Rule:
    """Verbs on one resource, with the reason."""

    kind: Kind
    verbs: tuple[str, ...]
    why: str
    anywhere: bool = False
    """In the whole cluster; else in the run's namespaces, or in ``--dra-namespace``."""
    subresource: str = ""
    needed: bool = True
    """Without it the run says less, but it runs."""

    @property
    def group(self) -> str:
        """The API group; empty for the core's."""
        return self.kind.api_version.rpartition("/")[0]

    @property
    def resource(self) -> str:
        """As RBAC spells it: ``pods/log``."""
        return self.kind.plural + (f"/{self.subresource}" if self.subresource else "")


def kind_of(obj: Object) -> Kind:
    """The kind of a rendered object.

    Raises:
        ValueError: the suite has no business with that kind.
    """
    kind = KINDS.get(obj.get("kind", ""))
    if kind is None or kind.api_version != obj.get("apiVersion"):
        raise ValueError(f"unknown kind {obj.get('apiVersion')}/{obj.get('kind')}")
    return kind


def name_of(obj: Object) -> str:
    """``metadata.name``."""
    return str(obj["metadata"]["name"])


def namespace_of(obj: Object) -> str | None:
    """``metadata.namespace``; None for objects of the cluster."""
    namespace = obj["metadata"].get("namespace")
    return None if namespace is None else str(namespace)


def uid_of(obj: Object) -> str:
    """``metadata.uid``."""
    return str(obj["metadata"]["uid"])


def describe_name(obj: Object) -> str:
    """``pod/NAME``, as a person writes it."""
    return f"{str(obj['kind']).lower()}/{name_of(obj)}"


def describe_place(obj: Object) -> str:
    """``pod/NAME in NAMESPACE``; without the namespace for objects of the cluster."""
    where = namespace_of(obj)
    return describe_name(obj) + (f" in {where}" if where else "")


def without_images(node: Object) -> Object:
    """Take from a node what it says of its images: that is most of it, and hardly read."""
    (node.get("status") or {}).pop("images", None)
    return node


def is_over(pod: Object) -> bool:
    """Whether a pod has ended for good: a kubelet calls it Succeeded or Failed only once its
    containers have stopped and its claims are unprepared.
    """
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def has_labels(obj: Object, wanted: Mapping[str, str]) -> bool:
    """Whether an object has each of some labels."""
    labels = obj["metadata"].get("labels") or {}
    return all(labels.get(key) == value for key, value in wanted.items())
