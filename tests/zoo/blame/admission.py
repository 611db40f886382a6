"""What refuses objects before they are there: quotas, webhooks, policies."""

from __future__ import annotations

from collections.abc import Iterator

from tests.drivers.cluster import DriverCluster
from tests.zoo.blame import Options, row
from tests.zoo.blame.hands import POD, Object, namespace, patched, quota, refused, there, until

CLAIM_RULE: Object = {
    "apiGroups": ["resource.k8s.io"],
    "apiVersions": ["*"],
    "operations": ["CREATE"],
    "resources": ["resourceclaims"],
}
CLAIM: Object = {
    "apiVersion": "resource.k8s.io/v1",
    "kind": "ResourceClaim",
    "metadata": {"name": "probe"},
    "spec": {"devices": {"requests": [{"name": "a", "exactly": {"deviceClassName": "a"}}]}},
}
LIMITED: Object = {
    **POD,
    "spec": {
        "containers": [
            {"name": "main", "image": "none", "resources": {"limits": {"memory": "4Gi"}}}
        ]
    },
}
POD_RULE: Object = {**CLAIM_RULE, "apiGroups": [""], "resources": ["pods"]}


@row(
    "a quota allows no claim",
    says="PF-10",
    words="exceeded quota: few",
    next="raise the ResourceQuota that the message names",
)
def _quota_on_claims(cluster: DriverCluster) -> Iterator[Options]:
    yield from _quota(cluster, quota(**{"count/resourceclaims.resource.k8s.io": "0"}))


@row(
    "a quota allows fewer devices than a check takes",
    says="PF-10",
    words="exceeded quota: few",
    next="raise the ResourceQuota that the message names",
)
def _quota_on_devices(cluster: DriverCluster) -> Iterator[Options]:
    (name,) = (one["metadata"]["name"] for one in _classes(cluster))
    yield from _quota(cluster, quota(**{f"{name}.deviceclass.resource.k8s.io/devices": "1"}))


@row(
    "a quota allows no pod",
    says="PF-10",
    words="exceeded quota: few",
    next="raise the ResourceQuota that the message names",
)
def _quota_on_pods(cluster: DriverCluster) -> Iterator[Options]:
    yield from _quota(cluster, quota(pods="0"))


@row(
    "an admission webhook cannot be reached",
    says="PF-10",
    words="failed calling webhook",
    next="repair the webhook that the message names",
)
def _webhook_lost(cluster: DriverCluster) -> Iterator[Options]:
    webhook = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "lost"},
        "webhooks": [
            {
                "name": "lost.example.com",
                "clientConfig": {"url": "https://127.0.0.1:1/lost"},
                "rules": [POD_RULE],
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "timeoutSeconds": 2,
            }
        ],
    }
    with there(cluster, webhook):
        until(refused(cluster, "v1", "Pod", POD, "default"), "the webhook")
        yield []


@row(
    "a policy wants a label that the pods do not have",
    says="PF-10",
    words="admission policy of the cluster refuses",
    next="--dra-pod-patch can change pods",
)
def _policy_on_pods(cluster: DriverCluster) -> Iterator[Options]:
    says = "'team' in object.metadata.?labels.orValue({})"
    with there(cluster, *_policy(POD_RULE, says, "label team is required")):
        until(refused(cluster, "v1", "Pod", POD, "default"), "the policy")
        yield []


@row(
    "a policy lets nobody create claims",
    says="PF-10",
    words="admission policy of the cluster refuses",
    next="exempt the run's namespaces from the policy",
)
def _policy_on_claims(cluster: DriverCluster) -> Iterator[Options]:
    with there(cluster, *_policy(CLAIM_RULE, "false", "claims are made by the platform team")):
        until(refused(cluster, "resource.k8s.io/v1", "ResourceClaim", CLAIM, "default"), "it")
        yield []


@row(
    "a policy wants limits of CPU",
    says="PF-10",
    words="limits.cpu is required",
    next="--dra-pod-patch can change pods",
)
def _policy_on_limits(cluster: DriverCluster) -> Iterator[Options]:
    says = "object.spec.containers.all(c, 'cpu' in c.?resources.?limits.orValue({}))"
    with there(cluster, *_policy(POD_RULE, says, "limits.cpu is required")):
        until(refused(cluster, "v1", "Pod", POD, "default"), "the policy")
        yield []


@row(
    "pods may run as the users of a range only (OpenShift)",
    says="PF-10",
    words="users of the namespace's own range",
    next="oc adm policy add-scc-to-group nonroot-v2",
)
def _users_of_a_range(cluster: DriverCluster) -> Iterator[Options]:
    says = "object.spec.containers.all(c, c.?securityContext.?runAsUser.orValue(0) >= 1000700000)"
    message = (
        "unable to validate against any security context constraint: [provider restricted-v2:"
        " .containers[0].runAsUser: Invalid value: 1000: must be in the ranges: [1000700000,"
        " 1000709999]]"
    )
    with there(cluster, *_policy(POD_RULE, says, message)):
        until(refused(cluster, "v1", "Pod", POD, "default"), "the policy")
        yield []


@row(
    "the namespace limits the memory of containers",
    says="PF-10",
    words="LimitRange",
    next="--dra-pod-patch can change the pods' resources",
)
def _limit_range(cluster: DriverCluster) -> Iterator[Options]:
    limit = {"type": "Container", "max": {"memory": "1Mi"}}
    few = {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "few"},
        "spec": {"limits": [limit]},
    }
    with namespace(cluster, few) as name:
        until(refused(cluster, "v1", "Pod", LIMITED, name), "the limit")
        yield ["--dra-namespace", name]


@row(
    "the pods ask for a RuntimeClass that does not exist",
    says="PF-10",
    words="the RuntimeClass that the pods name",
    next="kubectl get runtimeclasses",
)
def _no_runtime_class(_cluster: DriverCluster) -> Iterator[Options]:
    yield from patched({"runtimeClassName": "none"})


def _policy(rule: Object, says: str, message: str) -> list[Object]:
    """A policy of the cluster, and what puts it in force."""
    group = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": "strict"}}
    policy = {
        **group,
        "kind": "ValidatingAdmissionPolicy",
        "spec": {
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": says, "message": message}],
        },
    }
    binding = {"policyName": "strict", "validationActions": ["Deny"]}
    return [policy, {**group, "kind": "ValidatingAdmissionPolicyBinding", "spec": binding}]


def _quota(cluster: DriverCluster, limit: Object) -> Iterator[Options]:
    with namespace(cluster, limit) as name:
        quotas = cluster.kind("v1", "ResourceQuota")
        until(
            lambda: quotas.get(name="few", namespace=name).to_dict().get("status", {}).get("hard"),
            "the quota's status",
        )
        yield ["--dra-namespace", name]


def _classes(cluster: DriverCluster) -> list[Object]:
    found: list[Object] = cluster.kind("resource.k8s.io/v1", "DeviceClass").get().to_dict()["items"]
    return found
